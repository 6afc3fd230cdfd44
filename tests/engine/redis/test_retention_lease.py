"""Retention on Redis: one replica at a time, and another one when the first is gone."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from tests.engine.redis.running import BUS, Publishing, until
from tests.event_samples import entries
from tests.redis_servers.shared import TopologyFactory
from waooaw.events.engine.redis import RedisEngine, RedisOptions
from waooaw.events.identifier import RandomIdentifiers
from waooaw.events.retention import TrimPlan
from waooaw.events.testing import ManualClock

LEASE_SECONDS = 15


@pytest.fixture
async def replicas(redis_topology: TopologyFactory) -> tuple[RedisEngine, RedisEngine, ManualClock]:
    topology = await redis_topology("redis")
    clock = ManualClock()
    options = RedisOptions(time_by=clock)
    one, other = (
        RedisEngine(topology.url, (BUS,), clock=clock, identifiers=RandomIdentifiers(), options=options)
        for _ in range(2)
    )
    return one, other, clock


async def test_one_replica_trims_at_a_time(replicas: tuple[RedisEngine, RedisEngine, ManualClock]) -> None:
    """While one replica trims, the other one's steps remove nothing; silent for its lease, it is relieved."""
    one, other, clock = replicas
    async with AsyncExitStack() as stack:
        await one.open(stack)
        await other.open(stack)
        await Publishing(one).publish(*entries(10))
        step = TrimPlan(excess_events=2)

        removed = [await one.trim(BUS, step, limit=2), await other.trim(BUS, step, limit=2)]
        clock.advance(LEASE_SECONDS - 1)
        removed += [await one.trim(BUS, step, limit=2), await other.trim(BUS, step, limit=2)]
        clock.advance(LEASE_SECONDS)
        removed += [await other.trim(BUS, step, limit=2), await one.trim(BUS, step, limit=2)]

        assert removed == [2, 0, 2, 0, 2, 0]
        assert other.state(BUS).events == 4
        await until(lambda: one.state(BUS) == other.state(BUS))
