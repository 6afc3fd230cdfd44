"""Requests follow each other no faster than the rate."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from waooaw.events.webhooks.pace import TOLERANCE_SECONDS, Pace


def test_without_a_rate_nothing_waits() -> None:
    """No rate is no limit."""
    pace = Pace()
    for _ in range(1000):
        assert pace.wait_seconds(5.0) <= 0
        pace.take(5.0)


def test_a_slow_rate_spaces_requests_evenly() -> None:
    """At one a second the second request waits a second, less what timers are late by."""
    pace = Pace()
    pace.set_rate(1.0)
    assert pace.wait_seconds(100.0) <= 0
    pace.take(100.0)
    assert abs(pace.wait_seconds(100.0) - (1.0 - TOLERANCE_SECONDS)) < 1e-9


@given(
    rate=st.floats(min_value=0.05, max_value=5000),
    steps=st.lists(st.floats(min_value=0.0, max_value=2.0), min_size=1, max_size=300),
)
def test_in_no_second_more_begin_than_the_rate_and_its_tolerance_allow(rate: float, steps: list[float]) -> None:
    """Whenever requests are wanted, any window of a second has at most the rate, its tolerance and one."""
    pace, now, begun = Pace(), 50.0, []
    pace.set_rate(rate)
    for step in steps:
        now += step / rate
        if pace.wait_seconds(now) <= 0:
            pace.take(now)
            begun.append(now)
    for index, first in enumerate(begun):
        within = sum(1 for at in begun[index:] if at < first + 1.0)
        assert within <= rate * (1 + TOLERANCE_SECONDS) + 1.001


def test_whoever_waits_as_told_loses_nothing_of_the_rate() -> None:
    """Asking again when told, late by less than the tolerance, gives the whole rate over time."""
    pace, now = Pace(), 10.0
    pace.set_rate(200.0)
    for _ in range(2000):
        now += max(pace.wait_seconds(now), 0.0) + 0.003
        pace.take(now)
    assert 2000 / (now - 10.0) > 198
