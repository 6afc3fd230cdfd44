"""An open store: its file, its connections, and what every part of the engine writes and reads by."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from waooaw.events.engine.deduplication_window import DeduplicationWindow
from waooaw.events.engine.sqlite import store_file
from waooaw.events.engine.sqlite.reading import Reading
from waooaw.events.engine.sqlite.storage_health import StorageHealth
from waooaw.events.engine.sqlite.transactions import Transactions, Written

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

    from waooaw.events.clock import Clock
    from waooaw.events.identifier import Identifiers

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class SqliteOptions:
    """How a store is kept."""

    deduplication: DeduplicationWindow = field(default_factory=DeduplicationWindow)
    reserve_bytes: int = 64 * 1024 * 1024
    integrity_check_seconds: float = 10.0


class Store:
    """One SQLite file, or memory where ``path`` is None."""

    def __init__(self, path: Path | None, clock: Clock, identifiers: Identifiers, options: SqliteOptions) -> None:
        self.path = path
        self.clock = clock
        self.identifiers = identifiers
        self.options = options
        self.warnings: list[str] = []
        self.health = StorageHealth(path, options.reserve_bytes, clock)
        self._wakes: dict[str, dict[object, Callable[[str | None], None]]] = {}

    @property
    def location(self) -> str:
        """The file, or ``memory``."""
        return "memory" if self.path is None else str(self.path.absolute())

    async def open(self, stack: AsyncExitStack) -> None:
        """Open the file; raises `StartupError` kinds, with nothing left behind that the stack does not undo."""
        files = stack.enter_context(ExitStack())
        committing = ThreadPoolExecutor(1, "wowevent-commit")
        stack.callback(committing.shutdown)  # first, so that no file is closed under a thread that uses it
        loop = asyncio.get_running_loop()
        self.connection = await loop.run_in_executor(committing, self._open_file, files)
        self.reading = Reading(None if self.path is None else str(self.path), self.connection)
        await self.reading.open(stack)
        self.lock = asyncio.Lock()
        executor = None if self.path is None else committing
        self.transactions = Transactions(self.connection, self.health, executor, self.lock)

    def _open_file(self, files: ExitStack) -> sqlite3.Connection:
        if self.path is None:
            connection = store_file.open_store(":memory:")
            files.callback(connection.close)
            return connection
        store_file.prepare_directory(self.path.absolute().parent)
        store_file.lock(self.path, files)
        connection = store_file.open_store(str(self.path))
        files.callback(connection.close)
        deadline = self.clock.monotonic() + self.options.integrity_check_seconds
        if not store_file.check_integrity(
            str(self.path), connection, expired=lambda: self.clock.monotonic() > deadline
        ):
            self.warnings.append(
                f"the integrity check was stopped after {self.options.integrity_check_seconds:g} s: "
                "the store is large; it was checked in part"
            )
        return connection

    async def read(self, read: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Read in one snapshot: in a thread beside the writer; in memory, which has none, between two writes."""
        if self.path is not None:
            return await self.reading.run(read)

        async def look() -> Written[_Result]:
            return Written(read(self.connection))

        return await self.transactions.run(look)

    # Wakes ------------------------------------------------------------------------------------------------------------

    def listen_to_wakes(self, bus: str, listener: Callable[[str | None], None]) -> Callable[[], None]:
        """Call ``listener`` with each wake of a bus; return what ends it."""
        listeners, key = self._wakes.setdefault(bus, {}), object()
        listeners[key] = listener

        def end() -> None:
            listeners.pop(key, None)

        return end

    def wake(self, bus: str, *incarnations: str | None) -> None:
        """Tell who listens that something became claimable; None stands for all queues and changed routes."""
        for listener in tuple(self._wakes.get(bus, {}).values()):
            for incarnation in incarnations:
                listener(incarnation)
