"""Two replicas call the same receivers: what a receiver takes holds over both, and one may die."""

from __future__ import annotations

import asyncio
import bisect
import time
from itertools import pairwise
from pathlib import Path

from tests.fault.conftest import Report
from tests.fault.parameters import SHARED_EVENTS
from tests.fault.waiting import lasting
from tests.fault.webhooks.site import (
    LEASE_SECONDS,
    SETTINGS,
    WAIT_SECONDS,
    Published,
    consented,
    definition,
    publish,
    push_to,
)
from tests.fault.work.workplace import LOOK_SECONDS, all_done, workplace
from tests.webhooks.receivers import Answer, Receiver, Request, receiving
from waooaw.events.interface import Bus

SLOW, PACED = "slow", "paced"
LATENCY_SECONDS = 0.02
CONCURRENCY = 8
PACED_CONCURRENCY = 4
RATE = 100.0
RATE_MARGIN = 10
"""Beyond the rate, in any second: the first request of each replica, its tolerance, and requests that arrive late."""

PUBLISHED_RATE = 250.0
GO_ON_SECONDS_MAX = 6.0 + LEASE_SECONDS


async def answer_slowly(_: Request) -> Answer:
    """Take an event, and some time for it."""
    await lasting(LATENCY_SECONDS)
    return Answer()


async def both_send(bus: Bus, name: str) -> None:
    """Return once attempts of two replicas are known."""
    deadline = time.monotonic() + WAIT_SECONDS
    while len({each.replica for each in await bus.subscription(name).attempts() if each.kind == "delivery"}) < 2:
        assert time.monotonic() < deadline, f"only one replica sends to {name}"
        await asyncio.sleep(LOOK_SECONDS)


def most_in_a_second(receiver: Receiver) -> int:
    """Return the most requests that came within any second."""
    times = sorted(request.at for request in receiver.posts)
    return max(bisect.bisect_left(times, begin + 1.0) - number for number, begin in enumerate(times))


def longest_silence(receiver: Receiver, since: float) -> float:
    """Return the longest time without a request after a time, until the last of them."""
    times = [since, *sorted(request.at for request in receiver.posts if request.at >= since)]
    return max((after - before for before, after in pairwise(times)), default=0.0)


async def test_limits_hold_over_replicas_and_one_may_die(tmp_path: Path, report: Report) -> None:
    """Both send; never more at a time, nor in a second, than the receiver takes; kill -9 of one loses nothing."""
    published = Published()
    async with (
        workplace(tmp_path, "redis", settings=SETTINGS) as place,
        receiving(answer_slowly) as slow,
        receiving() as paced,
    ):
        bus, (_, victim) = place.bus, place.services
        await bus.subscription(SLOW).put(definition(push_to(slow.url, concurrency=CONCURRENCY)))
        push = push_to(paced.url, concurrency=PACED_CONCURRENCY, rate=RATE)
        await bus.subscription(PACED).put(definition(push))
        await consented(bus, SLOW, PACED)
        publishing = asyncio.create_task(publish(bus, SHARED_EVENTS.count, PUBLISHED_RATE, published))
        await both_send(bus, SLOW)
        await both_send(bus, PACED)
        victim.kill()
        killed = asyncio.get_running_loop().time()
        at_kill = len(slow.posts), len(paced.posts)
        await publishing
        await all_done(bus, [SLOW, PACED], GO_ON_SECONDS_MAX + SHARED_EVENTS.count / RATE + LEASE_SECONDS)
        done_seconds = asyncio.get_running_loop().time() - killed
        place.check_logs()
    silences = [longest_silence(receiver, killed) for receiver in (slow, paced)]
    report(
        f"{SHARED_EVENTS.count:,} events to each of two receivers, one replica killed after {at_kill}: at most "
        f"{slow.most_in_flight} of {CONCURRENCY} at a time, {most_in_a_second(paced)} of {RATE:g} in a second; silent "
        f"for {silences[0]:.2f} and {silences[1]:.2f} s at most after the kill, done {done_seconds:.1f} s after it; "
        f"{len(slow.posts) + len(paced.posts) - 2 * SHARED_EVENTS.count} came again"
    )
    for receiver, concurrency in ((slow, CONCURRENCY), (paced, PACED_CONCURRENCY)):
        assert {message_id.rpartition(".")[2] for message_id in receiver.message_ids} == published.due.keys()
        assert receiver.most_in_flight <= concurrency
        # Only what the killed one had under way, or had claimed and sent, may come again.
        assert len(receiver.posts) - SHARED_EVENTS.count <= concurrency + CONCURRENCY
    assert max(at_kill) < SHARED_EVENTS.count
    assert most_in_a_second(paced) <= RATE + RATE_MARGIN
    assert max(silences) <= GO_ON_SECONDS_MAX
