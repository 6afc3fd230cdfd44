"""Times as commands take them: RFC 3339, or so long from now, one way or the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from waooaw.events.clock import SystemClock
from waooaw.events.errors import InvalidParameterError
from waooaw.events.timestamp import parse_duration, parse_timestamp

if TYPE_CHECKING:
    from waooaw.events.clock import Clock


class TimeParameter(click.ParamType[int]):
    """A time, in Unix milliseconds; a duration (``15m``) is so long ago, or from now where ``is_ahead``."""

    name = "time"

    def __init__(self, *, is_ahead: bool = False, clock: Clock | None = None) -> None:
        self._direction = 1 if is_ahead else -1
        self._clock = clock or SystemClock()

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ANN401 - click's
        """Return the time."""
        if isinstance(value, int):
            return value
        try:
            return self._clock.now_ms() + self._direction * parse_duration(value)
        except InvalidParameterError:
            pass  # it is no duration, so it must be a time
        try:
            return parse_timestamp(value)
        except InvalidParameterError:
            self.fail(
                f"{value!r} is neither a time such as 2026-01-31T12:00:00Z nor a duration such as 15m", param, ctx
            )
