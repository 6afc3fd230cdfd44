"""The embedded engine: one SQLite file, one process.

Rule 1: one transaction an append; its answer waits for the fsync of its commit.
Rule 2: rows are inserted on the event loop, in slices; only the commit runs in a thread (docs/adr/0002). Between the
two the loop and the thread use the writing connection in turn, guarded by one lock.
Rule 3: what is in memory changes only after the commit, so a failed one leaves nothing to undo.
"""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from waooaw.events.engine.contract import EngineState, Frame, LogState, Page, Registration, ReplicaRecord, Tip
from waooaw.events.engine.deduplication_window import DeduplicationWindow
from waooaw.events.engine.sqlite import statements, store_file
from waooaw.events.engine.sqlite.bus_log import Answer, Append, BusLog
from waooaw.events.engine.sqlite.failure import storage_full, store_gone, write_failure
from waooaw.events.engine.sqlite.reading import Range, Reading
from waooaw.events.engine.sqlite.replica_list import ReplicaList
from waooaw.events.errors import ClosedError, RoutesChangedError, SupersededError
from waooaw.events.outages import StorageFailedError, UnavailableError, WriterUnknownError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from waooaw.events.clock import Clock
    from waooaw.events.event import Entry, StoredEvent
    from waooaw.events.identifier import Identifiers
    from waooaw.events.position import Position
    from waooaw.events.receipt import Durability
    from waooaw.events.retention import TrimPlan

SLICE_ROWS: Final = 250
"""Rows inserted before other work of the loop gets its turn: about a millisecond."""

WRITERS_MAX: Final = 64
"""Writers remembered, with their last answers: a process has one a bus, and a new one after an unknown outcome."""

ROUTES_VERSION: Final = "0"
"""No routes are stored yet, so their version never changes."""

WAL_RESET_FIXED: Final = (3, 51, 3)
"""Older SQLite can damage a file when two connections checkpoint at once; this engine checkpoints from one."""


@dataclass(frozen=True, slots=True)
class SqliteOptions:
    """How a store is kept."""

    deduplication: DeduplicationWindow = field(default_factory=DeduplicationWindow)
    reserve_bytes: int = 64 * 1024 * 1024
    integrity_check_seconds: float = 10.0


@dataclass(slots=True)
class _Writer:
    sequence: int = 0
    answers: tuple[Answer, ...] = ()


class SqliteEngine:
    """One SQLite file, or memory where ``path`` is None. Open it once, inside an exit stack."""

    def __init__(
        self,
        path: Path | None,
        buses: Sequence[str],
        *,
        clock: Clock,
        identifiers: Identifiers,
        options: SqliteOptions,
    ) -> None:
        self._path = path
        self._buses = tuple(buses)
        self._clock = clock
        self._identifiers = identifiers
        self._options = options
        self._durability: Durability = "memory" if path is None else "fsync"
        self._logs: dict[str, BusLog] = {}
        self._writers: dict[tuple[str, str], _Writer] = {}
        self._listeners: dict[str, dict[object, Callable[[Frame | Tip], None]]] = {name: {} for name in buses}
        self._state = EngineState()
        self._failed: StorageFailedError | None = None
        self._refused: UnavailableError | None = None
        self._warnings: list[str] = []
        self._opened = False
        self._replicas = ReplicaList()

    @property
    def name(self) -> str:
        """``sqlite`` or ``memory``."""
        return "memory" if self._path is None else "sqlite"

    @property
    def location(self) -> str:
        """The file, or ``memory``."""
        return "memory" if self._path is None else str(self._path.absolute())

    def durability_of(self, bus: str) -> Durability:  # noqa: ARG002 - one file, one level
        """Return the level that receipts name."""
        return self._durability

    # Life cycle -------------------------------------------------------------------------------------------------------

    async def open(self, stack: AsyncExitStack) -> None:
        """Open the store; raises `StartupError` kinds, with nothing left behind."""
        async with AsyncExitStack() as undo:
            files = undo.enter_context(ExitStack())
            self._committing = ThreadPoolExecutor(1, "wowevent-commit")
            undo.callback(self._committing.shutdown)  # first, so that no file is closed under a thread that uses it
            loop = asyncio.get_running_loop()
            self._connection = await loop.run_in_executor(self._committing, self._open_file, files)
            self._reading = Reading(None if self._path is None else str(self._path), self._connection)
            await self._reading.open(undo)
            try:
                self._open_buses()
            except sqlite3.Error as error:
                raise store_file.unreadable(self.location, error) from None
            if self._path is not None:
                self._identity = store_file.identity(self._path)
            self._reusable_bytes = store_file.reusable_bytes(self._connection)
            self._writing = asyncio.Lock()
            self._opened = True
            undo.push_async_callback(self._close)
            stack.push_async_exit(undo.pop_all())

    def _open_file(self, files: ExitStack) -> sqlite3.Connection:
        if self._path is None:
            connection = store_file.open_store(":memory:")
            files.callback(connection.close)
            return connection
        store_file.prepare_directory(self._path.absolute().parent)
        store_file.lock(self._path, files)
        connection = store_file.open_store(str(self._path))
        files.callback(connection.close)
        deadline = self._clock.monotonic() + self._options.integrity_check_seconds
        if not store_file.check_integrity(
            str(self._path), connection, expired=lambda: self._clock.monotonic() > deadline
        ):
            self._warnings.append(
                f"the integrity check was stopped after {self._options.integrity_check_seconds:g} s: "
                "the store is large; it was checked in part"
            )
        return connection

    def _open_buses(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        for name in self._buses:
            log = BusLog(name, self._connection, self._durability)
            log.open(self._identifiers.new_epoch(), self._options.deduplication, self._clock.now_ms())
            self._logs[name] = log
        self._connection.execute("COMMIT")

    async def _close(self) -> None:
        async with self._writing:
            self._opened = False

    # EventLog ---------------------------------------------------------------------------------------------------------

    async def register(self, bus: str, *, patience_seconds: float = 2.0) -> Registration:  # noqa: ARG002 - as below
        """Make the caller a writer of a bus."""
        self._log(bus)
        writer = self._identifiers.new_token()
        self._writers[bus, writer] = _Writer()
        while len(self._writers) > WRITERS_MAX:
            del self._writers[next(iter(self._writers))]
        return Registration(writer, ROUTES_VERSION)

    async def append(
        self,
        bus: str,
        writer: str,
        sequence: int,
        routes_version: str,
        entries: Sequence[Entry],
        *,
        patience_seconds: float = 2.0,  # noqa: ARG002 - a disk that refuses now is not asked again
    ) -> tuple[Answer, ...]:
        """Store entries in one transaction; see `EventLog.append`."""
        # The transaction goes on when the caller is cancelled: half of it could not be taken back once it commits.
        return await asyncio.shield(
            asyncio.get_running_loop().create_task(self._append(bus, writer, sequence, routes_version, entries))
        )

    async def _append(
        self, bus: str, writer: str, sequence: int, routes_version: str, entries: Sequence[Entry]
    ) -> tuple[Answer, ...]:
        async with self._writing:
            known = self._check_writer(bus, writer)
            if sequence == known.sequence:
                return known.answers
            if sequence < known.sequence:
                message = f"append {sequence} came after {known.sequence} was stored"
                raise SupersededError(message)
            if routes_version != ROUTES_VERSION:
                message = f"matched against routes {routes_version}, now {ROUTES_VERSION}"
                raise RoutesChangedError(message, routes_version=ROUTES_VERSION)
            self._check_storage()
            log = self._logs[bus]
            append = log.decide(entries, self._clock.now())
            frame = await self._store(log, append) if append.rows else None
            known.sequence, known.answers = sequence, tuple(append.answers)
        if frame is not None:
            for listener in tuple(self._listeners[bus].values()):
                listener(frame)
        return known.answers

    def _check_writer(self, bus: str, writer: str) -> _Writer:
        self._check_open()
        known = self._writers.get((bus, writer))
        if known is None:
            message = "this writer is not registered; register again; what it had in flight may be stored"
            raise WriterUnknownError(message, outcome="unknown")
        return known

    async def _store(self, log: BusLog, append: Append) -> Frame:
        connection = self._connection
        insert = log.sql(statements.INSERT)
        try:
            connection.execute("BEGIN IMMEDIATE")
            for start in range(0, len(append.rows), SLICE_ROWS):
                if start:
                    await asyncio.sleep(0)
                connection.executemany(insert, append.rows[start : start + SLICE_ROWS])
            log.write_totals(append)
            await self._commit()
        except sqlite3.Error as error:
            raise self._failed_write(error) from error
        return log.committed(append)

    async def _commit(self) -> None:
        if self._path is None:
            self._connection.execute("COMMIT")
        else:
            await asyncio.get_running_loop().run_in_executor(self._committing, self._connection.execute, "COMMIT")
        self._refused = None

    def _failed_write(self, error: sqlite3.Error) -> UnavailableError:
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
        self._take_state()
        return failure

    async def read(
        self, bus: str, after: Position, *, through: Position, limit: int, newest_first: bool = False
    ) -> Page:
        """Return a page of the log; see `EventLog.read`."""
        log = self._log(bus)
        wanted = Range(log.number, after, min(through, log.last), limit, newest_first)
        return await self._reading.page(wanted)

    async def get(self, bus: str, position: Position) -> StoredEvent | None:
        """Return the event at a position, or None."""
        log = self._log(bus)
        return await self._reading.event(log.number, position) if position <= log.last else None

    def state(self, bus: str) -> LogState:
        """Return the log's state, from memory."""
        return self._log(bus).state(self._clock.now_ms())

    async def refresh(self, bus: str) -> None:
        """Do nothing: what this process knows is all that there is."""
        self._log(bus)

    def _check_open(self) -> None:
        if not self._opened:
            message = "the engine is closed"
            raise ClosedError(message)

    def _log(self, bus: str) -> BusLog:
        self._check_open()
        return self._logs[bus]

    async def trim(self, bus: str, plan: TrimPlan, *, limit: int) -> int:
        """Remove up to ``limit`` of the oldest events that a plan names; see `EventLog.trim`."""
        return await asyncio.shield(asyncio.get_running_loop().create_task(self._trim(bus, plan, limit)))

    async def _trim(self, bus: str, plan: TrimPlan, limit: int) -> int:
        async with self._writing:
            log = self._log(bus)
            trim = log.decide_trim(plan, limit)
            if trim is None:
                return 0
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                log.write_trim(trim)
                await self._commit()
            except sqlite3.Error as error:
                raise self._failed_write(error) from error
            log.trimmed(trim)
            self._reusable_bytes = store_file.reusable_bytes(self._connection)
            return trim.events

    async def begin_epoch(self, bus: str) -> None:
        """Begin an epoch at the end of the log; see `EventLog.begin_epoch`."""
        async with self._writing:
            log = self._log(bus)
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                epochs = log.write_epoch(self._identifiers.new_epoch())
                await self._commit()
            except sqlite3.Error as error:
                raise self._failed_write(error) from error
            log.take_epochs(epochs)
        for listener in tuple(self._listeners[bus].values()):
            listener(Tip(epochs[-1].id, log.last))

    # LiveChannel ------------------------------------------------------------------------------------------------------

    def listen(self, bus: str, listener: Callable[[Frame | Tip], None]) -> Callable[[], None]:
        """Call ``listener`` with every frame from now on; return what ends it."""
        listeners, key = self._listeners[bus], object()
        listeners[key] = listener

        def end() -> None:
            listeners.pop(key, None)

        return end

    # Replicas ---------------------------------------------------------------------------------------------------------

    async def beat(self, replica: str, members: bytes) -> tuple[ReplicaRecord, ...]:
        """Note a replica; see `Replicas.beat`."""
        self._check_open()
        return self._replicas.beat(replica, members, self._clock.now_ms())

    async def leave(self, replica: str) -> None:
        """Take a replica off the list."""
        self._replicas.leave(replica)

    # State ------------------------------------------------------------------------------------------------------------

    def _check_storage(self) -> None:
        problem = self._failed or self._find_problem()
        if problem is not None and self._reusable_bytes:
            self._reusable_bytes = store_file.reusable_bytes(self._connection)
        if problem is not None:
            raise problem.with_traceback(None)  # one error is raised many times; its trace would grow each time

    def engine_state(self, bus: str) -> EngineState:  # noqa: ARG002 - one file, one state
        """Return how the engine does; one statvfs(2), which touches no disk."""
        return self._take_state()

    def _take_state(self) -> EngineState:
        """Find how the store does now, and since when.

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
            return store_gone(self.location)
        reserve_bytes = self._options.reserve_bytes
        if free_bytes + self._reusable_bytes >= reserve_bytes and free_bytes * 4 >= reserve_bytes:
            return None
        return storage_full(f"{free_bytes} bytes are free on the disk of {self._path}, the reserve is {reserve_bytes}")

    def details(self) -> dict[str, object]:
        """Return versions, sizes and warnings for people."""
        warnings = list(self._warnings)
        if sqlite3.sqlite_version_info < WAL_RESET_FIXED and self._path is not None:
            warnings.append(
                f"SQLite {sqlite3.sqlite_version} is older than {'.'.join(map(str, WAL_RESET_FIXED))}: "
                "let no other program open the store while the service runs"
            )
        warnings += [text for log in self._logs.values() if (text := log.clock_warning(self._clock.now_ms()))]
        return {"sqlite_version": sqlite3.sqlite_version, "format": store_file.FORMAT, "warnings": warnings}
