"""What the replicas know of a receiver together, and how it changes."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waooaw.events.push import PushDefinition
from waooaw.events.push_state import FAILING_SECONDS, PROVING_SUCCESSES
from waooaw.events.webhooks import push_record
from waooaw.events.webhooks.push_record import Limits, PushRecord, Report, Share, endpoint_of, read_record

ASKED = PushDefinition(url="https://agent.example.com/events", rate=50.0, concurrency=8)
UNASKED = replace(ASKED, handshake="none")
NOW = 1_764_000_000_000


def _fresh(push: PushDefinition = ASKED) -> PushRecord:
    return read_record(b"", push, NOW)


def _verified(push: PushDefinition = ASKED, allowed_per_minute: int | None = None) -> PushRecord:
    return push_record.answered(_fresh(push), "verified", None, allowed_per_minute, NOW)


# Of which endpoint ----------------------------------------------------------------------------------------------------


def test_a_record_survives_its_spelling() -> None:
    """What one replica wrote another one reads."""
    record = msgspec.structs.replace(
        _verified(), failures=3, failing_since_ms=NOW, shares={"a": Share(1, 1, 2, 1, NOW, "open")}
    )
    assert read_record(push_record.encode_record(record), ASKED, NOW + 5) == record


@pytest.mark.parametrize(
    "other",
    [
        replace(ASKED, url="https://other.example.com/events"),
        replace(ASKED, authorization="Bearer new"),
        replace(ASKED, headers={"X-Key": "new"}),
        UNASKED,
    ],
)
def test_another_endpoint_is_asked_anew(other: PushDefinition) -> None:
    """Consent is of one URL, asked with what it is shown: with other ones it is void, and shares run on."""
    record = msgspec.structs.replace(_verified(), shares={"a": Share(1, 1, 2, 1, NOW)})
    read = read_record(push_record.encode_record(record), other, NOW + 5)
    assert (read.state, read.since_ms, read.shares) == ("pending", NOW + 5, record.shares)


@pytest.mark.parametrize(
    "other", [replace(ASKED, concurrency=1, rate=None, mode="batch", timeout_seconds=1), replace(ASKED, secret=("x",))]
)
def test_how_it_is_sent_to_changes_no_consent(other: PushDefinition) -> None:
    """Rates, modes and signing secrets change while deliveries go on."""
    assert endpoint_of(other) == endpoint_of(ASKED)


def test_a_record_that_cannot_be_read_is_none() -> None:
    """What a later release wrote does not stop this one: it asks again."""
    assert read_record(b'{"endpoint":7}', ASKED, NOW) == _fresh()


# Consent --------------------------------------------------------------------------------------------------------------


def test_a_receiver_that_consented_gets_events() -> None:
    """Before its consent it gets none."""
    assert not push_record.is_deliverable(_fresh(), ASKED)
    assert push_record.is_deliverable(_verified(), ASKED)


def test_a_refusal_stays() -> None:
    """A receiver that refused gets nothing, and the reason is told."""
    record = push_record.answered(_fresh(), "refused", "it said no", None, NOW)
    assert not push_record.is_deliverable(record, ASKED)
    assert push_record.push_state_of(record, ASKED, NOW).reason == "it said no"


def test_a_receiver_without_an_answer_is_asked_again_later_and_later() -> None:
    """Each try waits twice as long as the one before, up to five minutes."""
    record, waits, now = _fresh(), [], NOW
    for _ in range(12):
        record = push_record.asking(record, 30, now)
        assert record.next_try_ms == now + 35_000
        record = push_record.answered(record, "pending", "no answer", None, now)
        waits.append((record.next_try_ms - now) / 1000)
        now = record.next_try_ms
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


def test_a_receiver_that_never_answers_is_given_up_after_a_day() -> None:
    """It counts as refused then, and the reason stays."""
    record = push_record.answered(_fresh(), "pending", "no answer", None, NOW + 86_400_000)
    assert (record.state, record.reason) == ("refused", "no answer")


def test_the_rate_that_the_receiver_allowed_holds() -> None:
    """The lower of its own and the definition's."""
    assert push_record.limits_of(_verified(allowed_per_minute=60), ASKED) == Limits(8, 1.0)
    assert push_record.limits_of(_verified(allowed_per_minute=6000), ASKED) == Limits(8, 50.0)
    assert push_record.limits_of(_verified(allowed_per_minute=60), replace(ASKED, rate=None)) == Limits(8, 1.0)
    assert push_record.limits_of(_verified(), replace(ASKED, rate=None)) == Limits(8, None)


def test_a_receiver_that_nobody_asked_proves_itself_slowly() -> None:
    """One request a second, one at a time, until ten were taken; then the definition's limits."""
    record = _fresh(UNASKED)
    for number in range(PROVING_SUCCESSES):
        assert push_record.is_deliverable(record, UNASKED)
        assert push_record.limits_of(record, UNASKED) == Limits(1, 1.0)
        assert f"{number} so far" in (push_record.push_state_of(record, UNASKED, NOW).reason or "")
        record = push_record.reported(record, UNASKED, Report(successes=1), NOW)
    assert record.state == "verified"
    assert push_record.limits_of(record, UNASKED) == Limits(8, 50.0)


# What was seen --------------------------------------------------------------------------------------------------------


def test_failures_count_from_the_first_after_the_last_success() -> None:
    """A success anywhere ends a series of failures."""
    record = push_record.reported(_verified(), ASKED, Report(failures=3, first_failure_ms=NOW + 1), NOW + 5)
    record = push_record.reported(record, ASKED, Report(failures=2, first_failure_ms=NOW + 6), NOW + 9)
    assert (record.failing_since_ms, record.failures) == (NOW + 1, 5)
    mixed = push_record.reported(record, ASKED, Report(successes=1, failures=2, first_failure_ms=NOW + 10), NOW + 11)
    assert (mixed.failing_since_ms, mixed.failures) == (NOW + 10, 2)
    ended = push_record.reported(record, ASKED, Report(successes=1), NOW + 11)
    assert (ended.failing_since_ms, ended.failures) == (None, 0)


@given(st.lists(st.booleans(), max_size=30), st.integers(0, 30))
def test_reports_one_after_the_other_say_what_one_would(results: list[bool], cut: int) -> None:
    """A report that could not be written is lost to nobody: with the next one it says the same."""

    def report(part: list[bool], first: int) -> Report:
        made = Report()
        for index, is_success in enumerate(part):
            made.take(is_success=is_success, now_ms=first + index)
        return made

    whole = report(results, NOW)
    joined = report(results[:cut], NOW).followed_by(report(results[cut:], NOW + len(results[:cut])))
    assert (joined.successes, joined.failures) == (whole.successes, whole.failures)
    assert joined.first_failure_ms == whole.first_failure_ms or not joined.failures


@pytest.mark.parametrize(
    ("failures", "seconds", "expected"),
    [(10, FAILING_SECONDS, True), (9, FAILING_SECONDS, False), (1000, FAILING_SECONDS - 1, False)],
)
def test_five_days_of_failures_are_too_long(failures: int, seconds: int, expected: bool) -> None:  # noqa: FBT001 - an expectation
    """With enough of them, so that one failure of last week and one of today are not five days."""
    record = msgspec.structs.replace(_verified(), failures=failures, failing_since_ms=NOW)
    assert push_record.is_failing_too_long(record, NOW + seconds * 1000) == expected


def test_the_first_reason_to_stop_stays_until_somebody_resumes() -> None:
    """Two replicas that see the same tell the same; whoever resumes begins without a past."""
    record = push_record.stopped(_verified(), "gone", NOW + 1)
    assert push_record.stopped(record, "failing", NOW + 2) is record
    state = push_record.push_state_of(record, ASKED, NOW + 3)
    assert state.stopped == "gone"
    record = msgspec.structs.replace(record, failures=50, failing_since_ms=NOW, held_until_ms=NOW + 1000)
    state = push_record.push_state_of(push_record.resumed(record), ASKED, NOW)
    assert (state.stopped, state.failing_since_ms, state.held_until_ms) == (None, None, None)


def test_the_worst_breaker_and_all_requests_are_told() -> None:
    """Of shares that run; what ended tells nothing."""
    shares = {
        "a": Share(2, 2, 8, 2, NOW + 1000),
        "b": Share(2, 2, 8, 1, NOW + 1000, "half_open"),
        "c": Share(2, 2, 8, 2, NOW - 1, "open"),
    }
    state = push_record.push_state_of(msgspec.structs.replace(_verified(), shares=shares), ASKED, NOW)
    assert (state.breaker, state.in_flight) == ("half_open", 3)
