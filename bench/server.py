"""Starting, watching and stopping the servers that are measured, each in a process of its own."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

from bench.errors import BenchError
from bench.machine import CLOCK_TICKS, core_busy_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

HOST: Final = "127.0.0.1"
_ROOT: Final = Path(__file__).resolve().parent.parent
_START_SECONDS_MAX: Final = 30.0
_STOP_SECONDS_MAX: Final = 20.0
"""Above the service's own time to finish what is in flight; past it the process is killed and the run fails."""
_EXIT_BY_SIGNAL: Final = 128
"""What shells add to a signal's number."""
_PROBE_SECONDS: Final = 0.05
_LOG_TAIL_CHARACTERS: Final = 2000
_KIBIBYTE: Final = 1024
_USER_AND_SYSTEM_TIME: Final = slice(11, 13)
"""utime and stime in /proc/<pid>/stat, counted from the field after the command (proc(5))."""

BASELINE_COMMAND: Final = (sys.executable, "-m", "bench.baseline")
Command: TypeAlias = "Callable[[int, Path], Sequence[str]]"
"""Returns what starts a server, given its port and the empty directory for its files."""

SERVICE_COMMAND: Final = (sys.executable, "-m", "waooaw.events.service")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server. Every server takes its address and data directory from the service's own settings."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    data_directory: Path
    core: int | None

    @property
    def host_header(self) -> str:
        """The value of the Host header of requests to it."""
        return f"{HOST}:{self.port}"

    def cpu_seconds(self) -> float:
        """Return the processor time, user and system, of all its threads and workers so far."""
        ticks = 0
        for process_id in self.process_ids():
            stat = Path(f"/proc/{process_id}/stat").read_text(encoding="utf-8")
            ticks += sum(map(int, stat.rpartition(")")[2].split()[_USER_AND_SYSTEM_TIME]))
        return ticks / CLOCK_TICKS

    def process_ids(self) -> list[int]:
        """Return its own process and those that it started, nginx's workers say."""
        own = self.process.pid
        children = Path(f"/proc/{own}/task/{own}/children").read_text(encoding="utf-8")
        return [own, *map(int, children.split())]

    def other_work_seconds(self) -> float:
        """Return the time that other processes have taken on its core so far; 0 where it is bound to none."""
        return 0.0 if self.core is None else core_busy_seconds(self.core) - self.cpu_seconds()

    def resident_bytes(self) -> int:
        """Return its resident memory."""
        for line in Path(f"/proc/{self.process.pid}/smaps_rollup").read_text(encoding="utf-8").splitlines():
            if line.startswith("Rss:"):
                return int(line.split()[1]) * _KIBIBYTE
        raise BenchError("the kernel does not tell the resident memory of a process")


@dataclass(frozen=True, slots=True, kw_only=True)
class Launcher:
    """Starts servers below one directory and on one core. `environment` is added for the service alone."""

    directory: Path
    core: int | None
    service_command: Sequence[str] = SERVICE_COMMAND
    environment: Mapping[str, str] = field(default_factory=dict)

    @contextlib.contextmanager
    def service(self) -> Iterator[Server]:
        """Run the event bus on an empty data directory, which is removed afterwards."""
        with self.running("event bus", _wherever(self.service_command), self.environment) as server:
            yield server

    @contextlib.contextmanager
    def baseline(self) -> Iterator[Server]:
        """Run the bare aiohttp application of `bench.baseline`."""
        with self.running("bare aiohttp", _wherever(BASELINE_COMMAND)) as server:
            yield server

    @contextlib.contextmanager
    def running(
        self,
        name: str,
        command: Command,
        extra: Mapping[str, str] = MappingProxyType({}),
        is_ready: Callable[[int], bool] | None = None,
    ) -> Iterator[Server]:
        """Run a server until the block ends; it is ready when `is_ready` says so of its port, else by `/ready`.

        Raises BenchError with the end of its log where it does not become ready or had to be killed.
        """
        data_directory = Path(tempfile.mkdtemp(prefix="bench-", dir=self.directory))
        (data_directory / "data").mkdir()
        port = _free_port()
        # Settings of the caller's shell must not change what is measured.
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in {"REDIS_URL", "LOG_LEVEL", "EVENT_BUS_ENABLED"} and not name.startswith("WOWEVENT_")
        }
        environment |= {
            "PORT": str(port),
            "WOWEVENT_HOST": HOST,
            "WOWEVENT_DATA_DIRECTORY": str(data_directory / "data"),
            "WOWEVENT_DRAIN_LAME_DUCK_SECONDS": "0",
            **extra,
        }
        log_path = data_directory / "log"
        try:
            with log_path.open("wb") as log:
                process = subprocess.Popen(
                    command(port, data_directory),
                    env=environment,
                    cwd=_ROOT,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            try:
                server = Server(name=name, port=port, process=process, data_directory=data_directory, core=self.core)
                if self.core is not None:
                    # Before the process has threads; those it starts later inherit the core.
                    os.sched_setaffinity(process.pid, {self.core})
                _wait_until_ready(server, log_path, is_ready or _answers_ready)
                if self.core is not None:
                    for process_id in server.process_ids():
                        os.sched_setaffinity(process_id, {self.core})
                yield server
            finally:
                _stop(process, name)
        finally:
            shutil.rmtree(data_directory)


def end_whole_on_sigterm() -> None:
    """Have SIGTERM end this process as an exception does, so that no server and no file of a run stays behind."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(_EXIT_BY_SIGNAL + number))  # noqa: ARG005 - frame is given


def _wherever(command: Sequence[str]) -> Command:
    """Return the command of a server that takes its port and directory from the environment."""

    def start(port: int, directory: Path) -> Sequence[str]:
        del port, directory
        return command

    return start


def _free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(server: Server, log_path: Path, is_ready: Callable[[int], bool]) -> None:
    """Return once it is ready. Raises BenchError with the end of its log where it ends or does not become so."""
    until = time.monotonic() + _START_SECONDS_MAX
    while time.monotonic() < until and server.process.poll() is None:
        if is_ready(server.port):
            return
        time.sleep(_PROBE_SECONDS)
    state = "did not become ready" if server.process.poll() is None else f"ended with {server.process.returncode}"
    tail = log_path.read_text(encoding="utf-8", errors="replace")[-_LOG_TAIL_CHARACTERS:]
    raise BenchError(f"{server.name} {state}; its log ends:\n{tail}")


def _answers_ready(port: int) -> bool:
    """Tell whether `/ready` answers 200; a refused connection is the usual no of a process that still starts."""
    connection = http.client.HTTPConnection(HOST, port, timeout=1)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status == http.client.OK
    except OSError:
        return False
    finally:
        connection.close()


def _stop(process: subprocess.Popen[bytes], name: str) -> None:
    """Stop the process as an orchestrator does. Raises BenchError where it had to be killed."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise BenchError(f"{name} did not end within {_STOP_SECONDS_MAX:.0f} s of SIGTERM and was killed") from None
