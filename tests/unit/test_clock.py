"""The system's clock."""

from __future__ import annotations

import time

from waooaw.events.clock import SystemClock


def test_wall_time_is_unix_milliseconds() -> None:
    """Wall time is that of the system, in whole milliseconds."""
    before = time.time_ns() // 1_000_000
    now = SystemClock().now_ms()
    assert before <= now <= time.time_ns() // 1_000_000
    assert isinstance(now, int)


def test_monotonic_time_does_not_run_back() -> None:
    """Monotonic time is that of the system, in seconds."""
    before = time.monotonic()
    assert before <= SystemClock().monotonic() <= time.monotonic()
