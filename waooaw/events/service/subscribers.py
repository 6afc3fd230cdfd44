"""How those who read the bus do, by fixed thresholds.

Streams: *healthy* below 1 s behind, *unhealthy* above 5 s. Subscriptions: `waooaw.events.bus.subscription_health`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from waooaw.events.bus.subscription_health import HEALTHY_SECONDS, UNHEALTHY_ERROR_RATE, UNHEALTHY_SECONDS
from waooaw.events.position import position_milliseconds
from waooaw.events.service.subscription_metrics import key_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waooaw.events.bus.stream import Stream
    from waooaw.events.service.context import Context
    from waooaw.events.service.subscription_watch import Watched

WORST_MAX: Final = 20


def health_of(lag_seconds: float) -> str:
    """Return the word for a lag."""
    if lag_seconds < HEALTHY_SECONDS:
        return "healthy"
    return "degraded" if lag_seconds <= UNHEALTHY_SECONDS else "unhealthy"


def subscriber_members(context: Context, watched: Sequence[Watched]) -> dict[str, Any]:
    """Return ``subscribers`` of the metrics: open streams and subscriptions by health, and the worst by name."""
    counts = {"healthy": 0, "degraded": 0, "unhealthy": 0, "unknown": 0}
    worst: list[tuple[float, dict[str, Any]]] = []
    active = {name for name, bus in context.buses.items() if bus.metrics.delivery_rate().count}
    for number, opened in enumerate(context.streams):
        if opened.stream is None:
            continue
        lag_seconds = _lag_seconds(opened.stream, context)
        word = health_of(lag_seconds)
        counts[word if lag_seconds or opened.bus.name in active else "unknown"] += 1
        if word == "unhealthy":
            name = f"stream {number} of {', '.join(map(str, opened.stream.patterns.patterns[:5]))}"
            worst.append(_unhealthy(name, 0.0, lag_seconds, f"{lag_seconds:.1f} s behind the log"))
    for item in watched:
        health = item.health
        counts[health.word] += 1
        if health.word == "unhealthy":
            name = f"subscription {key_of(item.bus, item.info.name)}"
            worst.append(_unhealthy(name, health.error_rate, health.p95, health.reason))
    worst.sort(key=lambda scored: scored[0], reverse=True)
    return {"total": sum(counts.values()), "health": counts, "unhealthy": [members for _, members in worst[:WORST_MAX]]}


def _unhealthy(name: str, error_rate: float, p95: float | None, reason: str) -> tuple[float, dict[str, Any]]:
    """Return how bad it is, in times of the thresholds, and how it is told."""
    badness = max(error_rate / UNHEALTHY_ERROR_RATE, (p95 or 0.0) / UNHEALTHY_SECONDS)
    return badness, {"name": name, "error_rate": error_rate, "p95": p95, "reason": reason}


def _lag_seconds(stream: Stream[Any], context: Context) -> float:
    """A live stream has no lag; one that catches up is as late as the next event it has to write."""
    if stream.live:
        return 0.0
    return max(context.clock.now_ms() - position_milliseconds(stream.cursor.position), 0) / 1000
