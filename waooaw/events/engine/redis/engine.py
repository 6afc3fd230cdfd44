"""The engine on Redis: any number of equal replicas over one Redis, which holds all that they know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from waooaw.events.engine.contract import EngineState, ReplicaRecord
from waooaw.events.engine.redis.bus_log import READ_SECONDS
from waooaw.events.engine.redis.open_buses import OpenBuses, RedisOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AsyncExitStack

    from waooaw.events.clock import Clock
    from waooaw.events.dead_letter import DeadLetter
    from waooaw.events.engine.contract import Engine, Frame, LogState, Page, Registration, Tip
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
    from waooaw.events.receipt import Durability, Receipt, ScheduledReceipt
    from waooaw.events.retention import TrimPlan
    from waooaw.events.scheduled_event import ScheduledEvent
    from waooaw.events.subscription_state import QueueDetails, QueueState

REPLICA_SILENT_MS: Final = 10_000
REPLICA_BUS: Final = "default"
"""The bus in whose slot the list of replicas is kept."""


class RedisEngine:
    """Buses on one Redis. Open it once, inside an exit stack."""

    def __init__(
        self, url: str, buses: Sequence[str], *, clock: Clock, identifiers: Identifiers, options: RedisOptions
    ) -> None:
        self._buses = OpenBuses(url, buses, clock=clock, identifiers=identifiers, options=options)

    @property
    def name(self) -> str:
        """``redis``."""
        return "redis"

    @property
    def location(self) -> str:
        """The URL, without who we are."""
        return self._buses.address.location

    def durability_of(self, bus: str) -> Durability:
        """Return the level that the receipts of a bus name."""
        return self._buses.durability_of(bus)

    async def open(self, stack: AsyncExitStack) -> None:
        """Connect every bus; raises `StartupError` kinds, with nothing left behind."""
        await self._buses.open(stack)

    # EventLog ---------------------------------------------------------------------------------------------------------

    async def register(self, bus: str, *, patience_seconds: float = 2.0) -> Registration:
        """Make the caller a writer of a bus."""
        async with self._buses.call(bus) as found:
            return await found.appender.register(patience_seconds)

    async def append(
        self,
        bus: str,
        writer: str,
        sequence: int,
        routes_version: str,
        entries: Sequence[Entry],
        *,
        references: Sequence[RouteSet] = (),
        patience_seconds: float = 2.0,
    ) -> tuple[Receipt | WowEventError, ...]:
        """Store entries by one script; see `EventLog.append`."""
        async with self._buses.call(bus) as found:
            return await found.appender.append(
                writer, sequence, routes_version, entries, references=references, patience_seconds=patience_seconds
            )

    async def read(
        self, bus: str, after: Position, *, through: Position, limit: int, newest_first: bool = False
    ) -> Page:
        """Return a page of the log; see `EventLog.read`."""
        async with self._buses.call(bus) as found:
            return await found.read(after, through, limit, newest_first=newest_first)

    async def get(self, bus: str, position: Position) -> StoredEvent | None:
        """Return the event at a position, or None."""
        async with self._buses.call(bus) as found:
            return await found.get(position)

    def state(self, bus: str) -> LogState:
        """Return the log's state, as last heard: half a second old at most while Redis is there."""
        return self._buses.named(bus).state(self._buses.clock.now_ms())

    async def refresh(self, bus: str) -> None:
        """Have `state` tell all that Redis holds at the call."""
        async with self._buses.call(bus) as found:
            await found.refresh(await found.keeper.session(READ_SECONDS))

    async def trim(self, bus: str, plan: TrimPlan, *, limit: int) -> int:
        """Remove up to ``limit`` of the oldest events that a plan names; see `EventLog.trim`."""
        async with self._buses.call(bus) as found:
            return await found.trim(plan, limit)

    async def begin_epoch(self, bus: str) -> None:
        """Begin an epoch by hand; see `EventLog.begin_epoch`."""
        async with self._buses.call(bus) as found:
            await found.begin_epoch()

    # LiveChannel, Replicas --------------------------------------------------------------------------------------------

    def listen(self, bus: str, listener: Callable[[Frame | Tip], None]) -> Callable[[], None]:
        """Call ``listener`` with every frame from now on; return what ends it."""
        return self._buses.known[bus].listen(listener)

    async def beat(self, replica: str, members: bytes) -> tuple[ReplicaRecord, ...]:
        """Note a replica; see `Replicas.beat`."""
        async with self._buses.call(REPLICA_BUS) as found:
            said = await found.beat(replica, members, REPLICA_SILENT_MS)
        pairs = zip(said[::2], said[1::2], strict=True)
        return tuple(sorted((_record(name, text) for name, text in pairs), key=lambda record: record.replica))

    async def leave(self, replica: str) -> None:
        """Take a replica off the list."""
        async with self._buses.call(REPLICA_BUS) as found:
            await found.beat(replica, b"", REPLICA_SILENT_MS)

    # Subscriptions ----------------------------------------------------------------------------------------------------

    async def routes(self, bus: str, known_version: str = "") -> Routes:
        """Return the subscriptions of a bus; see `Subscriptions.routes`."""
        async with self._buses.call(bus) as found:
            return await found.subscriptions.routes(known_version)

    async def change_subscriptions(
        self, bus: str, changes: Sequence[SubscriptionChange], *, subscriptions_max: int, patience_seconds: float = 2.0
    ) -> tuple[Changed | WowEventError, ...]:
        """Change subscriptions; see `Subscriptions.change_subscriptions`."""
        async with self._buses.call(bus) as found:
            return await found.subscriptions.change(changes, subscriptions_max, patience_seconds)

    async def seek(self, bus: str, incarnation: str, start: Position) -> QueueState:
        """Drop what waits, and go on from a place; see `Subscriptions.seek`."""
        async with self._buses.call(bus) as found:
            return await found.subscriptions.seek(incarnation, start)

    def listen_to_wakes(self, bus: str, listener: Callable[[str | None], None]) -> Callable[[], None]:
        """Call ``listener`` with what is woken from now on; return what ends it."""
        return self._buses.known[bus].wakes.listen(listener)

    # Queues -----------------------------------------------------------------------------------------------------------

    async def claim(
        self,
        bus: str,
        incarnation: str,
        claimer: str,
        sequence: int,
        requests: Sequence[ClaimRequest],
        *,
        patience_seconds: float = 2.0,
    ) -> Claimed:
        """Lease references to members; see `Queues.claim`."""
        async with self._buses.call(bus) as found:
            return await found.queues.claim(incarnation, claimer, sequence, requests, patience_seconds)

    async def settle(
        self,
        bus: str,
        incarnation: str,
        claimer: str,
        sequence: int,
        requests: Sequence[SettleRequest],
        *,
        patience_seconds: float = 2.0,
    ) -> Settled:
        """Settle deliveries; see `Queues.settle`."""
        async with self._buses.call(bus) as found:
            return await found.queues.settle(incarnation, claimer, sequence, requests, patience_seconds)

    async def sweep(
        self, bus: str, incarnations: Sequence[str], *, limit: int, dead_seconds: int, dead_max: int
    ) -> tuple[Moves, ...]:
        """Do what claims would do; see `Queues.sweep`."""
        async with self._buses.call(bus) as found:
            return await found.queues.sweep(incarnations, limit, dead_seconds, dead_max)

    async def queue_states(self, bus: str, incarnations: Sequence[str]) -> tuple[QueueState | None, ...]:
        """Return queues as they stand."""
        async with self._buses.call(bus) as found:
            return await found.queues.states(incarnations)

    async def queue_details(self, bus: str, incarnation: str) -> QueueDetails:
        """Return who holds what, and what fails."""
        async with self._buses.call(bus) as found:
            return await found.queues.details(incarnation)

    async def find_reference(
        self, bus: str, incarnation: str, position: Position, priority: int
    ) -> ReferenceReport | None:
        """Tell where the newest reference to an event is; see `Queues.find_reference`."""
        async with self._buses.call(bus) as found:
            return await found.queues.find_reference(incarnation, position, priority)

    async def oldest_needed(self, bus: str, incarnations: Sequence[str]) -> Position | None:
        """Return the oldest position that queues need the log for."""
        async with self._buses.call(bus) as found:
            return await found.queues.oldest_needed(incarnations)

    async def fill(
        self, bus: str, incarnation: str, items: Sequence[FillItem], *, expected: Position, reached: Position
    ) -> QueueState:
        """Add what a chunk of history holds; see `Queues.fill`."""
        async with self._buses.call(bus) as found:
            return await found.queues.fill(incarnation, items, expected, reached)

    async def dead_letters(self, bus: str, incarnation: str, *, after: str, limit: int) -> tuple[DeadLetter, ...]:
        """Return dead letters, oldest first."""
        async with self._buses.call(bus) as found:
            return await found.dead_letters.page(incarnation, after, limit)

    async def redrive(
        self, bus: str, incarnation: str, ids: Sequence[str], *, delay_ms: int = 0, spacing_ms: float = 0.0
    ) -> int:
        """Put dead letters back into their queue; see `Queues.redrive`."""
        async with self._buses.call(bus) as found:
            return await found.dead_letters.redrive(incarnation, ids, delay_ms, spacing_ms)

    async def purge(self, bus: str, incarnation: str, ids: Sequence[str]) -> int:
        """Remove dead letters for good."""
        async with self._buses.call(bus) as found:
            return await found.dead_letters.purge(incarnation, ids)

    # Push records -----------------------------------------------------------------------------------------------------

    async def push_record(self, bus: str, incarnation: str) -> PushRecord:
        """Return what the replicas know of a receiver; see `PushRecords.push_record`."""
        async with self._buses.call(bus) as found:
            return await found.push.record(incarnation)

    async def write_push_record(
        self, bus: str, incarnation: str, value: bytes, *, expected: int, tells: bool = False
    ) -> PushRecord:
        """Replace the record where it has a version; see `PushRecords.write_push_record`."""
        async with self._buses.call(bus) as found:
            return await found.push.write(incarnation, value, expected, tells=tells)

    async def add_push_attempts(self, bus: str, incarnation: str, attempts: Sequence[bytes], *, kept: int) -> None:
        """Add attempts; see `PushRecords.add_push_attempts`."""
        async with self._buses.call(bus) as found:
            await found.push.add_attempts(incarnation, attempts, kept)

    async def push_attempts(self, bus: str, incarnation: str) -> tuple[bytes, ...]:
        """Return the attempts that are kept."""
        async with self._buses.call(bus) as found:
            return await found.push.attempts(incarnation)

    # Schedule, Jobs ---------------------------------------------------------------------------------------------------

    async def schedule(
        self, bus: str, entries: Sequence[Entry], *, events_max: int, patience_seconds: float = 2.0
    ) -> tuple[ScheduledReceipt | WowEventError, ...]:
        """Store entries beside the log; see `Schedule.schedule`."""
        async with self._buses.call(bus) as found:
            return await found.schedule.add(entries, events_max, patience_seconds)

    async def due_events(self, bus: str, *, limit: int) -> tuple[tuple[ScheduledEvent, ...], int | None]:
        """Return what is due, and when the next one is."""
        async with self._buses.call(bus) as found:
            return await found.schedule.due(limit)

    async def scheduled_events(
        self, bus: str, *, after: tuple[int, str] | None, limit: int
    ) -> tuple[tuple[ScheduledEvent, ...], int]:
        """Return a page of the schedule, and how many there are."""
        async with self._buses.call(bus) as found:
            return await found.schedule.page(after, limit)

    async def scheduled_event(self, bus: str, schedule_id: str) -> ScheduledEvent | None:
        """Return one, or None."""
        async with self._buses.call(bus) as found:
            return await found.schedule.get(schedule_id)

    async def cancel_scheduled(self, bus: str, schedule_id: str) -> bool:
        """Remove one; tell whether it was there."""
        async with self._buses.call(bus) as found:
            return await found.schedule.cancel(schedule_id)

    async def hold_job(self, bus: str, job: str, seconds: float) -> bool:
        """Take or keep a job for so long; False while another replica has it."""
        async with self._buses.call(bus) as found:
            return await found.hold_job(job, seconds)

    # State ------------------------------------------------------------------------------------------------------------

    def engine_state(self, bus: str) -> EngineState:
        """Return how Redis does for a bus, from memory."""
        found = self._buses.known[bus]
        if not self._buses.is_open:
            return EngineState()
        return found.health.engine_state(self._buses.clock.now_ms())

    def details(self) -> dict[str, object]:
        """Return versions, places and warnings for people."""
        buses = self._buses.known if self._buses.is_open else {}
        now_ms = self._buses.clock.now_ms()
        warnings = [text for bus in buses.values() for text in bus.health.warnings(now_ms)]
        return {
            "mode": self._buses.address.mode,
            "servers": sorted({bus.health.examination.version for bus in buses.values()}),
            "nodes": {name: bus.node for name, bus in buses.items()},
            "warnings": list(dict.fromkeys(warnings)),
        }


def _record(name: bytes, text: bytes) -> ReplicaRecord:
    seen_ms, _, members = text.partition(b" ")
    return ReplicaRecord(name.decode(), int(seen_ms), members)


if TYPE_CHECKING:
    _: type[Engine] = RedisEngine
