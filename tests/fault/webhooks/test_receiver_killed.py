"""A receiver that fails by chance and is killed gets every event, each again in the time of the retry policy."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from pathlib import Path

import pytest

from tests.fault.conftest import Report
from tests.fault.parameters import WEBHOOK_EVENTS, WEBHOOK_FAILING, WEBHOOK_KILLS, WEBHOOK_RATE
from tests.fault.waiting import until
from tests.fault.webhooks.retry_judge import Pause, judge
from tests.fault.webhooks.site import RETRY, SETTINGS, Published, caught_up, consented, definition, publish, push_to
from tests.fault.work.workplace import Store, Workplace, all_done, counts_of, workplace
from tests.webhooks.receiver_process import ReceiverProcess

NAME = "agent"
CATCH_UP_SECONDS_MAX = 60.0
FIRST_WAIT_MEDIAN = (0.25, 0.85)
"""Of waits between 0 and 1 second, each as likely as any other, and of 30 of them or more; the later part is slack."""


async def outage(place: Workplace, receiver: ReceiverProcess, goal: int) -> Pause:
    """Kill the receiver under load and start it again; return how long that disturbed the deliveries."""
    await until(lambda: len(receiver.lines) >= goal, "deliveries before the kill")
    begin = time.monotonic()
    await asyncio.to_thread(receiver.kill)
    await asyncio.to_thread(receiver.start)
    back = len(receiver.lines)
    await until(lambda: any(line.status < 300 for line in receiver.lines[back:]), "a delivery after the kill")
    await caught_up(place.bus, NAME, CATCH_UP_SECONDS_MAX)
    return Pause(begin, time.monotonic())


@pytest.mark.parametrize("store", ["sqlite", "redis"])
async def test_a_receiver_that_fails_and_is_killed_gets_everything_in_time(
    tmp_path: Path, chance: random.Random, report: Report, store: Store
) -> None:
    """Every event is delivered; what failed comes again within the policy's bound, spread over all of it."""
    parts = WEBHOOK_KILLS.count + 1
    size = -(-WEBHOOK_EVENTS.count // parts)
    published, pauses = Published(), []
    receiver = ReceiverProcess(tmp_path / "log", failing_share=WEBHOOK_FAILING.value, seed=chance.getrandbits(32))
    async with workplace(tmp_path, store, replicas=1, settings=SETTINGS) as place:
        with receiver:
            await place.bus.subscription(NAME).put(definition(push_to(receiver.url)))
            await consented(place.bus, NAME)
            for part in range(parts):
                publishing = asyncio.create_task(publish(place.bus, size, WEBHOOK_RATE.value, published))
                if part < WEBHOOK_KILLS.count:
                    goal = len(receiver.lines) + round(size * chance.uniform(0.5, 0.8))
                    pauses.append(await outage(place, receiver, goal))
                await publishing
            await all_done(place.bus, [NAME], CATCH_UP_SECONDS_MAX)
            counts = await counts_of(place.bus, NAME)
        place.check_logs()
    assert len(published.due) == size * parts == counts.acked, counts
    found = judge(receiver.lines, published.due, RETRY, pauses)
    failed = sum(line.status >= 300 for line in receiver.lines)
    waited = statistics.median(found.first_waits)
    report(
        f"{store}: {size * parts:,} real events, {len(pauses)} kills, {failed:,} failures by chance, "
        f"{found.retries:,} retries; waits for a second try: {waited:.2f} s in the median, "
        f"{max(found.first_waits):.2f} s at most; disturbed for "
        + ", ".join([f"{pause.end - pause.begin:.1f} s" for pause in pauses])
    )
    assert found.wrong == [[], [], [], []]
    assert len(found.first_waits) >= 10
    assert FIRST_WAIT_MEDIAN[0] < waited < FIRST_WAIT_MEDIAN[1]
