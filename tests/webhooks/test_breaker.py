"""A receiver that only fails is left alone for a while, and tried with one request after that."""

from __future__ import annotations

import pytest

from waooaw.events.webhooks.breaker import FAILURES_MAX, OPEN_SECONDS, Breaker


def _opened(now: float = 100.0) -> Breaker:
    breaker = Breaker()
    for _ in range(FAILURES_MAX):
        breaker.fail(now)
    return breaker


def test_failures_in_a_row_open_it() -> None:
    """The last of so many failures in a row opens it, and none before."""
    breaker = Breaker()
    assert [breaker.fail(100.0) for _ in range(FAILURES_MAX)] == [False] * (FAILURES_MAX - 1) + [True]
    assert breaker.state(100.0) == "open"


def test_a_success_between_failures_keeps_it_closed() -> None:
    """Failures count in a row: a receiver that fails now and then is never left alone."""
    breaker = Breaker()
    for _ in range(100):
        for _ in range(FAILURES_MAX - 1):
            assert not breaker.fail(1.0)
        assert not breaker.succeed()
    assert breaker.state(1.0) == "closed"


def test_it_half_opens_when_its_time_is_over() -> None:
    """After its time it is half open, until the one request is answered."""
    breaker = _opened(100.0)
    assert breaker.state(100.0 + OPEN_SECONDS[0] - 0.001) == "open"
    assert breaker.state(100.0 + OPEN_SECONDS[0]) == "half_open"


def test_a_success_closes_it() -> None:
    """The success that closes it says so; what follows begins without a past."""
    breaker = _opened()
    assert breaker.succeed()
    assert breaker.state(200.0) == "closed"
    assert not breaker.succeed()
    assert not breaker.fail(200.0)


def test_each_time_it_opens_for_twice_as_long_up_to_a_limit() -> None:
    """A receiver that stays down is asked less and less often."""
    breaker, now, waits = _opened(0.0), 0.0, []
    for _ in range(8):
        waits.append(breaker.until - now)
        now = breaker.until
        assert breaker.fail(now)
    assert waits == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0, 60.0, 60.0]


def test_requests_that_began_before_it_opened_do_not_make_it_longer() -> None:
    """What was under way when it opened may fail: that is the same trouble."""
    breaker = _opened(100.0)
    until = breaker.until
    for _ in range(50):
        assert not breaker.fail(101.0)
    assert breaker.until == until


@pytest.mark.parametrize("now", [100.0, 1000.0])
def test_a_reset_forgets_what_was(now: float) -> None:
    """Another receiver in its place has no past."""
    breaker = _opened(100.0)
    breaker.reset()
    assert breaker.state(now) == "closed"
