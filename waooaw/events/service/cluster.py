"""``GET /v1/cluster``: the replicas that serve from one store, and what they have done together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from waooaw.events.service.context import CONTEXT
from waooaw.events.service.parameters import Parameters
from waooaw.events.service.representations import JSON, json_response, negotiated
from waooaw.events.timestamp import format_timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

    from waooaw.events.service.replica import Listed

SAID: Final = ("version", "started", "host", "pid", "url", "streams", "connections", "load", "draining")
"""What a replica says of itself and the list shows; None where its release does not say it."""

_COUNTS: Final = ("publishes", "deliveries", "errors", "retries", "dlq")
_RATES: Final = ("count", "per_second", "per_minute")


async def list_replicas(request: web.Request) -> web.Response:
    """Answer who serves from this store; the answer is from memory, two seconds old at most while the store is well."""
    context = request.app[CONTEXT]
    Parameters(request.query, ())
    negotiated(request, JSON)
    replica = context.own_replica
    items = [replica_members(item, is_self=item.id == replica.id) for item in replica.listed()]
    return json_response({"replicas": items})


def replica_members(item: Listed, *, is_self: bool) -> dict[str, Any]:
    """Return a replica as the wire spells it."""
    said = {name: item.members.get(name) for name in SAID}
    return {"id": item.id, "seen": format_timestamp(item.seen_ms), "self": is_self, **said}


def cluster_members(items: Sequence[Listed]) -> dict[str, Any]:
    """Return ``cluster`` of the metrics: sums over all replicas on the list."""
    return {
        "replicas": len(items),
        "streams": _sum(items, "streams"),
        "totals": {name: _sum(items, "totals", name) for name in _COUNTS},
        "throughput": {
            kind: {name: _sum(items, "throughput", kind, name) for name in _RATES}
            for kind in ("publishes", "deliveries")
        },
    }


def _sum(items: Sequence[Listed], *path: str) -> float:
    return sum(item.number(*path) for item in items)
