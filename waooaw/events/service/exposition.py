"""The metrics as Prometheus text 0.0.4 and OpenMetrics 1.0.0: names and labels are an interface, the guide has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, exposition
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.openmetrics import exposition as openmetrics

from waooaw.events.service.probes import health_members, why_not_ready
from waooaw.events.service.receiver_metrics import receiver_families
from waooaw.events.service.subscribers import subscriber_members
from waooaw.events.service.subscription_metrics import subscription_families

if TYPE_CHECKING:
    from collections.abc import Iterator

    from waooaw.events.service.context import Context

PROMETHEUS: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"

QUANTILES: Final = (0.5, 0.95, 0.99)


def expose(context: Context, media_type: str) -> bytes:
    """Return the metrics in one of the two text forms."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Families(context))
    write = openmetrics.generate_latest if media_type == OPENMETRICS else exposition.generate_latest
    return write(registry)


class Families:
    """Collects what is counted already; nothing is counted for Prometheus alone."""

    def __init__(self, context: Context) -> None:
        self._context = context
        listed = [] if context.replica is None else context.replica.listed()
        self._watched = [] if context.watch is None else context.watch.watched(listed)

    def collect(self) -> Iterator[Metric]:
        """Return every family."""
        yield from self._process()
        yield from self._buses()
        yield from self._totals()
        yield from self._latency()
        yield from self._by_type()
        yield from self._log()
        yield from subscription_families(self._context, self._watched)
        yield from receiver_families(self._context.webhook_metrics)

    def _process(self) -> Iterator[Metric]:
        context = self._context
        _, members = health_members(context)
        is_well = members["status"] == "healthy"
        yield GaugeMetricFamily("wowevent_healthy", "1 while /health answers healthy.", is_well)
        is_ready = why_not_ready(context) is None
        yield GaugeMetricFamily("wowevent_ready", "1 while /ready answers ready.", is_ready)
        connections = 0 if context.listener is None else context.listener.connections
        yield GaugeMetricFamily("wowevent_connections", "Open connections.", connections)
        yield GaugeMetricFamily("wowevent_streams", "Open SSE and WebSocket connections.", len(context.streams))
        yield GaugeMetricFamily("wowevent_uptime_seconds", "Since the counters began.", context.uptime_seconds)

    def _buses(self) -> Iterator[Metric]:
        healthy = GaugeMetricFamily("wowevent_bus_healthy", "1 while the store takes the bus's events.", labels=["bus"])
        for name, bus in self._context.buses.items():
            healthy.add_metric([name], bus.engine_state().problem is None)
        yield healthy
        subscribers = GaugeMetricFamily(
            "wowevent_subscribers", "Streams and subscriptions, by health.", labels=["health"]
        )
        for health, count in subscriber_members(self._context, self._watched)["health"].items():
            subscribers.add_metric([health], count)
        yield subscribers

    def _totals(self) -> Iterator[Metric]:
        duplicates = CounterMetricFamily(
            "wowevent_duplicates", "Publishes answered with an earlier receipt.", labels=["bus"]
        )
        published = CounterMetricFamily("wowevent_published_bytes", "Bytes of events stored.", labels=["bus"])
        demotions = CounterMetricFamily("wowevent_stream_demotions", "Live streams that fell behind.", labels=["bus"])
        refused = CounterMetricFamily("wowevent_publish_errors", "Publishes refused, by code.", labels=["bus", "code"])
        gaps = CounterMetricFamily("wowevent_gaps", "Gaps that readers were told, by reason.", labels=["bus", "reason"])
        for name, bus in self._context.buses.items():
            metrics = bus.metrics
            duplicates.add_metric([name], metrics.duplicates)
            published.add_metric([name], metrics.published_bytes)
            demotions.add_metric([name], metrics.demotions)
            for code, count in metrics.refusals.items():
                refused.add_metric([name, code], count)
            for reason in ("retention", "epoch"):
                gaps.add_metric([name, reason], metrics.gaps[reason])
        yield from (duplicates, published, demotions, refused, gaps)

    def _latency(self) -> Iterator[Metric]:
        summary = SummaryMetricFamily(
            "wowevent_delivery_latency_seconds", "From acceptance to the first live delivery.", labels=["bus"]
        )
        quantiles = GaugeMetricFamily(
            "wowevent_delivery_latency_quantile_seconds",
            "Quantiles of the same since the start.",
            labels=["bus", "quantile"],
        )
        for name, bus in self._context.buses.items():
            latency = bus.metrics.totals.latency
            summary.add_metric([name], latency.count, latency.total_seconds)
            for fraction in QUANTILES:
                if (seconds := latency.quantile(fraction)) is not None:
                    quantiles.add_metric([name, str(fraction)], seconds)
        yield from (summary, quantiles)

    def _by_type(self) -> Iterator[Metric]:
        publishes = CounterMetricFamily("wowevent_publishes", "Events stored, by type.", labels=["bus", "type"])
        deliveries = CounterMetricFamily(
            "wowevent_deliveries", "Events written to streams, and acks, by type.", labels=["bus", "type"]
        )
        retries = CounterMetricFamily(
            "wowevent_retries", "Deliveries that failed and are tried again, by type.", labels=["bus", "type"]
        )
        dead = CounterMetricFamily(
            "wowevent_dead_letters", "Events that went to dead letters, by type.", labels=["bus", "type"]
        )
        for name, bus in self._context.buses.items():
            for event_type, counts in bus.metrics.types.items():
                publishes.add_metric([name, event_type], counts.publishes)
                deliveries.add_metric([name, event_type], counts.deliveries)
                retries.add_metric([name, event_type], counts.retries)
                dead.add_metric([name, event_type], counts.dlq)
        yield from (publishes, deliveries, retries, dead)

    def _log(self) -> Iterator[Metric]:
        events = GaugeMetricFamily("wowevent_log_events", "Events in the log.", labels=["bus"])
        size = GaugeMetricFamily("wowevent_log_size_bytes", "Bytes of the events in the log.", labels=["bus"])
        window = GaugeMetricFamily(
            "wowevent_deduplication_window_seconds", "How far back a repeated id is recognised.", labels=["bus"]
        )
        waiting = GaugeMetricFamily(
            "wowevent_publish_waiting_bytes", "Bytes of events that wait to be stored.", labels=["bus"]
        )
        for name, bus in self._context.buses.items():
            state = bus.store.state()
            events.add_metric([name], state.events)
            size.add_metric([name], state.size_bytes)
            window.add_metric([name], state.deduplication_seconds)
            waiting.add_metric([name], bus.details()["waiting_bytes"])
        yield from (events, size, window, waiting)
