"""The machine a figure was taken on, without which the figure says little, and how its cores are shared out."""

from __future__ import annotations

import os
import platform
import resource
import sqlite3
import statistics
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from bench.errors import BenchError

CLOCK_TICKS: Final = os.sysconf("SC_CLK_TCK")
"""Units of the times in /proc a second."""

_LIBRARIES: Final = ("aiohttp", "uvloop", "msgspec", "redis", "hiredis")
_BLOCK_BYTES: Final = 4096
_FSYNC_SAMPLES: Final = 500
_FSYNC_SECONDS_MAX: Final = 10.0
"""On a disk of 100 ms an fsync the sampling stops here, with a hundred samples."""
_PAIR: Final = 2
_QUIET_LOAD: Final = 0.5
"""Other work above half a core makes figures of two pinned cores doubtful."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """Where the server and the load generator run; None where there is one core and they share it."""

    server: int | None
    load: int | None

    @classmethod
    def assigned(cls) -> Cores:
        """Return the first two cores that this process may use."""
        usable = sorted(os.sched_getaffinity(0))
        return cls(server=usable[0], load=usable[1]) if len(usable) >= _PAIR else cls(server=None, load=None)

    def pin_load(self) -> None:
        """Bind the calling process to the core of the load generator."""
        if self.load is not None:
            os.sched_setaffinity(0, {self.load})


def core_busy_seconds(core: int) -> float:
    """Return the time that `core` has spent on processes, and that a hypervisor took from it, so far.

    With interrupts, which the times of processes contain on most kernels (proc(5), /proc/stat).
    """
    return _busy_seconds(f"cpu{core}")


def busy_seconds() -> float:
    """Return the time that all cores together have been busy so far."""
    return _busy_seconds("cpu")


def _busy_seconds(wanted: str) -> float:
    for line in Path("/proc/stat").read_text(encoding="utf-8").splitlines():
        name, *fields = line.split()
        if name == wanted:
            user, nice, system, _idle, _wait, interrupts, soft_interrupts, stolen = map(int, fields[:8])
            return (user + nice + system + interrupts + soft_interrupts + stolen) / CLOCK_TICKS
    raise BenchError(f"the kernel does not tell the times of {wanted}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FsyncTimes:
    """What one durable write of 4 KiB costs on the disk that holds the data, in seconds."""

    median_seconds: float
    p99_seconds: float

    @classmethod
    def measured(cls, directory: Path) -> FsyncTimes:
        """Append blocks of 4 KiB to a file in `directory`, each followed by fdatasync, and time each pair."""
        block = os.urandom(_BLOCK_BYTES)
        taken: list[float] = []
        until = time.perf_counter() + _FSYNC_SECONDS_MAX
        with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
            while len(taken) < _FSYNC_SAMPLES and time.perf_counter() < until:
                before = time.perf_counter()
                file.write(block)
                os.fdatasync(file.fileno())
                taken.append(time.perf_counter() - before)
        return cls(median_seconds=statistics.median(taken), p99_seconds=percentile(taken, 0.99))


def percentile(values: list[float], share: float) -> float:
    """Return the nearest-rank percentile of `values`, which are not empty; `share` is between 0 and 1."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def raise_open_files_limit() -> int:
    """Raise the soft limit of open files to the hard one, for this process and those it starts; return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def describe(directory: Path, cores: Cores, fsync: FsyncTimes) -> dict[str, str]:
    """Return what to print above the figures. Reads Linux's /proc."""
    load = os.getloadavg()[0]
    pinned = "server and load share one core" if cores.server is None else f"server {cores.server}, load {cores.load}"
    described = {
        "CPU": f"{_cpu_model()}, {os.cpu_count()} cores; pinned: {pinned}",
        "Memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f} GiB",
        "Kernel": platform.release(),
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "Libraries": ", ".join(
            [*(f"{name} {version(name)}" for name in _LIBRARIES), f"SQLite {sqlite3.sqlite_version}"]
        ),
        "Disk": f"{_filesystem(directory)}; 4 KiB write + fdatasync: median {fsync.median_seconds * 1e3:.3f} ms, "
        f"p99 {fsync.p99_seconds * 1e3:.3f} ms",
        "Load before": f"{load:.2f}" + (" (the machine was not idle: repeat)" if load > _QUIET_LOAD else ""),
    }
    if _filesystem(directory) in {"tmpfs", "ramfs"}:
        described["Warning"] = "the data is in memory: nothing here was measured at fsync; choose another --directory"
    return described


def _cpu_model() -> str:
    """Return the processor's name, or the architecture where the kernel does not tell one."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _filesystem(directory: Path) -> str:
    """Return the type of the file system that holds `directory`: that of the longest mount point above it."""
    path = directory.resolve()
    found = ("", "unknown")
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        _, mount_point, kind, *_ = line.split(" ")
        if path.is_relative_to(mount_point) and len(mount_point) >= len(found[0]):
            found = (mount_point, kind)
    return found[1]
