"""The metrics as Prometheus text 0.0.4 and OpenMetrics 1.0.0: names and labels are an interface, the guide has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, exposition
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.openmetrics import exposition as openmetrics

from waooaw.events.service.probes import health_members
from waooaw.events.service.subscribers import subscriber_members

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

    def collect(self) -> Iterator[Metric]:
        """Return every family."""
        yield from self._process()
        if self._context.running_bus is not None:
            yield from self._totals()
            yield from self._by_type()
            yield from self._log()

    def _process(self) -> Iterator[Metric]:
        context = self._context
        _, members = health_members(context)
        is_well = members["status"] == "healthy"
        yield GaugeMetricFamily("wowevent_healthy", "1 while /health answers healthy.", is_well)
        yield GaugeMetricFamily("wowevent_ready", "1 while /ready answers ready.", not context.is_draining)
        connections = 0 if context.listener is None else context.listener.connections
        yield GaugeMetricFamily("wowevent_connections", "Open connections.", connections)
        yield GaugeMetricFamily("wowevent_streams", "Open SSE and WebSocket connections.", len(context.streams))

    def _totals(self) -> Iterator[Metric]:
        metrics = self._context.bus.metrics
        yield GaugeMetricFamily("wowevent_uptime_seconds", "Since the counters began.", metrics.uptime_seconds)
        yield CounterMetricFamily(
            "wowevent_duplicates", "Publishes answered with an earlier receipt.", metrics.duplicates
        )
        yield CounterMetricFamily("wowevent_published_bytes", "Bytes of events stored.", metrics.published_bytes)
        yield CounterMetricFamily("wowevent_stream_demotions", "Live streams that fell behind.", metrics.demotions)
        refused = CounterMetricFamily("wowevent_publish_errors", "Publishes refused, by code.", labels=["code"])
        for code, count in metrics.refusals.items():
            refused.add_metric([code], count)
        yield refused
        gaps = CounterMetricFamily("wowevent_gaps", "Gaps that readers were told, by reason.", labels=["reason"])
        for reason in ("retention", "epoch"):
            gaps.add_metric([reason], metrics.gaps[reason])
        yield gaps
        latency = metrics.totals.latency
        summary = SummaryMetricFamily(
            "wowevent_delivery_latency_seconds",
            "From acceptance to the first live delivery.",
            latency.count,
            latency.total_seconds,
        )
        yield summary
        quantiles = GaugeMetricFamily(
            "wowevent_delivery_latency_quantile_seconds", "Quantiles of the same since the start.", labels=["quantile"]
        )
        for fraction in QUANTILES:
            if (seconds := latency.quantile(fraction)) is not None:
                quantiles.add_metric([str(fraction)], seconds)
        yield quantiles
        subscribers = GaugeMetricFamily("wowevent_subscribers", "Streams, by health.", labels=["health"])
        for health, count in subscriber_members(self._context)["health"].items():
            subscribers.add_metric([health], count)
        yield subscribers

    def _by_type(self) -> Iterator[Metric]:
        publishes = CounterMetricFamily("wowevent_publishes", "Events stored, by type.", labels=["type"])
        deliveries = CounterMetricFamily("wowevent_deliveries", "Events written to streams, by type.", labels=["type"])
        for event_type, counts in self._context.bus.metrics.types.items():
            publishes.add_metric([event_type], counts.publishes)
            deliveries.add_metric([event_type], counts.deliveries)
        yield publishes
        yield deliveries

    def _log(self) -> Iterator[Metric]:
        bus = self._context.bus
        state = bus.store.state()
        yield GaugeMetricFamily("wowevent_log_events", "Events in the log.", state.events)
        yield GaugeMetricFamily("wowevent_log_size_bytes", "Bytes of the events in the log.", state.size_bytes)
        yield GaugeMetricFamily(
            "wowevent_deduplication_window_seconds",
            "How far back a repeated id is recognised.",
            state.deduplication_seconds,
        )
        yield GaugeMetricFamily(
            "wowevent_publish_waiting_bytes", "Bytes of events that wait to be stored.", bus.details()["waiting_bytes"]
        )
