"""Keeps a log within its limits: trims the oldest events, a bounded step at a time."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from waooaw.events.errors import WowEventError
from waooaw.events.retention import LogSize, RetentionLimits, TrimPlan, plan_trim

if TYPE_CHECKING:
    from waooaw.events.bus.retention_floor import RetentionFloor
    from waooaw.events.clock import Clock
    from waooaw.events.engine.contract import Engine, LogState
    from waooaw.events.position import Position

_log = logging.getLogger("wowevent.retention")

STEP_EVENTS: Final = 500
"""Removed in one transaction: a few milliseconds in which no append runs."""

PAUSE_SECONDS: Final = 0.01
"""Between two steps, so that publishes go first."""

INTERVAL_SECONDS: Final = 5.0
"""Between two looks: by how much a log may be over its limits, at a few thousand events a second some megabytes."""

STALE_PAUSES_MAX: Final = 100
"""Pauses for a state that has not followed the last step: engines that ask their store follow in half a second."""


FLOOR_SECONDS: Final = 1.0
"""How long what subscriptions need is remembered while steps follow each other."""


class RetentionJob:
    """Trims one bus's log for as long as it runs."""

    def __init__(
        self, engine: Engine, bus: str, limits: RetentionLimits, clock: Clock, floor: RetentionFloor | None = None
    ) -> None:
        self._engine = engine
        self._bus = bus
        self._limits = limits
        self._clock = clock
        self._floor = floor

    def plan(self) -> TrimPlan:
        """Decide what the limits alone say has to go now."""
        return self._plan_for(self._engine.state(self._bus))

    def _plan_for(self, state: LogState) -> TrimPlan:
        size = LogSize(first=state.first, last=state.history.last, events=state.events, size_bytes=state.size_bytes)
        return plan_trim(self._limits_for(state), size, self._clock.now_ms())

    def _limits_for(self, state: LogState) -> RetentionLimits:
        """Return the limits, narrowed to what the engine has room for."""
        sizes = [size for size in (self._limits.max_bytes, state.size_bytes_max) if size is not None]
        return replace(self._limits, max_bytes=max(min(sizes), 1)) if sizes else self._limits

    async def trim(self) -> int:
        """Trim until the log is within its limits; return how many events went.

        A step that removes nothing ends it: another replica trims this log. The next look comes after the interval.
        """
        removed = stale_pauses = 0
        needed = _Needed(self._floor, self._clock)
        stepped_from: Position | None = None
        while (plan := self._plan_for(state := self._engine.state(self._bus))).needed:
            if state.first != stepped_from:
                stale_pauses, stepped_from = 0, state.first
                plan = replace(plan, needed_from=await needed.position())
                count = await self._engine.trim(self._bus, plan, limit=STEP_EVENTS)
                if count == 0:
                    break
                removed += count
            elif (stale_pauses := stale_pauses + 1) > STALE_PAUSES_MAX:
                break
            await asyncio.sleep(PAUSE_SECONDS)  # a state that still holds what the last step removed demands it twice
        return removed

    async def run(self) -> None:
        """Trim now and then, until cancelled. A store that cannot be written now is tried again."""
        while True:
            try:
                await self.trim()
            except WowEventError as error:
                _log.warning("retention.failed", extra={"bus": self._bus, "code": error.code, "detail": error.detail})
            await asyncio.sleep(INTERVAL_SECONDS)


class _Needed:
    """What subscriptions need, asked for once a second while a trim runs."""

    def __init__(self, floor: RetentionFloor | None, clock: Clock) -> None:
        self._floor = floor
        self._clock = clock
        self._asked_at: float | None = None
        self._position: Position | None = None

    async def position(self) -> Position | None:
        """Return the oldest position that is needed, None where none is."""
        now = self._clock.monotonic()
        if self._floor is not None and (self._asked_at is None or now - self._asked_at >= FLOOR_SECONDS):
            self._asked_at = now
            self._position = await self._floor.position()
        return self._position
