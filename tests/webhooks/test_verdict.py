"""What each reply means for its events, and for how long a receiver is left alone."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waooaw.events.webhooks.sending import Reply, ReplyKind
from waooaw.events.webhooks.verdict import (
    HOLD_SECONDS,
    REASON_CHARACTERS,
    RETRY_AFTER_SECONDS_MAX,
    Verdict,
    printable,
    read_retry_after,
    verdict_of,
)

NOW: Final = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
NOW_MS: Final = round(NOW.timestamp() * 1000)


def verdict(reply: Reply, failures_held: int = 0) -> Verdict:
    """Return what a reply means now."""
    return verdict_of(reply, now_ms=NOW_MS, failures_held=failures_held)


def answered(status: int, *, retry_after: str | None = None, body: bytes = b"") -> Verdict:
    """Return what an answer means now."""
    return verdict(Reply(kind="answered", status=status, retry_after=retry_after, body=body))


def failed(reason: str, delay_seconds: float | None = None) -> Verdict:
    """Return the verdict of a failure, which holds the receiver up for as long as the event."""
    return Verdict(
        outcome="nack",
        attempt_outcome="failed",
        reason=reason,
        delay_seconds=delay_seconds,
        hold_seconds=delay_seconds,
    )


@pytest.mark.parametrize("status", [200, 201, 202, 204, 206, 226, 299])
@pytest.mark.parametrize("retry_after", [None, "120"])
def test_success_takes_the_event(status: int, retry_after: str | None) -> None:
    """Every 2xx is an ack, and asks for nothing, whatever its headers and its body say."""
    found = answered(status, retry_after=retry_after, body=b"error: nothing was done")
    assert (found.outcome, found.attempt_outcome) == ("ack", "delivered")
    assert (found.delay_seconds, found.hold_seconds, found.is_gone) == (None, None, False)
    assert found.reason.startswith(str(status))


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (100, "100 Continue"),
        (101, "101 Switching Protocols"),
        (199, "199"),
        (300, "300 Multiple Choices: redirects are not followed"),
        (302, "302 Found: redirects are not followed"),
        (307, "307 Temporary Redirect: redirects are not followed"),
        (400, "400 Bad Request"),
        (401, "401 Unauthorized"),
        (404, "404 Not Found"),
        (408, "408 Request Timeout"),
        (413, None),
        (422, None),
        (451, "451 Unavailable For Legal Reasons"),
        (499, "499"),
        (500, "500 Internal Server Error"),
        (501, "501 Not Implemented"),
        (502, "502 Bad Gateway"),
        (503, "503 Service Unavailable"),
        (504, "504 Gateway Timeout"),
        (599, "599"),
        (600, "600"),
        (999, "999"),
    ],
)
def test_other_statuses_are_failures(status: int, reason: str | None) -> None:
    """1xx, 3xx, 4xx but for 410 and 429, 5xx and what is no class at all: the retry policy says when."""
    found = answered(status)
    assert found == failed(reason or found.reason)
    assert found.reason.startswith(str(status))


@pytest.mark.parametrize("status", [301, 400, 500, 502])
def test_retry_after_counts_for_429_and_503_alone(status: int) -> None:
    """Other failures follow the retry policy, whatever they ask for."""
    assert (answered(status, retry_after="5").delay_seconds, answered(status, retry_after="5").hold_seconds) == (
        None,
        None,
    )


@pytest.mark.parametrize("kind", ["timeout", "connection", "tls", "refused", "unreadable"])
def test_no_answer_is_a_failure(kind: ReplyKind) -> None:
    """Whatever kept an answer from coming, the retry policy says when the event is tried again."""
    assert verdict(Reply(kind=kind, error="no answer within 30 s")) == failed("no answer within 30 s")
    assert verdict(Reply(kind=kind)).reason


def test_gone_ends_it_without_a_failure() -> None:
    """410 releases the event, for whoever resumes the subscription."""
    assert answered(410, body=b"moved away", retry_after="5") == Verdict(
        outcome="release", attempt_outcome="failed", reason="410 Gone: moved away", is_gone=True
    )


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [("7", 7.0), ("1", 1.0), ("3600", 3600.0), ("3601", 3600.0), ("1000000000", 3600.0), ("9" * 5000, 3600.0)],
)
def test_a_busy_receiver_is_left_alone_as_it_asks(retry_after: str, seconds: float) -> None:
    """429 counts no failure of the event; nothing is sent for as long as it asks, at most an hour."""
    assert answered(429, retry_after=retry_after) == Verdict(
        outcome="release", attempt_outcome="held", reason="429 Too Many Requests", hold_seconds=seconds
    )


@pytest.mark.parametrize(("failures_held", "seconds"), [(0, 1), (1, 2), (2, 4), (5, 32), (6, 60), (7, 60), (10**9, 60)])
@pytest.mark.parametrize(
    "retry_after", [None, "", "soon", "-5", "0", "1.5", "0x10", "Wed, 21 Oct 2015 07:28:00 GMT", "١٢"]
)
def test_a_busy_receiver_that_does_not_say_for_how_long_is_left_alone_for_longer_each_time(
    retry_after: str | None, failures_held: int, seconds: float
) -> None:
    """Without a time ahead that can be read it is 1 s, doubled with each 429 in a row, up to 60 s."""
    found = verdict(Reply(kind="answered", status=429, retry_after=retry_after), failures_held)
    assert (found.outcome, found.hold_seconds) == ("release", seconds)


@pytest.mark.parametrize(("retry_after", "seconds"), [("120", 120.0), ("100000", 3600.0)])
def test_unavailable_with_a_time_is_a_failure_that_waits(retry_after: str, seconds: float) -> None:
    """503 with Retry-After fails the event, tries it again after that, and leaves the receiver alone until then."""
    assert answered(503, retry_after=retry_after) == failed("503 Service Unavailable", seconds)


@pytest.mark.parametrize("retry_after", ["0", "never", "Wed, 21 Oct 2015 07:28:00 GMT", ""])
def test_unavailable_without_a_time_ahead_follows_the_policy(retry_after: str) -> None:
    """An event does not lose all its tries in a moment to a receiver that says: at once."""
    assert answered(503, retry_after=retry_after) == failed("503 Service Unavailable")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("  30\t", 30.0),
        ("007", 7.0),
        ("0" * 5000 + "7", 7.0),
        ("Tue, 24 Nov 2026 12:01:30 GMT", 90.0),
        ("Tuesday, 24-Nov-26 12:01:30 GMT", 90.0),
        ("Tue Nov 24 12:01:30 2026", 90.0),
        ("Tue Nov  3 12:01:30 2026", 0.0),
        ("Tue, 24 Nov 2026 11:59:59 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3600.0),
        ("Sat, 01 Jan 0001 00:00:00 GMT", 0.0),
        ("Tuesday, 24-Nov-77 12:01:30 GMT", 0.0),  # more than 50 years ahead: 1977
        ("Tuesday, 24-Nov-76 12:01:30 GMT", 3600.0),
        ("Tue, 24 Nov 2026 12:00:60 GMT", 59.0),  # a leap second
        ("Tue, 31 Feb 2026 12:00:00 GMT", None),
        ("Tue, 24 Nov 2026 25:00:00 GMT", None),
        ("Tue, 24 Nov 2026 12:00:61 GMT", None),
        ("Tue, 24 Nov 0000 12:00:00 GMT", None),
        ("Tue, 24 Nov 2026 12:01:30", None),
        ("Tue, 24 Nov 2026 12:01:30 +0100", None),
        ("tue, 24 nov 2026 12:01:30 gmt", None),
        ("2026-11-24T12:01:30Z", None),
        ("+5", None),
        ("-5", None),
        ("1e3", None),
        ("5, 6", None),
        ("", None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(text: str, seconds: float | None) -> None:
    """Seconds, and the three dates of RFC 9110 (5.6.7); what is past is 0, far is an hour, all else is absent."""
    assert read_retry_after(text, now_ms=NOW_MS) == seconds


@given(ahead=st.integers(-(10**6), 10**6))
def test_dates_are_read_as_they_are_written(ahead: int) -> None:
    """A date of the common form asks for the seconds until then, within the bounds."""
    text = format_datetime(datetime.fromtimestamp(NOW.timestamp() + ahead, UTC), usegmt=True)
    assert read_retry_after(text, now_ms=NOW_MS) == min(max(ahead, 0), RETRY_AFTER_SECONDS_MAX)


@given(text=st.text(), status=st.integers(100, 999), failures_held=st.integers(0, 100))
def test_nobody_holds_the_bus_up_for_longer_than_an_hour(text: str, status: int, failures_held: int) -> None:
    """Whatever a receiver sends, it is left alone for at least a second and at most an hour, or not at all."""
    found = verdict(Reply(kind="answered", status=status, retry_after=text), failures_held)
    if found.hold_seconds is not None:
        assert 0 < found.hold_seconds <= RETRY_AFTER_SECONDS_MAX
    assert (found.hold_seconds is None) == (status != 429 and found.delay_seconds is None)
    if status == 429:
        assert found.hold_seconds is not None
        assert found.hold_seconds >= HOLD_SECONDS[0]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "500 Internal Server Error"),
        (b"no disk", "500 Internal Server Error: no disk"),
        (b" \r\n\t no\n\n disk \n", "500 Internal Server Error: no disk"),
        ("naïve ☃".encode(), "500 Internal Server Error: naïve ☃"),
        (b"\x1b[31mred\x07\x00", "500 Internal Server Error: [31mred"),
        ("a\u202eb\u2028c\u200bd\x85e".encode(), "500 Internal Server Error: a b c d e"),
        (b"\xff\xfe\xfd", "500 Internal Server Error"),
        (b"{" + b"x" * 1000, "500 Internal Server Error: {" + "x" * 198 + "…"),
    ],
)
def test_the_first_words_of_an_answer_are_told(body: bytes, reason: str) -> None:
    """The reason has the status and the beginning of the answer on one line, and nothing that is not printable."""
    assert answered(500, body=body).reason == reason


def test_a_redirect_says_where_to() -> None:
    """Whoever has to change the URL reads the new one."""
    reply = Reply(kind="answered", status=301, error="https://new.example/events")
    assert verdict(reply).reason == (
        "301 Moved Permanently: redirects are not followed, here to https://new.example/events"
    )


@given(body=st.binary(max_size=1024), error=st.text(), status=st.integers(100, 999))
def test_reasons_are_short_and_printable(body: bytes, error: str, status: int) -> None:
    """Whatever a receiver sends and whatever fails, the reason is one line of printable text."""
    for reply in (
        Reply(kind="answered", status=status, body=body, error=error),
        Reply(kind="connection", error=error),
    ):
        reason = verdict(reply).reason
        assert reason.isprintable()
        assert len(reason) <= REASON_CHARACTERS + 100


@given(text=st.text(), characters_max=st.integers(1, 50))
def test_text_is_cut_to_its_length(text: str, characters_max: int) -> None:
    """What is shown is never longer than said, and says where it was cut."""
    shown = printable(text, characters_max)
    assert len(shown) <= characters_max
    assert shown.endswith("…") or shown == printable(text, 10_000)
