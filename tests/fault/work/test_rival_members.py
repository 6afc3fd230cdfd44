"""Twenty members that compete for one subscription, killed at random."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

from tests.fault.conftest import Report
from tests.fault.parameters import RIVAL_EVENTS, RIVAL_KILLS, RIVAL_PROCESSES, WORK_RATE
from tests.fault.waiting import until
from tests.fault.work.crew import Crew
from tests.fault.work.findings import WorkFindings
from tests.fault.work.judge import Verdict, deliveries, judge, judge_order
from tests.fault.work.workplace import (
    LEASE_SECONDS,
    MAX_ATTEMPTS,
    Published,
    all_done,
    dead_of,
    definition,
    publish,
    workplace,
)

MEMBERS = 20
KEYS = 1000
FREE, ORDERED = "free", "ordered"


async def test_no_event_and_no_key_is_in_two_hands(
    tmp_path: Path, chance: random.Random, report: Report, findings: WorkFindings
) -> None:
    """20 members killed at random: no event under two live leases; in order by key, no key either, and none overtakes.

    Of a hundred events seventeen fail at least once, and hold up their key until they are done.
    """
    began, published = time.monotonic(), Published()
    names = (FREE, ORDERED)
    async with workplace(tmp_path, "redis") as place:
        for name in names:
            await place.bus.subscription(name).put(definition(is_keyed=name == ORDERED))
        processes = RIVAL_PROCESSES.count
        crew = Crew(tmp_path / "crew", names, place.urls, processes=processes, members=MEMBERS // processes)
        async with crew, asyncio.TaskGroup() as tasks:
            tasks.create_task(publish(place.bus, RIVAL_EVENTS.count, keys=KEYS, rate=WORK_RATE.value, into=published))
            for moment in sorted(chance.uniform(0.2, 0.95) for _ in range(RIVAL_KILLS.count)):
                await until(lambda: published.count >= moment * RIVAL_EVENTS.value, "more published", 120.0)  # noqa: B023 - awaited here
                await crew.replace(chance.choice(crew.names))
            await until(lambda: published.count >= RIVAL_EVENTS.count, "all published", 60.0)
            await all_done(place.bus, names, 60.0)
        verdicts, again = {}, 0
        for name in names:
            found = deliveries(crew.journals(name), crew.kills)
            dead = await dead_of(place.bus, name)
            verdicts[name] = judge(found, published.ids, dead, lease_seconds=LEASE_SECONDS, max_attempts=MAX_ATTEMPTS)
            again += sum(len(each) for each in found.values()) - len(found)
            if name == ORDERED:
                verdicts[name].overlapping += judge_order(found, published.keys, lease_seconds=LEASE_SECONDS)
        place.check_logs()
    note = f"{MEMBERS} members, {RIVAL_KILLS.count} kills of {MEMBERS // processes} each, {KEYS:,} keys"
    report(f"{RIVAL_EVENTS.count:,} events: {note}; {again:,} further deliveries; {time.monotonic() - began:.0f} s")
    lost = sum(len(verdict.undecided) for verdict in verdicts.values())
    wrong = sum(len(verdict.unexplained) + len(verdict.overlapping) for verdict in verdicts.values())
    findings.note(("kill -9 of competing members", "redis"), (2 * RIVAL_EVENTS.count, again, lost, wrong), note)
    assert verdicts == {name: Verdict() for name in names}
