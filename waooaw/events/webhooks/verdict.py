"""What a reply means for the events that were sent, and for what is sent next. Pure; the caller tells the time.

Rule 1: 2xx takes the events, whatever else the answer says. 429 and 410 say nothing of the events: they come again
without a failure. All else is a failure of theirs.
Rule 2: a receiver is left alone as it asks, but not for longer than `RETRY_AFTER_SECONDS_MAX`. To ask for no time
at all is not to ask: otherwise events would go in a circle, or lose all their tries in a moment.
Rule 3: reasons are for people at night: what happened in plain words, and the first words of the answer; whoever the
receiver is, nothing in them is anything but printable text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from waooaw.events.push_state import AttemptOutcome
    from waooaw.events.webhooks.sending import Reply

RETRY_AFTER_SECONDS_MAX: Final = 3600.0
"""A longer time is cut to an hour: whoever needs longer is asked again, and says so again."""

HOLD_SECONDS: Final = (1.0, 60.0)
"""After a 429 without a time: the first time, doubled with each in a row, up to the second."""

_DOUBLINGS_MAX: Final = 10

REASON_CHARACTERS: Final = 200
"""Of the answer's own words; the attempt has more of them."""

_SECONDS: Final = re.compile(r"[0-9]+", re.ASCII)
_SECONDS_DIGITS_MAX: Final = 15

# RFC 9110 section 5.6.7: IMF-fixdate, and the two obsolete forms that a recipient has to read.
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH: Final = rf"(?P<month>{'|'.join(_MONTHS)})"
_TIME: Final = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_DATES: Final = (
    re.compile(rf"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} GMT"),
    re.compile(
        r"(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday), "
        rf"(?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT"
    ),
    re.compile(rf"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) {_MONTH} (?P<day>[ 0-9][0-9]) {_TIME} (?P<year>[0-9]{{4}})"),
)
_FAR_YEARS: Final = 50
_LEAP_SECOND: Final = 60

_TOO_MANY_REQUESTS: Final = 429
_GONE: Final = 410
_UNAVAILABLE: Final = 503


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What follows from a reply.

    ``delay_seconds``: until the events are tried again; None leaves it to the retry policy. ``hold_seconds``: for how
    long nothing is sent to the receiver. ``is_gone``: it wants nothing any more.
    """

    outcome: Literal["ack", "nack", "release"]
    attempt_outcome: AttemptOutcome
    reason: str
    delay_seconds: float | None = None
    hold_seconds: float | None = None
    is_gone: bool = False


def verdict_of(reply: Reply, *, now_ms: int, failures_held: int = 0) -> Verdict:
    """Return what a reply to a delivery means at Unix time ``now_ms``; ``failures_held`` counts the 429s before it."""
    status = reply.status if reply.kind == "answered" else None
    if status is not None and 200 <= status <= 299:  # noqa: PLR2004 - the class that RFC 9110 calls successful
        return Verdict(outcome="ack", attempt_outcome="delivered", reason=_said(status))
    reason = failure_reason(reply)
    asked_seconds = None if reply.retry_after is None else read_retry_after(reply.retry_after, now_ms=now_ms)
    if status == _TOO_MANY_REQUESTS:
        first, longest = HOLD_SECONDS
        doubled = min(first * 2.0 ** min(failures_held, _DOUBLINGS_MAX), longest)
        hold_seconds = max(asked_seconds, first) if asked_seconds else doubled
        return Verdict(outcome="release", attempt_outcome="held", reason=reason, hold_seconds=hold_seconds)
    if status == _GONE:
        return Verdict(outcome="release", attempt_outcome="failed", reason=reason, is_gone=True)
    if status == _UNAVAILABLE and asked_seconds:
        return Verdict(
            outcome="nack",
            attempt_outcome="failed",
            reason=reason,
            delay_seconds=asked_seconds,
            hold_seconds=asked_seconds,
        )
    return Verdict(outcome="nack", attempt_outcome="failed", reason=reason)


def read_retry_after(text: str, *, now_ms: int) -> float | None:
    """Return the seconds that ``Retry-After`` asks for (RFC 9110 section 10.2.3): 0 to `RETRY_AFTER_SECONDS_MAX`.

    A date that is past is 0. None for what is neither a number of seconds nor a date.
    """
    text = text.strip(" \t")
    if _SECONDS.fullmatch(text) is not None:
        digits = text.lstrip("0")
        seconds = RETRY_AFTER_SECONDS_MAX if len(digits) > _SECONDS_DIGITS_MAX else float(digits or "0")
    else:
        when = _read_date(text, now_ms)
        if when is None:
            return None
        seconds = when - now_ms / 1000
    return min(max(seconds, 0.0), RETRY_AFTER_SECONDS_MAX)


def _read_date(text: str, now_ms: int) -> float | None:
    """Return the Unix time of an HTTP-date, or None."""
    found = next((found for form in _DATES if (found := form.fullmatch(text)) is not None), None)
    if found is None:
        return None
    year = int(found["year"])
    if len(found["year"]) == 2:  # noqa: PLR2004 - two digits; more than 50 years ahead means the past (section 5.6.7)
        this_year = datetime.fromtimestamp(now_ms / 1000, UTC).year
        year += this_year - this_year % 100
        if year > this_year + _FAR_YEARS:
            year -= 100
    second = int(found["second"])
    try:
        date = datetime(
            year,
            _MONTHS.index(found["month"]) + 1,
            int(found["day"]),
            int(found["hour"]),
            int(found["minute"]),
            min(second, _LEAP_SECOND - 1) if second <= _LEAP_SECOND else second,
            tzinfo=UTC,
        )
    except ValueError:
        return None
    return date.timestamp()


def failure_reason(reply: Reply) -> str:
    """Return what happened in plain words, on one line of printable text."""
    if reply.kind != "answered" or reply.status is None:
        return printable(reply.error or _WITHOUT_ERROR[reply.kind], REASON_CHARACTERS)
    said = _said(reply.status)
    if 300 <= reply.status <= 399:  # noqa: PLR2004 - the class that RFC 9110 calls redirection
        to = "" if reply.error is None else f", here to {printable(reply.error, REASON_CHARACTERS)}"
        return f"{said}: redirects are not followed{to}"
    words = printable(reply.body.decode("utf-8", "replace"), REASON_CHARACTERS)
    return f"{said}: {words}" if words else said


@lru_cache(maxsize=1000)
def _said(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


_WITHOUT_ERROR: Final = {
    "answered": "no status",
    "timeout": "no answer in time",
    "connection": "the connection failed",
    "tls": "no secure connection",
    "refused": "the address is not called",
    "unreadable": "the answer is not HTTP",
}


def printable(text: str, characters_max: int) -> str:
    """Return the beginning of a text on one line, without anything that is not printable."""
    shown = "".join([character if character.isprintable() else " " for character in text])
    line = " ".join(shown.replace("\N{REPLACEMENT CHARACTER}", " ").split())
    return line if len(line) <= characters_max else line[: characters_max - 1].rstrip() + "…"
