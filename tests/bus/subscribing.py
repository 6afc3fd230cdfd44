"""Replicas of a bus over one engine in memory whose jobs run only when a test says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from tests.bus.running import BUS, TestedEngine
from waooaw.events.bus import filling, queue_upkeep, retention_job, schedule
from waooaw.events.bus.event_bus import BusOptions, EventBus
from waooaw.events.delivery import Delivery, Outcome, Settlement
from waooaw.events.position import Position
from waooaw.events.subscription import SubscriptionDefinition, parse_subscription

NEVER_SECONDS = 3600.0


def hold_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the jobs of every bus look once, at an empty bus, and then rest for an hour."""
    monkeypatch.setattr(filling, "IDLE_SECONDS", NEVER_SECONDS)
    monkeypatch.setattr(queue_upkeep, "INTERVAL_SECONDS", NEVER_SECONDS)
    monkeypatch.setattr(retention_job, "INTERVAL_SECONDS", NEVER_SECONDS)
    monkeypatch.setattr(schedule, "WAIT_SECONDS", NEVER_SECONDS)


@asynccontextmanager
async def replicas(
    engine: TestedEngine, count: int = 1, options: BusOptions | None = None
) -> AsyncIterator[list[EventBus]]:
    """Run several replicas of one bus."""
    async with AsyncExitStack() as stack:
        await engine.open(stack)
        started = []
        for _ in range(count):
            bus = EventBus(
                engine, BUS, clock=engine.clock, identifiers=engine.identifiers, options=options or BusOptions()
            )
            started.append(await stack.enter_async_context(bus))
        yield started


def wanting(*patterns: str, **members: object) -> SubscriptionDefinition:
    """Return a definition."""
    return parse_subscription({"patterns": list(patterns), **members})


async def claimed(bus: EventBus, name: str, limit: int = 1000) -> list[Delivery]:
    """Claim what there is, at once."""
    found = await bus.deliveries.claim(name, limit, wait_seconds=0, member="m")
    return list(found.deliveries)


async def received(bus: EventBus, name: str) -> list[Position]:
    """Claim and ack all that there is; return the positions in the order in which they came."""
    positions: list[Position] = []
    while deliveries := await claimed(bus, name):
        positions += [delivery.stored.position for delivery in deliveries]
        await settle(bus, name, "ack", deliveries)
    return positions


async def settle(bus: EventBus, name: str, outcome: Outcome, deliveries: list[Delivery], reason: str = "") -> None:
    """Settle deliveries alike."""
    settlements = [Settlement(token=delivery.token, outcome=outcome, reason=reason) for delivery in deliveries]
    assert await bus.deliveries.settle(name, settlements) == [None] * len(deliveries)


async def gathered(*tasks: asyncio.Task[None]) -> None:
    """Wait for tasks, and raise what they raised."""
    await asyncio.gather(*tasks)
