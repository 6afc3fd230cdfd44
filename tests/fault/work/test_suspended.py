"""Replicas and members that sleep through their leases and wake up, and replicas that leave in good order."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.fault.conftest import Report
from tests.fault.waiting import LOOK_SECONDS, WAIT_SECONDS_MAX, until
from tests.fault.work.crew import Crew
from tests.fault.work.findings import WorkFindings
from tests.fault.work.judge import Line, Verdict, deliveries, judge
from tests.fault.work.workplace import (
    MAX_ATTEMPTS,
    Published,
    Workplace,
    all_done,
    counts_of,
    dead_of,
    definition,
    publish,
    workplace,
)
from tests.fault_proxy import FaultProxy
from waooaw.events import connect
from waooaw.events.delivery import Delivery, Settlement
from waooaw.events.errors import StaleTokenError
from waooaw.events.subscription_interface import Consumer

NAME = "work"
EVENTS = 20
SHORT_LEASE_SECONDS = 1.0
LONG_LEASE_SECONDS = 300.0
SLEPT_SECONDS = 3.5
"""Over the longest hold and a lease."""

TAKEN_OVER_SECONDS_MAX = 5.0
FIRST, SECOND = "first", "second"


@asynccontextmanager
async def two_members(place: Workplace, urls: Sequence[str]) -> AsyncIterator[tuple[Consumer, Consumer]]:
    """Two members, the first at the first address with all the events, the second at the second."""
    async with (
        connect(urls[0]) as one,
        connect(urls[1]) as other,
        one.subscription(NAME).consume(credit=EVENTS, member=FIRST) as first,
    ):
        await publish(place.bus, EVENTS, keys=1, rate=100_000)
        await until_held(place, EVENTS)
        async with other.subscription(NAME).consume(credit=EVENTS, member=SECOND) as second:
            yield first, second


async def until_held(place: Workplace, count: int) -> None:
    """Return once so many references are leased."""
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while (held := (await counts_of(place.bus, NAME)).leased) < count:
        assert time.monotonic() < deadline, held
        await asyncio.sleep(LOOK_SECONDS)


async def take(consumer: Consumer, count: int = EVENTS) -> list[Delivery]:
    """Return so many deliveries."""
    async with asyncio.timeout(30):
        return [await anext(consumer) for _ in range(count)]


def is_idle(lines: Sequence[Line], since: float) -> bool:
    """Tell whether a member has gone on, and knows what became of all that it had begun."""
    answered = sum(line.what in {"done", "stale", "unknown"} for line in lines)
    begun = sum(line.what == "begin" for line in lines)
    return answered == begun and lines[-1].time > since


def reject(taken: Sequence[Delivery]) -> list[Settlement]:
    return [Settlement(token=delivery.token, outcome="reject", reason="no") for delivery in taken]


async def test_replica_that_slept_through_its_leases_buries_nothing_twice(
    tmp_path: Path, report: Report, findings: WorkFindings
) -> None:
    """SIGSTOP of a replica for longer than its leases: others take over; what it says later is stale, and no more."""
    async with workplace(tmp_path, "redis") as place:
        sleeper = place.services[0]
        async with connect(place.services[1].url) as bus:
            place.bus = bus  # what asks must not ask the one that sleeps
            await bus.subscription(NAME).put(definition(lease_seconds=SHORT_LEASE_SECONDS))
            async with two_members(place, place.urls) as (first, second):
                early = await take(first)
                sleeper.signal(signal.SIGSTOP)
                stopped = time.monotonic()
                late = await take(second)
                seconds = time.monotonic() - stopped
                assert await second.settle(reject(late)) == [None] * EVENTS
                sleeper.signal(signal.SIGCONT)
                refused = await first.settle(reject(early))
                counts = await counts_of(bus, NAME)
                dead = await dead_of(bus, NAME)
            place.check_logs()
    stale = sum(isinstance(error, StaleTokenError) for error in refused)
    note = f"leases of {SHORT_LEASE_SECONDS:g} s taken over after {seconds:.1f} s; {stale} outcomes came too late"
    report(note)
    findings.note(("SIGSTOP of a replica", "redis"), (EVENTS, EVENTS, EVENTS - len(dead), counts.dead - EVENTS), note)
    assert stale == EVENTS
    assert [delivery.attempt for delivery in late] == [2] * EVENTS
    assert seconds < 2 * SHORT_LEASE_SECONDS + 1
    assert len(dead) == counts.dead == counts.matched == EVENTS
    assert counts.is_closed


async def test_member_that_slept_does_no_harm(tmp_path: Path, report: Report, findings: WorkFindings) -> None:
    """SIGSTOP of a member's process until its leases are over, then SIGCONT: what it says of them is refused."""
    published, count = Published(), 400
    settings = {"WOWEVENT_MAX_HOLD_SECONDS": "1"}
    async with workplace(tmp_path, "sqlite", settings=settings) as place:
        await place.bus.subscription(NAME).put(definition(lease_seconds=SHORT_LEASE_SECONDS))
        async with Crew(tmp_path / "crew", [NAME], place.urls, processes=2) as crew, asyncio.TaskGroup() as tasks:
            tasks.create_task(publish(place.bus, count, keys=1, rate=200, into=published))
            sleeper, _ = crew.names
            await until(lambda: len(crew.journals(NAME).get(sleeper, ())) > EVENTS, "work to begin")
            crew.signal(sleeper, signal.SIGSTOP)
            stopped = time.monotonic()
            await until(lambda: published.count == count, "all published")
            await until(lambda: time.monotonic() - stopped > SLEPT_SECONDS, "leases to lapse")
            crew.signal(sleeper, signal.SIGCONT)
            await until(lambda: is_idle(crew.journals(NAME)[sleeper], stopped), "answer to what woke up")
            await all_done(place.bus, [NAME], 30.0)
        dead = await dead_of(place.bus, NAME)
        place.check_logs()
    found = deliveries(crew.journals(NAME), crew.kills)
    again = sum(map(len, found.values())) - len(found)
    stale = sum(one.is_stale for each in found.values() for one in each)
    live = {event: [one for one in each if not one.is_stale] for event, each in found.items()}
    verdict = judge(live, published.ids, dead, lease_seconds=SHORT_LEASE_SECONDS, max_attempts=MAX_ATTEMPTS)
    wrong = len(verdict.unexplained) + len(verdict.overlapping)
    note = f"asleep for {SLEPT_SECONDS:g} s; {stale} outcomes came too late"
    report(note)
    findings.note(("SIGSTOP of a member", "sqlite"), (count, again, len(verdict.undecided), wrong), note)
    assert stale > 0
    assert verdict == Verdict()


async def test_leases_of_a_replica_that_drains_go_on_at_once(
    tmp_path: Path, report: Report, findings: WorkFindings
) -> None:
    """SIGTERM of a replica: another's member has its leases long before they lapse, with no failure counted."""
    async with workplace(tmp_path, "redis") as place:
        leaver, stayer = place.services
        async with connect(stayer.url) as bus, FaultProxy(leaver.port) as balancer:
            place.bus = bus
            await bus.subscription(NAME).put(definition(lease_seconds=LONG_LEASE_SECONDS))
            async with two_members(place, [f"http://127.0.0.1:{balancer.port}", stayer.url]) as (first, second):
                early = await take(first, EVENTS // 2)
                balancer.aim(stayer.port)
                leaving = time.monotonic()
                ended = asyncio.create_task(asyncio.to_thread(leaver.terminate))
                late = await take(second)
                seconds = time.monotonic() - leaving
                assert await second.settle(reject(late[1:])) == [None] * (EVENTS - 1)
                await second.close()
                (back,) = await take(first, 1)
                came_back_seconds = time.monotonic() - leaving
                await first.ack(back)
                refused = await first.settle(reject(early))
                exit_code = await ended
            counts = await counts_of(bus, NAME)
        place.check_logs()
    note = f"leases of {LONG_LEASE_SECONDS:g} s elsewhere after {seconds:.1f} s, member after {came_back_seconds:.1f} s"
    report(note)
    lost = EVENTS - counts.acked - counts.dead
    findings.note(("SIGTERM of a replica", "redis"), (EVENTS, EVENTS, lost, 0), note)
    assert exit_code == 0
    assert [delivery.attempt for delivery in [*late, back]] == [1] * (EVENTS + 1)
    assert seconds < TAKEN_OVER_SECONDS_MAX
    assert all(isinstance(error, StaleTokenError) for error in refused)
    assert (counts.acked, counts.dead) == (1, EVENTS - 1)
