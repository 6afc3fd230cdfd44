"""A token bucket, by values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waooaw.events.service.token_bucket import TokenBucket


def bucket() -> TokenBucket:
    """One of a hundred a second, and two hundred at once."""
    return TokenBucket(per_second=100, burst=200, now=1000.0)


def test_it_is_full_at_first() -> None:
    """The burst is there at once, to the last token, and no more."""
    tokens = bucket()

    assert [tokens.take(1, 1000.0) for _ in range(200)] == [True] * 200
    assert tokens.take(1, 1000.0) is False


@pytest.mark.parametrize(
    ("passed_seconds", "left"), [(0.0, 0), (0.009, 0), (0.01, 1), (0.5, 50), (2.0, 200), (3600.0, 200)]
)
def test_it_fills_by_its_rate(passed_seconds: float, left: int) -> None:
    """An empty one has so many tokens after a while, at most the burst."""
    tokens = TokenBucket(per_second=100, burst=200, now=0.0)
    assert tokens.take(200, 0.0)

    assert tokens.take(left + 1, passed_seconds) is False
    assert tokens.take(left, passed_seconds) is True


def test_too_many_take_none() -> None:
    """What is refused takes nothing from what comes after it."""
    tokens = bucket()

    assert tokens.take(201, 1000.0) is False
    assert tokens.take(200, 1000.0) is True


def test_a_clock_that_runs_back() -> None:
    """It gives nothing, and what has been given is not given again."""
    tokens = bucket()
    assert tokens.take(200, 1000.0)

    assert tokens.take(1, 900.0) is False
    assert tokens.take(1, 1000.0) is False
    assert tokens.take(1, 1000.011) is True


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 300)), max_size=50))
def test_never_more_than_rate_and_burst(steps: list[tuple[float, int]]) -> None:
    """Whatever is asked for when: no more goes through than the burst and the rate for the time that passed."""
    tokens = bucket()
    now, taken = 1000.0, 0
    for passed_seconds, count in steps:
        now += passed_seconds
        taken += count if tokens.take(count, now) else 0

        assert taken <= 200 + 100 * (now - 1000.0) + 0.001
