"""What queues decide without a store: whose turn it is, what a failure makes, what is remembered for a repeat."""

from __future__ import annotations

from collections import Counter

import pytest

from waooaw.events.engine.sqlite.failing import exhausted, failed, wait_ms
from waooaw.events.engine.sqlite.last_answers import KEPT_BYTES, KEPT_MS, LastAnswers
from waooaw.events.engine.sqlite.reference import LEASED, SCHEDULED, Held, format_reference, parse_reference
from waooaw.events.engine.sqlite.turns import next_with_room, priority_of_turn, turn_after
from waooaw.events.errors import SupersededError
from waooaw.events.position import make_position
from waooaw.events.retry import RetryPolicy

POSITION = make_position(1_764_019_200_123, 7)


def test_fifteen_turns() -> None:
    """Of fifteen eight are critical, four high, two normal, one low, and then it begins anew."""
    turn, seen = 0, Counter[int]()
    for _ in range(15):
        seen[priority_of_turn(turn, range(4))] += 1
        turn = turn_after(turn)

    assert (turn, seen) == (0, {0: 8, 1: 4, 2: 2, 3: 1})


@pytest.mark.parametrize("filled", [[0], [1], [2], [3], [1, 3], [2, 3], [0, 3]])
def test_the_most_urgent_has_the_turns_of_the_empty(filled: list[int]) -> None:
    """Whatever the turn, a list with something in it is named; one that has its turn and is empty gives it away."""
    for turn in range(15):
        found, whole = priority_of_turn(turn, filled), priority_of_turn(turn, range(4))
        assert found == (whole if whole in filled else filled[0])


@pytest.mark.parametrize(
    ("rooms", "last", "expected"),
    [([1, 1, 1], -1, 0), ([1, 1, 1], 0, 1), ([1, 1, 1], 2, 0), ([1, 0, 1], 0, 2), ([0, 5, 0], 1, 1)],
)
def test_members_have_their_turns(rooms: list[int], last: int, expected: int) -> None:
    """The next one with room, round about."""
    assert next_with_room(rooms, last) == expected


def _held(failures: int = 0) -> Held:
    return Held(1, 0, POSITION, 0, LEASED, 5000, "", 0, failures, "nonce", "m", first_delivery_ms=1000)


def test_a_failure_is_counted() -> None:
    """The first time of failure stays, the last one and the error are the newest; it is due at once."""
    once = failed(_held(), "one", 2000)
    twice = failed(once, "two", 3000)

    assert (twice.failures, twice.first_failure_ms, twice.last_failure_ms, twice.last_error) == (2, 2000, 3000, "two")
    assert (twice.state, twice.at_ms) == (SCHEDULED, 3000)


@pytest.mark.parametrize(
    ("failures", "now_ms", "reason"),
    [
        (2, 2000, None),
        (3, 2000, "max_attempts"),
        (1, 10_999, None),
        (1, 11_000, "max_age"),
        (3, 99000, "max_attempts"),
    ],
)
def test_when_it_is_not_tried_again(failures: int, now_ms: int, reason: str | None) -> None:
    """After the last attempt, or at the age, which counts from the first delivery."""
    assert exhausted(_held(failures), RetryPolicy(max_attempts=3, max_age_seconds=10.0), now_ms) == reason


def test_how_long_it_waits() -> None:
    """As long as asked for, else the share of the bound that chance says."""
    policy = RetryPolicy(first_seconds=2.0, factor=3.0, cap_seconds=100.0)

    assert wait_ms(2, policy, None, 0.5) == 3000
    assert wait_ms(2, policy, 0.0015, 0.5) == 2
    assert wait_ms(99, policy, None, 1.0) == 100_000


@pytest.mark.parametrize("copy", [0, 1, 12_345])
def test_references_are_read_as_they_are_spelled(copy: int) -> None:
    """A position, and the number of a copy where it is one."""
    assert parse_reference(format_reference(POSITION, copy)) == (POSITION, copy)


@pytest.mark.parametrize("text", ["", "x", "1-2~", "1-2~x", "1-2~-1", "1-2~1~1", "1-2~" + "9" * 19, "1-99999999", "~1"])
def test_what_spells_no_reference(text: str) -> None:
    """It is nobody's, and no error: a token may hold anything."""
    assert parse_reference(text) is None


def test_the_last_answer_is_kept() -> None:
    """The same sequence finds it, a newer one does not, an older one is refused; another claimer has its own."""
    answers = LastAnswers()
    answers.keep("a", 2, "two", 10, 0)

    assert (answers.find("a", 2), answers.find("a", 3), answers.find("b", 2)) == ("two", None, None)
    with pytest.raises(SupersededError):
        answers.find("a", 1)


def test_answers_are_kept_for_an_hour() -> None:
    """Claimers that came once are forgotten, and those that go on are not."""
    answers = LastAnswers()
    answers.keep("once", 1, "once", 0, 0)
    answers.keep("often", 1, "often", 0, 0)
    answers.keep("often", 2, "often", 0, KEPT_MS - 1)
    answers.keep("new", 1, "new", 0, KEPT_MS)

    assert (answers.find("once", 1), answers.find("often", 2), answers.find("new", 1)) == (None, "often", "new")


def test_answers_are_bounded() -> None:
    """However many claimers there are, and however much they got: the oldest answers go, the newest is always kept."""
    answers = LastAnswers()
    for number in range(10):
        answers.keep(number, 1, f"answer {number}", KEPT_BYTES // 4, 0)
    assert [number for number in range(10) if answers.find(number, 1)] == [7, 8, 9]

    answers.keep("large", 1, "large", 2 * KEPT_BYTES, 0)
    assert [answers.find(9, 1), answers.find("large", 1)] == [None, "large"]
