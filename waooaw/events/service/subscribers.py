"""How those who read the bus do, by fixed thresholds: *healthy* below 1 s behind, *unhealthy* above 5 s."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from waooaw.events.position import position_milliseconds

if TYPE_CHECKING:
    from waooaw.events.bus.stream import Stream
    from waooaw.events.service.context import Context

HEALTHY_SECONDS: Final = 1.0
UNHEALTHY_SECONDS: Final = 5.0
WORST_MAX: Final = 20


def health_of(lag_seconds: float) -> str:
    """Return the word for a lag."""
    if lag_seconds < HEALTHY_SECONDS:
        return "healthy"
    return "degraded" if lag_seconds <= UNHEALTHY_SECONDS else "unhealthy"


def subscriber_members(context: Context) -> dict[str, Any]:
    """Return ``subscribers`` of the metrics: streams that are open, counted by health, and the worst by name."""
    counts = {"healthy": 0, "degraded": 0, "unhealthy": 0, "unknown": 0}
    behind: list[tuple[float, str]] = []
    active = {name for name, bus in context.buses.items() if bus.metrics.delivery_rate().count}
    for number, opened in enumerate(context.streams):
        if opened.stream is None:
            continue
        lag_seconds = _lag_seconds(opened.stream, context)
        word = health_of(lag_seconds)
        counts[word if lag_seconds or opened.bus.name in active else "unknown"] += 1
        if word == "unhealthy":
            behind.append(
                (lag_seconds, f"stream {number} of {', '.join(map(str, opened.stream.patterns.patterns[:5]))}")
            )
    worst = [
        {"name": name, "error_rate": 0.0, "p95": lag_seconds, "reason": f"{lag_seconds:.1f} s behind the log"}
        for lag_seconds, name in sorted(behind, reverse=True)[:WORST_MAX]
    ]
    return {"total": sum(counts.values()), "health": counts, "unhealthy": worst}


def _lag_seconds(stream: Stream[Any], context: Context) -> float:
    """A live stream has no lag; one that catches up is as late as the next event it has to write."""
    if stream.live:
        return 0.0
    return max(context.clock.now_ms() - position_milliseconds(stream.cursor.position), 0) / 1000
