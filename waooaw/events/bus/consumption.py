"""One member that is connected: its credit, and what it holds.

Rule 1: what is handed out and not settled never exceeds the credit; what a claim got beyond it goes back at once.
Rule 2: a delivery is held until an answer says that it was settled or is stale. An answer that is not known settles
nothing: the member may say it again.
Rule 3: the lease of what is held is extended by the bus for as long as the member is connected, up to
``max_hold_seconds``. After that it lapses, and is held no more.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from waooaw.events.delivery import Settlement
from waooaw.events.errors import ClosedError, InvalidParameterError, NotFoundError
from waooaw.events.outages import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from waooaw.events.bus.claiming import Claiming
    from waooaw.events.bus.served_queue import ServedQueue
    from waooaw.events.bus.settling import Settling
    from waooaw.events.delivery import Delivery
    from waooaw.events.errors import WowEventError

_log = logging.getLogger("wowevent.delivery")

EXTENSIONS_A_LEASE: Final = 3
"""A lease is extended in its last two thirds: one that was not in time leaves time for another."""


CLAIMED_AT_ONCE_MAX: Final = 250
"""Of a larger credit a claim asks for a part: while it is under way, the part before is worked on and the one before
that is settled. With all at once the engine, the service and the member would wait for one another in turns.
"""


class _Handout:
    """What deliveries of one claim have in common: when they were handed out, and until when their lease runs."""

    __slots__ = ("began", "until")

    def __init__(self, began: float, until: float) -> None:
        self.began = began
        self.until = until


class Consumption:
    """A member at work, made by `Deliveries.consume`. Close it in the end. Times are monotonic, in seconds."""

    def __init__(
        self,
        queue: ServedQueue,
        claiming: Claiming,
        settling: Settling,
        *,
        member: str,
        credit: int,
        deliver: Callable[[Sequence[Delivery]], None],
        ended: Callable[[WowEventError], None],
        stopped: Callable[[Consumption], None],
    ) -> None:
        self.member = member
        self.credit = credit
        """Deliveries that may be unsettled."""
        self._queue = queue
        self._claiming = claiming
        self._settling = settling
        self._deliver = deliver
        self._ended = ended
        self._stopped = stopped
        self._held: dict[str, _Handout] = {}
        self._is_closed = False

    @property
    def held(self) -> int:
        """Deliveries that are unsettled."""
        return len(self._held)

    # What the member says ---------------------------------------------------------------------------------------------

    def set_credit(self, credit: int) -> None:
        """Change how many deliveries may be unsettled; 0 stops. What is held stays."""
        grows, self.credit = credit > self.credit, credit
        if grows and not self._is_closed:
            self._claiming.stir()

    async def settle(self, settlements: Sequence[Settlement]) -> list[WowEventError | None]:
        """Settle deliveries; as `Deliveries.settle`. The credit of what is settled, or was stale, comes back."""
        results = await self._settling.settle(settlements)
        now, held = self._queue.clock.monotonic(), self._held
        for settlement, result in zip(settlements, results, strict=True):
            if result is None:
                if settlement.outcome == "extend":
                    self._extended(settlement, now)
                else:
                    held.pop(settlement.token, None)
            elif not isinstance(result, InvalidParameterError):
                held.pop(settlement.token, None)
        if not self._is_closed:
            self._claiming.wish(self)
        return results

    def _extended(self, settlement: Settlement, now: float) -> None:
        """Note a lease that the member itself extended: the bus does not make it shorter."""
        handout = self._held.get(settlement.token)
        if handout is not None and settlement.delay_seconds is not None:
            self._held[settlement.token] = _Handout(handout.began, now + settlement.delay_seconds)

    async def close(self) -> None:
        """End, and give back what is held. Closing twice is harmless.

        A store that is away is no error: the leases end by themselves then.
        """
        self.stop()
        tokens, self._held = list(self._held), {}
        if (given_back := self._settling.give_back(tokens)) is not None:
            await asyncio.wait([given_back])

    def stop(self) -> None:
        """Take nothing more."""
        self._is_closed = True
        self._claiming.remove(self)
        self._stopped(self)

    def end(self, error: WowEventError) -> None:
        """End it from the side of the bus, and tell the member why."""
        if not self._is_closed:
            self.stop()
            self._ended(error)

    # What claims bring ------------------------------------------------------------------------------------------------

    @property
    def wanted(self) -> int:
        """How many deliveries the next claim should get for it."""
        return min(self._free, CLAIMED_AT_ONCE_MAX)

    @property
    def _free(self) -> int:
        """What is left of the credit."""
        return 0 if self._is_closed else max(self.credit - len(self._held), 0)

    def take(self, deliveries: list[Delivery], next_due_ms: int | None) -> Sequence[Delivery]:  # noqa: ARG002 - see Wish
        """Hand out what a claim got, as far as the credit goes; return the rest."""
        free = self._free
        taken, excess = (deliveries, []) if len(deliveries) <= free else (deliveries[:free], deliveries[free:])
        if taken:
            now = self._queue.clock.monotonic()
            handout = _Handout(now, now + taken[0].lease_seconds)
            tokens = [delivery.token for delivery in taken]
            self._held.update(dict.fromkeys(tokens, handout))
            try:
                self._deliver(taken)
            except Exception as error:  # noqa: BLE001 - one member that fails must not take the claim of the others
                _log.exception("delivery.failed", extra=self._queue.labels | {"member": self.member})
                self.forget(tokens)
                self.end(ClosedError(f"what was delivered could not be taken: {error}"))
                return deliveries
        return excess

    def fail(self, error: WowEventError) -> bool:  # noqa: ARG002 - a member that is connected waits for any store
        """See Wish."""
        return True

    # Leases -----------------------------------------------------------------------------------------------------------

    def lapsing(self, now: float, lease_seconds: float, max_hold_seconds: float) -> list[str]:
        """Return what is to be extended now; forget what was held too long and has lapsed."""
        lapsing, lapsed = [], []
        for token, handout in self._held.items():
            if now - handout.began < max_hold_seconds:
                if handout.until < now + lease_seconds:
                    lapsing.append(token)
            elif handout.until <= now:
                lapsed.append(token)
        if lapsed:
            detail = f"{len(lapsed)} deliveries were held for more than {max_hold_seconds:g} s and have lapsed"
            _log.warning("delivery.held_too_long", extra=self._queue.labels | {"member": self.member, "detail": detail})
            self.forget(lapsed)
        return lapsing

    def extended(self, tokens: Sequence[str], until: float) -> None:
        """Note leases that run longer now."""
        for token in tokens:
            handout = self._held.get(token)
            if handout is not None:
                handout.until = max(handout.until, until)

    def forget(self, tokens: Collection[str]) -> None:
        """Hold these no more: they are with somebody else, or will be."""
        for token in tokens:
            self._held.pop(token, None)
        if tokens and not self._is_closed:
            self._claiming.wish(self)


class Consumptions:
    """The members of one queue that are connected to this replica; their leases are extended together."""

    def __init__(
        self, queue: ServedQueue, settling: Settling, gone: Callable[[NotFoundError], None], *, max_hold_seconds: float
    ) -> None:
        self._queue = queue
        self._settling = settling
        self._gone = gone
        self._max_hold_seconds = max_hold_seconds
        self._members: dict[Consumption, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._extending: asyncio.Task[None] | None = None

    @property
    def members(self) -> tuple[Consumption, ...]:
        """Those that are not closed."""
        return tuple(self._members)

    def add(self, member: Consumption) -> None:
        """Extend what a member holds from now on."""
        self._members[member] = None
        if self._timer is None:
            self._wait()

    def remove(self, member: Consumption) -> None:
        """Leave its leases alone from now on; harmless where it is not in."""
        self._members.pop(member, None)
        if not self._members:
            self.close()

    def close(self) -> None:
        """Extend nothing more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        seconds = self._queue.definition.lease_seconds / EXTENSIONS_A_LEASE
        self._timer = asyncio.get_running_loop().call_later(seconds, self._begin)

    def _begin(self) -> None:
        self._wait()
        if self._extending is None:
            name = f"extend {self._queue.name}"
            self._extending = asyncio.get_running_loop().create_task(self._extend(), name=name)

    async def _extend(self) -> None:
        """Extend all that is held, in one call for all members."""
        now, lease_seconds = self._queue.clock.monotonic(), self._queue.definition.lease_seconds
        try:
            asked = [(member, member.lapsing(now, lease_seconds, self._max_hold_seconds)) for member in self.members]
            settlements = [Settlement(token=token, outcome="extend") for _, tokens in asked for token in tokens]
            if settlements:
                results = iter(await self._settling.settle(settlements))
                for member, tokens in asked:
                    stale = {token for token in tokens if next(results) is not None}
                    member.forget(stale)
                    member.extended([token for token in tokens if token not in stale], now + lease_seconds)
        except NotFoundError as error:
            self._gone(error)
        except UnavailableError as error:  # the next round comes while two thirds of the lease remain
            _log.warning("delivery.not_extended", extra=self._queue.labels | {"code": error.code, "detail": str(error)})
        finally:
            self._extending = None
