"""What may be sent now, and what should be claimed, follows from slots, rate, breaker and what the receiver asked."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waooaw.events.delivery import CLAIM_MAX
from waooaw.events.push import PushDefinition
from waooaw.events.webhooks.allowance import IDLE_CREDIT_MAX, LACKING_SECONDS, Allowance
from waooaw.events.webhooks.breaker import FAILURES_MAX
from waooaw.events.webhooks.verdict import Verdict

PUSH = PushDefinition(url="https://agent.example.com/", concurrency=64)
NOW = 100.0
HELD = Verdict(outcome="release", attempt_outcome="held", reason="429", hold_seconds=10.0)
TAKEN = Verdict(outcome="ack", attempt_outcome="delivered", reason="204")


def _open(slots: int = 8, rate: float | None = None) -> Allowance:
    allowance = Allowance()
    allowance.is_open = True
    allowance.set_share(slots, NOW + 5, rate)
    return allowance


def test_as_many_requests_as_slots() -> None:
    """What is under way takes a slot."""
    allowance = _open(8)
    assert [allowance.room(NOW, in_flight) for in_flight in (0, 7, 8)] == [8, 1, 0]


def test_what_is_about_to_be_given_up_is_not_used() -> None:
    """From the decision on, before it is written; the answer then says what there is."""
    allowance = _open(8)
    allowance.restrict(5)
    assert (allowance.room(NOW, 0), allowance.room(NOW, 6)) == (5, -1)
    allowance.restrict(7)
    assert allowance.room(NOW, 0) == 5
    allowance.set_share(7, NOW + 5, None)
    assert allowance.room(NOW, 0) == 7


def test_a_share_that_ended_allows_nothing() -> None:
    """A replica that lost the store sends nothing on slots that another one may have by now."""
    allowance = _open(8)
    assert allowance.room(NOW + 4.9, 0) == 8
    assert allowance.room(NOW + 5, 0) == 0


def test_what_is_not_open_allows_nothing_and_claims_nothing() -> None:
    """Without consent, or paused, no delivery begins; an errand of a person may."""
    allowance = _open(8)
    allowance.is_open = False
    assert (allowance.room(NOW, 0), allowance.credit(NOW, PUSH)) == (0, 0)
    assert allowance.blocked_seconds(NOW) == float("inf")
    assert allowance.errand_room(NOW, 3) == 5


def test_a_receiver_that_asked_to_wait_is_left_alone() -> None:
    """By deliveries and by errands, until its time is over; then claims begin again."""
    allowance = _open(8)
    assert allowance.take(HELD, NOW)
    allowance.set_share(8, NOW + 60, None)
    assert (allowance.room(NOW + 9.9, 0), allowance.errand_room(NOW + 9.9, 0), allowance.credit(NOW + 9.9, PUSH)) == (
        0,
        0,
        0,
    )
    assert allowance.room(NOW + 10, 0) == 8
    assert allowance.credit(NOW + 10, PUSH) == 16


def test_answers_to_what_was_under_way_count_as_one_wait() -> None:
    """Many 429s at once are one answer: the next wait is doubled once, and a success forgets them."""
    allowance = _open(8)
    for _ in range(8):
        allowance.take(HELD, NOW)
    assert allowance.holds == 1
    allowance.take(HELD, NOW + 11)
    assert allowance.holds == 2
    allowance.take(TAKEN, NOW + 30)
    assert allowance.holds == 0


def test_an_open_breaker_lets_errands_through_and_half_open_one_delivery() -> None:
    """A person may try what is left alone; the bus itself tries with one event."""
    allowance = _open(8)
    for _ in range(FAILURES_MAX):
        allowance.breaker.fail(NOW)
    assert (allowance.room(NOW, 0), allowance.credit(NOW, PUSH), allowance.errand_room(NOW, 0)) == (0, 0, 8)
    half = allowance.breaker.until
    allowance.set_share(8, half + 5, None)
    assert (allowance.room(half, 0), allowance.room(half, 1), allowance.credit(half, PUSH)) == (1, 0, 1)


def test_a_replica_without_a_slot_rests() -> None:
    """It claims nothing for a moment, and then tries again; a slot ends that at once."""
    allowance = _open(0)
    allowance.lack(NOW)
    assert allowance.credit(NOW + LACKING_SECONDS / 2, PUSH) == 0
    assert allowance.credit(NOW + LACKING_SECONDS, PUSH) > 0
    allowance.set_share(1, NOW + 5, None)
    assert allowance.credit(NOW + LACKING_SECONDS / 2, PUSH) == 2


@pytest.mark.parametrize(
    ("slots", "rate", "mode", "expected"),
    [
        (0, None, "binary", IDLE_CREDIT_MAX * 2),
        (8, None, "binary", 16),
        (8, 3.0, "binary", 6),
        (8, 0.01, "binary", 1),
        (2, None, "batch", 400),
        (64, None, "batch", CLAIM_MAX),
        (2, 0.5, "batch", 100),
    ],
)
def test_claims_are_a_little_ahead_of_what_is_sent(slots: int, rate: float | None, mode: str, expected: int) -> None:
    """Twice the slots, in events; of a slow rate what is sent in two seconds; before there are slots, a few."""
    push = replace(PUSH, mode=mode)  # type: ignore[arg-type] # one of the modes
    assert _open(slots, rate).credit(NOW, push) == expected


@given(
    slots=st.integers(0, 100),
    rate=st.none() | st.floats(0.01, 1000),
    failures=st.integers(0, 12),
    is_open=st.booleans(),
    passed=st.floats(0, 20),
    in_flight=st.integers(0, 120),
)
def test_what_is_blocked_has_no_room_and_no_credit(
    *, slots: int, rate: float | None, failures: int, is_open: bool, passed: float, in_flight: int
) -> None:
    """However it came: where nothing is sent nothing is claimed, and room never goes beyond the slots."""
    allowance = _open(slots, rate)
    allowance.is_open = is_open
    for _ in range(failures):
        allowance.breaker.fail(NOW)
    now = NOW + passed
    if allowance.blocked_seconds(now) > 0:
        assert allowance.room(now, in_flight) <= 0
        assert allowance.credit(now, PUSH) == 0
    assert allowance.room(now, in_flight) + in_flight <= max(slots, in_flight)
