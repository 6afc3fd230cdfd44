"""``/health`` and ``/ready``: answered from memory, whatever the store does."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp import web

from waooaw.events.outages import EngineUnavailableError
from waooaw.events.service.context import CONTEXT
from waooaw.events.service.parameters import Parameters
from waooaw.events.service.representations import json_response
from waooaw.events.service.subscription_metrics import key_of
from waooaw.events.settings import SETTINGS
from waooaw.events.timestamp import format_timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from waooaw.events.bus.event_bus import EventBus
    from waooaw.events.service.context import Context

STUCK_SECONDS: Final = 60.0
"""An append takes milliseconds; one that has been running for this long will not end, and a restart is the cure."""

DEAD_LETTERS_SHOWN_MAX: Final = 20
"""Subscriptions named for their dead letters, those with most of them."""


def health_members(context: Context) -> tuple[int, dict[str, Any]]:
    """Return the status and the members of ``/health``."""
    members: dict[str, Any] = {"status": "healthy", "redis": _redis(context), "event_bus": context.phase}
    if not context.buses:
        return 200, members | {
            "status": "degraded",
            "reason": "the event bus is switched off by EVENT_BUS_ENABLED=false",
            "since": format_timestamp(context.started_at_ms),
        }
    for bus in context.buses.values():
        if bus.append_seconds > STUCK_SECONDS and not _is_away(bus):
            reason = f"an append has been running for {bus.append_seconds:.0f} s; start the service anew"
            return 503, members | {"status": "stuck", "reason": reason}
    if troubled := {name: bus for name, bus in context.buses.items() if bus.engine_state().problem is not None}:
        members["status"] = "degraded"
        members["reason"] = _reason(troubled, of_several=len(context.buses) > 1)
        times = [since for bus in troubled.values() if (since := bus.engine_state().since_ms) is not None]
        members["since"] = format_timestamp(min(times, default=context.started_at_ms))
    return 200, members


def _is_away(bus: EventBus) -> bool:
    """Tell whether the store is away: an append that waits for it is no fault of this process."""
    return isinstance(bus.engine_state().problem, EngineUnavailableError)


def _redis(context: Context) -> str:
    if context.engine is None:
        return "disconnected" if context.settings.redis_url else "not_configured"
    if context.engine.name != "redis":
        return "not_configured"
    return "disconnected" if any(map(_is_away, context.buses.values())) else "connected"


def _reason(troubled: Mapping[str, EventBus], *, of_several: bool) -> str:
    """Tell each problem once, and where several buses are served, whose it is."""
    names: dict[str, list[str]] = {}
    for name, bus in troubled.items():
        problem = bus.engine_state().problem
        if problem is not None:
            names.setdefault(f"{problem.code}: {problem.detail}", []).append(name)
    if not of_several:
        return "; ".join(names)
    return "; ".join(
        f"{problem} ({'bus' if len(buses) == 1 else 'buses'} {', '.join(buses)})" for problem, buses in names.items()
    )


def why_not_ready(context: Context) -> str | None:
    """Return why the service should get no traffic, or None.

    While some bus can be reached the service is ready: the others' troubles are not that bus's. A store that refuses
    publishes (full, unsafe) can still be read.
    """
    if context.is_draining:
        return "draining"
    if context.buses and all(map(_is_away, context.buses.values())):
        return _reason(context.buses, of_several=len(context.buses) > 1)
    return None


def _details(context: Context) -> dict[str, Any]:
    details: dict[str, Any] = {
        "version": version("wowevent"),
        "started": format_timestamp(context.started_at_ms),
        "uptime_seconds": round(context.uptime_seconds, 3),
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
    if context.buses:
        engine = context.bus.details()
        details["warnings"] = engine.pop("warnings", [])
        details["engine"] = engine
        details["deduplication_seconds"] = context.bus.store.state().deduplication_seconds
        details["dead_letters"] = _dead_letters(context)
        details["buses"] = {name: _bus_details(bus) for name, bus in context.buses.items()}
    return details


def _dead_letters(context: Context) -> dict[str, Any]:
    """Return how many dead letters there are, and the subscriptions that have most of them."""
    seen = [] if context.watch is None else [item for item in context.watch.seen() if item.info.queue.counts.dead]
    seen.sort(key=lambda item: item.info.queue.counts.dead, reverse=True)
    oldest_ms = min((since for item in seen if (since := item.info.queue.oldest_dead_ms) is not None), default=None)
    age_seconds = None if oldest_ms is None else max(context.clock.now_ms() - oldest_ms, 0) / 1000
    return {
        "total": sum(item.info.queue.counts.dead for item in seen),
        "oldest_seconds": age_seconds,
        "subscriptions": {
            key_of(item.bus, item.info.name): item.info.queue.counts.dead for item in seen[:DEAD_LETTERS_SHOWN_MAX]
        },
    }


def _bus_details(bus: EventBus) -> dict[str, Any]:
    details = bus.details()
    problem = bus.engine_state().problem
    return {
        "durability": details["durability"],
        "waiting_bytes": details["waiting_bytes"],
        "deduplication_seconds": bus.store.state().deduplication_seconds,
        "problem": None if problem is None else problem.code,
    }


async def health(request: web.Request) -> web.Response:
    """Tell whether the service is well."""
    context = request.app[CONTEXT]
    wanted = Parameters(request.query, ("details",)).choice("details", ("false", "true"))
    status, members = health_members(context)
    if wanted == "true":
        members |= _details(context)
    return json_response(members, status=status)


async def ready(request: web.Request) -> web.Response:
    """Tell whether the service should get traffic."""
    context = request.app[CONTEXT]
    Parameters(request.query, ())
    if (reason := why_not_ready(context)) is not None:
        return json_response({"status": "not_ready", "reason": reason}, status=503)
    return json_response({"status": "ready"})
