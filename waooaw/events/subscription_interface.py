"""A durable subscription as agents use it: the same over HTTP and inside the process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from waooaw.events.dead_letter import DeadLetterFilter, DeadLetterPage, RedriveResult
    from waooaw.events.delivery import ClaimedDeliveries, Delivery, Settlement
    from waooaw.events.errors import WowEventError
    from waooaw.events.place import Place
    from waooaw.events.push_state import Attempt
    from waooaw.events.stream_message import StreamStatus
    from waooaw.events.subscription import SubscriptionDefinition
    from waooaw.events.subscription_state import SubscriptionInfo


class Consumer(Protocol):
    """A member at work. Iterate over it for deliveries; settle each by the methods here.

    Enter it by ``async with``; leaving gives back what is not settled, at once and without a failure counted. While it
    is connected the service extends the leases of what it holds, up to ``max_hold_seconds``; after a break it connects
    again by itself and goes on with new deliveries: what it held then went back, and settling it is `StaleTokenError`.
    At most ``credit`` deliveries are unsettled at a time. Settling may be done from other tasks, in any order.
    """

    async def __aenter__(self) -> Self:
        """Connect; raises `NotFoundError` where there is no such subscription."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Settle what was said, give back the rest, disconnect."""
        ...

    def __aiter__(self) -> Self:
        """Return itself."""
        ...

    async def __anext__(self) -> Delivery:
        """Return the next delivery; ends when the consumer is closed.

        Raises the `WowEventError` of what no further try can repair, such as a subscription that was deleted.
        Cancelling a wait loses no delivery.
        """
        ...

    async def ack(self, delivery: Delivery) -> None:
        """The event is dealt with. Returns once that is stored; raises `StaleTokenError` where it came too late."""
        ...

    async def nack(self, delivery: Delivery, *, reason: str = "", delay_seconds: float | None = None) -> None:
        """It failed: try again after the delay, or as the retry policy says. Raises as `ack`."""
        ...

    async def reject(self, delivery: Delivery, *, reason: str = "") -> None:
        """It will never work: to the dead letters at once. Raises as `ack`."""
        ...

    async def release(self, delivery: Delivery) -> None:
        """Not handled, no failure counted: somebody else may have it. Raises as `ack`."""
        ...

    async def extend(self, delivery: Delivery, seconds: float | None = None) -> None:
        """Hold it for so long from now (None: the subscription's lease). Raises as `ack`."""
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> list[WowEventError | None]:
        """Settle several at once; return for each None, or why it was not done."""
        ...

    async def close(self) -> None:
        """As leaving, also under a reader that waits. Closing twice is harmless."""
        ...


class Subscription(Protocol):
    """One subscription of a bus, by name; it need not exist. `NotFoundError` where a call needs it and it does not."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    async def put(self, definition: SubscriptionDefinition) -> SubscriptionInfo:
        """Make it, or replace its definition as a whole.

        From the answer on it misses no event that matches. Raises `SubscriptionExistsError` where ``definition.start``
        is not ``now`` and it exists, `OrderingFixedError` where the ordering differs. With ``definition.push``:
        `AddressRefusedError` for a receiver that is not called; what is `MASK` in it keeps what was set there, as long
        as the URL has the same origin.
        """
        ...

    async def info(self) -> SubscriptionInfo:
        """Return it as it stands."""
        ...

    async def delete(self) -> None:
        """Remove it, with all that waits and its dead letters."""
        ...

    async def pause(self) -> SubscriptionInfo:
        """Hand out nothing more; matching and queueing go on."""
        ...

    async def resume(self) -> SubscriptionInfo:
        """Hand out again."""
        ...

    async def seek(self, place: Place) -> SubscriptionInfo:
        """Drop what waits, and go on from a place in the log: ``earliest``, ``now``, a time, a position, a cursor."""
        ...

    async def claim(self, limit: int = 10, *, wait_seconds: float = 0.0, member: str = "") -> ClaimedDeliveries:
        """Lease up to ``limit`` (1 to 1,000) events; waits up to ``wait_seconds`` (at most 60) for the first.

        A claim whose answer was lost is repeated by itself, and gets the same answer.
        """
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> list[WowEventError | None]:
        """Settle up to 1,000 deliveries of a claim; return for each None, or why it was not done."""
        ...

    def consume(
        self, *, credit: int = 100, member: str = "", watch: Callable[[StreamStatus], None] | None = None
    ) -> Consumer:
        """Return a consumer that holds at most ``credit`` (1 to 1,000) unsettled deliveries; see `Consumer`."""
        ...

    async def dead_letters(
        self, which: DeadLetterFilter | None = None, *, after: str = "", limit: int = 100
    ) -> DeadLetterPage:
        """Return dead letters, oldest first, after an id. A page may be short without being the end."""
        ...

    async def redrive(
        self, which: DeadLetterFilter | None = None, *, dry_run: bool = False, rate: float | None = None
    ) -> RedriveResult:
        """Put dead letters back into the subscription to be tried anew, at most ``rate`` a second (None: at once)."""
        ...

    async def purge(self, which: DeadLetterFilter | None = None, *, confirm: str = "") -> int:
        """Destroy dead letters; return how many. Without ``confirm``: `ConfirmationRequiredError` with the token."""
        ...

    # Of a subscription with ``definition.push``: `NoPushError` for others, `NotAvailableFieldError` on a bus inside the
    # process, which calls nobody.

    async def verify(self) -> SubscriptionInfo:
        """Judge the receiver's address again and ask for its consent now; ``push_state`` says how that ended.

        Raises `AddressRefusedError`.
        """
        ...

    async def attempts(self, limit: int = 100) -> list[Attempt]:
        """Return the last attempts at the receiver, over all replicas, the newest first; at most 100 are kept."""
        ...

    async def send_test(self) -> Attempt:
        """Send the receiver an event that is in no log; return what came of it.

        Raises `PushUnverifiedError` where it has not consented, `ConflictError` while it wants to be left alone.
        """
        ...

    async def redeliver(self, position: Place) -> Attempt:
        """Send the event at a position of the log again, at once and beside the queue: nothing is settled by it.

        Raises as `send_test`, and `NotFoundError` or `TrimmedError` where the log has no such event.
        """
        ...
