"""An event as one line for a person.

Events are written by anybody: whatever a terminal would act on is replaced before it is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from waooaw.events.position import position_milliseconds
from waooaw.events.timestamp import format_timestamp

if TYPE_CHECKING:
    from waooaw.events.event import StoredEvent

DATA_CHARACTERS_MAX: Final = 120
"""Enough to recognise an event; `--json` shows all of it."""

_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"


class _Shown(msgspec.Struct, gc=False):
    id: str
    data: msgspec.Raw = msgspec.Raw()
    data_base64: str | None = None


_decode: Final = msgspec.json.Decoder(_Shown).decode


@dataclass(frozen=True, slots=True)
class EventLine:
    """What is shown of an event. ``time`` is when the bus accepted it: lines are in that order."""

    time: str
    type: str
    source: str
    id: str
    data: str


def event_line(event: StoredEvent) -> EventLine:
    """Return what is shown of an event."""
    shown = _decode(event.body)
    data = bytes(shown.data).decode() if shown.data_base64 is None else f"base64:{shown.data_base64}"
    if len(data) > DATA_CHARACTERS_MAX:
        data = f"{data[: DATA_CHARACTERS_MAX - 1]}…"
    return EventLine(
        format_timestamp(position_milliseconds(event.position)),
        printable(event.type),
        printable(event.source),
        printable(shown.id),
        printable(data),
    )


def printable(text: str) -> str:
    """Return a text with every character replaced that is not printable, so that it cannot steer a terminal."""
    if text.isprintable():
        return text
    return "".join([character if character.isprintable() else _REPLACEMENT for character in text])
