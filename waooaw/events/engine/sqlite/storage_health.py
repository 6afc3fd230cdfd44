"""How the file of a store does: whether it is still there, whether the disk has room, what the last write met."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from waooaw.events.engine.contract import EngineState
from waooaw.events.engine.sqlite import store_file
from waooaw.events.engine.sqlite.failure import storage_full, store_gone, write_failure
from waooaw.events.outages import StorageFailedError, UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

    from waooaw.events.clock import Clock


class StorageHealth:
    """Watches one store; ``path`` is None in memory, where nothing can happen."""

    def __init__(self, path: Path | None, reserve_bytes: int, clock: Clock) -> None:
        self._path = path
        self._reserve_bytes = reserve_bytes
        self._clock = clock
        self._state = EngineState()
        self._failed: StorageFailedError | None = None
        self._refused: UnavailableError | None = None

    def open(self, connection: sqlite3.Connection) -> None:
        """Note which file it is, and what room there is inside it."""
        self._connection = connection
        if self._path is not None:
            self._identity = store_file.identity(self._path)
        self.look_inside()

    def look_inside(self) -> None:
        """Note what room there is inside the file."""
        self._reusable_bytes = store_file.reusable_bytes(self._connection)

    def check_room(self) -> None:
        """Raise what a write that adds to the store is refused with now."""
        problem = self._failed or self._find_problem()
        if problem is not None and self._reusable_bytes:
            self.look_inside()
        if problem is not None:
            raise problem.with_traceback(None)  # one error is raised many times; its trace would grow each time

    def check(self) -> None:
        """Raise what every write is refused with, also one that frees room: the disk failed."""
        if self._failed is not None:
            raise self._failed.with_traceback(None)

    def committed(self) -> None:
        """Note that a write succeeded."""
        self._refused = None

    def failed(self, error: sqlite3.Error) -> UnavailableError:
        """Take a transaction back, note why it failed, and return what its callers are told."""
        failure = write_failure(error)
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as again:
            failure = write_failure(again)
        if isinstance(failure, StorageFailedError):
            self._failed = StorageFailedError(failure.detail, retry_after_seconds=failure.retry_after_seconds)
        else:
            self._refused = failure
        self.state()
        return failure

    def state(self) -> EngineState:
        """Find how the store does now, and since when: one statvfs(2), which touches no disk.

        What a write was refused for counts until one succeeds: a quota, or no reserve, and statvfs(2) sees nothing.
        """
        problem = self._failed or self._find_problem() or self._refused
        if (problem is None) != (self._state.problem is None) or type(problem) is not type(self._state.problem):
            self._state = EngineState(problem, None if problem is None else self._clock.now_ms())
        return self._state

    def _find_problem(self) -> UnavailableError | None:
        """Return why nothing can be stored now: the file is another one or gone, or the disk is nearly full.

        Room inside the file counts for the reserve, but for a quarter of it, which the write-ahead log may need.
        """
        if self._path is None:
            return None
        try:
            is_ours = store_file.identity(self._path) == self._identity
            free_bytes = store_file.free_bytes(self._path)
        except OSError:
            is_ours = False
        if not is_ours:
            return store_gone(str(self._path.absolute()))
        if free_bytes + self._reusable_bytes >= self._reserve_bytes and free_bytes * 4 >= self._reserve_bytes:
            return None
        reserve = self._reserve_bytes
        return storage_full(f"{free_bytes} bytes are free on the disk of {self._path}, the reserve is {reserve}")
