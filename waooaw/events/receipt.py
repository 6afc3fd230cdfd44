"""What a publisher is told: one receipt for each accepted event."""

from __future__ import annotations

from typing import Literal

import msgspec

from waooaw.events.position import Position, format_position
from waooaw.events.timestamp import format_timestamp

Durability = Literal["memory", "local", "fsync", "replicated"]
"""What an accepted event survives: nothing; the process; a power cut; the loss of one node."""


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """The event is in the log at ``position``; ``duplicate`` tells that it was there before."""

    id: str
    position: Position
    durability: Durability
    duplicate: bool = False

    def as_json(self) -> dict[str, object]:
        """Return the receipt as the wire spells it."""
        return {
            "id": self.id,
            "position": format_position(self.position),
            "durability": self.durability,
            "duplicate": self.duplicate,
        }


class ScheduledReceipt(Receipt, frozen=True, gc=False, kw_only=True):
    """The event is stored beside the log until it is due; ``schedule_id`` is what it is cancelled by.

    ``position`` is the first one that it can have: the log's at ``due_ms`` (Unix milliseconds). The wire says null.
    """

    schedule_id: str
    due_ms: int

    def as_json(self) -> dict[str, object]:
        """Return the receipt as the wire spells it."""
        scheduled = {"id": self.schedule_id, "deliverat": format_timestamp(self.due_ms)}
        return {**super().as_json(), "position": None, "scheduled": scheduled}
