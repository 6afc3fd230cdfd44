"""How subscriptions do: thresholds of the design, a minute's memory, activity that adds up over replicas."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waooaw.events.bus.subscription_health import (
    LATENCY_BOUNDS,
    ActivityWindow,
    SubscriberActivity,
    subscription_health,
)

START = 5_000.0


def active(acked: int = 0, failed: int = 0, latencies: dict[float, int] | None = None) -> SubscriberActivity:
    """Return activity as a window counts it."""
    window = ActivityWindow()
    window.settled(START, acked, failed)
    window.delivered(START, latencies or {})
    return window.activity(START)


@pytest.mark.parametrize(
    ("acked", "failed", "word"),
    [(100, 0, "healthy"), (96, 4, "healthy"), (95, 5, "degraded"), (80, 20, "degraded"), (79, 21, "unhealthy")],
)
def test_health_by_error_rate(acked: int, failed: int, word: str) -> None:
    """Healthy is below 5 % failed, unhealthy above 20 %; both bounds are degraded."""
    health = subscription_health(active(acked, failed))

    assert health.word == word
    assert health.error_rate == failed / 100
    assert ("deliveries fail" in health.reason) == (word != "healthy")


@pytest.mark.parametrize(
    ("seconds", "word"),
    [
        (0.0, "healthy"),
        (0.99, "healthy"),
        (1.0, "degraded"),
        (4.99, "degraded"),
        (5.01, "unhealthy"),
        (1e9, "unhealthy"),
    ],
)
def test_health_by_latency(seconds: float, word: str) -> None:
    """Healthy is below 1 s from acceptance to first delivery, unhealthy above 5 s."""
    health = subscription_health(active(10, 0, {seconds: 10}))

    assert health.word == word
    assert ("after their acceptance" in health.reason) == (word != "healthy")


def test_one_late_event_in_twenty_is_no_trouble() -> None:
    """It is the 95th percentile that counts."""
    assert subscription_health(active(20, 0, {0.01: 19, 60.0: 1})).word == "healthy"
    assert subscription_health(active(20, 0, {0.01: 18, 60.0: 2})).word == "unhealthy"


def test_nothing_done_is_unknown() -> None:
    """Without activity and without events that wait, nothing is known of a subscription."""
    health = subscription_health(SubscriberActivity())

    assert (health.word, health.error_rate, health.p95, health.reason) == ("unknown", 0.0, None, "")


def test_events_that_nobody_takes_are_told() -> None:
    """A subscription with old events and no activity is unhealthy, and the reason says how many wait for how long."""
    health = subscription_health(SubscriberActivity(), waiting=7, oldest_seconds=65.4)

    assert health.word == "unhealthy"
    assert health.reason == "7 events wait, the oldest for 65 s, and nobody takes them"
    assert subscription_health(SubscriberActivity(), waiting=7, oldest_seconds=2.0).word == "degraded"
    assert subscription_health(SubscriberActivity(), waiting=7, oldest_seconds=0.5).word == "unknown"


def test_a_retry_that_waits_long_is_no_neglect() -> None:
    """The age of an event that is not waiting, such as one before its next try, does not count."""
    assert subscription_health(SubscriberActivity(), waiting=0, oldest_seconds=500.0).word == "unknown"


def test_a_paused_subscription_is_not_unhealthy() -> None:
    """Who pauses a subscription means its events to wait; the reason reminds of it."""
    health = subscription_health(SubscriberActivity(), waiting=7, oldest_seconds=500.0, is_paused=True)

    assert (health.word, health.reason) == ("unknown", "it is paused; 7 events wait")


def test_a_minute_is_remembered() -> None:
    """What was done counts for a minute, give or take a slot, and then no more."""
    window = ActivityWindow()
    window.settled(START, 3, 1)

    assert window.activity(START + 54.9) == SubscriberActivity(3, 1)
    assert not window.activity(START + 60)
    window.settled(START + 60, 2, 0)
    assert window.activity(START + 60) == SubscriberActivity(2, 0)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.floats(0, 1e6), st.integers(1, 9)), max_size=20))
def test_activity_adds_up(parts: list[tuple[int, int, float, int]]) -> None:
    """Activity counted at several replicas and said as JSON is judged as if it had been at one."""
    together, merged = ActivityWindow(), SubscriberActivity()
    for acked, failed, seconds, count in parts:
        apart = ActivityWindow()
        for window in (together, apart):
            window.settled(START, acked, failed)
            window.delivered(START, {seconds: count})
        said = msgspec.json.encode(apart.activity(START).to_members())
        merged.merge(SubscriberActivity.from_members(msgspec.json.decode(said)))

    assert merged == together.activity(START)
    assert subscription_health(merged) == subscription_health(together.activity(START))


@given(st.floats(0.001, LATENCY_BOUNDS[-1]))
def test_a_percentile_is_off_by_a_tenth(seconds: float) -> None:
    """What is answered as p95 is at most ten percent from the latency."""
    p95 = active(1, 0, {seconds: 1}).p95

    assert p95 == pytest.approx(seconds, rel=0.1)


@pytest.mark.parametrize(
    "said",
    [
        None,
        [],
        {},
        {"acked": 1, "failed": 0},
        {"acked": -1, "failed": 0, "latencies": []},
        {"acked": "1", "failed": 0, "latencies": []},
        {"acked": 1, "failed": 0, "latencies": [[1]]},
        {"acked": 1, "failed": 0, "latencies": {"1": 2}},
    ],
)
def test_what_another_release_says_counts_as_nothing(said: object) -> None:
    """Activity that is not spelled as ours is left out instead of failing the metrics."""
    assert not SubscriberActivity.from_members(said)
