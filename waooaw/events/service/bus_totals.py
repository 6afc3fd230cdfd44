"""What the buses of a service have counted, together: sums, as if all had been one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from waooaw.events.bus.metrics import OTHER, TYPES_MAX, TypeCounts
from waooaw.events.rate import Rate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waooaw.events.bus.metrics import EventMetrics


@dataclass(slots=True)
class BusTotals:
    """Sums over buses."""

    totals: TypeCounts = field(default_factory=TypeCounts)
    publishes: Rate = field(default_factory=lambda: Rate(0, 0.0, 0.0))
    deliveries: Rate = field(default_factory=lambda: Rate(0, 0.0, 0.0))


def sum_buses(buses: Sequence[EventMetrics]) -> BusTotals:
    """Return what several buses have counted; they stay as they are."""
    sums = BusTotals()
    for metrics in buses:
        _add(sums.totals, metrics.totals)
        sums.publishes = _plus(sums.publishes, metrics.publish_rate())
        sums.deliveries = _plus(sums.deliveries, metrics.delivery_rate())
    return sums


def sum_types(buses: Sequence[EventMetrics]) -> dict[str, TypeCounts]:
    """Return the same by event type, naming no more types than one bus does."""
    if len(buses) == 1:
        return buses[0].types
    types: dict[str, TypeCounts] = {}
    for metrics in buses:
        for name, counts in metrics.types.items():
            is_room = name in types or len(types) < TYPES_MAX
            _add(types.setdefault(name if is_room else OTHER, TypeCounts()), counts)
    return types


def _add(to: TypeCounts, counts: TypeCounts) -> None:
    to.publishes += counts.publishes
    to.deliveries += counts.deliveries
    to.errors += counts.errors
    to.retries += counts.retries
    to.dlq += counts.dlq
    to.latency.merge(counts.latency)


def _plus(one: Rate, other: Rate) -> Rate:
    return Rate(one.count + other.count, one.per_second + other.per_second, one.per_minute + other.per_minute)
