"""Puts history into queues: a subscription that starts in the past and one that seeks are the same work.

Rule 1: how far a fill is stands in the engine, and moves in one step with the references that it adds. A replica that
dies loses nothing, and two that work at one fill by mistake repeat no reference.
Rule 2: fills take turns, a page each.
Rule 3: what a fill puts into a queue that nobody claims is bounded; the log keeps the rest meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from waooaw.events.delivery_attributes import delivery_attributes_of
from waooaw.events.engine.queue_contract import FillItem
from waooaw.events.errors import NotFoundError, WowEventError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waooaw.events.bus.subscription_routes import KnownSubscription
    from waooaw.events.bus.subscriptions import Subscriptions
    from waooaw.events.clock import Clock
    from waooaw.events.engine.contract import Engine, Page
    from waooaw.events.subscription_state import FillState, QueueState

_log = logging.getLogger("wowevent.subscription")

PAGE_EVENTS: Final = 1000
"""Events looked at in one turn, and so references added at most: what one step of an engine takes."""

WAITING_MAX: Final = 5000
"""References that a fill may have waiting unclaimed: several claims of the largest size."""

JOB: Final = "fill"
JOB_SECONDS: Final = 5.0
"""How long a replica that is gone keeps others from its fills."""

HOLD_SECONDS: Final = 1.0
"""A job is kept by saying so each second."""

THROTTLED_SECONDS: Final = 0.1
"""Between two looks whether members have claimed what a fill made."""

IDLE_SECONDS: Final = 1.0


@dataclass(slots=True)
class _Fill:
    known: KnownSubscription
    state: FillState | None = None
    """None: to be asked for."""
    held_at: float | None = None


class Filling:
    """The fills of one bus that this replica works at."""

    def __init__(self, engine: Engine, bus: str, subscriptions: Subscriptions, clock: Clock) -> None:
        self._engine = engine
        self._bus = bus
        self._subscriptions = subscriptions
        self._clock = clock
        self._fills: dict[str, _Fill] = {}
        self._noticed = asyncio.Event()

    def notice(self, incarnation: str) -> None:
        """Take up the fill of a subscription, unless another replica works at it."""
        for known in self._subscriptions.known.values():
            if known.record.incarnation == incarnation:
                self._fills.setdefault(incarnation, _Fill(known)).state = None
                self._noticed.set()

    async def discover(self) -> None:
        """Take up the fills that nobody works at: whoever began them may be gone."""
        incarnations = [known.record.incarnation for known in self._subscriptions.known.values()]
        states = await self._subscriptions.states(incarnations)
        for incarnation, state in zip(incarnations, states, strict=True):
            if state is not None and state.fill is not None and incarnation not in self._fills:
                self.notice(incarnation)

    async def run(self) -> None:
        """Fill, until cancelled. A store that is away is tried again."""
        while True:
            seconds = IDLE_SECONDS
            try:
                if await self.step():
                    seconds = 0.0
                elif self._fills:
                    seconds = THROTTLED_SECONDS
            except WowEventError as error:
                extra = {"bus": self._bus, "code": error.code, "detail": error.detail}
                _log.warning("subscription.fill_failed", extra=extra)
            if seconds and not self._noticed.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await self._noticed.wait()
            self._noticed.clear()
            await asyncio.sleep(0)

    async def step(self) -> bool:
        """Give each fill a turn; return whether any of them went on. Raises `UnavailableError` kinds."""
        went_on = False
        for incarnation, fill in tuple(self._fills.items()):
            try:
                went_on |= await self._turn(incarnation, fill)
            except NotFoundError:  # deleted meanwhile
                self._fills.pop(incarnation, None)
        return went_on

    async def _turn(self, incarnation: str, fill: _Fill) -> bool:
        known = self._subscriptions.known.get(fill.known.record.name)
        if known is not None and known.record.incarnation == incarnation:
            fill.known = known  # its patterns may have changed
        if not await self._hold(incarnation, fill):
            del self._fills[incarnation]
            return False
        state = fill.state
        if state is None or state.waiting >= WAITING_MAX:
            (queue,) = await self._subscriptions.states([incarnation])
            state = self._take(incarnation, fill, queue)
        if state is None or state.waiting >= WAITING_MAX:
            return False
        page = await self._engine.read(self._bus, state.reached, through=state.through, limit=PAGE_EVENTS)
        reached = page.reached
        if reached <= state.reached or reached > state.through:
            reached = state.through  # the log ends before it: what was there is lost
        queue = await self._engine.fill(
            self._bus, incarnation, _items(fill.known, page), expected=state.reached, reached=reached
        )
        self._take(incarnation, fill, queue)
        return True

    def _take(self, incarnation: str, fill: _Fill, queue: QueueState | None) -> FillState | None:
        fill.state = None if queue is None else queue.fill
        if fill.state is None and self._fills.get(incarnation) is fill:
            del self._fills[incarnation]
            extra = {"bus": self._bus, "subscription": fill.known.record.name}
            _log.info("subscription.filled", extra=extra)
        return fill.state

    async def _hold(self, incarnation: str, fill: _Fill) -> bool:
        now = self._clock.monotonic()
        if fill.held_at is None or now - fill.held_at >= HOLD_SECONDS:
            if not await self._engine.hold_job(self._bus, f"{JOB}:{incarnation}", JOB_SECONDS):
                return False
            fill.held_at = now
        return True


def _items(known: KnownSubscription, page: Page) -> Sequence[FillItem]:
    matches = known.definition.patterns.matches
    items = []
    for event in page.events:
        if matches(event.type):
            delivery = delivery_attributes_of(event.body)
            key = delivery.ordering_key if known.record.is_keyed else ""
            items.append(FillItem(event.position, key, delivery.expires_ms))
    return items
