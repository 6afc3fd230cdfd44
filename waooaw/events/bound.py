"""``from`` and ``to``: the places in a log that a caller can name.

Every call reads them alike: ``earliest``, ``now``, an RFC 3339 time (inclusive; the time of acceptance), a position
(inclusive) or a cursor (what comes after it). ``to`` is exclusive; a cursor stands between two events, so a range from
one cursor to another holds exactly what was read between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from waooaw.events.cursor import Cursor, decode_cursor
from waooaw.events.position import (
    BEGINNING,
    MILLISECONDS_MAX,
    Position,
    is_position,
    make_position,
    parse_position,
    previous_position,
)
from waooaw.events.timestamp import is_rfc3339, parse_timestamp

if TYPE_CHECKING:
    from waooaw.events.epoch import Gap, History


@dataclass(frozen=True, slots=True)
class Earliest:
    """The oldest event that the log still has."""


@dataclass(frozen=True, slots=True)
class Now:
    """After the newest event."""


@dataclass(frozen=True, slots=True)
class At:
    """The first event at or after a position, named by itself or by its time."""

    position: Position
    is_time: bool = False


@dataclass(frozen=True, slots=True)
class After:
    """What comes after a cursor."""

    cursor: Cursor


Bound = Earliest | Now | At | After

EARLIEST: Final = Earliest()
NOW: Final = Now()


def parse_bound(bus: str, text: str) -> Bound:
    """Read a bound of a bus; raises `InvalidCursorError` for what is none of the forms, or a cursor of another bus.

    A space where the ``+`` of an offset belongs is read as ``+``: form decoding of a URL turns one into the other.
    """
    if text == "earliest":
        return EARLIEST
    if text == "now":
        return NOW
    if is_position(text):
        return At(parse_position(text))
    spelled = text.replace(" ", "+") if "T" in text.upper() else text
    if is_rfc3339(spelled):
        milliseconds = parse_timestamp(spelled)
        return At(make_position(min(max(milliseconds, 0), MILLISECONDS_MAX)), is_time=True)
    return After(decode_cursor(bus, text))


def resolve_start(bound: Bound, history: History) -> tuple[Position, Gap | None]:
    """Return the position to read *after*, and the gap that a reader starting there must be told.

    A time before what the log has is not a gap: the caller asked for what is there from then on.
    """
    match bound:
        case Earliest():
            return history.trimmed_through, None
        case Now():
            return history.last, None
        case At(position, is_time=True):
            return max(previous_position(position), history.trimmed_through), None
        case At(position):
            return history.after_trim(previous_position(position))
        case After(cursor):
            return history.resume(cursor)


def resolve_end(bound: Bound, history: History) -> Position:
    """Return the last position to read *through*."""
    match bound:
        case Earliest():
            return BEGINNING
        case Now():
            return history.last
        case At(position):
            return previous_position(position)
        case After(cursor):
            return cursor.position
