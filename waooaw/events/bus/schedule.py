"""Events for later: stored beside the log, and published when they are due."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from waooaw.events.bus.metrics import EventMetrics
    from waooaw.events.bus.publisher import Publisher
    from waooaw.events.clock import Clock
    from waooaw.events.engine.contract import Engine
    from waooaw.events.scheduled_event import ScheduledEvent, ScheduledPage


class Schedule:
    """What waits for its ``deliverat``."""

    def __init__(
        self, engine: Engine, bus: str, publisher: Publisher, metrics: EventMetrics, clock: Clock, *, events_max: int
    ) -> None:
        raise NotImplementedError

    async def page(self, *, after: str = "", limit: int = 100) -> ScheduledPage:
        """Return up to ``limit`` (1 to 1,000) events, the next one first, after the ``next`` of another page."""
        raise NotImplementedError

    async def get(self, schedule_id: str) -> ScheduledEvent:
        """Return one; raises `NotFoundError` where it is not on the schedule (any more)."""
        raise NotImplementedError

    async def cancel(self, schedule_id: str) -> None:
        """Take one off the schedule, so that nobody gets it; raises `NotFoundError` as `get`."""
        raise NotImplementedError
