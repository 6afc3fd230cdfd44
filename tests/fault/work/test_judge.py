"""The judge of members' work finds what it has to find."""

from __future__ import annotations

import itertools

from tests.fault.work.decisions import decide, ends_dead
from tests.fault.work.judge import Verdict, deliveries, judge, read_journal

GOOD = next(f"e{number}" for number in itertools.count() if decide(f"e{number}", 1) == "ack")
POISON = next(f"e{n}" for n in itertools.count() if decide(f"e{n}", 9) == "nack" and ends_dead(f"e{n}"))


def verdict_of(*journals: str, kills: dict[str, float] | None = None, published: str = GOOD) -> Verdict:
    """Judge journals of members that are called by number."""
    lines = {str(number): read_journal(text) for number, text in enumerate(journals)}
    return judge(deliveries(lines, kills or {}), [published], {}, lease_seconds=2.0, max_attempts=3)


def work(at: float, attempt: int = 1, event_id: str = GOOD) -> str:
    """Return the lines of one delivery that was acked."""
    return (
        f"{at} m begin 1 {event_id} {attempt} -\n{at + 0.1} m settle 1 {event_id} {attempt} ack\n"
        f"{at + 0.2} m done 1 {event_id} {attempt} ack\n"
    )


def test_one_delivery_that_was_acked_is_right() -> None:
    """Once handed out and acked: nothing to say."""
    assert verdict_of(work(1.0)) == Verdict()


def test_event_that_comes_again_after_its_ack_is_found() -> None:
    """An ack that was answered ok is the end of an event."""
    assert verdict_of(work(1.0), work(5.0)).unexplained == [GOOD]


def test_event_in_two_hands_is_found() -> None:
    """A second delivery is right once the first was settled or lapsed, or its member was killed or cut off."""
    begun = f"1.0 m begin 0 {GOOD} 1 -\n"
    assert verdict_of(begun, work(1.5, 2)).overlapping == [GOOD]
    assert verdict_of(begun, work(1.5, 2), kills={"0": 1.2}) == Verdict()
    assert verdict_of(begun + "1.3 m broke 0 - 0 -\n", work(1.5, 2)) == Verdict()
    assert verdict_of(begun, work(3.1, 2)) == Verdict()


def test_event_that_nobody_handled_or_that_must_be_dead_is_found() -> None:
    """What was published ends as its handlers decide."""
    assert verdict_of("").undecided == [GOOD]
    assert verdict_of(work(1.0, event_id=POISON), published=POISON).undecided == [POISON]
