"""A page of the log, as a reader gets it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from waooaw.events.event import StoredEvent
    from waooaw.events.stream_message import GapMessage


@dataclass(frozen=True, slots=True)
class EventPage:
    """What was read. Going on: oldest first, give ``next`` as ``start``; newest first, as ``end``.

    ``next`` is always a cursor token: keep it to read on later, or give it to a stream. ``is_end`` tells that nothing
    more lies in the range now; a page may be short without being the end. ``gap`` tells what is gone.
    """

    events: tuple[StoredEvent, ...]
    next: str
    is_end: bool
    gap: GapMessage | None
