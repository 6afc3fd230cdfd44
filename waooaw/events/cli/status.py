"""``wowevent status``: how the service does."""

from __future__ import annotations

import asyncio
import sys
from typing import Any, Final

import click

from waooaw.events.cli.commands import EXIT_OK, EXIT_REFUSED
from waooaw.events.cli.event_line import printable
from waooaw.events.cli.service_address import bus_option, reached, url_option
from waooaw.events.outages import UnavailableError
from waooaw.events.position import format_position

PATIENCE_SECONDS: Final = 3.0
"""Probes call this: an answer that takes longer is one, too."""

NAMED_MAX: Final = 5
"""Subscriptions told by name: the screen is for a first look."""


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Write health, log and metrics as the service answers them.")
@bus_option
@url_option
@click.pass_context
def command(context: click.Context, /, *, url: str, bus: str, as_json: bool) -> None:
    """Tell how the service does, on one screen.

    Exits 0 where it is healthy, 1 where it is degraded, 3 where it does not answer.
    """
    status = asyncio.run(_ask(url, bus))
    if as_json:
        import json

        sys.stdout.write(f"{json.dumps(status, indent=2)}\n")
    else:
        sys.stdout.write("".join([f"{name:<12} {value}\n" for name, value in rows(url, bus, status)]))
    context.exit(EXIT_OK if status["health"]["status"] == "healthy" else EXIT_REFUSED)


async def _ask(url: str, bus_name: str) -> dict[str, Any]:
    async with reached(url, bus_name, patience_seconds=PATIENCE_SECONDS) as bus:
        health = await bus.health(details=True)
        try:
            log = await bus.log()
            metrics = await bus.metrics()
        except UnavailableError:
            if health["status"] == "healthy":
                raise
            return {"health": health, "log": None, "metrics": None}  # The reason stands in its health already.
    members = {
        "epoch": log.epoch,
        "cursor": log.cursor,
        "first": None if log.first is None else format_position(log.first),
        "last": None if log.last is None else format_position(log.last),
        "events": log.events,
        "size_bytes": log.size_bytes,
    }
    return {"health": health, "log": members, "metrics": metrics}


def rows(url: str, bus_name: str, status: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what a person wants to know, a name and a value each."""
    health = status["health"]
    said = [("service", url), ("status", _condition(health)), ("event bus", str(health.get("event_bus")))]
    if "version" in health:
        uptime_seconds = float(health.get("uptime_seconds", 0))
        said.append(("version", f"{health['version']}, up {duration(uptime_seconds)}"))
    engine = health.get("engine")
    if isinstance(engine, dict):
        buses = health.get("buses") or {}
        durability = buses.get(bus_name, engine).get("durability")
        said.append(("engine", f"{engine.get('name')}, durability {durability}"))
        said.append(("store", str(engine.get("location"))))
        if set(buses) != {bus_name}:
            said.append(("bus", f"{bus_name}, of {', '.join(buses)}"))
    if (log := status["log"]) is not None:
        said.append(
            ("log", f"{log['events']:,} {'event' if log['events'] == 1 else 'events'}, {size(log['size_bytes'])}")
        )
        said.append(("range", f"{log['first']} to {log['last']}" if log["events"] else "empty"))
    if (metrics := status["metrics"]) is not None:
        said += _metric_rows(metrics)
    if isinstance(health.get("dead_letters"), dict):
        said.append(("dead letters", _dead_letters(health["dead_letters"])))
    if metrics is not None:
        said += [("unhealthy", text) for text in _unhealthy(metrics["subscribers"]["unhealthy"])]
    said += [("warning", str(warning)) for warning in health.get("warnings") or []]
    return [(name, printable(value)) for name, value in said]


def _condition(health: dict[str, Any]) -> str:
    reason, since = health.get("reason"), health.get("since")
    told = f"{health['status']}: {reason}" if reason else str(health["status"])
    return f"{told} (since {since})" if since else told


def _metric_rows(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    totals, throughput, latency = metrics["totals"], metrics["throughput"], metrics["latency"]
    subscribers = metrics["subscribers"]
    condition = ", ".join(f"{count} {name}" for name, count in subscribers["health"].items() if count)
    return [
        ("publishes", f"{totals['publishes']:,}, {throughput['publishes']['per_second']:,.1f} a second"),
        ("deliveries", f"{totals['deliveries']:,}, {throughput['deliveries']['per_second']:,.1f} a second"),
        ("errors", f"{totals['errors']:,}"),
        ("latency", _latency(latency)),
        ("subscribers", f"{subscribers['total']}{f' ({condition})' if condition else ''}"),
    ]


def _dead_letters(dead: dict[str, Any]) -> str:
    """Return how many there are, how old, and where most of them are."""
    if not dead["total"]:
        return "0"
    age = "" if dead["oldest_seconds"] is None else f", the oldest {duration(dead['oldest_seconds'])} ago"
    most = ", ".join(f"{name} {count:,}" for name, count in list(dead["subscriptions"].items())[:NAMED_MAX])
    return f"{dead['total']:,}{age}: {most}{', ...' if len(dead['subscriptions']) > NAMED_MAX else ''}"


def _unhealthy(worst: list[dict[str, Any]]) -> list[str]:
    """Return who is unhealthy and why, a line each, the worst first."""
    return [f"{subscriber['name']}: {subscriber['reason']}" for subscriber in worst[:NAMED_MAX]]


def _latency(latency: dict[str, Any]) -> str:
    if latency.get("p50") is None:
        return "not measured yet"
    return ", ".join(f"{name} {latency[name] * 1000:.1f} ms" for name in ("p50", "p95", "p99"))


def size(size_bytes: float) -> str:
    """Return a number of bytes as people say it."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size_bytes < 1000:  # noqa: PLR2004 - the step between units of the SI
            return f"{size_bytes:.0f} {unit}" if unit == "bytes" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} TB"


def duration(seconds: float) -> str:
    """Return a time that has passed as people say it, in its two largest units."""
    left = int(seconds)
    parts: list[str] = []
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count or (parts and len(parts) == 1):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"
