"""What a publisher is told: one receipt for each accepted event."""

from __future__ import annotations

from typing import Literal

import msgspec

from waooaw.events.position import Position, format_position

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
