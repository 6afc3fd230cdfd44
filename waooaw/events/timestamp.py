"""Times and durations as text: RFC 3339 in, RFC 3339 out, milliseconds of Unix time inside.

Rule 1: reading is strict RFC 3339 section 5.6 (lower-case ``t`` and ``z`` included) with a real calendar date.
Rule 2: milliseconds are floored, also before 1970, so that the order of two times never turns around.
Rule 3: a leap second (``:60``, legal in the last minute of a UTC day, RFC 3339 section 5.7) is read as ``:59.999``.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from waooaw.events.errors import InvalidParameterError, Violation

_RFC3339: Final = re.compile(
    r"([0-9]{4})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    r"[Tt]([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9]|60)(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))"
)
_DURATION: Final = re.compile(r"([0-9]{1,9})(s|m|h|d)")  # nine digits of days outlast the calendar
_UNIT_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_MONTH_DAYS: Final = (0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_MINUTES_A_DAY: Final = 1_440
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAYS: Final = 719_468  # from 0000-03-01, where the years of _unix_days begin, to 1970-01-01

_ECHO_CHARACTERS_MAX: Final = 64
"""How much of a wrong text an error repeats: enough to recognise it, no way to fill a log."""

_SECONDS_KEPT: Final = 1_024
"""Formatted seconds kept: a page of events read back spans many; one is 19 characters."""


def parse_timestamp(text: str, *, lenient_plus: bool = False, pointer: str = "#/time") -> int:
    """Unix time in milliseconds of an RFC 3339 date-time; negative before 1970.

    ``lenient_plus`` reads a space where the ``+`` of the offset belongs, as an unescaped ``+`` in a query arrives.
    A space in place of ``T`` is refused. Raises InvalidParameterError, which names ``pointer``.
    """
    if lenient_plus and text[-6:-5] == " ":
        text = f"{text[:-6]}+{text[-5:]}"
    found = _matched(text)
    if found is None:
        raise _invalid(text, "is not an RFC 3339 time such as 2026-11-24T05:28:22.123Z", pointer)
    year, month, day, hour, minute, second, fraction, _, _, _ = found.groups()
    minutes = _unix_days(int(year), int(month), int(day)) * _MINUTES_A_DAY + int(hour) * 60 + int(minute)
    milliseconds = int(f"{fraction or ''}000"[:3])
    if second == "60":
        second, milliseconds = "59", 999
    return ((minutes - _offset_minutes(found)) * 60 + int(second)) * 1_000 + milliseconds


def is_rfc3339(text: str) -> bool:
    """Whether ``text`` is an RFC 3339 date-time, as CloudEvents asks of ``time``."""
    return _matched(text) is not None


def format_timestamp(unix_ms: int) -> str:
    """RFC 3339 in UTC with milliseconds: ``2026-11-24T05:28:22.123Z``.

    Raises InvalidParameterError outside the years 1 to 9999.
    """
    seconds, milliseconds = divmod(unix_ms, 1_000)
    return f"{_format_second(seconds)}.{milliseconds:03d}Z"


def parse_duration(text: str, *, pointer: str = "#/duration") -> int:
    """Milliseconds of a count and a unit: ``30s``, ``15m``, ``2h``, ``1d``. Raises InvalidParameterError."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise _invalid(text, "is not a duration such as 30s, 15m, 2h or 1d", pointer)
    count, unit = found.groups()
    return int(count) * _UNIT_MS[unit]


def _matched(text: str) -> re.Match[str] | None:
    """The parts of ``text``, when its date is on the calendar and its leap second where one can be."""
    found = _RFC3339.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second, _, _, _, _ = found.groups()
    if day > "28" and not _on_calendar(int(year), int(month), int(day)):
        return None
    if second == "60" and (int(hour) * 60 + int(minute) - _offset_minutes(found) + 1) % _MINUTES_A_DAY:
        return None
    return found


def _on_calendar(year: int, month: int, day: int) -> bool:
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return day <= _MONTH_DAYS[month] and (leap or (month, day) != (2, 29))


def _offset_minutes(found: re.Match[str]) -> int:
    sign, hours, minutes = found.group(8, 9, 10)
    if sign is None:
        return 0
    offset = int(hours) * 60 + int(minutes)
    return -offset if sign == "-" else offset


def _unix_days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01, by years that begin in March so that the leap day is last. ``datetime`` lacks year 0."""
    year -= month < 3  # noqa: PLR2004 - March, see above
    days_before_month = (153 * ((month + 9) % 12) + 2) // 5
    return 365 * year + year // 4 - year // 100 + year // 400 + days_before_month + day - 1 - _EPOCH_DAYS


@lru_cache(maxsize=_SECONDS_KEPT)
def _format_second(seconds: int) -> str:
    try:
        return (_EPOCH + timedelta(seconds=seconds)).isoformat()[:19]
    except OverflowError:
        raise _invalid(str(seconds), "seconds of Unix time are outside the years 1 to 9999", "#/time") from None


def _invalid(text: str, detail: str, pointer: str) -> InvalidParameterError:
    shown = text if len(text) <= _ECHO_CHARACTERS_MAX else f"{text[:_ECHO_CHARACTERS_MAX]}…"
    sentence = f"{shown!r} {detail}"
    return InvalidParameterError(sentence, errors=(Violation(pointer, sentence, InvalidParameterError.code),))
