"""Transactions that share a commit: what arrives while one commits forms the next.

Rule 1: a call is answered after the fsync of the commit that it is part of.
Rule 2: rows are written on the event loop, in slices; only the commit runs in a thread (docs/adr/0002). Between the
two the loop and the thread use the writing connection in turn, guarded by one lock.
Rule 3: what is in memory changes only after the commit, so a failed one leaves nothing to undo. Hence calls that decide
by the same part of memory (they name the same ``part``) never share one.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

from waooaw.events.errors import ClosedError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable
    from concurrent.futures import Executor

    from waooaw.events.engine.sqlite.storage_health import StorageHealth

Result = TypeVar("Result")

CALLS_MAX: Final = 64
"""Calls in one commit: the first of them waits for the rows of all."""

ROWS_MAX: Final = 5000
"""Rows after which no further call joins a commit: some tens of milliseconds. One call may write more by itself."""


@dataclass(frozen=True, slots=True)
class Written(Generic[Result]):
    """What a call wrote: its answer, and what takes it over into memory once it is durable."""

    result: Result
    take_over: Callable[[], None] | None = None


@dataclass(slots=True)
class _Call:
    write: Callable[[], Coroutine[Any, Any, Written[Any]]]
    part: Hashable
    answer: asyncio.Future[Any]
    written: Written[Any] | None = None

    def refuse(self, error: BaseException) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class Transactions:
    """The writing side of a store. ``committing`` is None in memory, where a commit waits for nothing."""

    def __init__(
        self, connection: sqlite3.Connection, health: StorageHealth, committing: Executor | None, lock: asyncio.Lock
    ) -> None:
        self._connection = connection
        self._health = health
        self._committing = committing
        self._lock = lock
        self._waiting: deque[_Call] = deque()
        self._running: asyncio.Task[None] | None = None
        self._is_closed = False

    async def run(self, write: Callable[[], Coroutine[Any, Any, Written[Result]]], *, part: Hashable = None) -> Result:
        """Run ``write`` inside a transaction, and return its result once that is durable.

        An error that ``write`` raises takes back what it wrote, and nothing of the calls beside it. Cancelling the
        caller stops nothing: half of it could not be taken back once it commits.
        """
        if self._is_closed:
            message = "the engine is closed"
            raise ClosedError(message)
        loop = asyncio.get_running_loop()
        call = _Call(write, part, loop.create_future())
        self._waiting.append(call)
        if self._running is None:
            self._running = loop.create_task(self._run())
        return cast("Result", await asyncio.shield(call.answer))

    async def close(self) -> None:
        """Finish what is being written, and refuse what waits."""
        self._is_closed = True
        running = self._running
        if running is not None:
            await running

    async def _run(self) -> None:
        while self._waiting:
            async with self._lock:
                calls = self._next_calls()
                try:
                    await self._commit_together(calls)
                except BaseException as error:
                    for call in calls:
                        call.refuse(error)
                    self._running = None
                    raise
        self._running = None

    def _next_calls(self) -> list[_Call]:
        """Take what may share the next commit, in the order in which it came."""
        calls: list[_Call] = []
        parts: set[Hashable] = set()
        while self._waiting and len(calls) < CALLS_MAX:
            call = self._waiting[0]
            if call.part is not None and call.part in parts:
                break
            parts.add(call.part)
            calls.append(self._waiting.popleft())
        return calls

    async def _commit_together(self, calls: list[_Call]) -> None:
        connection = self._connection
        try:
            changes_before = connection.total_changes
            connection.execute("BEGIN")
            for index, call in enumerate(calls):
                if connection.total_changes - changes_before >= ROWS_MAX:
                    self._waiting.extendleft(reversed(calls[index:]))
                    del calls[index:]
                    break
                await self._write(call)
            is_empty = connection.total_changes == changes_before
            if self._committing is None or is_empty:
                connection.execute("COMMIT")
            else:
                await asyncio.get_running_loop().run_in_executor(self._committing, connection.execute, "COMMIT")
        except sqlite3.Error as error:
            failure = self._health.failed(error)
            for call in calls:  # each its own: an error that is raised at several places collects all their traces
                told = type(failure)(
                    failure.detail, retry_after_seconds=failure.retry_after_seconds, outcome=failure.outcome
                )
                told.__cause__ = error
                call.refuse(told)
            return
        if not is_empty:
            self._health.committed()
        for call in calls:
            self._answer(call)

    async def _write(self, call: _Call) -> None:
        connection = self._connection
        if self._is_closed:
            call.refuse(ClosedError("the engine is closed"))
            return
        connection.execute("SAVEPOINT call")
        try:
            call.written = await call.write()
        except sqlite3.Error:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is its caller's; the rest goes on
            connection.execute("ROLLBACK TO call")
            call.refuse(error)
        connection.execute("RELEASE call")

    @staticmethod
    def _answer(call: _Call) -> None:
        written = call.written
        if written is None:
            return
        try:
            if written.take_over is not None:
                written.take_over()
        except Exception as error:  # noqa: BLE001 - of a listener; what was written is written
            call.refuse(error)
        if not call.answer.done():
            call.answer.set_result(written.result)
