"""Keeps a log within its limits: trims the oldest events, a bounded step at a time."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from waooaw.events.errors import WowEventError
from waooaw.events.retention import LogSize, RetentionLimits, TrimPlan, plan_trim

if TYPE_CHECKING:
    from waooaw.events.clock import Clock
    from waooaw.events.engine.contract import Engine

_log = logging.getLogger("wowevent.retention")

STEP_EVENTS: Final = 500
"""Removed in one transaction: a few milliseconds in which no append runs."""

PAUSE_SECONDS: Final = 0.01
"""Between two steps, so that publishes go first."""

INTERVAL_SECONDS: Final = 5.0
"""Between two looks: by how much a log may be over its limits, at a few thousand events a second some megabytes."""


class RetentionJob:
    """Trims one bus's log for as long as it runs."""

    def __init__(self, engine: Engine, bus: str, limits: RetentionLimits, clock: Clock) -> None:
        self._engine = engine
        self._bus = bus
        self._limits = limits
        self._clock = clock

    def plan(self) -> TrimPlan:
        """Decide what has to go now."""
        state = self._engine.state(self._bus)
        size = LogSize(first=state.first, last=state.history.last, events=state.events, size_bytes=state.size_bytes)
        return plan_trim(self._limits, size, self._clock.now_ms())

    async def trim(self) -> int:
        """Trim until the log is within its limits; return how many events went."""
        removed = 0
        while (plan := self.plan()).needed:
            count = await self._engine.trim(self._bus, plan, limit=STEP_EVENTS)
            if count == 0:
                break
            removed += count
            await asyncio.sleep(PAUSE_SECONDS)
        return removed

    async def run(self) -> None:
        """Trim now and then, until cancelled. A store that cannot be written now is tried again."""
        while True:
            try:
                await self.trim()
            except WowEventError as error:
                _log.warning("retention.failed", extra={"bus": self._bus, "code": error.code, "detail": error.detail})
            await asyncio.sleep(INTERVAL_SECONDS)
