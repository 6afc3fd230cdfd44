"""The shapes of the API description that operators read: health, readiness, metrics."""

from __future__ import annotations

from typing import Final

from waooaw.events.bus.metrics import OTHER, TYPES_MAX
from waooaw.events.service.openapi_schemas import COUNT, DURABILITY, TIME, Schema, array_schema, object_schema
from waooaw.events.service.openapi_subscription_schemas import COUNTS as SUBSCRIPTION_COUNTS
from waooaw.events.service.subscribers import WORST_MAX
from waooaw.events.service.subscription_metrics import NAMES_MAX
from waooaw.events.webhooks.webhook_metrics import RESULTS

_NUMBER: Final[Schema] = {"type": "number", "minimum": 0}
_MEASURED: Final[Schema] = {"type": ["number", "null"], "description": "null until there is something to measure."}
_OPEN: Final[Schema] = {"type": "object", "additionalProperties": True}

_LATENCY: Final[Schema] = object_schema(
    {"count": COUNT, **dict.fromkeys(("min", "max", "mean", "p50", "p95", "p99"), _MEASURED)},
    description="Seconds from acceptance to the first live delivery.",
)
_COUNTS: Final[Schema] = dict.fromkeys(("publishes", "deliveries", "errors", "retries", "dlq"), COUNT)
_RATE: Final[Schema] = object_schema({"count": COUNT, "per_second": _NUMBER, "per_minute": _NUMBER})

_REPLICA: Final[Schema] = object_schema(
    {
        "id": {"type": "string", "description": "New with each start."},
        "seen": TIME | {"description": "When it was last heard of; 10 s later it is off the list."},
        "self": {"type": "boolean", "description": "Whether it answers this call."},
        "version": {"type": ["string", "null"]},
        "started": {"type": ["string", "null"], "format": "date-time"},
        "host": {"type": ["string", "null"]},
        "pid": {"type": ["integer", "null"]},
        "url": {"type": ["string", "null"], "description": "Where it listens, as it knows."},
        "streams": {"type": ["integer", "null"]},
        "connections": {"type": ["integer", "null"]},
        "load": {"type": ["number", "null"], "description": "Events stored and delivered a second, just now."},
        "draining": {"type": ["boolean", "null"]},
    },
    description="null: not told by its release.",
)

SCHEMAS: Final[dict[str, Schema]] = {
    "Cluster": object_schema({"replicas": array_schema(_REPLICA)}),
    "Buses": object_schema(
        {"items": array_schema(object_schema({"name": {"type": "string"}, "durability": DURABILITY}))},
        examples=[{"items": [{"name": "default", "durability": "fsync"}]}],
    ),
    "Health": object_schema(
        {
            "status": {"enum": ["healthy", "degraded", "stuck"]},
            "redis": {"enum": ["connected", "disconnected", "not_configured"]},
            "event_bus": {"enum": ["running", "disabled", "draining"]},
        },
        {
            "reason": {"type": "string", "description": "Why it is not healthy."},
            "since": TIME,
            "version": {"type": "string"},
            "started": TIME,
            "uptime_seconds": _NUMBER,
            "versions": _OPEN,
            "limits": _OPEN,
            "connections": COUNT,
            "streams": COUNT,
            "warnings": array_schema({"type": "string"}),
            "engine": _OPEN,
            "deduplication_seconds": _NUMBER,
            "dead_letters": object_schema(
                {
                    "total": COUNT,
                    "oldest_seconds": _MEASURED,
                    "subscriptions": {"type": "object", "additionalProperties": COUNT},
                },
                description="How many there are, and the subscriptions that have most of them.",
            ),
            "buses": {
                "type": "object",
                "additionalProperties": object_schema(
                    {
                        "durability": DURABILITY,
                        "waiting_bytes": COUNT,
                        "deduplication_seconds": _NUMBER,
                        "problem": {"type": ["string", "null"], "description": "The code that publishes get now."},
                    }
                ),
            },
        },
        description="Three members when well; reason and since when not; the rest with ?details=true.",
        examples=[{"status": "healthy", "redis": "not_configured", "event_bus": "running"}],
    ),
    "Readiness": object_schema(
        {"status": {"enum": ["ready", "not_ready"]}}, {"reason": {"type": "string"}}, examples=[{"status": "ready"}]
    ),
    "Metrics": object_schema(
        {
            "timestamp": TIME,
            "uptime_seconds": _NUMBER,
            "totals": object_schema(_COUNTS),
            "throughput": object_schema({"publishes": _RATE, "deliveries": _RATE}, description="The last 60 seconds."),
            "latency": _LATENCY,
            "subscribers": object_schema(
                {
                    "total": COUNT,
                    "health": object_schema(dict.fromkeys(("healthy", "degraded", "unhealthy", "unknown"), COUNT)),
                    "unhealthy": array_schema(
                        object_schema(
                            {
                                "name": {"type": "string"},
                                "error_rate": _NUMBER,
                                "p95": _MEASURED,
                                "reason": {"type": "string"},
                            }
                        ),
                        description=f"The {WORST_MAX} worst.",
                    ),
                }
            ),
            "subscriptions": {
                "type": "object",
                "additionalProperties": object_schema(
                    {
                        **SUBSCRIPTION_COUNTS,
                        "oldest_waiting_seconds": _MEASURED,
                        "oldest_dead_seconds": _MEASURED,
                        "members": COUNT,
                        "matched_per_second": _NUMBER,
                        "acked_per_second": _NUMBER,
                    }
                ),
                "description": (
                    f"By name, on other buses than the default as bus/name; those beyond the first {NAMES_MAX} "
                    f"together, as {OTHER}. Of the whole bus, as every replica tells it."
                ),
            },
            "event_types": {
                "type": "object",
                "additionalProperties": object_schema(_COUNTS | {"latency": _LATENCY}),
                "description": f"By type; those beyond the first {TYPES_MAX} together, as {OTHER}.",
            },
            "buses": {
                "type": "object",
                "additionalProperties": object_schema(dict.fromkeys(("publishes", "deliveries", "errors"), COUNT)),
                "description": "By bus; everything above is over all of them.",
            },
            "webhooks": object_schema(
                {
                    "requests": object_schema(dict.fromkeys(RESULTS, COUNT), description="By what came of them."),
                    "seconds": _LATENCY | {"description": "From the dial to the end of the answer."},
                    "in_flight": COUNT,
                    "breakers": object_schema({"open": COUNT, "half_open": COUNT}),
                    "stopped": object_schema({"gone": COUNT, "failing": COUNT}, description="Subscriptions paused."),
                },
                description="Requests to receivers, of this replica alone.",
            ),
            "cluster": object_schema(
                {
                    "replicas": COUNT,
                    "streams": COUNT,
                    "totals": object_schema(_COUNTS),
                    "throughput": object_schema({"publishes": _RATE, "deliveries": _RATE}),
                },
                description="Sums over all replicas that serve from the same store.",
            ),
        }
    ),
}
