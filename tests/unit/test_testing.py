"""What the package gives to tests: time moved by hand, identifiers that can be foretold."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waooaw.events import Event
from waooaw.events.testing import ManualClock, SequentialIdentifiers, delivery_of


def test_time_stands_still_until_advanced() -> None:
    """Both clocks stand until time is advanced, and then move together."""
    clock = ManualClock(now_ms=5_000, monotonic=10.0)
    assert (5_000, 10.0) == (clock.now_ms(), clock.monotonic()) == (clock.now_ms(), clock.monotonic())
    clock.advance(1.5)
    assert (clock.now_ms(), clock.monotonic()) == (6_500, 11.5)


@given(st.lists(st.integers(0, 10**6), max_size=50))
def test_small_steps_add_up(microseconds: list[int]) -> None:
    """Steps below a millisecond are not lost: many of them are as long as one of their sum."""
    clock = ManualClock(now_ms=0, monotonic=0.0)
    for step in microseconds:
        clock.advance(step / 1e6)
    assert sum(microseconds) // 1_000 == clock.now_ms()
    assert sum(microseconds) / 1e6 == pytest.approx(clock.monotonic(), abs=1e-9)


def test_the_wall_clock_can_be_set_alone() -> None:
    """The wall clock can be set back while monotonic time goes on."""
    clock = ManualClock(now_ms=5_000, monotonic=10.0)
    clock.set_wall(1_000)
    clock.advance(1)
    assert (clock.now_ms(), clock.monotonic()) == (2_000, 11.0)


def test_time_cannot_be_advanced_back() -> None:
    """A negative step is a mistake of the test."""
    with pytest.raises(ValueError, match="-1"):
        ManualClock().advance(-1)


def test_identifiers_count() -> None:
    """Each kind counts from 1, in order, and event ids have the form of a UUIDv7."""
    identifiers = SequentialIdentifiers()
    events = [identifiers.new_event_id() for _ in range(20)]
    assert events == sorted(set(events))
    assert {7} == {UUID(text).version for text in events}
    assert [identifiers.new_epoch(), identifiers.new_epoch()] == [1, 2]
    assert [identifiers.new_token(), identifiers.new_token()] == ["token-1", "token-2"]


def test_a_delivery_without_a_bus() -> None:
    """A handler can be tried with an event of the test's own, on any attempt."""
    event = Event(type="a.b", source="/a", id="1", data={"n": 1}, extensions={"correlationid": "c"})
    delivery = delivery_of(event, attempt=2, last_error="no room")

    assert delivery.event == event
    assert (delivery.stored.type, delivery.stored.source, delivery.stored.correlationid) == ("a.b", "/a", "c")
    assert (delivery.attempt, delivery.last_error) == (2, "no room")
