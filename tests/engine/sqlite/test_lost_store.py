"""A store whose file goes away while it is in use, and one that has room inside."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.engines import Writer, stored
from tests.engine.sqlite.stores import BUS, open_store
from tests.event_samples import entries, entry
from waooaw.events.engine.sqlite import store_file
from waooaw.events.outages import StorageFailedError, StorageFullError
from waooaw.events.retention import TrimPlan


@pytest.mark.parametrize("is_replaced", [False, True])
async def test_a_store_that_is_gone_takes_nothing(tmp_path: Path, is_replaced: bool) -> None:  # noqa: FBT001 - pytest gives it by name
    """Where the file was removed or replaced nothing is accepted any more, and no new file appears in its place."""
    path = tmp_path / "store" / "events.db"
    async with open_store(path) as engine:
        writer = await Writer.registered(engine)
        await writer.append(entry(data="before"))
        path.rename(tmp_path / "moved.db")
        if is_replaced:
            path.write_bytes(b"another")

        with pytest.raises(StorageFailedError, match="removed or replaced"):
            await writer.answers(entry(data="lost"))
        assert isinstance(engine.engine_state(BUS).problem, StorageFailedError)
        assert path.exists() == is_replaced


async def test_a_store_directory_that_is_gone_is_told_without_failing(tmp_path: Path) -> None:
    """The state of the engine can be asked for whatever became of its directory."""
    directory = tmp_path / "store"
    async with open_store(directory / "events.db") as engine:
        directory.rename(tmp_path / "elsewhere")

        assert isinstance(engine.engine_state(BUS).problem, StorageFailedError)


async def test_room_inside_the_file_counts_for_the_reserve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trimming makes room even though the file does not shrink: publishes go on."""
    left = 1 << 40
    monkeypatch.setattr(store_file, "free_bytes", lambda _path: left)  # a disk that is nearly full, without filling one
    async with open_store(tmp_path / "events.db", reserve_bytes=100_000) as engine:
        writer = await Writer.registered(engine)
        await writer.append(*entries(40, subject="x" * 5000))
        left = 50_000
        with pytest.raises(StorageFullError):
            await writer.answers(entry(data="refused"))

        assert await engine.trim(BUS, TrimPlan(excess_events=39), limit=100) == 39
        await writer.again(entry(data="after"))

        assert [event.event.data for event in await stored(engine)] == [39, "after"]
        left = 20_000
        assert isinstance(engine.engine_state(BUS).problem, StorageFullError)
