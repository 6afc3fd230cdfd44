"""An event that waits for its time, stored beside the log."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from waooaw.events.event import Event


class ScheduledEvent(msgspec.Struct, frozen=True, gc=False):
    """An event beside the log until it is due.

    ``id`` (32 hexadecimal digits) is a digest of its source and id; ``due_ms`` is in Unix milliseconds.
    """

    id: str
    due_ms: int
    body: bytes

    @property
    def event(self) -> Event:
        """The event, decoded anew at each access."""
        return Event.from_json(self.body)


@dataclass(frozen=True, slots=True)
class ScheduledPage:
    """Scheduled events, the next one first. ``next`` is what to go on after, None at the end; ``total`` counts all."""

    items: tuple[ScheduledEvent, ...]
    next: str | None
    total: int
