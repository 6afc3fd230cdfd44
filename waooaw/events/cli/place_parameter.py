"""``--from`` and ``--to``: what the wire takes, and a while ago (``15m``, ``2h``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from waooaw.events.clock import SystemClock
from waooaw.events.errors import InvalidParameterError
from waooaw.events.timestamp import format_timestamp, parse_duration

if TYPE_CHECKING:
    from waooaw.events.clock import Clock

HELP: Final = "earliest, now, a while ago (15m, 2h, 1d), an RFC 3339 time, a position or a cursor"


def spell_place_at(text: str, clock: Clock) -> str:
    """Return a place as the wire spells it: a duration becomes the time so long ago."""
    try:
        ago_ms = parse_duration(text)
    except InvalidParameterError:
        return text
    return format_timestamp(clock.now_ms() - ago_ms)


class PlaceParameter(click.ParamType[str]):
    """A place in the log."""

    name = "place"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the place as the wire spells it."""
        try:
            return spell_place_at(value, SystemClock())
        except InvalidParameterError as error:
            self.fail(error.detail, param, ctx)
