"""The metrics of subscriptions: by name for a bounded number, the rest together.

Counts are the store's, so that every replica tells the same of the same subscription.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from waooaw.events.bus.metrics import OTHER
from waooaw.events.bus_names import DEFAULT_BUS
from waooaw.events.subscription_wire import counts_members

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from waooaw.events.service.context import Context
    from waooaw.events.service.subscription_watch import Watched

NAMES_MAX: Final = 200
"""Subscriptions told by name, the first that were made; the rest is told together, as `OTHER`."""

GAUGES: Final[dict[str, str]] = {
    "waiting": "Events that wait to be claimed.",
    "leased": "Events that members hold.",
    "scheduled": "Events that wait for their next try.",
    "dead": "Events among the dead letters.",
}
COUNTERS: Final[dict[str, str]] = {
    "matched": "Events that were queued.",
    "acked": "Events that were dealt with.",
    "expired": "Events whose own time to live passed.",
    "overrun": "Events lost to retention or to max_waiting: alert on it.",
    "dropped": "Events dropped by purge, seek, dead-letter retention or on_exhausted.",
}


def key_of(bus: str, subscription: str) -> str:
    """Return the name under which JSON tells a subscription: its own on the default bus, behind the bus's on others."""
    return subscription if bus == DEFAULT_BUS and subscription != OTHER else f"{bus}/{subscription}"


def subscriptions_members(watched: Sequence[Watched], now_ms: int) -> dict[str, dict[str, Any]]:
    """Return ``subscriptions`` of the metrics."""
    members = {key_of(item.bus, item.info.name): _members(item, now_ms) for item in watched[:NAMES_MAX]}
    if rest := watched[NAMES_MAX:]:
        members[OTHER] = _sum([_members(item, now_ms) for item in rest])
    return members


def _members(item: Watched, now_ms: int) -> dict[str, Any]:
    queue = item.info.queue
    return {
        **counts_members(queue.counts),
        "oldest_waiting_seconds": _age(queue.oldest_ms, now_ms),
        "oldest_dead_seconds": _age(queue.oldest_dead_ms, now_ms),
        "members": item.members,
        "matched_per_second": item.matched.per_second,
        "acked_per_second": item.acked.per_second,
    }


def _age(since_ms: int | None, now_ms: int) -> float | None:
    return None if since_ms is None else max(now_ms - since_ms, 0) / 1000


_AGES: Final = ("oldest_waiting_seconds", "oldest_dead_seconds")


def _sum(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return several as if they were one: counts and rates together, ages of the oldest."""
    sums: dict[str, Any] = {name: sum(item[name] for item in items) for name in items[0] if name not in _AGES}
    for name in _AGES:
        sums[name] = max((item[name] for item in items if item[name] is not None), default=None)
    return sums


def subscription_families(context: Context, watched: Sequence[Watched]) -> Iterator[Metric]:
    """Return the same for Prometheus."""
    rows = list(_rows(watched, context.clock.now_ms()))
    for name, help_text in GAUGES.items():
        gauge = GaugeMetricFamily(f"wowevent_subscription_{name}", help_text, labels=_LABELS)
        for labels, members in rows:
            gauge.add_metric(labels, members[name])
        yield gauge
    for name, help_text in COUNTERS.items():
        counter = CounterMetricFamily(f"wowevent_subscription_{name}", help_text, labels=_LABELS)
        for labels, members in rows:
            counter.add_metric(labels, members[name])
        yield counter
    yield _ages("waiting", "Age of the oldest event that is not settled; 0 where there is none.", rows)
    yield _ages("dead", "Time since the oldest dead letter died; 0 where there is none.", rows)
    connected = GaugeMetricFamily(
        "wowevent_subscription_members", "Members that are connected, over all replicas.", labels=_LABELS
    )
    for labels, members in rows:
        connected.add_metric(labels, members["members"])
    yield connected


_LABELS: Final = ["bus", "subscription"]


def _ages(place: str, help_text: str, rows: Sequence[tuple[list[str], dict[str, Any]]]) -> Metric:
    family = GaugeMetricFamily(f"wowevent_subscription_oldest_{place}_seconds", help_text, labels=_LABELS)
    for labels, members in rows:
        family.add_metric(labels, members[f"oldest_{place}_seconds"] or 0)
    return family


def _rows(watched: Sequence[Watched], now_ms: int) -> Iterator[tuple[list[str], dict[str, Any]]]:
    for item in watched[:NAMES_MAX]:
        yield [item.bus, item.info.name], _members(item, now_ms)
    rest: dict[str, list[dict[str, Any]]] = {}
    for item in watched[NAMES_MAX:]:
        rest.setdefault(item.bus, []).append(_members(item, now_ms))
    yield from (([bus, OTHER], _sum(items)) for bus, items in rest.items())
