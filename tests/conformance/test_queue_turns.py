"""Whose turn it is in a claim: of the priorities, of what is due and what is fresh."""

from __future__ import annotations

import pytest

from tests.conformance.engines import FEW_ENGINES, EngineUnderTest
from tests.conformance.queues import (
    Feed,
    Queue,
    filled,
)
from tests.event_samples import entries, entry
from waooaw.events.engine.contract import Engine
from waooaw.events.engine.queue_contract import Lease
from waooaw.events.retry import RetryPolicy

PRIORITIES = ("critical", "high", "normal", "low")
TURNS = [0, 1, 0, 2, 0, 1, 0, 3, 0, 1, 0, 2, 0, 1, 0]
"""Of fifteen, in this order: eight critical, four high, two normal, one low."""


def priorities(leases: list[Lease]) -> list[int]:
    """Return how urgent each leased event is."""
    return [PRIORITIES.index(str(lease.event.event.extensions.get("priority", "normal"))) for lease in leases]


# Priorities -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(15, 15), (4, 7, 4, 15), (1,) * 30])
async def test_priorities_have_their_turns(engine: Engine, sizes: tuple[int, ...]) -> None:
    """Of fifteen eight critical, four high, two normal, one low, in turns that go on from claim to claim."""
    queue = await Queue.made(engine)
    feed = await Feed.begun(engine)
    for name in PRIORITIES:
        await feed.append(*entries(20, priority=name), to=[queue])

    taken = [priority for size in sizes for priority in priorities(await queue.claim(size))]

    assert taken == TURNS * 2


async def test_within_one_priority_in_log_order(engine: Engine) -> None:
    """Turns mix the priorities; each keeps the order of the log."""
    queue = await Queue.made(engine)
    feed = await Feed.begun(engine)
    for _ in range(3):
        await feed.append(*(entry(priority=name) for name in PRIORITIES), to=[queue])

    leases = await queue.claim()

    for level in range(4):
        own = [
            lease.event.position
            for lease, priority in zip(leases, priorities(leases), strict=True)
            if priority == level
        ]
        assert own == sorted(own)
        assert len(own) == 3


async def test_an_empty_priority_leaves_its_turn_to_the_most_urgent(engine: Engine) -> None:
    """With high and low alone, the turns of critical and normal are high's."""
    queue = await Queue.made(engine)
    feed = await Feed.begun(engine)
    for name in ("low", "high"):
        await feed.append(*entries(15, priority=name), to=[queue])

    assert priorities(await queue.claim(15)) == [3 if turn == 3 else 1 for turn in TURNS]


@FEW_ENGINES
async def test_low_is_not_starved(engine: Engine) -> None:
    """Behind ten thousand critical events, a low one is claimed within a hundred claims of one."""
    queue = await Queue.made(engine)
    feed = await Feed.begun(engine)
    for _ in range(10):
        await feed.append(*entries(1000, priority="critical"), to=[queue])
    await feed.append(entry(priority="low"), to=[queue])

    for _ in range(100):
        (lease,) = await queue.claim(1)
        if priorities([lease]) == [3]:
            return
    pytest.fail("the low event was not among a hundred")


# Due and fresh --------------------------------------------------------------------------------------------------------


async def test_due_and_fresh_half_and_half(under_test: EngineUnderTest, engine: Engine) -> None:
    """While both are there each gets half of a claim, and both keep their order."""
    queue, all_positions = await filled(engine, 30)
    for number, lease in enumerate(await queue.claim(10)):
        await queue.nack(lease, delay_seconds=1 + (10 - number) / 100)
    under_test.clock.advance(2)

    leases = await queue.claim(8)

    due = [lease.event.position for lease in leases if lease.attempt == 2]
    fresh = [lease.event.position for lease in leases if lease.attempt == 1]
    assert due == list(reversed(all_positions[:10]))[:4], "by the time at which they became due"
    assert fresh == all_positions[10:14]


@pytest.mark.parametrize(("failed", "waiting", "expected"), [(2, 20, (2, 8)), (20, 3, (7, 3)), (20, 0, (10, 0))])
async def test_what_one_half_does_not_use_the_other_gets(
    under_test: EngineUnderTest, engine: Engine, failed: int, waiting: int, expected: tuple[int, int]
) -> None:
    """A claim is as full as it can be."""
    queue, _ = await filled(engine, failed + waiting)
    await queue.nack(*await queue.claim(failed), delay_seconds=1)
    under_test.clock.advance(1)

    attempts = [lease.attempt for lease in await queue.claim(10)]

    assert (attempts.count(2), attempts.count(1)) == expected


async def test_claims_of_one_take_both(under_test: EngineUnderTest, engine: Engine) -> None:
    """Who takes one at a time gets due and fresh in turns: neither is starved by the other."""
    queue, _ = await filled(engine, 20)
    await queue.nack(*await queue.claim(10), delay_seconds=1)
    under_test.clock.advance(1)

    attempts = [(await queue.claim_one()).attempt for _ in range(10)]

    assert (attempts.count(1), attempts.count(2)) == (5, 5)


async def test_half_of_what_may_be_in_flight(under_test: EngineUnderTest, engine: Engine) -> None:
    """Where the room is less than the claim, the halves are of the room."""
    queue, _ = await filled(engine, 20, max_in_flight=10)
    await queue.nack(*await queue.claim(10), delay_seconds=1)
    assert len(await queue.claim(4)) == 4
    under_test.clock.advance(1)

    attempts = [lease.attempt for lease in await queue.claim(100)]

    assert (attempts.count(1), attempts.count(2)) == (3, 3)


@FEW_ENGINES
async def test_failing_events_do_not_keep_fresh_ones_waiting(under_test: EngineUnderTest, engine: Engine) -> None:
    """Three thousand events that fail again each second leave half of each claim to what is fresh."""
    queue, _ = await filled(engine, 1000, retry=RetryPolicy(max_attempts=1000), max_in_flight=10_000)
    feed = await Feed.begun(engine)
    for _ in range(2):
        await feed.append(*entries(1000), to=[queue])
    for _ in range(3):
        await queue.nack(*await queue.claim(1000), delay_seconds=1)
    await feed.append(*entries(500, type="fresh"), to=[queue])
    under_test.clock.advance(1)

    fresh = 0
    for _ in range(5):
        leases = await queue.claim(200)
        of_fresh = [lease for lease in leases if lease.event.type == "fresh"]
        await queue.nack(*(lease for lease in leases if lease.event.type != "fresh"), delay_seconds=1)
        await queue.ack(*of_fresh)
        fresh += len(of_fresh)
        under_test.clock.advance(0.2)

    assert fresh == 500
