"""Members, replicas and Redis killed at random moments while subscriptions are worked through."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import pytest

from tests.fault.conftest import Report
from tests.fault.parameters import WORK_EVENTS, WORK_KILLS, WORK_PROCESSES, WORK_RATE
from tests.fault.waiting import until
from tests.fault.work.crew import Crew
from tests.fault.work.findings import WorkFindings
from tests.fault.work.judge import Verdict, deliveries, judge, judge_order
from tests.fault.work.workplace import (
    LEASE_SECONDS,
    MAX_ATTEMPTS,
    Published,
    Store,
    Workplace,
    all_done,
    counts_of,
    dead_of,
    definition,
    moved_on,
    publish,
    workplace,
)

KEYS = 50
ORDERED = "ordered"
SUBSCRIPTIONS = ("first", "second", ORDERED)
STUCK_SECONDS_MAX = 2 * LEASE_SECONDS
END_SECONDS_MIN = 60.0
PLANS = {"redis": ("member", "replica", "member", "redis"), "sqlite": ("member", "replica")}


async def kill_one(place: Workplace, crew: Crew, chance: random.Random, what: str) -> None:
    """Kill something (-9), and start its successor."""
    if what == "redis":
        assert place.server is not None
        await place.server.restart()
    elif what == "replica":
        await asyncio.to_thread(chance.choice(place.services).restart)
    else:
        await crew.replace(chance.choice(crew.names))


async def kill_at_random(place: Workplace, crew: Crew, chance: random.Random, published: Published) -> None:
    """Kill one thing after the other at random moments, while events are published and worked on."""
    plan = PLANS["sqlite" if place.server is None else "redis"]
    moments = sorted(chance.uniform(0.05, 0.85) for _ in range(WORK_KILLS.count))
    for number, moment in enumerate(moments):
        await until(lambda: published.count >= moment * WORK_EVENTS.value, "more events published", 120.0)  # noqa: B023 - awaited here
        await kill_one(place, crew, chance, plan[number % len(plan)])


async def kill_all(place: Workplace, crew: Crew, chance: random.Random) -> float:
    """Kill a replica, which so gives nothing back, and all members; return when all is whole again."""
    service = chance.choice(place.services)
    service.kill()
    for name in crew.names:
        await crew.kill(name)
    await asyncio.to_thread(service.start)
    for _ in range(WORK_PROCESSES.count):
        await crew.hire()
    return time.monotonic()


@pytest.mark.parametrize("store", ["redis", "sqlite"])
async def test_kills_lose_no_work_and_double_none_without_a_reason(
    tmp_path: Path, chance: random.Random, report: Report, findings: WorkFindings, store: Store
) -> None:
    """Each event ends as its handlers decide, comes again for a reason only, and is stuck for two leases at most."""
    began, published = time.monotonic(), Published()
    async with workplace(tmp_path, store) as place:
        for name in SUBSCRIPTIONS:
            await place.bus.subscription(name).put(definition(is_keyed=name == ORDERED))
        crew = Crew(tmp_path / "crew", SUBSCRIPTIONS, place.urls, processes=WORK_PROCESSES.count)
        async with crew, asyncio.TaskGroup() as tasks:
            tasks.create_task(publish(place.bus, WORK_EVENTS.count, keys=KEYS, rate=WORK_RATE.value, into=published))
            await kill_at_random(place, crew, chance, published)
            healed = await kill_all(place, crew, chance)
            stuck_seconds = await moved_on(place.services[0], SUBSCRIPTIONS, crew, healed, 10 * LEASE_SECONDS)
            await until(lambda: published.count >= WORK_EVENTS.count, "all published", 60.0)
            await all_done(place.bus, SUBSCRIPTIONS, END_SECONDS_MIN + WORK_EVENTS.value / 100)
            done_seconds = time.monotonic() - healed
        verdicts, again = {}, 0
        for name in SUBSCRIPTIONS:
            counts = await counts_of(place.bus, name)
            assert counts.matched == WORK_EVENTS.count == counts.acked + counts.dead, counts
            found = deliveries(crew.journals(name), crew.kills)
            verdicts[name] = judge(
                found,
                published.ids,
                await dead_of(place.bus, name),
                lease_seconds=LEASE_SECONDS,
                max_attempts=MAX_ATTEMPTS,
            )
            again += sum(len(each) for each in found.values()) - len(found)
            if name == ORDERED:
                verdicts[name].overlapping += judge_order(found, published.keys, lease_seconds=LEASE_SECONDS)
        place.check_logs()
    note = f"{WORK_KILLS.count} kills, then all members at once: {stuck_seconds:.1f} s later no lease was theirs"
    report(
        f"{store}: {WORK_EVENTS.count:,} events for each of {len(verdicts)} subscriptions; {note}; {again:,} further "
        f"deliveries; done {done_seconds:.1f} s after it, {time.monotonic() - began:.0f} s in all"
    )
    lost = sum(len(verdict.undecided) for verdict in verdicts.values())
    wrong = sum(len(verdict.unexplained) + len(verdict.overlapping) for verdict in verdicts.values())
    findings.note(
        ("kill -9 of members, replicas and the store", store),
        (len(SUBSCRIPTIONS) * WORK_EVENTS.count, again, lost, wrong),
        f"3 subscriptions, leases of {LEASE_SECONDS:g} s; {note}",
    )
    assert verdicts == {name: Verdict() for name in SUBSCRIPTIONS}
    assert stuck_seconds <= STUCK_SECONDS_MAX
