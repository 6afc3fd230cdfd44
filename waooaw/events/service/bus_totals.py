"""What the buses of a service have counted, together: sums, as if all had been one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from waooaw.events.bus.metrics import OTHER, TYPES_MAX, TypeCounts
from waooaw.events.rate import Rate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from waooaw.events.bus.metrics import EventMetrics


@dataclass(slots=True)
class BusTotals:
    """Sums over buses. ``types`` names no more types than one bus does."""

    totals: TypeCounts = field(default_factory=TypeCounts)
    types: dict[str, TypeCounts] = field(default_factory=dict)
    publishes: Rate = field(default_factory=lambda: Rate(0, 0.0, 0.0))
    deliveries: Rate = field(default_factory=lambda: Rate(0, 0.0, 0.0))


def sum_buses(buses: Iterable[EventMetrics]) -> BusTotals:
    """Return what several buses have counted; they stay as they are."""
    sums = BusTotals()
    for metrics in buses:
        _add(sums.totals, metrics.totals)
        for name, counts in metrics.types.items():
            is_room = name in sums.types or len(sums.types) < TYPES_MAX
            _add(sums.types.setdefault(name if is_room else OTHER, TypeCounts()), counts)
        sums.publishes = _plus(sums.publishes, metrics.publish_rate())
        sums.deliveries = _plus(sums.deliveries, metrics.delivery_rate())
    return sums


def _add(to: TypeCounts, counts: TypeCounts) -> None:
    to.publishes += counts.publishes
    to.deliveries += counts.deliveries
    to.errors += counts.errors
    to.retries += counts.retries
    to.dlq += counts.dlq
    to.latency.merge(counts.latency)


def _plus(one: Rate, other: Rate) -> Rate:
    return Rate(one.count + other.count, one.per_second + other.per_second, one.per_minute + other.per_minute)
