"""Writes that fail: what their caller is told, and that reading goes on."""

from __future__ import annotations

import asyncio
import os
import resource
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conformance.engines import Writer, stored
from tests.engine.sqlite.stores import BUS, open_store
from tests.event_samples import entries, entry
from waooaw.events.engine.contract import Frame, Tip
from waooaw.events.outages import StorageFailedError, StorageFullError, UnavailableError
from waooaw.events.retention import TrimPlan

MIB = 1024 * 1024


@dataclass(frozen=True)
class Disk:
    """A directory on a disk that a test can fill and free, and a reserve that makes the difference."""

    directory: Path
    reserve_bytes: int
    ballast_bytes: int

    def fill(self) -> None:
        """Leave less than the reserve."""
        with (self.directory / "ballast").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, self.ballast_bytes)

    def free(self) -> None:
        """Undo it."""
        (self.directory / "ballast").unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Give root a small disk; others share the machine's, with a reserve just below what is free now."""
    if os.geteuid() == 0:
        directory = tmp_path / "disk"
        directory.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", directory], check=True)
        yield Disk(directory, 8 * MIB, 26 * MIB)
        subprocess.run(["umount", directory], check=True)
    else:
        free = os.statvfs(tmp_path)
        yield Disk(tmp_path, free.f_bavail * free.f_frsize - 256 * MIB, 512 * MIB)


async def test_publishes_are_refused_before_the_disk_is_full(disk: Disk) -> None:
    """Below the reserve appends are refused and reading goes on; with room again they go on, without a restart."""
    async with open_store(disk.directory / "events.db", reserve_bytes=disk.reserve_bytes) as engine:
        writer = await Writer.registered(engine)
        await writer.append(entry(data="before"))
        disk.fill()

        with pytest.raises(StorageFullError) as refused:
            await writer.answers(entry(data="refused"))
        assert (refused.value.outcome, refused.value.retryable) == ("not_stored", True)
        assert isinstance(engine.engine_state(BUS).problem, StorageFullError)
        assert [event.event.data for event in await stored(engine)] == ["before"]

        disk.free()
        await writer.again(entry(data="after"))

        assert engine.engine_state(BUS).problem is None
        assert [event.event.data for event in await stored(engine)] == ["before", "after"]


async def test_trimming_goes_on_below_the_reserve(disk: Disk) -> None:
    """What frees space is not refused for the lack of it."""
    async with open_store(disk.directory / "events.db", reserve_bytes=disk.reserve_bytes) as engine:
        await (await Writer.registered(engine)).append(*entries(100))
        disk.fill()

        assert await engine.trim(BUS, TrimPlan(excess_events=60), limit=60) == 60
        assert len(await stored(engine)) == 40


async def test_the_time_of_a_problem_is_when_it_began(disk: Disk) -> None:
    """Looking again does not make a problem younger."""
    async with open_store(disk.directory / "events.db", reserve_bytes=disk.reserve_bytes) as engine:
        disk.fill()
        first, second = engine.engine_state(BUS), engine.engine_state(BUS)

        assert first.since_ms is not None
        assert first is second


async def test_a_refusal_does_not_grow(disk: Disk) -> None:
    """A thousand refusals of one full disk keep no more than one: no trace grows with each."""
    async with open_store(disk.directory / "events.db", reserve_bytes=disk.reserve_bytes) as engine:
        writer = await Writer.registered(engine)
        disk.fill()
        for _ in range(1000):
            with pytest.raises(StorageFullError) as refused:
                await writer.answers(entry())

        assert len(refused.traceback) < 20


def _full(engine: object, pages: int) -> None:
    connection: sqlite3.Connection = engine._connection  # type: ignore[attr-defined]  # noqa: SLF001 - a full disk without one
    connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()


async def _until_refused(writer: Writer) -> StorageFullError:
    for _ in range(40):
        try:
            await writer.answers(*entries(4, subject="x" * 200_000))
        except StorageFullError as error:
            return error
    raise AssertionError("a disk of 32 MiB took as much and more")


async def test_a_disk_that_is_full_at_the_commit(disk: Disk) -> None:
    """An append that does not fit is taken back whole and refused; the next one that fits is stored."""
    frames: list[Frame | Tip] = []
    async with open_store(disk.directory / "events.db") as engine:
        engine.listen(BUS, frames.append)
        writer = await Writer.registered(engine)
        await writer.append(entry(data="before"))
        if os.geteuid() == 0:
            disk.fill()
        else:
            _full(engine, 1)
        assert (await _until_refused(writer)).outcome == "not_stored"
        before = await stored(engine)
        assert engine.state(BUS).events == len(before)
        assert sum(len(frame.events) for frame in frames if isinstance(frame, Frame)) == len(before)

        if os.geteuid() == 0:
            disk.free()
        else:
            _full(engine, 1_000_000)
        await writer.again(entry(data="after"))

        assert [event.event.data for event in await stored(engine)] == [*(e.event.data for e in before), "after"]


@pytest.fixture
def file_size_limit() -> Iterator[Callable[[int], None]]:
    """Make writes beyond a size fail, as a broken disk does: with an error that is not ``no space``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size_bytes: resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_disk_that_fails(tmp_path: Path, file_size_limit: Callable[[int], None]) -> None:
    """A write that failed may be stored or not; after it nothing is accepted, and it is known that it is not stored."""
    path = tmp_path / "events.db"
    async with open_store(path) as engine:
        writer = await Writer.registered(engine)
        await writer.append(entry(data="before"))
        file_size_limit(path.with_name("events.db-wal").stat().st_size)
        with pytest.raises(StorageFailedError) as failed:
            await writer.answers(*entries(100))
        file_size_limit(resource.RLIM_INFINITY)

        with pytest.raises(StorageFailedError) as refused:
            await (await Writer.registered(engine)).answers(entry(data="refused"))

        assert (failed.value.outcome, refused.value.outcome) == ("unknown", "not_stored")
        assert isinstance(engine.engine_state(BUS).problem, StorageFailedError)
        assert [event.event.data for event in await stored(engine)] == ["before"]
    async with open_store(path) as engine:
        events = await stored(engine)
        assert len(events) in {1, 101}
        assert engine.state(BUS).events == len(events)
        await (await Writer.registered(engine)).append(entry(data="after"))


async def test_another_program_that_writes_is_waited_for_by_nobody(tmp_path: Path) -> None:
    """While another program holds the store's write lock, appends are refused at once; then they go on."""
    path = tmp_path / "events.db"
    async with open_store(path) as engine:
        writer = await Writer.registered(engine)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        began = asyncio.get_running_loop().time()

        with pytest.raises(UnavailableError) as refused:
            await writer.answers(entry())

        assert asyncio.get_running_loop().time() - began < 1
        assert refused.value.outcome == "not_stored"
        other.execute("ROLLBACK")
        other.close()
        await writer.again(entry(data="after"))
        assert [event.event.data for event in await stored(engine)] == ["after"]
        assert engine.engine_state(BUS).problem is None


async def test_a_frame_comes_after_the_commit(tmp_path: Path) -> None:
    """What a listener is told, another connection to the file already sees."""
    path = tmp_path / "events.db"
    counts = []
    async with open_store(path) as engine:
        other = sqlite3.connect(path)
        engine.listen(BUS, lambda _: counts.append(other.execute("SELECT count(*) FROM log_1").fetchone()[0]))
        writer = await Writer.registered(engine)
        for _ in range(3):
            await writer.append(*entries(5))
        other.close()

    assert counts == [5, 10, 15]


async def test_writers_are_bounded(tmp_path: Path) -> None:
    """Registering for ever does not take memory for ever; the newest writers are known."""
    async with open_store(tmp_path / "events.db") as engine:
        first = await Writer.registered(engine)
        for _ in range(200):
            last = await Writer.registered(engine)

        await last.append(entry())
        with pytest.raises(UnavailableError):
            await first.answers(entry())
