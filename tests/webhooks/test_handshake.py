"""Whether a receiver consented: by the header alone, and never by accident."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waooaw.events.webhooks.handshake import ALLOWED_PER_MINUTE_MAX, Answer, consent_of
from waooaw.events.webhooks.sending import Reply, ReplyKind

ORIGIN: Final = "bus.example"


def answer(status: int, origin: str | None = ORIGIN, rate: str | None = None, body: bytes = b"") -> Answer:
    """Return what an answer to the handshake means."""
    reply = Reply(kind="answered", status=status, allowed_origin=origin, allowed_rate=rate, body=body)
    return consent_of(reply, ORIGIN)


@pytest.mark.parametrize("status", [200, 202, 204])
@pytest.mark.parametrize("origin", [ORIGIN, "*", " bus.example ", "BUS.example"])
def test_the_header_consents(status: int, origin: str) -> None:
    """The origin that was asked for, in any case, or all of them, on any success."""
    assert answer(status, origin) == Answer("verified")


def test_a_success_without_the_header_is_no_consent() -> None:
    """Many servers answer OPTIONS with 200 to anybody."""
    found = answer(200, None)
    assert (found.state, found.allowed_per_minute) == ("refused", None)
    assert (
        found.reason
        == "it answered 200 without consent: it has no WebHook-Allowed-Origin header, which consents to deliveries"
    )


@pytest.mark.parametrize(
    "origin", ["", "bus.example.evil", "example", "other.example", "bus.example, other.example", "**", "null"]
)
def test_consent_for_somebody_else_is_none(origin: str) -> None:
    """Another origin, a list of them, or nothing, is not this one; the reason says both."""
    found = answer(200, origin)
    assert found == Answer("refused", f"it allows deliveries from {origin!r}, and this is 'bus.example'")


@pytest.mark.parametrize("status", [101, 301, 307, 400, 401, 403, 404, 405, 410, 418, 499, 600])
@pytest.mark.parametrize("origin", [None, ORIGIN, "*"])
def test_an_answer_that_is_no_success_refuses(status: int, origin: str | None) -> None:
    """A definite answer is a refusal even with the header: what refuses the question would refuse deliveries."""
    found = answer(status, origin, body=b"who are you")
    assert found.state == "refused"
    assert found.reason is not None
    assert found.reason.startswith(str(status))


@pytest.mark.parametrize("status", [429, 500, 501, 502, 503, 504, 599])
def test_an_answer_that_says_not_now_is_asked_again(status: int) -> None:
    """A receiver that is busy, or not deployed yet, stays pending, with the reason."""
    found = answer(status, None, body=b"starting")
    assert found.state == "pending"
    assert found.reason is not None
    assert found.reason.startswith(str(status))
    assert found.reason.endswith(": starting")


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        ("timeout", "pending"),
        ("connection", "pending"),
        ("unreadable", "pending"),
        ("tls", "pending"),
        ("refused", "refused"),
    ],
)
def test_no_answer_is_asked_again_unless_it_cannot_get_better(kind: ReplyKind, state: str) -> None:
    """What its owner can mend is asked again, a certificate too; an address that is refused stays so."""
    assert consent_of(Reply(kind=kind, error="why"), ORIGIN) == Answer(state, "why")  # type: ignore[arg-type]  # a table


@pytest.mark.parametrize(
    ("rate", "allowed"),
    [
        (None, None),
        ("*", None),
        (" * ", None),
        ("1", 1),
        ("120", 120),
        (" 0120 ", 120),
        ("999999999999999999", ALLOWED_PER_MINUTE_MAX),
    ],
)
def test_the_allowed_rate_is_read(rate: str | None, allowed: int | None) -> None:
    """Requests a minute, or * for no limit, which is also what no header says."""
    assert answer(200, rate=rate) == Answer("verified", allowed_per_minute=allowed)


@pytest.mark.parametrize("rate", ["", "0", "000", "-1", "1.5", "1e3", "many", "100, 200", "٣", "9" * 19])
def test_an_allowance_that_cannot_be_read_allows_nothing(rate: str) -> None:
    """Nobody is flooded because of a slip in a header; the reason shows it."""
    found = answer(200, rate=rate)
    assert (found.state, found.allowed_per_minute) == ("refused", None)
    assert found.reason is not None
    assert found.reason.startswith(f"its WebHook-Allowed-Rate is {rate!r}")


@given(origin=st.text(), rate=st.none() | st.text(), body=st.binary(), status=st.integers(100, 999))
def test_reasons_are_printable_and_verified_is_by_the_header(
    origin: str, rate: str | None, body: bytes, status: int
) -> None:
    """Whatever a receiver answers, the reason is printable, and only the right header on a success consents."""
    found = answer(status, origin, rate, body)
    assert (found.reason is None) == (found.state == "verified")
    assert found.reason is None or found.reason.isprintable()
    if found.state == "verified":
        assert origin.strip(" \t").lower() in ("*", ORIGIN)
        assert 200 <= status <= 299
