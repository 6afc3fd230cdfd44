"""``GET /metrics``: JSON by default, Prometheus text or OpenMetrics for those who ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from waooaw.events.service.bus_totals import sum_buses, sum_types
from waooaw.events.service.cluster import cluster_members
from waooaw.events.service.context import CONTEXT
from waooaw.events.service.exposition import OPENMETRICS, PROMETHEUS, expose
from waooaw.events.service.metrics_members import count_members, latency_members, rate_members
from waooaw.events.service.parameters import Parameters
from waooaw.events.service.receiver_metrics import receivers_members
from waooaw.events.service.representations import JSON, json_response, negotiated
from waooaw.events.service.subscribers import subscriber_members
from waooaw.events.service.subscription_metrics import subscriptions_members
from waooaw.events.timestamp import format_timestamp

if TYPE_CHECKING:
    from waooaw.events.service.context import Context

_FORMATS: Final = {"json": JSON, "prometheus": PROMETHEUS, "openmetrics": OPENMETRICS}


def metrics_members(context: Context) -> dict[str, Any]:
    """Return the metrics as JSON has them; where buses are switched off, those of the process, and no counts."""
    counted = [bus.metrics for bus in context.buses.values()]
    sums = sum_buses(counted)
    listed = [] if context.replica is None else context.replica.listed()
    watched = [] if context.watch is None else context.watch.watched(listed)
    now_ms = context.clock.now_ms()
    return {
        "timestamp": format_timestamp(now_ms),
        "uptime_seconds": round(context.uptime_seconds, 3),
        "totals": count_members(sums.totals),
        "throughput": {"publishes": rate_members(sums.publishes), "deliveries": rate_members(sums.deliveries)},
        "latency": latency_members(sums.totals.latency),
        "subscribers": subscriber_members(context, watched),
        "subscriptions": subscriptions_members(watched, now_ms),
        "event_types": {
            name: count_members(counts) | {"latency": latency_members(counts.latency)}
            for name, counts in sum_types(counted).items()
        },
        "buses": {
            name: {
                "publishes": bus.metrics.totals.publishes,
                "deliveries": bus.metrics.totals.deliveries,
                "errors": bus.metrics.totals.errors,
            }
            for name, bus in context.buses.items()
        },
        "webhooks": receivers_members(context.webhook_metrics),
        "cluster": cluster_members(listed),
    }


async def metrics(request: web.Request) -> web.Response:
    """Answer the metrics in the form asked for."""
    context = request.app[CONTEXT]
    parameters = Parameters(request.query, ("format",))
    if parameters.one("format") is not None:
        media_type = _FORMATS[parameters.choice("format", tuple(_FORMATS))]
    else:
        media_type = negotiated(request, JSON, PROMETHEUS, OPENMETRICS)
    headers = {"Vary": "Accept"}
    if media_type == JSON:
        return json_response(metrics_members(context), headers=headers)
    return web.Response(body=expose(context, media_type), headers={**headers, "Content-Type": media_type})
