"""How a caller names a place in the log: as the wire spells it, or by the position of an event."""

from __future__ import annotations

from waooaw.events.position import Position, format_position

Place = str | Position
"""``earliest``, ``now``, an RFC 3339 time, a position, or a cursor; a `Position` stands for itself."""


def spell_place(place: Place) -> str:
    """Return a place as the wire spells it."""
    return place if isinstance(place, str) else format_position(place)
