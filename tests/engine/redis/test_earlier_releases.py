"""Replicas of a release that knows no subscriptions, beside those of this one."""

from __future__ import annotations

import pytest
from redis.exceptions import ResponseError

from tests.conformance.queues import Feed, Queue
from tests.engine.redis.running import BUS, running
from tests.event_samples import entries
from tests.redis_servers.shared import TopologyFactory

EARLIER_VERSION = "local v = redis.call('HMGET', KEYS[1], 'epoch', 'routes') return v[1] .. '-' .. v[2]"
"""How every script of that release that stores events begins: it spells the version of the routes, and gives it out."""


async def test_a_release_without_subscriptions_is_shut_out(redis_topology: TopologyFactory) -> None:
    """From the first subscription on it stumbles before it stores anything: no event passes the queues unseen."""
    (server,) = (await redis_topology("redis")).servers
    meta = f"wowevent:{{{BUS}}}:meta"
    async with running(server.url) as engine:
        feed = await Feed.begun(engine)
        await feed.append(*entries(1), to=[])
        assert (await server.cli("EVAL", EARLIER_VERSION, "1", meta)).strip().endswith("-0")

        queue = await Queue.made(engine)

        with pytest.raises(ResponseError, match="concatenate"):
            await server.cli("EVAL", EARLIER_VERSION, "1", meta)
        await feed.append(*entries(2), to=[queue])
        assert (await queue.counts()).waiting == 2
    async with running(server.url) as again:
        assert (await again.routes(BUS)).subscriptions[0].incarnation == queue.incarnation
