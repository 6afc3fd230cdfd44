"""A bus inside the process, with its engine: the interface that agents also have over HTTP."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self

from waooaw.events.batch import cut_batches
from waooaw.events.bus.event_bus import EventBus
from waooaw.events.bus.event_store import PAGE_EVENTS_MAX, Query
from waooaw.events.bus.local_stream import LocalStream
from waooaw.events.bus.local_subscription import LocalSubscription
from waooaw.events.bus.queue_sink import ObjectFraming, gap_message
from waooaw.events.cursor import encode_cursor
from waooaw.events.errors import ClosedError, InvalidParameterError, WowEventError
from waooaw.events.event_page import EventPage
from waooaw.events.log_info import LogInfo
from waooaw.events.outages import EngineUnavailableError
from waooaw.events.pattern import PatternSet
from waooaw.events.place import spell_place
from waooaw.events.position import parse_position
from waooaw.events.subscription import check_name
from waooaw.events.timestamp import format_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from waooaw.events.bus.event_bus import BusOptions
    from waooaw.events.clock import Clock
    from waooaw.events.engine.contract import Engine, EngineState
    from waooaw.events.event import Event, StoredEvent
    from waooaw.events.identifier import Identifiers
    from waooaw.events.interface import Bus
    from waooaw.events.place import Place
    from waooaw.events.receipt import Receipt
    from waooaw.events.scheduled_event import ScheduledPage
    from waooaw.events.stream_message import StreamStatus
    from waooaw.events.subscription_state import DeliveryReport, SubscriptionInfo

EVERYTHING = ("*",)


class LocalBus:
    """A bus over an engine that it opens and closes itself."""

    def __init__(
        self, engine: Engine, name: str, *, clock: Clock, identifiers: Identifiers, options: BusOptions
    ) -> None:
        self._engine = engine
        self._event_bus = EventBus(engine, name, clock=clock, identifiers=identifiers, options=options)
        self._framing = ObjectFraming(name)
        self._streams: set[LocalStream] = set()
        self._stack = AsyncExitStack()
        self._is_open = False

    async def __aenter__(self) -> Self:
        """See Bus."""
        async with AsyncExitStack() as stack:
            await self._engine.open(stack)
            await stack.enter_async_context(self._event_bus)
            self._stack = stack.pop_all()
        self._is_open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """See Bus."""
        self._is_open = False
        for stream in tuple(self._streams):
            await stream.close()
        await self._stack.aclose()

    def _bus(self) -> EventBus:
        if not self._is_open:
            message = "the bus is not open: use it inside `async with`"
            raise ClosedError(message)
        return self._event_bus

    async def publish(self, event: Event) -> Receipt:
        """See Bus."""
        return await self._bus().publish(event)

    async def publish_many(self, events: Iterable[Event]) -> list[Receipt | WowEventError]:
        """See Bus."""
        bus = self._bus()
        answers: list[Receipt | WowEventError] = []
        for batch in cut_batches(event.to_json() for event in events):
            try:
                answers += await bus.submit(bus.acceptance.several(batch))
            except WowEventError as error:
                answers += [error] * len(batch)
        return answers

    async def read(
        self,
        *patterns: str,
        start: Place = "earliest",
        end: Place = "now",
        source: str | None = None,
        correlationid: str | None = None,
        newest_first: bool = False,
        limit: int = 100,
    ) -> EventPage:
        """See Bus."""
        bus = self._bus()
        if not 1 <= limit <= PAGE_EVENTS_MAX:
            message = f"limit must be between 1 and {PAGE_EVENTS_MAX}, not {limit}"
            raise InvalidParameterError(message)
        query = Query(
            patterns=PatternSet.parse(patterns or EVERYTHING),
            source=source,
            correlationid=correlationid,
            start=bus.parse_bound(spell_place(start)),
            end=bus.parse_bound(spell_place(end)),
            newest_first=newest_first,
            limit=limit,
        )
        page = await bus.store.read(query)
        gap = None if page.gap is None else gap_message(bus.name, page.gap)
        return EventPage(page.events, encode_cursor(bus.name, page.next), page.is_end, gap)

    async def get(self, position: Place) -> StoredEvent:
        """See Bus."""
        return await self._bus().store.get(parse_position(spell_place(position)))

    def stream(
        self, *patterns: str, start: Place = "now", watch: Callable[[StreamStatus], None] | None = None
    ) -> LocalStream:
        """See Bus."""
        bus = self._bus()
        stream = LocalStream(
            bus,
            patterns or EVERYTHING,
            self._framing,
            start=spell_place(start),
            watch=watch,
            closed=self._streams.discard,
        )
        self._streams.add(stream)
        return stream

    def subscription(self, name: str) -> LocalSubscription:
        """See Bus."""
        check_name(name)
        return LocalSubscription(self._bus, name)

    async def subscriptions(self) -> list[SubscriptionInfo]:
        """See Bus."""
        return await self._bus().subscriptions.list()

    async def deliveries(self, position: Place) -> list[DeliveryReport]:
        """See Bus."""
        return await self._bus().subscriptions.deliveries_of(parse_position(spell_place(position)))

    async def scheduled(self, *, after: str = "", limit: int = 100) -> ScheduledPage:
        """See Bus."""
        return await self._bus().schedule.page(after=after, limit=limit)

    async def cancel_scheduled(self, schedule_id: str) -> None:
        """See Bus."""
        await self._bus().schedule.cancel(schedule_id)

    async def log(self) -> LogInfo:
        """See Bus."""
        bus = self._bus()
        state = bus.store.state()
        history = state.history
        return LogInfo(
            epoch=f"{history.current.id:016x}",
            cursor=encode_cursor(bus.name, history.cursor(history.last)),
            first=state.first,
            last=None if state.first is None else history.last,
            events=state.events,
            size_bytes=state.size_bytes,
            retention=bus.retention,
        )

    async def health(self, *, details: bool = False) -> dict[str, Any]:
        """See Bus."""
        bus = self._bus()
        state = bus.engine_state()
        answer: dict[str, Any] = {"status": "healthy", "redis": self._redis(state), "event_bus": "running"}
        if state.problem is not None:
            answer |= {"status": "degraded", "reason": f"{state.problem.code}: {state.problem.detail}"}
            if state.since_ms is not None:
                answer["since"] = format_timestamp(state.since_ms)
        if details:
            engine = bus.details()
            answer |= {"warnings": engine.pop("warnings", []), "engine": engine}
        return answer

    def _redis(self, state: EngineState) -> str:
        if self._engine.name != "redis":
            return "not_configured"
        return "disconnected" if isinstance(state.problem, EngineUnavailableError) else "connected"


if TYPE_CHECKING:
    _: type[Bus] = LocalBus
