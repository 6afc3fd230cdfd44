"""A durable subscription inside the process: what `LocalBus.subscription` gives."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Self

from waooaw.events.dead_letter import DeadLetterFilter
from waooaw.events.delivery import CLAIM_MAX, Settlement
from waooaw.events.errors import ClosedError, InvalidParameterError, NotAvailableFieldError, Violation
from waooaw.events.place import spell_place
from waooaw.events.stream_message import StreamStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from waooaw.events.bus.consumption import Consumption
    from waooaw.events.bus.event_bus import EventBus
    from waooaw.events.dead_letter import DeadLetterPage, RedriveResult
    from waooaw.events.delivery import ClaimedDeliveries, Delivery, Outcome
    from waooaw.events.errors import WowEventError
    from waooaw.events.place import Place
    from waooaw.events.push_state import Attempt
    from waooaw.events.subscription import SubscriptionDefinition
    from waooaw.events.subscription_interface import Consumer, Subscription
    from waooaw.events.subscription_state import SubscriptionInfo

ALL: Final = DeadLetterFilter()

NOT_PUSHED: Final = (
    "push is delivered by a service, day and night: run one over this store (wowevent serve), and put the subscription "
    "there; inside the process, claim or consume"
)


class LocalConsumer:
    """A member inside the process; never interrupted."""

    def __init__(
        self,
        bus: Callable[[], EventBus],
        name: str,
        *,
        member: str,
        credit: int,
        watch: Callable[[StreamStatus], None] | None,
    ) -> None:
        self._bus = bus
        self._name = name
        self._member = member
        self._credit = credit
        self._watch = watch
        self._consumption: Consumption | None = None
        self._deliveries: deque[Delivery] = deque()
        self._changed = asyncio.Event()
        self._error: WowEventError | None = None
        self._is_closed = False

    async def __aenter__(self) -> Self:
        """See Consumer."""
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """See Consumer."""
        await self.close()

    def __aiter__(self) -> Self:
        """See Consumer."""
        return self

    async def __anext__(self) -> Delivery:
        """See Consumer."""
        await self._open()
        while not self._is_closed:
            if isinstance(self._error, ClosedError):  # the bus was left: the end, as of streams
                break
            if self._error is not None:
                raise self._error
            if self._deliveries:
                return self._deliveries.popleft()
            self._changed.clear()
            await self._changed.wait()
        raise StopAsyncIteration

    async def _open(self) -> None:
        if self._consumption is not None or self._is_closed or self._error is not None:
            return
        bus = self._bus()
        await bus.subscriptions.find(self._name)
        self._begin(bus)

    def _begin(self, bus: EventBus) -> None:
        if self._consumption is not None or self._is_closed:  # while the engine was asked
            return
        self._consumption = bus.deliveries.consume(
            self._name, member=self._member, credit=self._credit, deliver=self._take, ended=self._end
        )
        if self._watch is not None:
            self._watch(StreamStatus())

    def _take(self, deliveries: Sequence[Delivery]) -> None:
        self._deliveries.extend(deliveries)
        self._changed.set()

    def _end(self, error: WowEventError) -> None:
        self._error = error
        self._deliveries.clear()
        self._changed.set()

    async def ack(self, delivery: Delivery) -> None:
        """See Consumer."""
        await self._settle_one(delivery, "ack")

    async def nack(self, delivery: Delivery, *, reason: str = "", delay_seconds: float | None = None) -> None:
        """See Consumer."""
        await self._settle_one(delivery, "nack", reason, delay_seconds)

    async def reject(self, delivery: Delivery, *, reason: str = "") -> None:
        """See Consumer."""
        await self._settle_one(delivery, "reject", reason)

    async def release(self, delivery: Delivery) -> None:
        """See Consumer."""
        await self._settle_one(delivery, "release")

    async def extend(self, delivery: Delivery, seconds: float | None = None) -> None:
        """See Consumer."""
        await self._settle_one(delivery, "extend", "", seconds)

    async def settle(self, settlements: Sequence[Settlement]) -> list[WowEventError | None]:
        """See Consumer."""
        if len(settlements) > CLAIM_MAX:
            raise InvalidParameterError(f"at most {CLAIM_MAX} outcomes at once, not {len(settlements)}")
        if self._consumption is None:
            return await self._bus().deliveries.settle(self._name, settlements)
        return await self._consumption.settle(settlements)

    async def _settle_one(
        self, delivery: Delivery, outcome: Outcome, reason: str = "", delay_seconds: float | None = None
    ) -> None:
        settlement = Settlement(token=delivery.token, outcome=outcome, delay_seconds=delay_seconds, reason=reason)
        (error,) = await self.settle((settlement,))
        if error is not None:
            raise error

    async def close(self) -> None:
        """See Consumer."""
        self._is_closed = True
        self._deliveries.clear()
        self._changed.set()
        if self._consumption is not None:
            await self._consumption.close()


class LocalSubscription:
    """A subscription of a bus in this process. It asks for the bus at each call: the bus may be closed by then."""

    def __init__(self, bus: Callable[[], EventBus], name: str) -> None:
        self._bus = bus
        self._name = name

    @property
    def name(self) -> str:
        """See Subscription."""
        return self._name

    async def put(self, definition: SubscriptionDefinition) -> SubscriptionInfo:
        """See Subscription."""
        if definition.push is not None:
            violation = Violation("#/push", NOT_PUSHED, NotAvailableFieldError.code)
            raise NotAvailableFieldError(NOT_PUSHED, errors=(violation,))
        info, _ = await self._bus().subscriptions.put(self._name, definition)
        return info

    async def info(self) -> SubscriptionInfo:
        """See Subscription."""
        return await self._bus().subscriptions.info(self._name)

    async def delete(self) -> None:
        """See Subscription."""
        await self._bus().subscriptions.delete(self._name)

    async def pause(self) -> SubscriptionInfo:
        """See Subscription."""
        return await self._bus().subscriptions.set_paused(self._name, True)  # noqa: FBT003 - the facade's signature

    async def resume(self) -> SubscriptionInfo:
        """See Subscription."""
        return await self._bus().subscriptions.set_paused(self._name, False)  # noqa: FBT003 - as above

    async def seek(self, place: Place) -> SubscriptionInfo:
        """See Subscription."""
        bus = self._bus()
        return await bus.subscriptions.seek(self._name, bus.parse_bound(spell_place(place)))

    async def claim(self, limit: int = 10, *, wait_seconds: float = 0.0, member: str = "") -> ClaimedDeliveries:
        """See Subscription."""
        return await self._bus().deliveries.claim(self._name, limit, wait_seconds=wait_seconds, member=member)

    async def settle(self, settlements: Sequence[Settlement]) -> list[WowEventError | None]:
        """See Subscription."""
        return await self._bus().deliveries.settle(self._name, settlements)

    def consume(
        self, *, credit: int = 100, member: str = "", watch: Callable[[StreamStatus], None] | None = None
    ) -> LocalConsumer:
        """See Subscription."""
        if not 1 <= credit <= CLAIM_MAX:
            raise InvalidParameterError(f"credit must be between 1 and {CLAIM_MAX}, not {credit}")
        return LocalConsumer(self._bus, self._name, member=member, credit=credit, watch=watch)

    async def dead_letters(
        self, which: DeadLetterFilter | None = None, *, after: str = "", limit: int = 100
    ) -> DeadLetterPage:
        """See Subscription."""
        return await self._bus().dead_letters.browse(self._name, which or ALL, after=after, limit=limit)

    async def redrive(
        self, which: DeadLetterFilter | None = None, *, dry_run: bool = False, rate: float | None = None
    ) -> RedriveResult:
        """See Subscription."""
        return await self._bus().dead_letters.redrive(self._name, which or ALL, dry_run=dry_run, rate=rate)

    async def purge(self, which: DeadLetterFilter | None = None, *, confirm: str = "") -> int:
        """See Subscription."""
        return await self._bus().dead_letters.purge(self._name, which or ALL, confirm=confirm)

    async def verify(self) -> SubscriptionInfo:
        """See Subscription."""
        raise NotAvailableFieldError(NOT_PUSHED)

    async def attempts(self, limit: int = 100) -> list[Attempt]:  # noqa: ARG002 - the interface's
        """See Subscription."""
        raise NotAvailableFieldError(NOT_PUSHED)

    async def send_test(self) -> Attempt:
        """See Subscription."""
        raise NotAvailableFieldError(NOT_PUSHED)

    async def redeliver(self, position: Place) -> Attempt:  # noqa: ARG002 - the interface's
        """See Subscription."""
        raise NotAvailableFieldError(NOT_PUSHED)


if TYPE_CHECKING:
    _consumer: type[Consumer] = LocalConsumer
    _subscription: type[Subscription] = LocalSubscription
