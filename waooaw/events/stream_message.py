"""What a reader of a stream gets: events, each with the cursor to go on from, and gaps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from waooaw.events.epoch import GapReason
from waooaw.events.event import StoredEvent

if TYPE_CHECKING:
    from waooaw.events.errors import WowEventError


class Delivered(StoredEvent, frozen=True, gc=False):
    """An event of the log. ``cursor`` is the token to go on from once the event is dealt with."""

    cursor: str


class GapMessage(msgspec.Struct, frozen=True, gc=False):
    """Events that a reader cannot have any more: what came after ``start`` up to ``end``, where reading goes on.

    Both are cursor tokens. ``retention``: they were removed. ``epoch``: the history they belonged to was lost.
    """

    start: str
    end: str
    reason: GapReason


StreamMessage = Delivered | GapMessage


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """A stream is connected, or it is not because of ``problem`` and tries again in ``wait_seconds``."""

    problem: WowEventError | None = None
    wait_seconds: float = 0.0

    @property
    def is_connected(self) -> bool:
        """Whether events flow."""
        return self.problem is None
