"""What queues moved besides what was asked for: told in the log, and counted, in one place for all who learn of it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from waooaw.events.bus.metrics import OTHER
from waooaw.events.position import format_position

if TYPE_CHECKING:
    from collections.abc import Mapping

    from waooaw.events.bus.metrics import EventMetrics
    from waooaw.events.clock import Clock
    from waooaw.events.engine.queue_contract import Burial, Moves
    from waooaw.events.position import Position

_log = logging.getLogger("wowevent.subscription")

OVERRUN_SECONDS: Final = 10.0
"""Between two lines about the overruns of one subscription: while it lasts, each append makes some."""

OVERRUNS_MAX: Final = 50_000
"""Subscriptions whose overruns are waiting to be told: as many as a bus can have."""


class QueueMoves:
    """Takes the `Moves` of claims, settles and sweeps of one bus."""

    def __init__(self, bus: str, metrics: EventMetrics, clock: Clock) -> None:
        self._bus = bus
        self.metrics = metrics
        self._clock = clock
        self._overrun: dict[str, int] = {}
        self._told: dict[str, float] = {}

    def take(self, subscription: str, moves: Moves, *, types: Mapping[Position, str] | None = None) -> None:
        """Log and count what an engine's answer says it moved.

        ``types`` are those of the events that the caller had fail itself, and has counted as failed. Overruns are told
        at once, and then at most once in ten seconds with their number; see `tell_overruns`.
        """
        if not moves.total:
            return
        lapsed = moves.lapsed
        for burial in moves.buried:
            self._tell_burial(subscription, burial)
            event_type = None if types is None else types.get(burial.position)
            if event_type is None:
                self.metrics.delivery_failed()
                lapsed += 1
            if not burial.is_dropped:
                self.metrics.buried(event_type or OTHER)
        if moves.lapsed:
            self.metrics.delivery_failed(count=moves.lapsed)
            self.metrics.retried(count=moves.lapsed)
        if lapsed:
            self.metrics.activity_of(subscription).settled(self._clock.monotonic(), 0, lapsed)
        if moves.overrun:
            self._overrun[subscription] = self._overrun.get(subscription, 0) + moves.overrun
            self.tell_overruns()

    def _tell_burial(self, subscription: str, burial: Burial) -> None:
        event = "delivery.dropped" if burial.is_dropped else "dead_letter.buried (DLQ)"
        _log.warning(
            event,
            extra={
                "bus": self._bus,
                "subscription": subscription,
                "position": format_position(burial.position),
                "reason": burial.reason,
                "attempts": burial.attempts,
                "last_error": burial.last_error,
                "member": burial.member,
            },
        )

    def tell_overruns(self) -> None:
        """Tell of the overruns whose line is due; the upkeep calls this each second for what came last."""
        now = self._clock.monotonic()
        for subscription, count in tuple(self._overrun.items()):
            if now - self._told.get(subscription, -OVERRUN_SECONDS) < OVERRUN_SECONDS:
                continue
            del self._overrun[subscription]
            if len(self._told) >= OVERRUNS_MAX:
                self._told.clear()
            self._told[subscription] = now
            extra = {"bus": self._bus, "subscription": subscription, "overrun": count}
            _log.warning("subscription.overrun", extra=extra)
