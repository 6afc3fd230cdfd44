"""How an engine keeps events for later, and shares out work; common rules: `waooaw.events.engine.contract`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waooaw.events.errors import WowEventError
    from waooaw.events.event import Entry
    from waooaw.events.receipt import ScheduledReceipt
    from waooaw.events.scheduled_event import ScheduledEvent


class Schedule(Protocol):
    """Events with ``deliverat``, until they are due. An append whose entry has ``schedule_id`` takes it off."""

    async def schedule(
        self, bus: str, entries: Sequence[Entry], *, events_max: int, patience_seconds: float = 2.0
    ) -> tuple[ScheduledReceipt | WowEventError, ...]:
        """Store entries (each with ``due_ms``) beside the log, in one atomic step at the durability of the bus.

        One with a given id whose source and id are scheduled already is not stored: ``duplicate``, or `IdReusedError`
        if the content differs. Beyond ``events_max``: `ScheduleFullError`. Repeating the call is harmless.
        """
        ...

    async def due_events(self, bus: str, *, limit: int) -> tuple[tuple[ScheduledEvent, ...], int | None]:
        """Return up to ``limit`` events due by the engine's clock, and when the next one is (None: no more)."""
        ...

    async def scheduled_events(
        self, bus: str, *, after: tuple[int, str] | None, limit: int
    ) -> tuple[tuple[ScheduledEvent, ...], int]:
        """Return up to ``limit`` (1 to 1,000), by time and id, after one of them, and how many there are in all."""
        ...

    async def scheduled_event(self, bus: str, schedule_id: str) -> ScheduledEvent | None:
        """Return one, or None."""
        ...

    async def cancel_scheduled(self, bus: str, schedule_id: str) -> bool:
        """Remove one; tell whether it was there. It is then appended by nobody. At the durability of the bus."""
        ...


class Jobs(Protocol):
    """Work that one replica at a time should do. Nothing depends on it but effort."""

    async def hold_job(self, bus: str, job: str, seconds: float) -> bool:
        """Take or keep a job for so long; False while another replica has it."""
        ...
