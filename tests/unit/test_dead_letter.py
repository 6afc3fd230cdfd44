"""Choosing among dead letters."""

from __future__ import annotations

import msgspec
import pytest

from tests.event_samples import event_json
from waooaw.events.dead_letter import DeadLetter, DeadLetterFilter
from waooaw.events.event import StoredEvent
from waooaw.events.pattern import PatternSet
from waooaw.events.position import make_position

LETTER = DeadLetter(
    id="1764019200500-1",
    reference="1764019200123-0",
    reason="max_attempts",
    attempts=5,
    first_failure_ms=1_764_019_200_200,
    last_failure_ms=1_764_019_200_500,
    last_error="Database AWAY",
    member="w1",
    stored=StoredEvent(
        make_position(1_764_019_200_123), "task.created", "agent/a", None, event_json(data={"city": "Łódź"})
    ),
)


@pytest.mark.parametrize(
    "which",
    [
        DeadLetterFilter(),
        DeadLetterFilter(ids=frozenset({LETTER.id, "2-1"})),
        DeadLetterFilter(reason="max_attempts"),
        DeadLetterFilter(patterns=PatternSet.parse(["x", "task.*"])),
        DeadLetterFilter(died_from_ms=LETTER.last_failure_ms),
        DeadLetterFilter(died_before_ms=LETTER.last_failure_ms + 1),
        DeadLetterFilter(text="database away"),
        DeadLetterFilter(text="łÓDŹ"),
        DeadLetterFilter(text="AGENT/A", reason="max_attempts", ids=frozenset({LETTER.id})),
    ],
)
def test_it_is_meant(which: DeadLetterFilter) -> None:
    """By nothing, by each member alone, and by all that are given; text without regard to case."""
    assert which.matches(LETTER)


@pytest.mark.parametrize(
    "which",
    [
        DeadLetterFilter(ids=frozenset()),
        DeadLetterFilter(ids=frozenset({"1764019200500-2"})),
        DeadLetterFilter(reason="rejected"),
        DeadLetterFilter(patterns=PatternSet.parse(["task"])),
        DeadLetterFilter(died_from_ms=LETTER.last_failure_ms + 1),
        DeadLetterFilter(died_before_ms=LETTER.last_failure_ms),
        DeadLetterFilter(text="timeout"),
        DeadLetterFilter(text="database", reason="rejected"),
    ],
)
def test_it_is_not_meant(which: DeadLetterFilter) -> None:
    """One member that does not fit is enough; no ids are no letters."""
    assert not which.matches(LETTER)


def test_text_is_found_however_its_publisher_escaped_it() -> None:
    """JSON spells a letter as itself or as an escape; both are the same text."""
    body = LETTER.stored.body.replace(b"}", b',"comment":"Stra\\u00dfe"}', 1)
    stored = msgspec.structs.replace(LETTER.stored, body=body)
    assert DeadLetterFilter(text="straße").matches(msgspec.structs.replace(LETTER, stored=stored))
