"""Deliveries of the durable subscriptions of one bus: members claim, consume and settle here.

Rule 1: what members of a subscription want and say at this replica is joined: one claim and one settle in flight for
each subscription. Calls with a key of their own go alone, so that any replica answers their repetition.
Rule 2: an event that matches wakes only the subscriptions that have members here.
Rule 3: members of a subscription that was deleted hear of it (`NotFoundError`), also where its name was used again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from hashlib import blake2b
from itertools import count
from typing import TYPE_CHECKING, Final

import msgspec

from waooaw.events.bus.claim_wait import ClaimWait
from waooaw.events.bus.claiming import Claiming
from waooaw.events.bus.consumption import Consumption, Consumptions
from waooaw.events.bus.lone_claim import LoneClaims
from waooaw.events.bus.served_queue import ServedQueue
from waooaw.events.bus.settling import Settling
from waooaw.events.delivery import CLAIM_MAX, MEMBER_LENGTH_MAX, ClaimedDeliveries
from waooaw.events.engine.contract import Frame
from waooaw.events.engine.queue_contract import KEY_CLAIMER
from waooaw.events.errors import ClosedError, InvalidParameterError, NotFoundError, Violation
from waooaw.events.pattern import PatternMemo

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AsyncExitStack
    from random import Random

    from waooaw.events.bus.queue_moves import QueueMoves
    from waooaw.events.bus.subscription_health import SubscriberActivity
    from waooaw.events.bus.subscription_routes import KnownSubscription
    from waooaw.events.bus.subscriptions import Subscriptions
    from waooaw.events.clock import Clock
    from waooaw.events.delivery import Delivery, Settlement
    from waooaw.events.engine.contract import Engine, Tip
    from waooaw.events.errors import WowEventError
    from waooaw.events.identifier import Identifiers

WAIT_SECONDS_MAX: Final = 60.0
"""How long a claim may wait: below the idle time-outs of most proxies."""

STIR_SECONDS: Final = 0.2
"""From a wake that stands for all queues to their claims: changed subscriptions tell many, and one claim is enough."""


@dataclass(frozen=True, slots=True)
class MemberInfo:
    """A member of a subscription that is connected to this replica, or waits for its claim here."""

    member: str
    kind: str
    """``consume`` or ``claim``."""
    credit: int
    """Deliveries that it may have unsettled; of a claim that waits, how many it asks for."""
    held: int


class _Served:
    """A queue with the parts that serve it."""

    def __init__(
        self, queue: ServedQueue, gone: Callable[[_Served, NotFoundError], None], *, max_hold_seconds: float
    ) -> None:
        self.queue = queue
        self.settling = Settling(queue, self._settled)
        self.claiming = Claiming(queue, self.settling, self.end)
        self.consumptions = Consumptions(queue, self.settling, self.end, max_hold_seconds=max_hold_seconds)
        self.alone = LoneClaims(queue, self.claiming)
        self._is_ended = False
        self._gone = gone

    def _settled(self, settlements: Sequence[Settlement]) -> None:
        """Claim again where what was settled makes room, or is claimable again, or was in front of its key."""
        definition = self.queue.definition
        is_full = self.settling.remembered + len(settlements) >= definition.max_in_flight
        if (
            is_full
            or definition.ordering == "key"
            or any(settlement.outcome in {"release", "nack", "reject"} for settlement in settlements)
        ):
            self.claiming.stir()

    def end(self, error: NotFoundError) -> None:
        """Tell all members that the subscription is no more."""
        if self._is_ended:
            return
        self._is_ended = True
        self.claiming.end(error)
        for consumption in self.consumptions.members:
            consumption.end(error)
        self.consumptions.close()
        self._gone(self, error)

    async def close(self) -> None:
        """End all members, and give back what they hold."""
        error = ClosedError("the bus is closed")
        consumptions = self.consumptions.members
        self.claiming.end(error)
        for consumption in consumptions:
            consumption.end(error)
        self.consumptions.close()
        await self.claiming.finish()
        await asyncio.gather(*[consumption.close() for consumption in consumptions])
        await self.settling.finish()

    def members(self) -> list[MemberInfo]:
        """Return its members here."""
        consumptions = [MemberInfo(one.member, "consume", one.credit, one.held) for one in self.consumptions.members]
        waits = [one for one in self.claiming.members if isinstance(one, ClaimWait)]
        claims = [MemberInfo(one.member, "claim", one.limit, 0) for one in waits]
        alone = [MemberInfo(request.member, "claim", request.limit, 0) for request in self.alone.waiting]
        return consumptions + claims + alone


class Deliveries:
    """What members of subscriptions call. `open` starts it; closing gives back what consumers hold."""

    def __init__(
        self,
        engine: Engine,
        bus: str,
        subscriptions: Subscriptions,
        moves: QueueMoves,
        *,
        clock: Clock,
        identifiers: Identifiers,
        chance: Random,
        max_hold_seconds: float = 3600.0,
    ) -> None:
        self._engine = engine
        self._bus = bus
        self._subscriptions = subscriptions
        self._metrics = moves.metrics
        self._moves = moves
        self._clock = clock
        self._chance = chance
        self._max_hold_seconds = max_hold_seconds
        self._replica = identifiers.new_token()
        self._numbers = count(1)
        self._served: dict[str, _Served] = {}
        self._memo: PatternMemo[tuple[_Served, ...]] = PatternMemo(self._find)
        self._stirring: asyncio.TimerHandle | None = None
        self._is_closed = False

    def open(self, stack: AsyncExitStack) -> None:
        """Begin to listen to the engine; leaving the stack ends all members, and gives back what they hold."""
        stack.push_async_callback(self.close)
        stack.callback(self._engine.listen(self._bus, self._hear))
        stack.callback(self._engine.listen_to_wakes(self._bus, self._wake))
        stack.callback(self._subscriptions.watch(self._follow))

    async def close(self) -> None:
        """End all members (`ClosedError`), and give back what they hold. Closing twice is harmless."""
        self._is_closed = True
        if self._stirring is not None:
            self._stirring.cancel()
            self._stirring = None
        await asyncio.gather(*[served.close() for served in self._served.values()])

    # What members call ------------------------------------------------------------------------------------------------

    async def claim(
        self, name: str, limit: int, *, wait_seconds: float = 0.0, member: str = "", idempotency_key: str | None = None
    ) -> ClaimedDeliveries:
        """Lease up to ``limit`` events, waiting up to ``wait_seconds`` for the first.

        With a key, the same call again within ten minutes gets the same answer, from any replica. Without, cancelling
        the call gives back what it would have got. Raises `NotFoundError`, and `UnavailableError` kinds.
        """
        _check_number("max", limit, 1, CLAIM_MAX)
        _check_number("wait_seconds", wait_seconds, 0, WAIT_SECONDS_MAX)
        _check_member(member)
        served = await self._find_served(name)
        try:
            return await self._claim(served, limit, wait_seconds, member, idempotency_key)
        except NotFoundError:
            await self._subscriptions.refresh()
            again = await self._find_served(name)
            if again is served:
                raise
        return await self._claim(again, limit, wait_seconds, member, idempotency_key)

    async def _claim(
        self, served: _Served, limit: int, wait_seconds: float, member: str, key: str | None
    ) -> ClaimedDeliveries:
        if key is not None:
            return await served.alone.claim(member, limit, wait_seconds, claimer=_claimer(key, member, limit))
        wait = ClaimWait(member, limit, waits=wait_seconds > 0)
        served.claiming.add(wait)

        def end_waiting() -> None:
            wait.end_waiting()
            served.claiming.stir()

        timer = asyncio.get_running_loop().call_later(wait_seconds, end_waiting) if wait_seconds > 0 else None
        try:
            return await wait.answered
        except asyncio.CancelledError:
            if wait.answered.done() and not wait.answered.cancelled() and wait.answered.exception() is None:
                served.settling.give_back([delivery.token for delivery in wait.answered.result().deliveries])
            raise
        finally:
            served.claiming.remove(wait)
            if timer is not None:
                timer.cancel()

    async def settle(
        self, name: str, settlements: Sequence[Settlement], *, idempotency_key: str | None = None
    ) -> list[WowEventError | None]:
        """Settle up to 1,000 deliveries; return for each None, `InvalidParameterError` or `StaleTokenError`.

        Raises `NotFoundError`, and `UnavailableError` kinds: then it is not known what was settled; say it again.
        """
        _check_number("outcomes", len(settlements), 0, CLAIM_MAX)
        served = await self._find_served(name)
        if idempotency_key is not None:
            return await served.settling.settle_alone(settlements, _claimer(idempotency_key, *settlements))
        return await served.settling.settle(settlements)

    def consume(
        self,
        name: str,
        *,
        member: str,
        credit: int,
        deliver: Callable[[Sequence[Delivery]], None],
        ended: Callable[[WowEventError], None],
    ) -> Consumption:
        """Begin to deliver to a member. Raises `NotFoundError` where memory has no such subscription.

        Let `Subscriptions.find` look for it first: another replica may have just made it. ``deliver`` is called with
        what was claimed for the member, soon; it must not block. ``ended`` is called once, if it ends by itself: the
        subscription was deleted, or the bus closes. Close it then too.
        """
        _check_number("credit", credit, 0, CLAIM_MAX)
        _check_member(member)
        served = self._serve(self._subscriptions.record_of(name))
        consumption = Consumption(
            served.queue,
            served.claiming,
            served.settling,
            member=member,
            credit=credit,
            deliver=deliver,
            ended=ended,
            stopped=served.consumptions.remove,
        )
        served.consumptions.add(consumption)
        served.claiming.add(consumption)
        return consumption

    def members(self, name: str) -> list[MemberInfo]:
        """Return the members of a subscription at this replica; empty where there is no such subscription."""
        known = self._subscriptions.known.get(name)
        served = None if known is None else self._served.get(known.record.incarnation)
        return [] if served is None else served.members()

    def activity(self) -> dict[str, SubscriberActivity]:
        """Return what members of this replica did in the last minute, by the name of the subscription."""
        return self._metrics.activities()

    # Queues that are served -------------------------------------------------------------------------------------------

    async def _find_served(self, name: str) -> _Served:
        return self._serve(await self._subscriptions.find(name))

    def _serve(self, known: KnownSubscription) -> _Served:
        if self._is_closed:
            raise ClosedError("the bus is closed")
        incarnation = known.record.incarnation
        served = self._served.get(incarnation)
        if served is None:
            queue = ServedQueue(
                engine=self._engine,
                bus=self._bus,
                name=known.record.name,
                incarnation=incarnation,
                claimer=f"{self._replica}.{next(self._numbers)}",
                definition=known.definition,
                clock=self._clock,
                chance=self._chance,
                metrics=self._metrics,
                moves=self._moves,
            )
            served = self._served[incarnation] = _Served(queue, self._drop, max_hold_seconds=self._max_hold_seconds)
            self._memo.clear()
        return served

    def _drop(self, served: _Served, error: NotFoundError) -> None:  # noqa: ARG002 - whoever it concerns has heard it
        self._served.pop(served.queue.incarnation, None)
        self._memo.clear()

    def _follow(self) -> None:
        """Take over what owners changed, and end the members of what is no more."""
        known = self._subscriptions.known
        for served in tuple(self._served.values()):
            current = known.get(served.queue.name)
            if current is None or current.record.incarnation != served.queue.incarnation:
                served.end(NotFoundError(f"the subscription {served.queue.name} was deleted"))
            else:
                served.queue.definition = current.definition
        self._memo.clear()

    # What is told -----------------------------------------------------------------------------------------------------

    def _find(self, event_type: str) -> tuple[_Served, ...]:
        return tuple([one for one in self._served.values() if one.queue.definition.patterns.matches(event_type)])

    def _hear(self, told: Frame | Tip) -> None:
        if not self._served:
            return
        if isinstance(told, Frame):
            for event_type in {event.type for event in told.events}:
                for served in self._memo(event_type):
                    served.claiming.stir()
        else:
            self._stir_soon()

    def _wake(self, incarnation: str | None) -> None:
        if incarnation is None:
            self._stir_soon()
        elif (served := self._served.get(incarnation)) is not None:
            served.claiming.stir()

    def _stir_soon(self) -> None:
        if self._stirring is None and not self._is_closed:
            self._stirring = asyncio.get_running_loop().call_later(STIR_SECONDS, self._stir_all)

    def _stir_all(self) -> None:
        self._stirring = None
        for served in self._served.values():
            served.claiming.stir()


def _claimer(key: str, *asked: object) -> str:
    """Return the claimer of a call with a key.

    The key with another wish is another call, and is not told what the first one got: "ok" for what was never settled
    would be a lie.
    """
    return f"{KEY_CLAIMER}{blake2b(msgspec.json.encode(asked), digest_size=8).hexdigest()}.{key}"


def _check_number(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        detail = f"must be between {low:g} and {high:g}, not {value:g}"
        violation = Violation(f"#/{name}", detail, InvalidParameterError.code)
        raise InvalidParameterError(f"{name} {detail}", errors=(violation,))


def _check_member(member: str) -> None:
    if len(member) > MEMBER_LENGTH_MAX:
        detail = f"has at most {MEMBER_LENGTH_MAX} characters"
        violation = Violation("#/member", detail, InvalidParameterError.code)
        raise InvalidParameterError(f"a member's name {detail}", errors=(violation,))
