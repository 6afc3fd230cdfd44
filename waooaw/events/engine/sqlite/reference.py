"""A reference as callers spell it, and as a queue holds it once a claim has taken it out of the lists."""

from __future__ import annotations

from typing import Final, NamedTuple

from waooaw.events.errors import InvalidParameterError
from waooaw.events.position import Position, format_position, parse_position

LEASED: Final = 0
SCHEDULED: Final = 1
WAITING: Final = 2

FILL_LIST: Final = 4
"""The list of what a fill made; the four before it are the priorities."""

NUMBER_LENGTH_MAX: Final = 18
"""Digits of a copy's number: a longer one does not fit into the store."""


class Held(NamedTuple):
    """A row of the table ``held``, in its order; times are Unix milliseconds, 0 where there is none."""

    queue: int
    copied: int
    position: Position
    copy: int
    state: int
    at_ms: int
    key: str
    expires_ms: int
    failures: int = 0
    nonce: str = ""
    member: str = ""
    first_delivery_ms: int = 0
    first_failure_ms: int = 0
    last_failure_ms: int = 0
    last_error: str | None = None

    @property
    def place(self) -> tuple[int, int, Position, int]:
        """What names the row."""
        return self[:4]


def format_reference(position: Position, copy: int) -> str:
    """Return ``position``, or ``position~copy`` for one that a fill or a redrive made."""
    return format_position(position) if copy == 0 else f"{format_position(position)}~{copy}"


def parse_reference(text: str) -> tuple[Position, int] | None:
    """Read a reference; None for a text that spells none."""
    position, is_copy, number = text.partition("~")
    if is_copy and not (number.isascii() and number.isdecimal() and len(number) <= NUMBER_LENGTH_MAX):
        return None
    try:
        return parse_position(position), int(number) if is_copy else 0
    except InvalidParameterError:
        return None
