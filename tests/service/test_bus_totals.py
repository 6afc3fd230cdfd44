"""Sums over buses: as if everything had been counted on one."""

from __future__ import annotations

from waooaw.events.bus.metrics import OTHER, TYPES_MAX, EventMetrics
from waooaw.events.outages import OverloadedError
from waooaw.events.service.bus_totals import sum_buses, sum_types
from waooaw.events.testing import ManualClock


def test_sums_are_those_of_one_bus() -> None:
    """Counts, latencies and rates of two buses are what one bus would have that had counted it all."""
    clock = ManualClock()
    one, two, both = (EventMetrics(clock) for _ in range(3))
    for metrics in (one, both):
        metrics.delivered({"a": 2, "b": 1}, 0.5)
        metrics.refused(OverloadedError("full"), "a")
    for metrics in (two, both):
        metrics.delivered({"b": 3}, 2.0)
    sums, types = sum_buses([one, two]), sum_types([one, two])

    assert (sums.totals.deliveries, sums.totals.errors) == (both.totals.deliveries, both.totals.errors) == (6, 1)
    assert sums.deliveries == both.delivery_rate()
    assert sums.totals.latency.mean == both.totals.latency.mean
    assert {name: counts.deliveries for name, counts in types.items()} == {"a": 2, "b": 4}
    assert types["b"].latency.max == 2.0
    assert (one.totals.deliveries, two.totals.deliveries) == (3, 3)


def test_types_are_bounded() -> None:
    """Many buses with many types name no more types than one bus does; the rest is together."""
    clock = ManualClock()
    buses = [EventMetrics(clock) for _ in range(3)]
    for number, metrics in enumerate(buses):
        metrics.delivered({f"t{number}.{index}": 1 for index in range(TYPES_MAX)}, 0.1)

    types = sum_types(buses)

    assert len(types) <= TYPES_MAX + 1
    assert types[OTHER].deliveries == 2 * TYPES_MAX
    assert sum(counts.deliveries for counts in types.values()) == 3 * TYPES_MAX
