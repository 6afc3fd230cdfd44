"""Deliveries of the durable subscriptions of one bus: members claim, consume and settle here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AsyncExitStack
    from random import Random

    from waooaw.events.bus.consumption import Consumption
    from waooaw.events.bus.metrics import EventMetrics
    from waooaw.events.bus.subscription_health import SubscriberActivity
    from waooaw.events.bus.subscriptions import Subscriptions
    from waooaw.events.clock import Clock
    from waooaw.events.delivery import ClaimedDeliveries, Delivery, Settlement
    from waooaw.events.engine.contract import Engine
    from waooaw.events.errors import WowEventError
    from waooaw.events.identifier import Identifiers


@dataclass(frozen=True, slots=True)
class MemberInfo:
    """A member of a subscription that is connected to this replica, or waits for its claim here."""

    member: str
    kind: str
    """``consume`` or ``claim``."""
    credit: int
    """Deliveries that it may have unsettled; of a claim that waits, how many it asks for."""
    held: int


class Deliveries:
    """What members of subscriptions call. `open` starts it; closing gives back what consumers hold."""

    def __init__(
        self,
        engine: Engine,
        bus: str,
        subscriptions: Subscriptions,
        metrics: EventMetrics,
        *,
        clock: Clock,
        identifiers: Identifiers,
        chance: Random,
        max_hold_seconds: float = 3600.0,
    ) -> None:
        raise NotImplementedError

    def open(self, stack: AsyncExitStack) -> None:
        """Begin to listen to the engine; leaving the stack ends all members, and gives back what they hold."""
        raise NotImplementedError

    async def close(self) -> None:
        """End all members (`ClosedError`), and give back what they hold. Closing twice is harmless."""
        raise NotImplementedError

    async def claim(
        self, name: str, limit: int, *, wait_seconds: float = 0.0, member: str = "", idempotency_key: str | None = None
    ) -> ClaimedDeliveries:
        """Lease up to ``limit`` events, waiting up to ``wait_seconds`` for the first.

        With a key, the same call again within an hour gets the same answer, from any replica. Without, cancelling the
        call gives back what it would have got. Raises `NotFoundError`, and `UnavailableError` kinds.
        """
        raise NotImplementedError

    async def settle(
        self, name: str, settlements: Sequence[Settlement], *, idempotency_key: str | None = None
    ) -> list[WowEventError | None]:
        """Settle deliveries; return for each None, `InvalidParameterError` or `StaleTokenError`.

        Raises `NotFoundError`, and `UnavailableError` kinds: then it is not known what was settled; say it again.
        """
        raise NotImplementedError

    def consume(
        self,
        name: str,
        *,
        member: str,
        credit: int,
        deliver: Callable[[Sequence[Delivery]], None],
        ended: Callable[[WowEventError], None],
    ) -> Consumption:
        """Begin to deliver to a member. Raises `NotFoundError`.

        ``deliver`` is called with what was claimed for it, soon; it must not raise nor block. ``ended`` is called once,
        if it ends by itself: the subscription was deleted, or the bus closes.
        """
        raise NotImplementedError

    def members(self, name: str) -> list[MemberInfo]:
        """Return the members of a subscription at this replica; empty where there is no such subscription."""
        raise NotImplementedError

    def activity(self) -> dict[str, SubscriberActivity]:
        """Return what members of this replica did in the last minute, by the name of the subscription."""
        raise NotImplementedError
