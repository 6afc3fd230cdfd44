"""The metrics of webhooks: what the requests of this replica came to.

They are over all receivers: names would be without bound, and how one receiver does stands in its subscription.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily

from waooaw.events.service.metrics_members import latency_members

if TYPE_CHECKING:
    from collections.abc import Iterator

    from waooaw.events.webhooks.webhook_metrics import WebhookMetrics

QUANTILES: Final = (0.5, 0.95, 0.99)


def receivers_members(metrics: WebhookMetrics) -> dict[str, Any]:
    """Return ``webhooks`` of the metrics."""
    return {
        "requests": dict(metrics.requests),
        "seconds": latency_members(metrics.seconds),
        "in_flight": metrics.in_flight,
        "breakers": {"open": metrics.breakers_open, "half_open": metrics.breakers_half_open},
        "stopped": dict(metrics.stopped),
    }


def receiver_families(metrics: WebhookMetrics) -> Iterator[Metric]:
    """Return the same for Prometheus."""
    requests = CounterMetricFamily(
        "wowevent_webhook_requests",
        "Requests to receivers, by the class of the answer or what failed.",
        labels=["result"],
    )
    for result, count in metrics.requests.items():
        requests.add_metric([result], count)
    yield requests
    seconds = metrics.seconds
    yield SummaryMetricFamily(
        "wowevent_webhook_request_seconds",
        "From the dial to the end of the answer.",
        count_value=seconds.count,
        sum_value=seconds.total_seconds,
    )
    quantiles = GaugeMetricFamily(
        "wowevent_webhook_request_quantile_seconds",
        "Quantiles of the same since the start; 0 before.",
        labels=["quantile"],
    )
    for fraction in QUANTILES:
        quantiles.add_metric([str(fraction)], seconds.quantile(fraction) or 0)
    yield quantiles
    yield GaugeMetricFamily("wowevent_webhook_in_flight", "Requests under way.", metrics.in_flight)
    breakers = GaugeMetricFamily(
        "wowevent_webhook_breakers", "Receivers that are not called, or tried, after failures.", labels=["state"]
    )
    breakers.add_metric(["open"], metrics.breakers_open)
    breakers.add_metric(["half_open"], metrics.breakers_half_open)
    yield breakers
    stopped = CounterMetricFamily(
        "wowevent_webhook_stopped", "Subscriptions that the bus paused, by reason: alert on it.", labels=["reason"]
    )
    for reason, count in metrics.stopped.items():
        stopped.add_metric([reason], count)
    yield stopped
