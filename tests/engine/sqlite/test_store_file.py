"""Files that are no store, or are one no longer: refused at the start, with what to do, and left as they are."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.engines import Writer, stored
from tests.engine.sqlite.stores import BUS, open_store
from tests.event_samples import entries, entry
from waooaw.events.engine.sqlite.store_file import FORMAT, check_integrity
from waooaw.events.errors import StartupError, StorageCorruptError, StorageFormatError
from waooaw.events.testing import ManualClock

PAGE_BYTES = 4096


class RunningClock(ManualClock):
    """A clock of which each look takes a second."""

    def monotonic(self) -> float:
        """See Clock."""
        self.advance(1)
        return super().monotonic()


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """Return a store that holds some thousand events and is closed."""
    path = tmp_path / "events.db"
    async with open_store(path) as engine:
        writer = await Writer.registered(engine)
        for _ in range(4):
            await writer.append(*entries(1000, subject="x" * 200))
    return path


async def _refused(path: Path, kind: type[StartupError]) -> str:
    with pytest.raises(kind) as refused:
        async with open_store(path):
            pass
    assert type(refused.value) is kind
    return str(refused.value)


def _rewrite(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


async def test_a_store_of_another_format_is_refused(path: Path) -> None:
    """A store that a later release wrote is not touched; the error names both formats."""
    _rewrite(path, f"PRAGMA user_version = {FORMAT + 1}")
    before = path.read_bytes()

    message = await _refused(path, StorageFormatError)

    assert f"format {FORMAT + 1}" in message
    assert f"formats up to {FORMAT};" in message
    assert path.read_bytes() == before


async def test_a_file_of_another_program_is_left_as_it_is(tmp_path: Path) -> None:
    """An SQLite file that is not ours is refused, and not a byte of it changes."""
    path = tmp_path / "events.db"
    _rewrite(path, "CREATE TABLE customers (name TEXT)")
    before = path.read_bytes()

    message = await _refused(path, StorageFormatError)

    assert "another program" in message
    assert path.read_bytes() == before
    assert {file.name for file in tmp_path.iterdir()} == {"events.db", "events.db.lock"}


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """Any other file in the place of the store is refused and left as it is."""
    path = tmp_path / "events.db"
    path.write_bytes(b"not a database at all, but long enough to look at" * 100)
    before = path.read_bytes()

    message = await _refused(path, StorageCorruptError)

    assert "move the file away" in message
    assert path.read_bytes() == before


async def test_a_truncated_store_is_refused(path: Path) -> None:
    """A store whose second half is gone is found damaged."""
    os.truncate(path, path.stat().st_size // 2 // PAGE_BYTES * PAGE_BYTES)

    assert "damaged" in await _refused(path, StorageCorruptError)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
async def test_a_damaged_page_is_found(path: Path, share: float) -> None:
    """A page in the middle that was overwritten is found by the check at the start."""
    with path.open("r+b") as file:
        file.seek(int(path.stat().st_size * share) // PAGE_BYTES * PAGE_BYTES)
        file.write(b"\xa5" * PAGE_BYTES)

    assert "restore it from a backup" in await _refused(path, StorageCorruptError)


async def test_a_damaged_header_is_found(path: Path) -> None:
    """A store whose first page is gone is no store."""
    with path.open("r+b") as file:
        file.write(b"\x00" * 100)

    assert str(path) in await _refused(path, StorageCorruptError)


async def test_a_store_without_its_table_is_refused(path: Path) -> None:
    """A store in which somebody dropped a table cannot be opened, and the error is one of ours."""
    _rewrite(path, "DROP TABLE log_1")

    assert "cannot be opened" in await _refused(path, StartupError)


async def test_a_refused_store_is_not_kept_locked(path: Path) -> None:
    """After a refusal the store can be repaired and opened, by the same process."""
    _rewrite(path, f"PRAGMA user_version = {FORMAT + 1}")
    await _refused(path, StorageFormatError)
    _rewrite(path, f"PRAGMA user_version = {FORMAT}")

    async with open_store(path) as engine:
        assert engine.state(BUS).events == 4000


async def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    """A file without content is as good as none."""
    path = tmp_path / "events.db"
    path.touch()

    async with open_store(path) as engine:
        await (await Writer.registered(engine)).append(entry())
        assert len(await stored(engine)) == 1


async def test_the_directory_is_made(tmp_path: Path) -> None:
    """A data directory that is not there yet is made, with its parents."""
    async with open_store(tmp_path / "a" / "b" / "events.db"):
        assert (tmp_path / "a" / "b" / "events.db").exists()


async def test_a_directory_below_a_file_cannot_be_made(tmp_path: Path) -> None:
    """Where the data directory cannot be, the start fails with the directory's name and what to do."""
    (tmp_path / "file").touch()

    message = await _refused(tmp_path / "file" / "data" / "events.db", StartupError)

    assert str(tmp_path / "file" / "data") in message
    assert "--data-directory" in message


@pytest.fixture
def read_only_directory(tmp_path: Path) -> Iterator[Path]:
    """Give a directory that cannot be written: a read-only mount for root, whom permissions do not stop."""
    directory = tmp_path / "read-only"
    directory.mkdir()
    if os.geteuid() != 0:
        directory.chmod(0o500)
        yield directory
        directory.chmod(0o700)
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs", directory], check=True)
    yield directory
    subprocess.run(["umount", directory], check=True)


async def test_a_directory_that_cannot_be_written(read_only_directory: Path) -> None:
    """A data directory that is not writable fails the start with its name and what to do."""
    message = await _refused(read_only_directory / "events.db", StartupError)

    assert f"{read_only_directory} is not writable" in message
    assert "--data-directory" in message


@pytest.fixture
def large(path: Path) -> Path:
    """Return a store with so many events that its check looks at its time on the way."""
    _rewrite(
        path,
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 50000) "
        "INSERT INTO log_1 SELECT n, 't', 's', 'i', NULL, 0, x'7b7d' FROM numbers",
    )
    return path


def _warnings(details: dict[str, object]) -> str:
    return str(details["warnings"])


async def test_the_check_of_a_large_store_ends_in_time(large: Path) -> None:
    """A check that takes longer than allowed is stopped; the store opens, and says that it was checked in part."""
    async with open_store(large, integrity_check_seconds=0, clock=RunningClock()) as engine:
        assert "checked in part" in _warnings(engine.details())
        assert engine.state(BUS).events == 4000


async def test_a_whole_check_warns_of_nothing(large: Path) -> None:
    """Within its time the check goes through the whole file, without a warning."""
    async with open_store(large) as engine:
        assert "checked in part" not in _warnings(engine.details())


@pytest.mark.parametrize("expired", [True, False])
def test_a_check_looks_at_its_time(large: Path, *, expired: bool) -> None:
    """The check asks whether its time is up, and says whether it finished."""
    connection = sqlite3.connect(large)
    looks: list[bool] = []

    def look() -> bool:
        looks.append(expired)
        return expired

    finished = check_integrity(str(large), connection, expired=look)
    connection.close()

    assert finished is not expired
    assert looks


async def test_a_copy_of_an_open_store_with_its_log_is_a_store(path: Path, tmp_path: Path) -> None:
    """What is on the disk while the service runs is recovered as it would be after a power cut."""
    async with open_store(path) as engine:
        await (await Writer.registered(engine)).append(entry(data="last"))
        copy = tmp_path / "copy"
        copy.mkdir()
        for name in ("events.db", "events.db-wal"):
            shutil.copy(path.with_name(name), copy / name)

    async with open_store(copy / "events.db") as engine:
        events = await stored(engine)
        assert (len(events), events[-1].event.data) == (4001, "last")
