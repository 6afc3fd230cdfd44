"""When a failed delivery is tried again, and when no more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waooaw.events.retry import PUSH_RETRY, RetryPolicy

POLICIES = st.builds(
    RetryPolicy,
    max_attempts=st.integers(1, 1000),
    first_seconds=st.floats(0, 2_592_000),
    factor=st.floats(1, 100),
    cap_seconds=st.floats(0, 2_592_000),
)


@pytest.mark.parametrize(("failures", "bound"), [(1, 1.0), (2, 2.0), (3, 4.0), (9, 256.0), (10, 300.0), (1000, 300.0)])
def test_the_bound_doubles_up_to_the_cap(failures: int, bound: float) -> None:
    """As the shape of a subscription says: a second first, doubled with each failure, at most five minutes."""
    assert RetryPolicy().bound_seconds(failures) == bound


@given(POLICIES, st.integers(1, 1000))
def test_the_bound_is_within_the_cap_and_never_falls(policy: RetryPolicy, failures: int) -> None:
    """Whatever the numbers, also where the power is beyond a double: from zero to the cap, and growing."""
    bound = policy.bound_seconds(failures)

    assert 0 <= bound <= policy.bound_seconds(failures + 1) <= policy.cap_seconds


def test_no_first_wait_is_never_a_wait() -> None:
    """Zero times a factor stays zero, also for a power that no double holds."""
    assert RetryPolicy(first_seconds=0, factor=100).bound_seconds(1000) == 0


def test_a_factor_of_one_waits_alike() -> None:
    """Without growth each wait is the first one."""
    assert {RetryPolicy(first_seconds=3, factor=1).bound_seconds(failures) for failures in (1, 2, 900)} == {3}


@pytest.mark.parametrize(
    ("policy", "failures", "age_seconds", "reason"),
    [
        (RetryPolicy(), 4, 1e9, None),
        (RetryPolicy(), 5, 0, "max_attempts"),
        (RetryPolicy(), 6, 0, "max_attempts"),
        (RetryPolicy(max_attempts=1), 1, 0, "max_attempts"),
        (RetryPolicy(max_age_seconds=60), 1, 59.999, None),
        (RetryPolicy(max_age_seconds=60), 1, 60, "max_age"),
        (RetryPolicy(max_age_seconds=0), 1, 0, "max_age"),
        (RetryPolicy(max_age_seconds=60), 5, 60, "max_attempts"),
    ],
)
def test_when_it_is_over(policy: RetryPolicy, failures: int, age_seconds: float, reason: str | None) -> None:
    """After exactly so many tries, or at the age; the number is told where both hold."""
    assert policy.exhausted(failures, age_seconds) == reason


def test_a_receiver_is_tried_for_most_of_a_day() -> None:
    """The default for webhooks outlasts a night: with half of each bound, as jitter gives it in the mean, 17 hours."""
    bounds = [PUSH_RETRY.bound_seconds(failures) for failures in range(1, PUSH_RETRY.max_attempts)]
    assert bounds[:4] == [5, 15, 45, 135]
    assert 16 < sum(bounds) / 2 / 3600 < 18
