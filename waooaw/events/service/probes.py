"""``/health`` and ``/ready``: answered from memory, whatever the store does."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import msgspec
from aiohttp import web

from waooaw.events.service.context import CONTEXT
from waooaw.events.service.parameters import Parameters
from waooaw.events.service.publishing import JSON
from waooaw.events.settings import SETTINGS
from waooaw.events.timestamp import format_timestamp

if TYPE_CHECKING:
    from waooaw.events.service.context import Context

STUCK_SECONDS: Final = 60.0
"""An append takes milliseconds; one that has been running for this long will not end, and a restart is the cure."""


def health_members(context: Context) -> tuple[int, dict[str, Any]]:
    """Return the status and the members of ``/health``."""
    members: dict[str, Any] = {"status": "healthy", "redis": "not_configured", "event_bus": context.phase}
    bus = context.running_bus
    if bus is None:
        return 200, members | {
            "status": "degraded",
            "reason": "the event bus is switched off by EVENT_BUS_ENABLED=false",
            "since": format_timestamp(context.started_at_ms),
        }
    if bus.append_seconds > STUCK_SECONDS:
        reason = f"an append has been running for {bus.append_seconds:.0f} s; start the service anew"
        return 503, members | {"status": "stuck", "reason": reason}
    state = bus.engine_state()
    if state.problem is not None and state.since_ms is not None:
        members["status"] = "degraded"
        members["reason"] = f"{state.problem.code}: {state.problem.detail}"
        members["since"] = format_timestamp(state.since_ms)
    return 200, members


def _details(context: Context) -> dict[str, Any]:
    bus = context.running_bus
    details: dict[str, Any] = {
        "version": version("wowevent"),
        "started": format_timestamp(context.started_at_ms),
        "uptime_seconds": round((context.clock.now_ms() - context.started_at_ms) / 1000, 3),
        "versions": {
            "python": platform.python_version(),
            "aiohttp": aiohttp.__version__,
            "event_loop": "uvloop" if "uvloop" in sys.modules else "asyncio",
        },
        "limits": {
            info.name: getattr(context.settings, info.name)
            for info in SETTINGS
            if info.kind in {int, float} and info.name != "port"
        },
        "connections": 0 if context.listener is None else context.listener.connections,
        "streams": len(context.streams),
        "warnings": [],
    }
    if bus is not None:
        engine = bus.details()
        details["warnings"] = engine.pop("warnings", [])
        details["engine"] = engine
        details["deduplication_seconds"] = bus.store.state().deduplication_seconds
    return details


async def health(request: web.Request) -> web.Response:
    """Tell whether the service is well."""
    context = request.app[CONTEXT]
    wanted = Parameters(request.query, ("details",)).choice("details", ("false", "true"))
    status, members = health_members(context)
    if wanted == "true":
        members |= _details(context)
    return web.Response(status=status, body=msgspec.json.encode(members), content_type=JSON)


async def ready(request: web.Request) -> web.Response:
    """Tell whether the service should get traffic."""
    context = request.app[CONTEXT]
    Parameters(request.query, ())
    if context.is_draining:
        members = {"status": "not_ready", "reason": "draining"}
        return web.Response(status=503, body=msgspec.json.encode(members), content_type=JSON)
    return web.Response(body=b'{"status":"ready"}', content_type=JSON)
