"""One process a store; and whatever kills it, what it answered is there."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from tests.conformance.engines import stored
from tests.engine.sqlite.stores import open_store
from waooaw.events.errors import StorageInUseError

ROOT = Path(__file__).parents[3]
ROUNDS = 5
APPENDS_A_ROUND = 25


@contextmanager
def _process(path: Path, prefix: str = "") -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """Start a process that has the store open, and end it."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.engine.sqlite.store_process", path, prefix],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "open\n"
            yield process, process.stdout
        finally:
            process.kill()


async def test_a_second_process_is_told_who_has_the_store(tmp_path: Path) -> None:
    """Opening a store that another process has open fails at once, and names that process."""
    path = tmp_path / "events.db"
    with _process(path) as (process, _), pytest.raises(StorageInUseError) as refused:
        async with open_store(path):
            pass

    assert f"in use by process {process.pid};" in str(refused.value)
    assert "--data-directory" in str(refused.value)


async def test_a_killed_process_does_not_keep_the_store(tmp_path: Path) -> None:
    """The lock goes with its process, however that ends."""
    path = tmp_path / "events.db"
    with _process(path) as (process, _):
        process.kill()
        process.wait()

        async with open_store(path) as engine:
            assert await stored(engine) == []


async def test_the_store_is_locked_within_one_process_too(tmp_path: Path) -> None:
    """Two engines of one process do not share a file; the first one is not disturbed by the attempt."""
    path = tmp_path / "events.db"
    async with open_store(path) as engine:
        with pytest.raises(StorageInUseError):
            async with open_store(path):
                pass
        assert await stored(engine) == []
    async with open_store(path):
        pass


async def test_what_was_answered_survives_a_kill(tmp_path: Path) -> None:
    """Killed while it appends, five times on one store: each answered append is there, whole; nothing is twice."""
    path = tmp_path / "events.db"
    answered: Counter[str] = Counter()
    for number in range(ROUNDS):
        with _process(path, str(number)) as (process, output):
            for _ in range(APPENDS_A_ROUND + number):  # another size of append is in flight each time
                append, size = output.readline().split()
                answered[append] = int(size)
            process.kill()
            for line in output:
                append, size = line.split()
                answered[append] = int(size)

    async with open_store(path) as engine:
        events = await stored(engine)
        assert engine.state("default").events == len(events)
    ids = [event.event.id or "" for event in events]
    assert len(set(ids)) == len(ids)
    found: Counter[str] = Counter(identifier.rsplit("/", 2)[0] for identifier in ids)
    sizes = {identifier.rsplit("/", 2)[0]: int(identifier.rsplit("/", 1)[1]) for identifier in ids}
    assert {append: found[append] for append in answered} == dict(answered)
    assert found == sizes  # those not answered are whole as well, or not there
    assert len(answered) >= ROUNDS * APPENDS_A_ROUND
