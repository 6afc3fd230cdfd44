"""How counts and rates are spelled on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from waooaw.events.bus.metrics import TypeCounts
    from waooaw.events.histogram import LatencyHistogram
    from waooaw.events.rate import Rate


def count_members(counts: TypeCounts) -> dict[str, int]:
    """Return counts as the wire spells them."""
    return {
        "publishes": counts.publishes,
        "deliveries": counts.deliveries,
        "errors": counts.errors,
        "retries": counts.retries,
        "dlq": counts.dlq,
    }


def latency_members(histogram: LatencyHistogram) -> dict[str, float | int | None]:
    """Return seconds that were measured as the wire spells them."""
    return {
        "count": histogram.count,
        "min": histogram.min,
        "max": histogram.max,
        "mean": histogram.mean,
        "p50": histogram.quantile(0.50),
        "p95": histogram.quantile(0.95),
        "p99": histogram.quantile(0.99),
    }


def rate_members(rate: Rate) -> dict[str, float | int]:
    """Return a rate as the wire spells it."""
    return {"count": rate.count, "per_second": rate.per_second, "per_minute": rate.per_minute}
