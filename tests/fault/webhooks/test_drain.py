"""A replica is ended while it calls receivers: what is under way ends well, and is sent once."""

from __future__ import annotations

import asyncio
import collections
import signal
from pathlib import Path

import pytest

from tests.fault.waiting import until
from tests.fault.webhooks.site import SETTINGS, Published, consented, definition, publish, push_to
from tests.fault.work.workplace import Store, all_done, workplace
from tests.webhooks.receivers import Answer, Request, receiving

NAME = "agent"
EVENTS = 100
CONCURRENCY = 8


@pytest.mark.parametrize("store", ["sqlite", "redis"])
async def test_a_drain_finishes_what_is_under_way(tmp_path: Path, store: Store) -> None:
    """After SIGTERM the requests under way are answered and settled, none begins, and the service ends with 0.

    The one that is started after it sends the rest, each event once.
    """
    published, may_answer = Published(), asyncio.Event()

    async def script(_: Request) -> Answer:
        await may_answer.wait()
        return Answer()

    async with workplace(tmp_path, store, replicas=1, settings=SETTINGS) as place, receiving(script) as receiver:
        service = place.services[0]
        push = push_to(receiver.url, concurrency=CONCURRENCY)
        await place.bus.subscription(NAME).put(definition(push, lease_seconds=30.0))
        await consented(place.bus, NAME)
        await publish(place.bus, EVENTS, 1000.0, published)
        await receiver.until(lambda: receiver.in_flight == CONCURRENCY)
        service.signal(signal.SIGTERM)
        await until(lambda: "service.draining" in service.log_text, "drain")
        may_answer.set()
        assert await asyncio.to_thread(service.wait) == 0
        assert len(receiver.posts) == CONCURRENCY == receiver.most_in_flight
        await asyncio.to_thread(service.start)
        await all_done(place.bus, [NAME], 20.0)
        times = collections.Counter(request.message_id for request in receiver.posts)
        assert set(times.values()) == {1}
        assert len(times) == EVENTS
        place.check_logs()
