"""The bus as agents use it: what ``connect()`` gives, the same over HTTP and inside the process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from waooaw.events.errors import WowEventError
    from waooaw.events.event import Event, StoredEvent
    from waooaw.events.event_page import EventPage
    from waooaw.events.log_info import LogInfo
    from waooaw.events.place import Place
    from waooaw.events.receipt import Receipt
    from waooaw.events.scheduled_event import ScheduledPage
    from waooaw.events.stream_message import StreamMessage, StreamStatus
    from waooaw.events.subscription_interface import Subscription
    from waooaw.events.subscription_state import DeliveryReport, SubscriptionInfo


class EventStream(Protocol):
    """A live feed. Iterate over it; leave it by ``async with`` or `close`. One reader at a time.

    From one cursor on it gives each matching event exactly once, in the order of the log, or a `GapMessage` that says
    what it cannot give. It connects on entering, or at the first message, and connects again by itself, from where it
    was, until it is closed. Cancelling a wait for a message loses none.
    """

    @property
    def cursor(self) -> str | None:
        """The token of how far the stream is; None before it was ever connected."""
        ...

    async def __aenter__(self) -> Self:
        """Connect: every matching event accepted from now on will be seen. Raises what `__anext__` raises."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        ...

    def __aiter__(self) -> Self:
        """Return itself."""
        ...

    async def __anext__(self) -> StreamMessage:
        """Return the next message; ends when the stream or its bus is closed.

        Raises the `WowEventError` of what no further try can repair, such as a pattern or a cursor that is not valid.
        """
        ...

    async def close(self) -> None:
        """End the stream, also under a reader that waits. Closing twice is harmless."""
        ...


class Bus(Protocol):
    """One bus. Enter it by ``async with`` before anything else; leaving ends its streams.

    Use it from one event loop; any number of calls may run at once. Everything raises kinds of `WowEventError`. Calls
    that a service cannot answer now are repeated until the patience given to ``connect`` ends, then `UnavailableError`.
    """

    async def __aenter__(self) -> Self:
        """Open. Raises `StartupError` kinds where a store cannot be opened; a service is not asked yet."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close. A bus that was closed raises `ClosedError` from then on."""
        ...

    async def publish(self, event: Event) -> Receipt:
        """Store one event and return its receipt, once it is as durable as the receipt says.

        Raises what refused it. An event without ``id`` gets one before it is sent, so that repeating an unanswered call
        is no second event; the receipt of a repeated one says ``duplicate``.
        """
        ...

    async def publish_many(self, events: Iterable[Event]) -> list[Receipt | WowEventError]:
        """Store events, in order, in as many batches as it takes; return for each its receipt or why it is not stored.

        A failure is an answer, not an exception: an event whose batch could not be sent in time is answered
        `UnavailableError`, whose ``outcome`` says whether it can be in the log all the same.
        """
        ...

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
        """Read up to ``limit`` (1 to 1,000) events from ``start`` (inclusive) to ``end`` (exclusive) that match.

        Without patterns every type matches. Raises `InvalidRequestError` kinds for what is malformed.
        """
        ...

    async def get(self, position: Place) -> StoredEvent:
        """Return one event; raises `TrimmedError` for one that retention removed, `NotFoundError` for none."""
        ...

    def stream(
        self, *patterns: str, start: Place = "now", watch: Callable[[StreamStatus], None] | None = None
    ) -> EventStream:
        """Return a live feed of what matches (every type without patterns), from ``start`` on; see `EventStream`.

        ``watch`` is told when the stream is connected and when it is not; it must not raise.
        """
        ...

    def subscription(self, name: str) -> Subscription:
        """Return the durable subscription of a name, whether it exists or not; see `Subscription`."""
        ...

    async def subscriptions(self) -> list[SubscriptionInfo]:
        """Return all durable subscriptions, by name."""
        ...

    async def deliveries(self, position: Place) -> list[DeliveryReport]:
        """Tell what each subscription made of an event, and why; raises as `get`."""
        ...

    async def scheduled(self, *, after: str = "", limit: int = 100) -> ScheduledPage:
        """Return events that wait for their ``deliverat``, the next one first, after the ``next`` of another page."""
        ...

    async def cancel_scheduled(self, schedule_id: str) -> None:
        """Take an event off the schedule; raises `NotFoundError` where it is not on it (any more)."""
        ...

    async def log(self) -> LogInfo:
        """Return the log as it stands."""
        ...

    async def health(self, *, details: bool = False) -> dict[str, Any]:
        """Return how the bus does, as ``GET /health`` answers it: ``status`` is ``healthy`` or ``degraded``."""
        ...
