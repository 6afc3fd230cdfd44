"""Dead letters: full copies, in order of death, which go back or are destroyed."""

from __future__ import annotations

import pytest

from tests.conformance.engines import BUS, EngineUnderTest, stored
from tests.conformance.queues import Feed, Queue, at, positions
from tests.event_samples import entries, entry
from waooaw.events.engine.contract import Engine
from waooaw.events.engine.queue_contract import ClaimRequest
from waooaw.events.retention import TrimPlan
from waooaw.events.subscription_state import Counts
from waooaw.events.timestamp import format_timestamp


async def with_dead(under_test: EngineUnderTest, engine: Engine, count: int, **members: object) -> Queue:
    """Return a queue whose events all died, a second apart."""
    queue = await Queue.made(engine)
    await (await Feed.begun(engine)).append(*entries(count, **members), to=[queue])
    for number, lease in enumerate(await queue.claim(count)):
        under_test.clock.advance(1)
        await queue.settle_as("reject", lease, reason=f"reason {number}")
    return queue


async def ids(queue: Queue) -> list[str]:
    """Return the ids of all dead letters."""
    return [letter.id for letter in await queue.dead()]


async def test_a_dead_letter_is_a_full_copy(under_test: EngineUnderTest, engine: Engine) -> None:
    """It outlives its event in the log, and says why it died."""
    queue = await with_dead(under_test, engine, 1, correlationid="c-1")
    (event,) = await stored(engine)
    await engine.trim(BUS, TrimPlan(excess_events=1), limit=10)

    (letter,) = await queue.dead()

    assert letter.stored == event
    assert (letter.reason, letter.attempts, letter.last_error, letter.member) == ("rejected", 1, "reason 0", "m1")
    state = await queue.state()
    assert state.oldest_dead_ms == letter.last_failure_ms == under_test.clock.now_ms()


async def test_dead_letters_come_in_order_of_death(under_test: EngineUnderTest, engine: Engine) -> None:
    """Oldest first, page by page, each once; ids name the time of death."""
    queue = await with_dead(under_test, engine, 7)

    pages = []
    after = ""
    while page := await engine.dead_letters(BUS, queue.incarnation, after=after, limit=3):
        pages.append(page)
        after = page[-1].id

    assert [len(page) for page in pages] == [3, 3, 1]
    letters = [letter for page in pages for letter in page]
    assert [letter.last_error for letter in letters] == [f"reason {number}" for number in range(7)]
    assert [letter.id.partition("-")[0] for letter in letters] == [str(letter.last_failure_ms) for letter in letters]
    assert len({letter.id for letter in letters}) == 7


async def test_many_of_one_moment(engine: Engine) -> None:
    """Deaths of one millisecond have ids of their own, in the order in which they died."""
    queue = await Queue.made(engine)
    await (await Feed.begun(engine)).append(*entries(30), to=[queue])
    leases = await queue.claim()
    await queue.settle_as("reject", *leases)

    letters = await queue.dead()
    assert [letter.stored.position for letter in letters] == positions(leases)
    assert [
        letter.stored for letter in await engine.dead_letters(BUS, queue.incarnation, after=letters[12].id, limit=5)
    ] == [letter.stored for letter in letters[13:18]]


async def test_an_unknown_place_to_go_on_after(under_test: EngineUnderTest, engine: Engine) -> None:
    """An id that is gone, or of the far future, is a place as any other."""
    queue = await with_dead(under_test, engine, 3)
    first, second, _ = await ids(queue)
    await engine.purge(BUS, queue.incarnation, [second])

    assert len(await engine.dead_letters(BUS, queue.incarnation, after=second, limit=10)) == 1
    assert len(await engine.dead_letters(BUS, queue.incarnation, after=first, limit=10)) == 1
    assert await engine.dead_letters(BUS, queue.incarnation, after="9999999999999-1", limit=10) == ()


async def test_a_redriven_one_is_tried_anew(under_test: EngineUnderTest, engine: Engine) -> None:
    """It waits with its own copy, as a first attempt, under a reference of its own; it is dead no more."""
    queue = await with_dead(under_test, engine, 3)
    (before,) = [letter for letter in await queue.dead() if letter.last_error == "reason 1"]
    await engine.trim(BUS, TrimPlan(excess_events=3), limit=10)

    assert await engine.redrive(BUS, queue.incarnation, [before.id]) == 1

    assert await queue.counts() == Counts(matched=3, dead=2, waiting=1)
    assert before.id not in await ids(queue)
    lease = await queue.claim_one()
    assert lease.event == before.stored
    assert (lease.attempt, lease.last_error, lease.first_delivery_ms) == (1, None, under_test.clock.now_ms())
    assert lease.reference.startswith(f"{before.reference}~")
    await queue.nack(lease, delay_seconds=0)
    assert (await queue.claim_one()).attempt == 2


async def test_a_redriven_one_may_die_again(under_test: EngineUnderTest, engine: Engine) -> None:
    """As often as it is redriven: each time a letter of its own."""
    queue = await with_dead(under_test, engine, 1)
    seen = set(await ids(queue))
    for _ in range(3):
        await engine.redrive(BUS, queue.incarnation, await ids(queue))
        under_test.clock.advance(1)
        await queue.settle_as("reject", await queue.claim_one())
        seen.update(await ids(queue))

    assert len(seen) == 4
    assert await queue.counts() == Counts(matched=1, dead=1)


async def test_a_redrive_may_be_delayed_and_spread(under_test: EngineUnderTest, engine: Engine) -> None:
    """Each is due after the delay, and so much after the one before it; all of them wait."""
    queue = await with_dead(under_test, engine, 4)
    places = [letter.stored.position for letter in await queue.dead()]

    assert await engine.redrive(BUS, queue.incarnation, await ids(queue), delay_ms=1000, spacing_ms=250.0) == 4

    assert await queue.counts() == Counts(matched=4, waiting=4)
    claimed = await queue.claimed(ClaimRequest("m", 10))
    assert claimed.leases == ()
    assert claimed.next_due_ms == under_test.clock.now_ms() + 1000
    under_test.clock.advance(1)
    for place in places:
        assert positions(await queue.claim()) == [place]
        under_test.clock.advance(0.25)


async def test_only_those_that_are_there(under_test: EngineUnderTest, engine: Engine) -> None:
    """Unknown ids, and one given twice, are not counted twice; a redrive or a purge again does nothing."""
    queue = await with_dead(under_test, engine, 4)
    first, second, third, _ = await ids(queue)

    assert await engine.redrive(BUS, queue.incarnation, [first, "1-1", first, "nonsense", ""]) == 1
    assert await engine.redrive(BUS, queue.incarnation, [first]) == 0
    assert await engine.purge(BUS, queue.incarnation, [second, "1-1", second, "nonsense", first]) == 1
    assert await engine.purge(BUS, queue.incarnation, [second]) == 0
    assert third in await ids(queue)
    assert await queue.counts() == Counts(matched=4, waiting=1, dropped=1, dead=2)


async def test_a_purged_one_is_gone(under_test: EngineUnderTest, engine: Engine) -> None:
    """It is counted dropped."""
    queue = await with_dead(under_test, engine, 3)

    assert await engine.purge(BUS, queue.incarnation, await ids(queue)) == 3

    assert await queue.dead() == ()
    assert await queue.counts() == Counts(matched=3, dropped=3)
    assert (await queue.state()).oldest_dead_ms is None


async def test_a_redriven_one_waits_behind_its_key(under_test: EngineUnderTest, engine: Engine) -> None:
    """In a keyed queue it comes when what is busy of its key is settled; and before it, where its key is free."""
    queue = await Queue.made(engine, is_keyed=True)
    feed = await Feed.begun(engine)
    places = at(await feed.append(*(entry(partitionkey="a") for _ in range(3)), to=[queue]))
    await queue.settle_as("reject", await queue.claim_one())
    (busy,) = await queue.claim()
    await engine.redrive(BUS, queue.incarnation, await ids(queue))

    assert await queue.claim() == []
    await queue.ack(busy)
    (next_one,) = await queue.claim()
    await queue.ack(next_one)
    (last,) = await queue.claim()

    assert sorted(positions([busy, next_one, last])) == places
    assert positions([busy]) == places[1:2]
    under_test.clock.advance(1)


async def test_what_was_redriven_late_keeps_its_key(under_test: EngineUnderTest, engine: Engine) -> None:
    """One that waits for the time of its redrive holds its key as a retry does."""
    queue = await Queue.made(engine, is_keyed=True)
    feed = await Feed.begun(engine)
    (dead,) = at(await feed.append(entry(partitionkey="a"), to=[queue]))
    await queue.settle_as("reject", await queue.claim_one())
    await engine.redrive(BUS, queue.incarnation, await ids(queue), delay_ms=5000)
    await feed.append(entry(partitionkey="a"), to=[queue])

    assert await queue.claim() == []
    under_test.clock.advance(5)
    assert positions(await queue.claim()) == [dead]


async def test_an_expired_one_that_is_redriven(under_test: EngineUnderTest, engine: Engine) -> None:
    """Its time passed: nobody gets it."""
    soon = format_timestamp(under_test.clock.now_ms() + 10_000)
    queue = await with_dead(under_test, engine, 1, expirytime=soon)
    under_test.clock.advance(10)
    await engine.redrive(BUS, queue.incarnation, await ids(queue))

    assert await queue.claim() == []
    assert await queue.counts() == Counts(matched=1, expired=1)


@pytest.mark.parametrize("back_seconds", [1, 3600])
async def test_order_of_death_under_a_clock_that_runs_back(
    under_test: EngineUnderTest, engine: Engine, back_seconds: int
) -> None:
    """What dies later sorts later, whatever the clock does: who pages on misses none."""
    queue = await with_dead(under_test, engine, 1)
    (first,) = await queue.dead()
    await (await Feed.begun(engine)).append(entry(), to=[queue])
    lease = await queue.claim_one()
    under_test.clock.set_wall(under_test.clock.now_ms() - back_seconds * 1000)
    await queue.settle_as("reject", lease)

    assert [
        letter.reference for letter in await engine.dead_letters(BUS, queue.incarnation, after=first.id, limit=9)
    ] == [lease.reference]
