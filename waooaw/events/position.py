"""Where an event is in its bus's log.

A position reads ``<ms>-<sequence>`` (``1764019200123-0``) on the wire and is one integer inside,
``ms << 20 | sequence``: integers compare, hash and store faster than pairs, and an SQLite rowid holds
them (62 bits until the year 2109).

Rule 1: positions of one bus only grow, in the log's own time, which never runs back and may run ahead of the clock.
Rule 2: ``0`` is before every event.
"""

from __future__ import annotations

import re
from typing import Final, NewType

from waooaw.events.errors import InvalidParameterError

Position = NewType("Position", int)

SEQUENCE_BITS: Final = 20
"""A million events in one millisecond: a hundred times what one process appends."""

MILLISECONDS_MAX: Final = (1 << 42) - 1
"""The year 2109; a position then still fits a signed 64-bit rowid."""

_SEQUENCE_MASK: Final = (1 << SEQUENCE_BITS) - 1

BEGINNING: Final = Position(0)
"""Before every event."""

END: Final = Position((MILLISECONDS_MAX << SEQUENCE_BITS) | _SEQUENCE_MASK)
"""At or after every event."""

_TEXT: Final = re.compile(r"([0-9]{1,13})-([0-9]{1,7})", re.ASCII)


def make_position(milliseconds: int, sequence: int = 0) -> Position:
    """Return the position of the ``sequence``-th event (from 0) in a millisecond (Unix time)."""
    return Position((milliseconds << SEQUENCE_BITS) | sequence)


def position_milliseconds(position: Position) -> int:
    """Return the log's time at a position, in Unix milliseconds."""
    return position >> SEQUENCE_BITS


def next_position(last: Position, now_ms: int) -> Position:
    """Return the position after ``last`` for an event accepted at ``now_ms``; a clock that ran back does not matter."""
    floor = make_position(now_ms)
    return floor if floor > last else Position(last + 1)


def previous_position(position: Position) -> Position:
    """Return the greatest position before this one: what turns *inclusive* into *after*."""
    return Position(max(position - 1, 0))


def format_position(position: Position) -> str:
    """Return the wire form, ``<ms>-<sequence>``."""
    return f"{position >> SEQUENCE_BITS}-{position & _SEQUENCE_MASK}"


def is_position(text: str) -> bool:
    """Tell whether a text has the form of a position (it may still be out of range)."""
    return _TEXT.fullmatch(text) is not None


def parse_position(text: str) -> Position:
    """Read the wire form; raises `InvalidParameterError`."""
    found = _TEXT.fullmatch(text)
    if found is None:
        message = f"not a position: {text[:64]!r}; a position looks like 1764019200123-0"
        raise InvalidParameterError(message)
    milliseconds, sequence = int(found[1]), int(found[2])
    if milliseconds > MILLISECONDS_MAX or sequence > _SEQUENCE_MASK:
        message = f"position out of range: {text!r}"
        raise InvalidParameterError(message)
    return make_position(milliseconds, sequence)
