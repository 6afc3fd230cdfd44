"""A member that takes much more than it works on at a time."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from tests.fault.conftest import Report
from tests.fault.parameters import CREDIT_EVENTS, CREDIT_LEASE_SECONDS, CREDIT_PAUSE_SECONDS, CREDIT_TAKEN
from tests.fault.work.findings import WorkFindings
from tests.fault.work.workplace import counts_of, definition, publish, workplace

NAME = "slow"
MOVED_SECONDS_MAX = 10.0


async def test_nothing_lapses_that_a_connected_member_holds(
    tmp_path: Path, report: Report, findings: WorkFindings
) -> None:
    """What waits at a slow member for many leases does not lapse; when it leaves, others have it at once, untried."""
    count, taken = CREDIT_EVENTS.count, CREDIT_TAKEN.count
    lease_seconds, pause_seconds = CREDIT_LEASE_SECONDS.value, CREDIT_PAUSE_SECONDS.value
    attempts: list[int] = []
    async with workplace(tmp_path, "sqlite") as place:
        subscription = place.bus.subscription(NAME)
        await subscription.put(definition(lease_seconds=lease_seconds))
        await publish(place.bus, count, keys=1, rate=100_000)
        async with subscription.consume(credit=count, member="slow") as slow:
            for _ in range(taken):
                delivery = await anext(slow)
                attempts.append(delivery.attempt)
                await asyncio.sleep(pause_seconds)
                await slow.ack(delivery)
            held = await counts_of(place.bus, NAME)
            others = await subscription.claim(limit=1000, member="other")
        left = time.monotonic()
        async with subscription.consume(credit=count, member="next") as following:
            rest = [await anext(following) for _ in range(count - taken)]
            moved_seconds = time.monotonic() - left
            for delivery in rest:
                await following.ack(delivery)
        ended = await counts_of(place.bus, NAME)
        place.check_logs()
    held_seconds = taken * pause_seconds
    note = (
        f"credit {count}, lease {lease_seconds:g} s, an event in {pause_seconds:g} s for {held_seconds:.0f} s; "
        f"the rest given back in {moved_seconds:.1f} s"
    )
    report(note)
    again = sum(attempt > 1 for attempt in attempts)
    findings.note(("slow member with much credit", "sqlite"), (count, again, count - ended.acked, 0), note)
    assert held_seconds > 2 * lease_seconds
    assert (held.acked, held.leased, held.scheduled) == (taken, count - taken, 0)
    assert others.deliveries == ()
    assert attempts == [1] * taken
    assert [delivery.attempt for delivery in rest] == [1] * (count - taken)
    assert moved_seconds < min(MOVED_SECONDS_MAX, lease_seconds)
    assert ended.acked == count
