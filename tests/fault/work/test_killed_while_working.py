"""Members, replicas and Redis killed at random moments while subscriptions are worked through."""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.fault.conftest import Report
from tests.fault.parameters import WORK_EVENTS, WORK_KILLS, WORK_MEMBERS
from tests.fault.redis.modes import MODES
from tests.fault.redis.scene import replica
from tests.fault.waiting import until
from tests.fault.work.crew import Crew
from tests.fault.work.judge import Verdict, deliveries, judge, judge_order
from tests.redis_servers import Topology
from tests.service_process import ServiceProcess
from waooaw.events import Event, Receipt, RetryPolicy, SubscriptionDefinition, connect
from waooaw.events.interface import Bus
from waooaw.events.pattern import PatternSet
from waooaw.events.subscription_state import Counts

LEASE_SECONDS = 2.0
MAX_ATTEMPTS = 12
"""Far more than the failures decided by handlers and the lapses that kills cause."""

KEYS = 50
BATCH = 100
KILL_PAUSE_SECONDS = (0.1, 0.6)
SETTINGS = {"WOWEVENT_STREAM_PING_SECONDS": "1"}

ORDERED = "ordered"
SUBSCRIPTIONS = ("first", "second", ORDERED)


def definition(name: str) -> SubscriptionDefinition:
    return SubscriptionDefinition(
        patterns=PatternSet.parse(["work.*"]),
        ordering="key" if name == ORDERED else "none",
        lease_seconds=LEASE_SECONDS,
        retry=RetryPolicy(max_attempts=MAX_ATTEMPTS, first_seconds=0.05, cap_seconds=0.2),
    )


class Workplace:
    """One Redis, two replicas, and crews that work."""

    def __init__(self, topology: Topology, services: list[ServiceProcess], crews: dict[str, Crew]) -> None:
        self.topology = topology
        self.services = services
        self.crews = crews

    async def kill_one(self, chance: random.Random, what: str) -> None:
        """Kill something (-9), and start its successor."""
        if what == "redis":
            (server,) = self.topology.servers
            server.kill()
            await server.start()
        elif what == "replica":
            await asyncio.to_thread(chance.choice(self.services).restart)
        else:
            crew = self.crews[chance.choice(list(self.crews))]
            await crew.kill(chance.choice(crew.names))
            await crew.hire()


@asynccontextmanager
async def workplace(folder: Path, members: int) -> AsyncIterator[tuple[Workplace, Bus]]:
    mode = MODES["redis fsync"]
    async with AsyncExitStack() as stack:
        topology = await stack.enter_async_context(mode.make())
        services = [replica(mode, folder / f"replica-{number}", topology.url, SETTINGS) for number in range(2)]
        for service in services:
            stack.callback(service.kill)
            await asyncio.to_thread(service.start)
        bus = await stack.enter_async_context(connect(services[0].url, patience_seconds=30))
        for name in SUBSCRIPTIONS:
            await bus.subscription(name).put(definition(name))
        urls = [service.url for service in services]
        crews = {
            name: await stack.enter_async_context(Crew(folder / name, name, urls, members)) for name in SUBSCRIPTIONS
        }
        yield Workplace(topology, services, crews), bus


async def publish(bus: Bus, count: int) -> dict[str, list[str]]:
    """Publish events until each has its receipt; return the ids of each key, in the order of the log."""
    keys: dict[str, list[str]] = defaultdict(list)
    for start in range(0, count, BATCH):
        names = [f"event-{number}" for number in range(start, min(start + BATCH, count))]
        waiting = [
            Event(type="work.do", source="chief", id=name, extensions={"partitionkey": f"key-{index % KEYS}"})
            for index, name in enumerate(names)
        ]
        while waiting:
            answers = await bus.publish_many(waiting)
            waiting = [event for event, answer in zip(waiting, answers, strict=True) if not isinstance(answer, Receipt)]
        for index, name in enumerate(names):
            keys[f"key-{index % KEYS}"].append(name)
    return keys


async def counts_of(bus: Bus, name: str) -> Counts:
    return (await bus.subscription(name).info()).queue.counts


async def all_done(bus: Bus, seconds_max: float) -> None:
    """Return once nothing waits, is leased or scheduled any more."""
    deadline = time.monotonic() + seconds_max
    for name in SUBSCRIPTIONS:
        while (left := await counts_of(bus, name)).waiting + left.leased + left.scheduled:
            assert left.is_closed, left
            assert time.monotonic() < deadline, (name, left)
            await asyncio.sleep(0.05)


async def dead_of(bus: Bus, name: str) -> dict[str, tuple[str, int]]:
    found: dict[str, tuple[str, int]] = {}
    page = await bus.subscription(name).dead_letters(limit=1000)
    while True:
        found |= {str(letter.stored.event.id): (letter.reason, letter.attempts) for letter in page.items}
        if page.next is None:
            return found
        page = await bus.subscription(name).dead_letters(after=page.next, limit=1000)


@pytest.mark.timeout(300)
async def test_kills_lose_no_work_and_double_none_without_a_reason(
    tmp_path: Path, chance: random.Random, report: Report
) -> None:
    """Each event ends as its handlers decide; it comes again only where a lease lapsed or a kill cut in."""
    events, kills = WORK_EVENTS.count, WORK_KILLS.count
    began = time.monotonic()
    async with workplace(tmp_path, WORK_MEMBERS.count) as (place, bus):
        publishing = asyncio.create_task(publish(bus, events))
        plan = ["member", "replica", "member", "redis"]
        for number in range(kills):
            await asyncio.sleep(chance.uniform(*KILL_PAUSE_SECONDS))
            await place.kill_one(chance, plan[number % len(plan)])
        keys = await publishing
        healed = time.monotonic()
        busy = [len(crew.kills) for crew in place.crews.values()]
        await all_done(bus, seconds_max=60 + events / 100)
        verdicts: dict[str, Verdict] = {}
        second = 0
        for name, crew in place.crews.items():
            counts = await counts_of(bus, name)
            assert counts.is_closed
            assert counts.matched == events == counts.acked + counts.dead, counts
            found = deliveries(crew.journals, crew.kills)
            dead = await dead_of(bus, name)
            published = [event for each in keys.values() for event in each]
            verdicts[name] = judge(found, published, dead, lease_seconds=LEASE_SECONDS, max_attempts=MAX_ATTEMPTS)
            second += sum(len(each) for each in found.values()) - len(found)
            if name == ORDERED:
                assert judge_order(found, keys, lease_seconds=LEASE_SECONDS) == []
        for service in place.services:
            assert "Traceback" not in service.log_text, service.log_text
    report(
        f"{kills} kills ({sum(busy)} of members), {events:,} events for each of {len(verdicts)} subscriptions; "
        f"{second:,} further deliveries; done {time.monotonic() - healed:.1f} s after the last kill, "
        f"{time.monotonic() - began:.0f} s in all"
    )
    assert verdicts == {name: Verdict() for name in SUBSCRIPTIONS}


async def test_nothing_stays_stuck_longer_than_two_leases(tmp_path: Path, chance: random.Random) -> None:
    """Where all that work is killed at once, what it held goes on within two leases of the others."""
    async with workplace(tmp_path, 1) as (place, bus):
        await publish(bus, 200)
        await until(lambda: all(crew.journals for crew in place.crews.values()), "work to begin")
        for crew in place.crews.values():
            await crew.kill(crew.names[0])
            await crew.hire()
        await place.kill_one(chance, "replica")
        await all_done(bus, seconds_max=2 * LEASE_SECONDS + 10)
