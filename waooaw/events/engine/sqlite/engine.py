"""The embedded engine: one SQLite file, one process.

Each call goes to the part that it concerns; how they write together is told in `transactions`.
"""

from __future__ import annotations

import sqlite3
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from waooaw.events.engine.sqlite import store_file
from waooaw.events.engine.sqlite.appending import Appending
from waooaw.events.engine.sqlite.bus_log import Answer, BusLog
from waooaw.events.engine.sqlite.push_rows import PushRows
from waooaw.events.engine.sqlite.queues import Queues
from waooaw.events.engine.sqlite.reading import Range
from waooaw.events.engine.sqlite.replica_list import ReplicaList
from waooaw.events.engine.sqlite.schedule_rows import ScheduleRows
from waooaw.events.engine.sqlite.store import SqliteOptions, Store
from waooaw.events.engine.sqlite.subscriptions import Subscriptions
from waooaw.events.errors import ClosedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from waooaw.events.clock import Clock
    from waooaw.events.dead_letter import DeadLetter
    from waooaw.events.engine.contract import EngineState, Frame, LogState, Page, Registration, ReplicaRecord, Tip
    from waooaw.events.engine.push_contract import PushRecord
    from waooaw.events.engine.queue_contract import (
        Claimed,
        ClaimRequest,
        FillItem,
        Moves,
        ReferenceReport,
        RouteSet,
        Settled,
        SettleRequest,
    )
    from waooaw.events.engine.subscription_contract import Changed, Routes, SubscriptionChange
    from waooaw.events.errors import WowEventError
    from waooaw.events.event import Entry, StoredEvent
    from waooaw.events.identifier import Identifiers
    from waooaw.events.position import Position
    from waooaw.events.receipt import Durability, ScheduledReceipt
    from waooaw.events.retention import TrimPlan
    from waooaw.events.scheduled_event import ScheduledEvent
    from waooaw.events.subscription_state import QueueDetails, QueueState

WAL_RESET_FIXED: Final = (3, 51, 3)
"""Older SQLite can damage a file when two connections checkpoint at once; this engine checkpoints from one."""


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
        self._buses = tuple(buses)
        self._clock = clock
        self._identifiers = identifiers
        self._options = options
        self._store = Store(path, clock, identifiers, options)
        self._durability: Durability = "memory" if path is None else "fsync"
        self._logs: dict[str, BusLog] = {}
        self._listeners: dict[str, dict[object, Callable[[Frame | Tip], None]]] = {name: {} for name in buses}
        self._opened = False
        self._replicas = ReplicaList()
        self._appending = Appending(self._store, self._tell)
        self._subscriptions = Subscriptions(self._store)
        self._queues = Queues(self._store)
        self._push = PushRows(self._store)
        self._schedule = ScheduleRows(self._store, self._durability)

    @property
    def name(self) -> str:
        """``sqlite`` or ``memory``."""
        return "memory" if self._store.path is None else "sqlite"

    @property
    def location(self) -> str:
        """The file, or ``memory``."""
        return self._store.location

    def durability_of(self, bus: str) -> Durability:  # noqa: ARG002 - one file, one level
        """Return the level that receipts name."""
        return self._durability

    # Life cycle -------------------------------------------------------------------------------------------------------

    async def open(self, stack: AsyncExitStack) -> None:
        """Open the store; raises `StartupError` kinds, with nothing left behind."""
        async with AsyncExitStack() as undo:
            await self._store.open(undo)
            self._connection, self._writing = self._store.connection, self._store.lock
            try:
                self._open_buses()
            except sqlite3.Error as error:
                raise store_file.unreadable(self.location, error) from None
            self._store.health.open(self._connection)
            self._opened = True
            undo.push_async_callback(self._close)
            stack.push_async_exit(undo.pop_all())

    def _open_buses(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        for name in self._buses:
            log = BusLog(name, self._connection, self._durability)
            log.open(self._identifiers.new_epoch(), self._options.deduplication, self._clock.now_ms())
            self._logs[name] = log
        self._connection.execute("COMMIT")

    async def _close(self) -> None:
        self._opened = False
        await self._store.transactions.close()

    def _log(self, bus: str) -> BusLog:
        if not self._opened:
            message = "the engine is closed"
            raise ClosedError(message)
        return self._logs[bus]

    # EventLog ---------------------------------------------------------------------------------------------------------

    async def register(self, bus: str, *, patience_seconds: float = 2.0) -> Registration:  # noqa: ARG002 - as below
        """Make the caller a writer of a bus."""
        return self._appending.register(self._log(bus))

    async def append(
        self,
        bus: str,
        writer: str,
        sequence: int,
        routes_version: str,
        entries: Sequence[Entry],
        *,
        references: Sequence[RouteSet] = (),
        patience_seconds: float = 2.0,  # noqa: ARG002 - a disk that refuses now is not asked again
    ) -> tuple[Answer, ...]:
        """Store entries in one transaction; see `EventLog.append`."""
        log = self._log(bus)
        return await self._appending.append(log, writer, sequence, routes_version, entries, references=references)

    async def begin_epoch(self, bus: str) -> None:
        """Begin an epoch at the end of the log; see `EventLog.begin_epoch`."""
        await self._appending.begin_epoch(self._log(bus))

    async def read(
        self, bus: str, after: Position, *, through: Position, limit: int, newest_first: bool = False
    ) -> Page:
        """Return a page of the log; see `EventLog.read`."""
        log = self._log(bus)
        return await self._store.reading.page(Range(log.number, after, min(through, log.last), limit, newest_first))

    async def get(self, bus: str, position: Position) -> StoredEvent | None:
        """Return the event at a position, or None."""
        log = self._log(bus)
        return await self._store.reading.event(log.number, position) if position <= log.last else None

    def state(self, bus: str) -> LogState:
        """Return the log's state, from memory."""
        return self._log(bus).state(self._clock.now_ms())

    async def refresh(self, bus: str) -> None:
        """Do nothing: what this process knows is all that there is."""
        self._log(bus)

    async def trim(self, bus: str, plan: TrimPlan, *, limit: int) -> int:
        """Remove up to ``limit`` of the oldest events that a plan names; see `EventLog.trim`."""
        return await self._appending.trim(self._log(bus), plan, limit)

    # Subscriptions ----------------------------------------------------------------------------------------------------

    async def routes(self, bus: str, known_version: str = "") -> Routes:
        """See `Subscriptions.routes`."""
        return await self._subscriptions.routes(self._log(bus), known_version)

    async def change_subscriptions(
        self,
        bus: str,
        changes: Sequence[SubscriptionChange],
        *,
        subscriptions_max: int,
        patience_seconds: float = 2.0,  # noqa: ARG002 - as for appends
    ) -> tuple[Changed | WowEventError, ...]:
        """See `Subscriptions.change_subscriptions`."""
        return await self._subscriptions.change(self._log(bus), changes, subscriptions_max)

    async def seek(self, bus: str, incarnation: str, start: Position) -> QueueState:
        """See `Subscriptions.seek`."""
        return await self._queues.seek(self._log(bus), incarnation, start)

    def listen_to_wakes(self, bus: str, listener: Callable[[str | None], None]) -> Callable[[], None]:
        """See `Subscriptions.listen_to_wakes`."""
        return self._store.listen_to_wakes(bus, listener)

    # Queues -----------------------------------------------------------------------------------------------------------

    async def claim(
        self,
        bus: str,
        incarnation: str,
        claimer: str,
        sequence: int,
        requests: Sequence[ClaimRequest],
        *,
        patience_seconds: float = 2.0,  # noqa: ARG002 - as for appends
    ) -> Claimed:
        """See `Queues.claim`."""
        return await self._queues.claim(self._log(bus), incarnation, claimer, sequence, requests)

    async def settle(
        self,
        bus: str,
        incarnation: str,
        claimer: str,
        sequence: int,
        requests: Sequence[SettleRequest],
        *,
        patience_seconds: float = 2.0,  # noqa: ARG002 - as for appends
    ) -> Settled:
        """See `Queues.settle`."""
        return await self._queues.settle(self._log(bus), incarnation, claimer, sequence, requests)

    async def sweep(
        self, bus: str, incarnations: Sequence[str], *, limit: int, dead_seconds: int, dead_max: int
    ) -> tuple[Moves, ...]:
        """See `Queues.sweep`."""
        log = self._log(bus)
        return await self._queues.sweep(log, incarnations, limit=limit, dead_seconds=dead_seconds, dead_max=dead_max)

    async def queue_states(self, bus: str, incarnations: Sequence[str]) -> tuple[QueueState | None, ...]:
        """See `Queues.queue_states`."""
        return await self._queues.queue_states(self._log(bus), incarnations)

    async def queue_details(self, bus: str, incarnation: str) -> QueueDetails:
        """See `Queues.queue_details`."""
        return await self._queues.queue_details(self._log(bus), incarnation)

    async def find_reference(
        self, bus: str, incarnation: str, position: Position, priority: int
    ) -> ReferenceReport | None:
        """See `Queues.find_reference`."""
        return await self._queues.find_reference(self._log(bus), incarnation, position, priority)

    async def oldest_needed(self, bus: str, incarnations: Sequence[str]) -> Position | None:
        """See `Queues.oldest_needed`."""
        return await self._queues.oldest_needed(self._log(bus), incarnations)

    async def fill(
        self, bus: str, incarnation: str, items: Sequence[FillItem], *, expected: Position, reached: Position
    ) -> QueueState:
        """See `Queues.fill`."""
        return await self._queues.fill(self._log(bus), incarnation, items, expected, reached)

    async def dead_letters(self, bus: str, incarnation: str, *, after: str, limit: int) -> tuple[DeadLetter, ...]:
        """See `Queues.dead_letters`."""
        return await self._queues.dead_letters(self._log(bus), incarnation, after, limit)

    async def redrive(
        self, bus: str, incarnation: str, ids: Sequence[str], *, delay_ms: int = 0, spacing_ms: float = 0.0
    ) -> int:
        """See `Queues.redrive`."""
        return await self._queues.redrive(self._log(bus), incarnation, ids, delay_ms, spacing_ms)

    async def purge(self, bus: str, incarnation: str, ids: Sequence[str]) -> int:
        """See `Queues.purge`."""
        return await self._queues.purge(self._log(bus), incarnation, ids)

    # Push records -----------------------------------------------------------------------------------------------------

    async def push_record(self, bus: str, incarnation: str) -> PushRecord:
        """See `PushRecords.push_record`."""
        return await self._push.record(self._log(bus), incarnation)

    async def write_push_record(
        self, bus: str, incarnation: str, value: bytes, *, expected: int, tells: bool = False
    ) -> PushRecord:
        """See `PushRecords.write_push_record`."""
        return await self._push.write_record(self._log(bus), incarnation, value, expected, tells=tells)

    async def add_push_attempts(self, bus: str, incarnation: str, attempts: Sequence[bytes], *, kept: int) -> None:
        """See `PushRecords.add_push_attempts`."""
        await self._push.add_attempts(self._log(bus), incarnation, attempts, kept)

    async def push_attempts(self, bus: str, incarnation: str) -> tuple[bytes, ...]:
        """See `PushRecords.push_attempts`."""
        return await self._push.attempts(self._log(bus), incarnation)

    # Schedule and jobs ------------------------------------------------------------------------------------------------

    async def schedule(
        self,
        bus: str,
        entries: Sequence[Entry],
        *,
        events_max: int,
        patience_seconds: float = 2.0,  # noqa: ARG002 - as for appends
    ) -> tuple[ScheduledReceipt | WowEventError, ...]:
        """See `Schedule.schedule`."""
        return await self._schedule.schedule(self._log(bus), entries, events_max)

    async def due_events(self, bus: str, *, limit: int) -> tuple[tuple[ScheduledEvent, ...], int | None]:
        """See `Schedule.due_events`."""
        return await self._schedule.due_events(self._log(bus), limit)

    async def scheduled_events(
        self, bus: str, *, after: tuple[int, str] | None, limit: int
    ) -> tuple[tuple[ScheduledEvent, ...], int]:
        """See `Schedule.scheduled_events`."""
        return await self._schedule.scheduled_events(self._log(bus), after, limit)

    async def scheduled_event(self, bus: str, schedule_id: str) -> ScheduledEvent | None:
        """See `Schedule.scheduled_event`."""
        return await self._schedule.scheduled_event(self._log(bus), schedule_id)

    async def cancel_scheduled(self, bus: str, schedule_id: str) -> bool:
        """See `Schedule.cancel_scheduled`."""
        return await self._schedule.cancel_scheduled(self._log(bus), schedule_id)

    async def hold_job(self, bus: str, job: str, seconds: float) -> bool:  # noqa: ARG002 - nobody else could have it
        """Return True: one process has the store."""
        self._log(bus)
        return True

    # LiveChannel ------------------------------------------------------------------------------------------------------

    def _tell(self, bus: str, told: Frame | Tip) -> None:
        for listener in tuple(self._listeners[bus].values()):
            listener(told)

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
        if not self._opened:
            message = "the engine is closed"
            raise ClosedError(message)
        return self._replicas.beat(replica, members, self._clock.now_ms())

    async def leave(self, replica: str) -> None:
        """Take a replica off the list."""
        self._replicas.leave(replica)

    # State ------------------------------------------------------------------------------------------------------------

    def engine_state(self, bus: str) -> EngineState:  # noqa: ARG002 - one file, one state
        """Return how the engine does; one statvfs(2), which touches no disk."""
        return self._store.health.state()

    def details(self) -> dict[str, object]:
        """Return versions, sizes and warnings for people."""
        warnings = list(self._store.warnings)
        if sqlite3.sqlite_version_info < WAL_RESET_FIXED and self._store.path is not None:
            warnings.append(
                f"SQLite {sqlite3.sqlite_version} is older than {'.'.join(map(str, WAL_RESET_FIXED))}: "
                "let no other program open the store while the service runs"
            )
        warnings += [text for log in self._logs.values() if (text := log.clock_warning(self._clock.now_ms()))]
        return {"sqlite_version": sqlite3.sqlite_version, "format": store_file.FORMAT, "warnings": warnings}
