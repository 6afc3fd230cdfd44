"""Looks after the queues of one bus: what no claim moves, a sweep does; what nobody uses expires.

One replica at a time does it; every replica takes over each second what changed among the subscriptions, as the wakes
that tell of it may be lost.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from waooaw.events.errors import WowEventError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waooaw.events.bus.filling import Filling
    from waooaw.events.bus.queue_moves import QueueMoves
    from waooaw.events.bus.subscription_routes import KnownSubscription
    from waooaw.events.bus.subscriptions import Subscriptions
    from waooaw.events.clock import Clock
    from waooaw.events.engine.contract import Engine

_log = logging.getLogger("wowevent.subscription")

INTERVAL_SECONDS: Final = 1.0
"""Between two sweeps: how late a lapsed lease is seen where nobody claims."""

QUEUES_MAX: Final = 100
REFERENCES_MAX: Final = 500
"""Queues of one step of a sweep, and what it moves in each at most: the engine is busy with it for milliseconds."""

ROUNDS_MAX: Final = 20
"""Steps for the same queues in a row while there is more: then the others get their turn, and a second later again."""

JOB: Final = "sweep"
JOB_SECONDS: Final = 5.0
"""How long a replica that is gone keeps others from the job."""

LOOK_SECONDS: Final = 5.0
"""Between two looks at all queues: for fills that nobody works at, and subscriptions that nobody uses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterLimits:
    """How long the dead letters of a subscription are kept, and how many."""

    seconds: int = 30 * 86_400
    count_max: int = 100_000


class QueueUpkeep:
    """The upkeep of one bus's queues, for as long as `run` runs."""

    def __init__(
        self,
        engine: Engine,
        bus: str,
        subscriptions: Subscriptions,
        *,
        filling: Filling,
        moves: QueueMoves,
        clock: Clock,
        dead_letters: DeadLetterLimits,
    ) -> None:
        self._engine = engine
        self._bus = bus
        self._subscriptions = subscriptions
        self._filling = filling
        self._moves = moves
        self._clock = clock
        self._dead_letters = dead_letters
        self._looked_at: float | None = None

    async def run(self) -> None:
        """Look after the queues each second, until cancelled. A store that is away is tried again."""
        while True:
            try:
                await self.step()
            except WowEventError as error:
                extra = {"bus": self._bus, "code": error.code, "detail": error.detail}
                _log.warning("subscription.upkeep_failed", extra=extra)
            await asyncio.sleep(INTERVAL_SECONDS)

    async def step(self) -> None:
        """Do what is due. Raises `UnavailableError` kinds."""
        self._moves.tell_overruns()
        await self._subscriptions.refresh()
        if not self._subscriptions.known or not await self._engine.hold_job(self._bus, JOB, JOB_SECONDS):
            return
        await self._sweep()
        now = self._clock.monotonic()
        if self._looked_at is None or now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            await self._expire()
            await self._filling.discover()

    async def _sweep(self) -> None:
        subscriptions = list(self._subscriptions.known.values())
        for start in range(0, len(subscriptions), QUEUES_MAX):
            some: Sequence[KnownSubscription] = subscriptions[start : start + QUEUES_MAX]
            for _ in range(ROUNDS_MAX):
                some = await self._sweep_some(some)
                if not some:
                    break

    async def _sweep_some(self, subscriptions: Sequence[KnownSubscription]) -> list[KnownSubscription]:
        """Sweep up to 100 queues; return those in which more is to be moved."""
        swept = await self._engine.sweep(
            self._bus,
            [known.record.incarnation for known in subscriptions],
            limit=REFERENCES_MAX,
            dead_seconds=self._dead_letters.seconds,
            dead_max=self._dead_letters.count_max,
        )
        more = []
        for known, moves in zip(subscriptions, swept, strict=True):
            self._moves.take(known.record.name, moves)
            if moves.total >= REFERENCES_MAX:
                more.append(known)
        return more

    async def _expire(self) -> None:
        """Remove the subscriptions that nobody claimed from for as long as their owner said."""
        limits = [
            (known, known.definition.expires_after_seconds)
            for known in self._subscriptions.known.values()
            if known.definition.expires_after_seconds is not None
        ]
        states = await self._subscriptions.states([known.record.incarnation for known, _ in limits])
        now_ms = self._clock.now_ms()
        unused = [
            (known.record.name, now_ms - round(seconds * 1000))
            for (known, seconds), state in zip(limits, states, strict=True)
            if state is not None and state.claimed_ms < now_ms - seconds * 1000
        ]
        await asyncio.gather(*[self._subscriptions.expire(name, since_ms) for name, since_ms in unused])
