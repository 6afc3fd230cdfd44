"""Transactions: what comes together is committed together, and one call's failure is its own."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine, Hashable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from waooaw.events.engine.sqlite.storage_health import StorageHealth
from waooaw.events.engine.sqlite.transactions import CALLS_MAX, ROWS_MAX, Transactions, Written
from waooaw.events.errors import ClosedError, NotFoundError
from waooaw.events.outages import StorageFailedError, UnavailableError
from waooaw.events.testing import ManualClock


class Table:
    """A table of numbers, and how often something was committed to it."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.connection.execute("CREATE TABLE numbers (number INTEGER UNIQUE)")
        self.said: list[str] = []
        self.connection.set_trace_callback(self.said.append)
        self.committing = ThreadPoolExecutor(1)
        self.health = StorageHealth(None, 0, ManualClock())
        self.health.open(self.connection)
        self.transactions = Transactions(self.connection, self.health, self.committing, asyncio.Lock())
        self.taken_over: list[int] = []
        self.began = asyncio.Event()

    @property
    def commits(self) -> int:
        """How often something was committed."""
        return self.said.count("COMMIT")

    @property
    def numbers(self) -> list[int]:
        """What the table holds."""
        return [number for (number,) in self.connection.execute("SELECT number FROM numbers ORDER BY number")]

    def add(self, number: int, *, error: Exception | None = None) -> Callable[[], Coroutine[Any, Any, Written[int]]]:
        """Return a call that writes a number, and may fail after it."""

        async def write() -> Written[int]:
            self.began.set()
            self.connection.execute("INSERT INTO numbers VALUES (?)", (number,))
            await asyncio.sleep(0)
            if error is not None:
                raise error
            return Written(number * 10, lambda: self.taken_over.append(number))

        return write

    async def run(self, *numbers: int, part: Hashable = None) -> list[Any]:
        """Add numbers at once; return what each is answered."""
        calls = [self.transactions.run(self.add(number), part=part) for number in numbers]
        return await asyncio.gather(*calls, return_exceptions=True)


@pytest.fixture
async def table(tmp_path: Path) -> Any:  # noqa: ANN401 - a fixture that yields
    table = Table(tmp_path / "table.db")
    yield table
    table.committing.shutdown()
    table.connection.close()


async def test_what_comes_together_shares_a_commit(table: Table) -> None:
    """Ten calls at once are one commit; each gets its own answer, and is taken over, in order."""
    assert await table.run(*range(10)) == [number * 10 for number in range(10)]
    assert (table.commits, table.taken_over) == (1, list(range(10)))


async def test_a_commit_has_a_size(table: Table) -> None:
    """What is more than one commit takes forms the next ones."""
    await table.run(*range(2 * CALLS_MAX + 1))
    assert table.commits == 3


async def test_a_commit_has_a_number_of_rows(table: Table) -> None:
    """After a call that wrote much no other one joins; what waited goes on in its order."""

    async def write_much() -> Written[int]:
        rows = [(number,) for number in range(100, 100 + ROWS_MAX)]
        table.connection.executemany("INSERT INTO numbers VALUES (?)", rows)
        return Written(7)

    answers = await asyncio.gather(
        *(table.transactions.run(write) for write in (table.add(1), write_much, table.add(2), table.add(3)))
    )

    assert (answers, table.commits, table.taken_over) == ([10, 7, 20, 30], 2, [1, 2, 3])


async def test_calls_of_one_part_follow_one_another(table: Table) -> None:
    """Each decides by what the one before it left in memory, so none shares its commit."""
    await table.run(1, 2, 3, part="bus")
    assert table.commits == 3


async def test_a_call_that_fails_takes_back_its_own(table: Table) -> None:
    """What it wrote is gone, what is beside it is stored, and only it is told."""
    refused = table.transactions.run(table.add(2, error=NotFoundError("gone")))
    answers = await asyncio.gather(
        table.transactions.run(table.add(1)), refused, table.transactions.run(table.add(3)), return_exceptions=True
    )

    assert (answers[0], answers[2]) == (10, 30)
    assert isinstance(answers[1], NotFoundError)
    assert (table.numbers, table.taken_over) == ([1, 3], [1, 3])


async def test_a_write_that_fails_takes_back_all(table: Table) -> None:
    """After an error of the store nothing of its commit is stored or taken over; each is told by its own error."""
    answers = await table.run(1, 2, 1, 3)

    assert {type(answer) for answer in answers} == {StorageFailedError}
    assert len({id(answer) for answer in answers}) == len(answers)
    assert (table.numbers, table.taken_over) == ([], [])
    assert isinstance(table.health.state().problem, UnavailableError)


async def test_what_writes_nothing_waits_for_no_disk(table: Table) -> None:
    """A call that only looks is answered although the thread that commits is busy."""
    gate = asyncio.Event()
    loop = asyncio.get_running_loop()
    busy = loop.run_in_executor(table.committing, lambda: asyncio.run_coroutine_threadsafe(gate.wait(), loop).result())

    async def look() -> Written[int]:
        return Written(7)

    assert await table.transactions.run(look) == 7
    gate.set()
    await busy


async def test_a_cancelled_call_is_done_all_the_same(table: Table) -> None:
    """Half of it could not be taken back; what waits beside it is not disturbed."""
    task = asyncio.create_task(table.transactions.run(table.add(1)))
    await asyncio.sleep(0)
    task.cancel()

    assert await table.run(2) == [20]
    assert table.numbers == [1, 2]
    assert task.cancelled()


async def test_closing_refuses_what_waits(table: Table) -> None:
    """What is being written is finished; what waits, and what comes after, is refused."""
    first = asyncio.create_task(table.transactions.run(table.add(1), part="bus"))
    second = asyncio.create_task(table.transactions.run(table.add(2), part="bus"))
    await table.began.wait()
    await table.transactions.close()

    assert await first == 10
    with pytest.raises(ClosedError):
        await second
    with pytest.raises(ClosedError):
        await table.transactions.run(table.add(3))
    assert table.numbers == [1]
