"""Sweeps: what moves where nobody claims."""

from __future__ import annotations

from tests.conformance.engines import EngineUnderTest
from tests.conformance.queues import LAPSED, Feed, Queue, incarnation_of
from tests.event_samples import entries, entry
from waooaw.events.engine.contract import Engine
from waooaw.events.engine.queue_contract import Moves
from waooaw.events.retention import TrimPlan
from waooaw.events.retry import RetryPolicy
from waooaw.events.subscription_state import Counts
from waooaw.events.timestamp import format_timestamp


async def test_lapsed_leases_become_due(under_test: EngineUnderTest, engine: Engine) -> None:
    """A failure each, scheduled and claimable at once; leases that last stay."""
    queue = await Queue.made(engine, max_in_flight=10)
    await (await Feed.begun(engine)).append(*entries(4), to=[queue])
    await queue.claim(2)
    under_test.clock.advance(1)
    await queue.claim(1)
    under_test.clock.advance(29)

    moves = await queue.sweep()

    assert moves == Moves(lapsed=2)
    assert await queue.counts() == Counts(matched=4, waiting=1, leased=1, scheduled=2)
    due = [lease for lease in await queue.claim() if lease.attempt == 2]
    assert [lease.last_error for lease in due] == [LAPSED] * 2
    assert await queue.sweep() == Moves()


async def test_lapses_may_be_the_last_failure(under_test: EngineUnderTest, engine: Engine) -> None:
    """Dead, or dropped where that was asked for."""
    queue = await Queue.made(engine, retry=RetryPolicy(max_attempts=1))
    dropping = await Queue.made(engine, "dropping", retry=RetryPolicy(max_attempts=1), drops_exhausted=True)
    await (await Feed.begun(engine)).append(entry(), to=[queue, dropping])
    await queue.claim()
    await dropping.claim()
    under_test.clock.advance(30)

    moves = await engine.sweep(
        queue.bus, [queue.incarnation, dropping.incarnation], limit=10, dead_seconds=10**6, dead_max=10
    )

    assert [[burial.is_dropped for burial in each.buried] for each in moves] == [[False], [True]]
    assert await queue.counts() == Counts(matched=1, dead=1)
    assert await dropping.counts() == Counts(matched=1, dropped=1)


async def test_expired_events_go_from_the_fronts(under_test: EngineUnderTest, engine: Engine) -> None:
    """Of each priority's list, and of what is due; what is behind one that did not expire stays for now."""
    queue = await Queue.made(engine)
    feed = await Feed.begun(engine)
    soon = format_timestamp(under_test.clock.now_ms() + 1000)
    failing = entry(expirytime=soon)
    await feed.append(failing, to=[queue])
    await queue.nack(*await queue.claim(), delay_seconds=1)
    await feed.append(
        entry(expirytime=soon),
        entry(expirytime=soon),
        entry(),
        entry(expirytime=soon),
        entry(expirytime=soon, priority="low"),
        to=[queue],
    )
    assert await queue.sweep() == Moves()
    under_test.clock.advance(1)

    moves = await queue.sweep()

    assert moves == Moves(expired=4)
    assert await queue.counts() == Counts(matched=6, waiting=2, expired=4)


async def test_what_the_log_has_no_more_goes_from_the_fronts(engine: Engine) -> None:
    """It is counted overrun; what carries its copy stays."""
    queue = await Queue.made(engine)
    await (await Feed.begun(engine)).append(*entries(5), to=[queue])
    failed, released, leased = await queue.claim(3)
    await queue.nack(failed, delay_seconds=0)
    await queue.settle_as("release", released)
    await engine.trim(queue.bus, TrimPlan(excess_events=4), limit=10)

    moves = await queue.sweep()

    assert moves == Moves(overrun=2)
    assert await queue.counts() == Counts(matched=5, waiting=1, scheduled=1, leased=1, overrun=2)
    await queue.ack(leased)


async def test_old_dead_letters_are_dropped(under_test: EngineUnderTest, engine: Engine) -> None:
    """Those over their age, and the oldest over their number."""
    queue = await Queue.made(engine)
    await (await Feed.begun(engine)).append(*entries(6), to=[queue])
    for lease in await queue.claim():
        await queue.settle_as("reject", lease)
        under_test.clock.advance(10)

    before = [letter.id for letter in await queue.dead()]
    assert await queue.sweep(dead_seconds=35) == Moves()
    assert [letter.id for letter in await queue.dead()] == before[3:]
    await queue.sweep(dead_max=1)
    assert [letter.id for letter in await queue.dead()] == before[5:]
    assert await queue.counts() == Counts(matched=6, dead=1, dropped=5)


async def test_a_sweep_is_bounded(under_test: EngineUnderTest, engine: Engine) -> None:
    """No more than ``limit`` references of a queue move in one sweep; the next goes on."""
    queue = await Queue.made(engine)
    await (await Feed.begun(engine)).append(*entries(10), to=[queue])
    await queue.claim()
    under_test.clock.advance(30)

    lapsed = [(await queue.sweep(limit=4)).lapsed for _ in range(4)]

    assert lapsed == [4, 4, 2, 0]


async def test_a_queue_that_is_gone(engine: Engine) -> None:
    """Nothing moved there, and the others are swept."""
    queue = await Queue.made(engine)
    await (await Feed.begun(engine)).append(entry(), to=[queue])

    moves = await engine.sweep(
        queue.bus, [incarnation_of("nobody"), queue.incarnation], limit=10, dead_seconds=1, dead_max=1
    )

    assert moves == (Moves(), Moves())


async def test_a_paused_queue_is_swept(under_test: EngineUnderTest, engine: Engine) -> None:
    """A pause stops claims, not time."""
    queue = await Queue.made(engine)
    await (await Feed.begun(engine)).append(entry(), to=[queue])
    await queue.claim()
    await queue.pause()
    under_test.clock.advance(30)

    assert await queue.sweep() == Moves(lapsed=1)
