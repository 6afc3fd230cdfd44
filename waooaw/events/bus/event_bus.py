"""One bus: publishing, streams, the store and its upkeep, over any engine."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from waooaw.events.acceptance import Acceptance, AcceptanceLimits
from waooaw.events.bound import NOW, After, Now, parse_bound, resolve_start
from waooaw.events.bus.dead_letters import DeadLetters
from waooaw.events.bus.deliveries import Deliveries
from waooaw.events.bus.event_store import EventStore
from waooaw.events.bus.filling import Filling
from waooaw.events.bus.hub import Hub
from waooaw.events.bus.log_blocks import LogBlocks
from waooaw.events.bus.metrics import EventMetrics
from waooaw.events.bus.publisher import Publisher
from waooaw.events.bus.queue_moves import QueueMoves
from waooaw.events.bus.queue_upkeep import DeadLetterLimits, QueueUpkeep
from waooaw.events.bus.retention_floor import RetentionFloor
from waooaw.events.bus.retention_job import RetentionJob
from waooaw.events.bus.schedule import Schedule, ScheduleLimits
from waooaw.events.bus.stream import Stream, StreamSource
from waooaw.events.bus.subscription_changes import SubscriptionChanges
from waooaw.events.bus.subscription_routes import SubscriptionRoutes
from waooaw.events.bus.subscriptions import Subscriptions
from waooaw.events.errors import WowEventError
from waooaw.events.identifier import new_chance
from waooaw.events.retention import RetentionLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from waooaw.events.bound import Bound
    from waooaw.events.bus.sink import Framing, Payload, Sink
    from waooaw.events.clock import Clock
    from waooaw.events.cursor import Cursor
    from waooaw.events.engine.contract import Engine, EngineState
    from waooaw.events.event import Entry, Event
    from waooaw.events.identifier import Identifiers
    from waooaw.events.pattern import PatternSet
    from waooaw.events.receipt import Receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class BusOptions:
    """How a bus is run; what each limit is for stands in the settings table."""

    acceptance: AcceptanceLimits = field(default_factory=AcceptanceLimits)
    retention: RetentionLimits = field(default_factory=RetentionLimits)
    waiting_bytes_max: int = 64 * 1024 * 1024
    publish_wait_seconds: float = 2.0
    ring_bytes_max: int = 64 * 1024 * 1024
    subscriptions_max: int = 10_000
    dead_letters: DeadLetterLimits = field(default_factory=DeadLetterLimits)
    scheduled_events_max: int = 1_000_000
    max_hold_seconds: float = 3600.0


class EventBus:
    """A bus over an engine that is open. ``async with`` starts it; leaving finishes what was accepted."""

    def __init__(
        self, engine: Engine, name: str, *, clock: Clock, identifiers: Identifiers, options: BusOptions
    ) -> None:
        self.name = name
        self._engine = engine
        self.metrics = EventMetrics(clock)
        self.store = EventStore(engine, name, clock)
        self.acceptance = Acceptance(options.acceptance, clock, identifiers)
        self.retention = options.retention
        self._routes = SubscriptionRoutes(engine, name)
        self._publisher = Publisher(
            engine,
            name,
            self._routes,
            self.metrics,
            clock,
            waiting_bytes_max=options.waiting_bytes_max,
            wait_seconds=options.publish_wait_seconds,
        )
        blocks = LogBlocks(engine, name)
        self._hub = Hub(engine, name, blocks, self.metrics, clock, ring_bytes_max=options.ring_bytes_max)
        self._source = StreamSource(name, engine, self._hub, blocks, self.metrics)
        self._open_subscriptions(options, clock, identifiers)
        floor = RetentionFloor(engine, name, self.subscriptions, clock)
        self._retention_job = RetentionJob(engine, name, options.retention, clock, floor)
        self._stack = AsyncExitStack()

    def _open_subscriptions(self, options: BusOptions, clock: Clock, identifiers: Identifiers) -> None:
        engine, name, routes = self._engine, self.name, self._routes
        self._changes = SubscriptionChanges(engine, name, routes, clock, subscriptions_max=options.subscriptions_max)
        self.subscriptions = Subscriptions(
            engine, name, routes, self._changes, self.store, clock=clock, identifiers=identifiers
        )
        self.queue_moves = QueueMoves(name, self.metrics, clock)
        self.filling = Filling(engine, name, self.subscriptions, clock)
        self.subscriptions.fill_wanted = self.filling.notice
        self.queue_upkeep = QueueUpkeep(
            engine,
            name,
            self.subscriptions,
            filling=self.filling,
            moves=self.queue_moves,
            clock=clock,
            dead_letters=options.dead_letters,
        )
        self.deliveries = Deliveries(
            engine,
            name,
            self.subscriptions,
            self.queue_moves,
            clock=clock,
            identifiers=identifiers,
            chance=new_chance(),
            max_hold_seconds=options.max_hold_seconds,
        )
        self.dead_letters = DeadLetters(engine, name, self.subscriptions, clock=clock)
        limits = ScheduleLimits(
            events_max=options.scheduled_events_max,
            waiting_bytes_max=options.waiting_bytes_max,
            wait_seconds=options.publish_wait_seconds,
        )
        self.schedule = Schedule(engine, name, self._publisher, self.metrics, clock=clock, limits=limits)

    async def __aenter__(self) -> Self:
        """Start the bus."""
        async with AsyncExitStack() as stack:
            self._hub.open(stack)
            self._routes.open(stack)
            for job in (self._retention_job, self.queue_upkeep, self.filling, self.schedule):
                task = asyncio.get_running_loop().create_task(job.run(), name=f"{type(job).__name__} {self.name}")
                stack.push_async_callback(_cancelled, task)
            stack.push_async_callback(self._changes.close)
            stack.push_async_callback(self.finish)
            self.deliveries.open(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Refuse new events, finish what was accepted, stop."""
        await self._stack.aclose()

    async def finish(self) -> None:
        """Refuse new events, and return when those accepted are stored. Streams go on."""
        await self._publisher.close()
        await self.schedule.close()

    # State ------------------------------------------------------------------------------------------------------------

    def engine_state(self) -> EngineState:
        """Return how the engine does, from memory."""
        return self._engine.engine_state(self.name)

    def details(self) -> dict[str, Any]:
        """Return what people want to know of the engine, from memory."""
        return {
            "name": self._engine.name,
            "location": self._engine.location,
            "durability": self._engine.durability_of(self.name),
            "waiting_bytes": self._publisher.waiting_bytes,
            **self._engine.details(),
        }

    @property
    def append_seconds(self) -> float:
        """How long the append in flight has been running; 0 where none is."""
        return self._publisher.append_seconds

    # Publishing -------------------------------------------------------------------------------------------------------

    async def publish(self, event: Event) -> Receipt:
        """Store one event; return its receipt, or raise the `WowEventError` that says why it is not stored."""
        return await self.submit_one(self.acceptance.one(event.to_json()))

    async def publish_many(self, events: Sequence[Event]) -> list[Receipt | WowEventError]:
        """Store events; return for each, in order, its receipt or why it was refused."""
        return await self.submit(self.acceptance.several([event.to_json() for event in events]))

    async def submit_one(self, entry: Entry) -> Receipt:
        """Store an entry that `acceptance` made; raises what refused it."""
        if entry.delivery.due_ms:
            (answer,) = await self.schedule.divide((entry,))
        else:
            (answer,) = await self._publisher.publish((entry,))
        if isinstance(answer, WowEventError):
            raise answer
        return answer

    async def submit(self, accepted: Sequence[Entry | WowEventError]) -> list[Receipt | WowEventError]:
        """Store the entries of a batch that could be read, and answer for all of it, in order."""
        entries = []
        for item in accepted:
            if isinstance(item, WowEventError):
                self.metrics.refused(item)
            else:
                entries.append(item)
        if any(entry.delivery.due_ms for entry in entries):
            answers = await self.schedule.divide(entries)
        else:
            answers = await self._publisher.publish(entries)
        if len(answers) == len(accepted):
            return answers
        remaining = iter(answers)
        return [item if isinstance(item, WowEventError) else next(remaining) for item in accepted]

    # Streams ----------------------------------------------------------------------------------------------------------

    def parse_bound(self, text: str) -> Bound:
        """Read a ``from`` or ``to`` of this bus."""
        return parse_bound(self.name, text)

    def cursor_of(self, start: Bound) -> Cursor:
        """Return the cursor that a stream starting there begins with: resuming from it misses nothing, also no gap."""
        if isinstance(start, After):
            return start.cursor
        history = self._source.history
        if isinstance(start, Now):
            return history.cursor(self._hub.reached)
        position, gap = resolve_start(start, history)
        return gap.start if gap is not None else history.cursor(min(position, history.last))

    def open_stream(
        self,
        patterns: PatternSet,
        framing: Framing[Payload],
        sink: Sink[Payload],
        *,
        start: Bound = NOW,
        ended: Callable[[BaseException], None],
    ) -> Stream[Payload]:
        """Begin a stream into a sink; ``ended`` is called if it ends by itself. The caller closes it."""
        if start == NOW:
            position, gap = self._hub.reached, None
        else:
            position, gap = resolve_start(start, self._source.history)
        if gap is not None:
            self.metrics.gap(gap.reason)
        stream = Stream(self._source, patterns, framing, sink, ended)
        stream.start(position, gap)
        return stream


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
