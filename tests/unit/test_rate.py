"""The count of the last minute."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waooaw.events.rate import WINDOW_SECONDS, Rate, SlidingCounter


def test_nothing_counted_is_zero() -> None:
    """A new counter says 0, not None: nothing happened."""
    assert Rate(0, 0.0, 0.0) == SlidingCounter().rate(1_000.0)


@pytest.mark.parametrize(
    ("now", "expected"),
    [(1_000.0, 120), (1_000.99, 120), (1_059.99, 120), (1_060.0, 0), (1_061.0, 0), (1_119.0, 0), (1e9, 0)],
)
def test_a_second_counts_for_a_minute(now: float, expected: int) -> None:
    """What happened in one second is counted until its slot comes round again, and then no more."""
    counter = SlidingCounter()
    counter.add(1_000.5, 120)
    assert expected == counter.count(now)


def test_the_means() -> None:
    """The count is given over the window, a second and a minute."""
    counter = SlidingCounter()
    counter.add(1_000.0, 90)
    assert Rate(90, 1.5, 90.0) == counter.rate(1_030.0)


def test_time_that_runs_back_counts_into_the_newest_second() -> None:
    """A time before the newest is counted all the same, and forgets nothing."""
    counter = SlidingCounter()
    counter.add(1_000.0)
    counter.add(900.0)
    assert counter.count(950.0) == 2


@given(st.lists(st.tuples(st.floats(0, 90), st.integers(0, 9)), max_size=60), st.floats(0, 200))
def test_the_count_is_what_happened_in_the_window(steps: list[tuple[float, int]], later: float) -> None:
    """However the events are spread, the count is that of the current second and the 59 before it."""
    counter, now, happened = SlidingCounter(), 1_000.0, []
    for passed, count in steps:
        now += passed
        counter.add(now, count)
        happened.append((int(now), count))
    now += later
    assert sum(count for second, count in happened if second > int(now) - WINDOW_SECONDS) == counter.count(now)
