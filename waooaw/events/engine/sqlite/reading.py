"""Reading a store beside the writer: a few threads, each with a connection of its own that sees one snapshot a read.

In memory there is one connection for all, as another one would be another database (sqlite.org/inmemorydb.html); it
has no snapshots, so its reads run on the event loop, between two appends.
"""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import local
from typing import TYPE_CHECKING, Final, TypeVar

from waooaw.events.engine.contract import Page
from waooaw.events.engine.sqlite import statements
from waooaw.events.engine.sqlite.failure import read_failure
from waooaw.events.engine.sqlite.store_file import open_reader
from waooaw.events.event import StoredEvent
from waooaw.events.position import Position

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AsyncExitStack

_Result = TypeVar("_Result")

THREADS: Final = 2
"""Reads are short; a third thread would only wait for the interpreter lock."""

PAGE_BYTES_MAX: Final = 4 * 1024 * 1024
"""A page ends here even below its count: 10,000 events of the largest size would be 2.5 GiB."""


@dataclass(frozen=True, slots=True)
class Range:
    """What one read asks for, of one bus's table."""

    number: int
    after: Position
    through: Position
    limit: int
    newest_first: bool


class Reading:
    """The reading side of a store."""

    def __init__(self, path: str | None, shared: sqlite3.Connection) -> None:
        self._path = path
        self._shared = shared
        self._threads = local()
        self._connections: list[sqlite3.Connection] = []

    async def open(self, stack: AsyncExitStack) -> None:
        """Start the threads."""
        self._executor = ThreadPoolExecutor(THREADS, "wowevent-read")
        stack.push_async_callback(self._close)

    async def _close(self) -> None:
        # Reads that wait are finished: cancelling them would look to their callers like a cancellation of their own.
        await asyncio.to_thread(self._executor.shutdown)
        for connection in self._connections:
            connection.close()

    async def page(self, wanted: Range) -> Page:
        """Read a page."""
        return await self.run(lambda connection: _read_page(connection, wanted))

    async def event(self, number: int, position: Position) -> StoredEvent | None:
        """Read one event."""
        statement = statements.GET.format(log=f"log_{number}")
        row = await self.run(lambda connection: connection.execute(statement, (position,)).fetchone())
        return None if row is None else StoredEvent(*row)

    async def run(self, read: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Run a read in one snapshot."""
        try:
            if self._path is None:
                return read(self._shared)
            return await asyncio.get_running_loop().run_in_executor(self._executor, self._read, self._path, read)
        except sqlite3.Error as error:
            raise read_failure(error) from error

    def _read(self, path: str, read: Callable[[sqlite3.Connection], _Result]) -> _Result:
        connection: sqlite3.Connection | None = getattr(self._threads, "connection", None)
        if connection is None:
            connection = self._threads.connection = open_reader(path)
            self._connections.append(connection)
        connection.execute("BEGIN")
        try:
            return read(connection)
        finally:
            connection.execute("COMMIT")


def _read_page(connection: sqlite3.Connection, wanted: Range) -> Page:
    (trimmed_through,) = connection.execute(statements.TRIMMED_THROUGH, (wanted.number,)).fetchone()
    statement = statements.NEWEST_FIRST if wanted.newest_first else statements.OLDEST_FIRST
    cursor = connection.execute(
        statement.format(log=f"log_{wanted.number}"), (wanted.after, wanted.through, wanted.limit)
    )
    events: list[StoredEvent] = []
    size_bytes = 0
    for row in cursor:
        events.append(StoredEvent(*row))
        size_bytes += len(row[-1])
        if size_bytes >= PAGE_BYTES_MAX:
            break
    cursor.close()
    cut_short = size_bytes >= PAGE_BYTES_MAX or len(events) == wanted.limit
    whole = wanted.after if wanted.newest_first else wanted.through
    reached = events[-1].position if cut_short else whole
    return Page(tuple(events), reached, Position(trimmed_through))
