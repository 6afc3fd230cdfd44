"""Fills: history that goes into a queue, without a gap and without a duplicate, before what is live."""

from __future__ import annotations

import asyncio

import pytest

from tests.conformance.engines import BUS, EngineUnderTest, stored
from tests.conformance.queues import Feed, Queue, at, fill_all, fill_next, positions
from tests.event_samples import entries, entry
from waooaw.events.engine.contract import Engine
from waooaw.events.engine.queue_contract import FillItem, Lease
from waooaw.events.position import BEGINNING, END, Position
from waooaw.events.retention import TrimPlan
from waooaw.events.subscription_state import Counts, FillState
from waooaw.events.timestamp import format_timestamp


async def history(engine: Engine, count: int) -> tuple[Feed, list[Position]]:
    """Return what appends, and where so many events are in the log."""
    feed = await Feed.begun(engine)
    return feed, at(await feed.append(*entries(count), to=[]))


async def test_a_start_in_the_past_begins_a_fill(engine: Engine) -> None:
    """From the start, exclusive, to the end of the log at the time; nothing is in the queue yet."""
    _, places = await history(engine, 5)

    queue = await Queue.made(engine, start=places[1])

    state = await queue.state()
    assert state.fill == FillState(places[1], places[-1], 0)
    assert state.counts == Counts()
    (record,) = (await engine.routes(BUS)).subscriptions
    assert record.after == places[-1]


async def test_a_start_at_the_end_needs_no_fill(engine: Engine) -> None:
    """Where there is no history after the start, there is nothing to fill."""
    _, places = await history(engine, 2)

    queue = await Queue.made(engine, start=places[-1])

    assert (await queue.state()).fill is None


async def test_a_fill_goes_on_in_steps(engine: Engine) -> None:
    """Each step adds its references and says how far the log was looked at; at the end the fill is over."""
    _, places = await history(engine, 5)
    queue = await Queue.made(engine, start=BEGINNING)

    first = await fill_next(queue, 2)
    assert first.fill == FillState(places[1], places[-1], 2)
    assert first.counts == Counts(matched=2, waiting=2)
    second = await fill_next(queue, 2)
    assert second.fill == FillState(places[3], places[-1], 4)
    last = await fill_next(queue, 2)
    assert last.fill is None
    assert last.counts == Counts(matched=5, waiting=5)

    leases = await queue.claim()
    assert positions(leases) == places
    assert all(lease.reference.partition("~")[2] for lease in leases), "told from live ones"


async def test_a_step_that_matches_nothing_goes_on(engine: Engine) -> None:
    """How far the log was looked at is noted without a reference too."""
    _, places = await history(engine, 5)
    queue = await Queue.made(engine, start=BEGINNING)

    state = await engine.fill(BUS, queue.incarnation, [], expected=BEGINNING, reached=places[2])

    assert state.fill == FillState(places[2], places[-1], 0)


async def test_a_step_is_done_once(engine: Engine) -> None:
    """A step that does not begin where the fill stands does nothing: repeated, or of another replica."""
    _, places = await history(engine, 4)
    queue = await Queue.made(engine, start=BEGINNING)
    items = [FillItem(place, "", 0) for place in places[:2]]
    first = await engine.fill(BUS, queue.incarnation, items, expected=BEGINNING, reached=places[1])

    again = await engine.fill(BUS, queue.incarnation, items, expected=BEGINNING, reached=places[1])

    assert again == first
    assert again.counts.matched == 2


async def test_a_step_without_a_fill_does_nothing(engine: Engine) -> None:
    """Where no fill is under way, nothing is added."""
    _, places = await history(engine, 2)
    queue = await Queue.made(engine)

    state = await engine.fill(
        BUS, queue.incarnation, [FillItem(places[0], "", 0)], expected=BEGINNING, reached=places[0]
    )

    assert (state.fill, state.counts) == (None, Counts())


async def test_history_comes_before_what_is_live(engine: Engine) -> None:
    """While a fill is under way, or what it made waits, fresh live events wait; then they come in order."""
    feed, places = await history(engine, 4)
    queue = await Queue.made(engine, start=BEGINNING)
    live = at(await feed.append(*entries(3, priority="critical"), to=[queue]))

    assert await queue.claim() == []
    await fill_next(queue, 2)
    assert positions(await queue.claim()) == places[:2]
    assert await queue.claim() == []
    await fill_all(queue)
    assert positions(await queue.claim(1)) == places[2:3]
    assert positions(await queue.claim()) == [places[3], *live]


async def test_what_failed_comes_also_while_it_fills(under_test: EngineUnderTest, engine: Engine) -> None:
    """Only fresh live events wait for a fill: retries go on."""
    _, places = await history(engine, 4)
    queue = await Queue.made(engine, start=BEGINNING)
    await fill_next(queue, 2)
    first, _ = await queue.claim()
    await queue.nack(first, delay_seconds=1)
    under_test.clock.advance(1)

    assert positions(await queue.claim()) == places[:1]


async def test_expired_history_is_not_handed_out(under_test: EngineUnderTest, engine: Engine) -> None:
    """An event whose time passed is expired, also where a fill brought it."""
    feed = await Feed.begun(engine)
    soon = format_timestamp(under_test.clock.now_ms() + 1000)
    await feed.append(entry(expirytime=soon), entry(), to=[])
    under_test.clock.advance(1)
    queue = await Queue.made(engine, start=BEGINNING)
    await fill_all(queue)

    assert len(await queue.claim()) == 1
    assert await queue.counts() == Counts(matched=2, leased=1, expired=1)


@pytest.mark.parametrize("is_keyed", [False, True])
async def test_no_gap_and_no_duplicate_while_appends_go_on(engine: Engine, is_keyed: bool) -> None:  # noqa: FBT001 - both ways
    """From the beginning while replicas append and members work: each event once, in the order of the log.

    In a keyed queue the order is that of each key.
    """
    feed = await Feed.begun(engine)
    await feed.append(*(entry(partitionkey=str(number % 7)) for number in range(150)), to=[])
    queue = await Queue.made(engine, start=BEGINNING, is_keyed=is_keyed)

    async def append() -> None:
        for _ in range(30):
            await feed.append(*(entry(partitionkey=str(number)) for number in range(5)), to=[queue])
            await asyncio.sleep(0)

    async def fill() -> None:
        while (await queue.state()).fill is not None:
            await fill_next(queue, 20)
            await asyncio.sleep(0)

    running = [asyncio.create_task(append()), asyncio.create_task(fill())]
    got: list[Lease] = []
    while not all(task.done() for task in running) or (await queue.counts()).waiting:
        leases = await queue.claim(40)
        await queue.ack(*leases)
        got += leases
        await asyncio.sleep(0)
    await asyncio.gather(*running)

    events = await stored(engine)
    order = [str(event.event.extensions["partitionkey"]) if is_keyed else "" for event in events]
    for key in set(order):
        own = [event.position for event, of in zip(events, order, strict=True) if of == key]
        assert [place for place in positions(got) if place in own] == own
    assert (await queue.counts()) == Counts(matched=300, acked=300)


# Seek -----------------------------------------------------------------------------------------------------------------


async def test_a_seek_drops_what_waits_and_fills_anew(engine: Engine) -> None:
    """What waits or is scheduled is dropped, leases stay, and history comes from the place on."""
    feed, _ = await history(engine, 1)
    queue = await Queue.made(engine)
    places = at(await feed.append(*entries(6), to=[queue]))
    leased, failed, released = await queue.claim(3)
    await queue.nack(failed, delay_seconds=0)
    await queue.settle_as("release", released)

    state = await engine.seek(BUS, queue.incarnation, places[3])

    assert state.counts == Counts(matched=6, leased=1, dropped=5)
    assert state.fill == FillState(places[3], places[-1], 0)
    await fill_all(queue)
    assert positions(await queue.claim()) == places[4:]
    await queue.ack(leased)
    assert await queue.counts() == Counts(matched=8, acked=1, leased=2, dropped=5)


async def test_a_seek_to_the_end_drops_alone(engine: Engine) -> None:
    """There is no history after the end: what comes is live, at once."""
    feed, _ = await history(engine, 1)
    queue = await Queue.made(engine)
    places = at(await feed.append(*entries(3), to=[queue]))

    state = await engine.seek(BUS, queue.incarnation, places[-1])

    assert (state.counts, state.fill) == (Counts(matched=3, dropped=3), None)
    later = at(await feed.append(entry(), to=[queue]))
    assert positions(await queue.claim()) == later


async def test_a_seek_beyond_the_end_is_one_to_the_end(engine: Engine) -> None:
    """What is appended after it comes."""
    feed, _ = await history(engine, 3)
    queue = await Queue.made(engine)

    assert (await engine.seek(BUS, queue.incarnation, END)).fill is None
    later = at(await feed.append(entry(), to=[queue]))
    assert positions(await queue.claim()) == later


async def test_a_seek_ends_a_fill(engine: Engine) -> None:
    """What it made is dropped; steps of the old one do nothing."""
    _, places = await history(engine, 6)
    queue = await Queue.made(engine, start=BEGINNING)
    await fill_next(queue, 2)

    await engine.seek(BUS, queue.incarnation, places[3])
    state = await engine.fill(
        BUS, queue.incarnation, [FillItem(places[2], "", 0)], expected=places[1], reached=places[2]
    )

    assert state.counts == Counts(matched=2, dropped=2)
    assert state.fill == FillState(places[3], places[-1], 0)
    await fill_all(queue)
    assert positions(await queue.claim()) == places[4:]


async def test_a_seek_back_while_all_is_leased(engine: Engine) -> None:
    """One event may be leased and come again: its references are told apart, and settled each by its own token."""
    feed, _ = await history(engine, 1)
    queue = await Queue.made(engine)
    places = at(await feed.append(*entries(2), to=[queue]))
    first = await queue.claim()
    await engine.seek(BUS, queue.incarnation, BEGINNING)
    await fill_all(queue)
    second = await queue.claim()

    assert positions(second)[1:] == places
    assert len({lease.reference for lease in first + second}) == 5
    await queue.ack(*first)
    await queue.nack(*second, delay_seconds=100)
    assert await queue.counts() == Counts(matched=5, acked=2, scheduled=3)


async def test_a_seek_leaves_dead_letters(engine: Engine) -> None:
    """They are in no queue; and they can be redriven afterwards."""
    feed, _ = await history(engine, 1)
    queue = await Queue.made(engine)
    places = at(await feed.append(*entries(2), to=[queue]))
    await queue.settle_as("reject", await queue.claim_one())

    state = await engine.seek(BUS, queue.incarnation, places[-1])

    assert state.counts == Counts(matched=2, dead=1, dropped=1)
    await engine.redrive(BUS, queue.incarnation, [letter.id for letter in await queue.dead()])
    assert positions(await queue.claim()) == places[:1]


async def test_a_keyed_seek_drops_what_is_parked(engine: Engine) -> None:
    """What stood behind a busy key is dropped as well, and the fill keeps the order of each key."""
    feed, _ = await history(engine, 1)
    queue = await Queue.made(engine, is_keyed=True)
    places = at(await feed.append(*(entry(partitionkey="a") for _ in range(4)), to=[queue]))
    (leased,) = await queue.claim()

    state = await engine.seek(BUS, queue.incarnation, places[1])

    assert state.counts == Counts(matched=4, leased=1, dropped=3)
    await fill_all(queue)
    await queue.ack(leased)
    assert positions(await queue.claim()) == places[2:3]
    assert await queue.claim() == []


async def test_a_fill_outlives_its_engine(under_test: EngineUnderTest) -> None:
    """After a reopen it goes on where it was."""
    if not under_test.survives_reopen:
        pytest.skip("nothing is kept")
    engine = await under_test.open()
    _, places = await history(engine, 6)
    queue = await Queue.made(engine, start=BEGINNING)
    await fill_next(queue, 2)
    before = await queue.state()

    queue = queue.seen_by(await under_test.reopen(), "another")

    assert await queue.state() == before
    await fill_all(queue)
    assert positions(await queue.claim()) == places


# What the log is needed for -------------------------------------------------------------------------------------------


async def test_what_queues_need_of_the_log(engine: Engine) -> None:
    """The oldest that waits or is leased for the first time; not what carries its copy or is settled."""
    queue = await Queue.made(engine)
    other = await Queue.made(engine, "other")
    feed = await Feed.begun(engine)
    places = at(await feed.append(*entries(4), to=[queue]))
    places += at(await feed.append(entry(), to=[other]))

    async def needed(*queues: Queue) -> Position | None:
        return await engine.oldest_needed(BUS, [each.incarnation for each in queues])

    assert (await needed(queue), await needed(other), await needed(queue, other)) == (places[0], places[4], places[0])
    first, second, third = await queue.claim(3)
    assert await needed(queue) == places[0]
    await queue.ack(second)
    await queue.nack(first, delay_seconds=100)
    assert await needed(queue) == places[2]
    await queue.settle_as("reject", third)
    assert await needed(queue, other) == places[3]
    await queue.ack(await queue.claim_one())
    assert (await needed(queue), await needed(queue, other), await needed()) == (None, places[4], None)


async def test_a_running_fill_needs_what_it_has_not_reached(engine: Engine) -> None:
    """Nothing after the place it reached may go, nothing before it is kept for it."""
    _, places = await history(engine, 4)
    queue = await Queue.made(engine, start=places[0])
    await fill_next(queue, 1)
    await queue.ack(await queue.claim_one())

    needed = await engine.oldest_needed(BUS, [queue.incarnation])

    assert needed is not None
    assert places[1] < needed <= places[2]


async def test_what_stands_behind_a_key_is_needed(engine: Engine) -> None:
    """A parked reference holds no copy."""
    queue = await Queue.made(engine, is_keyed=True)
    places = at(await (await Feed.begun(engine)).append(*(entry(partitionkey="a") for _ in range(3)), to=[queue]))
    await queue.nack(*await queue.claim(), delay_seconds=100)
    assert await queue.claim() == []

    assert await engine.oldest_needed(BUS, [queue.incarnation]) == places[1]


@pytest.mark.parametrize(
    ("plan", "removed"),
    [
        (TrimPlan(excess_events=4), 2),
        (TrimPlan(before_ms=2**41), 2),
        (TrimPlan(excess_events=4, excess_bytes=1), 2),
        (TrimPlan(excess_bytes=10**9), 5),
    ],
)
async def test_a_needed_event_is_trimmed_for_bytes_alone(engine: Engine, plan: TrimPlan, removed: int) -> None:
    """Limits of age and count end before what is needed; the limit of bytes does not."""
    feed, _ = await history(engine, 2)
    queue = await Queue.made(engine)
    await feed.append(*entries(3), to=[queue])
    needed = await engine.oldest_needed(BUS, [queue.incarnation])
    members = {name: getattr(plan, name) for name in ("before_ms", "excess_events", "excess_bytes")}

    assert await engine.trim(BUS, TrimPlan(**members, needed_from=needed), limit=100) == removed


# Where an event is ----------------------------------------------------------------------------------------------------


async def test_where_a_reference_is(under_test: EngineUnderTest, engine: Engine) -> None:
    """Waiting, leased, scheduled, dead or settled, with attempts, member and error."""
    queue = await Queue.made(engine)
    feed = await Feed.begun(engine)
    (place,) = at(await feed.append(entry(priority="low"), to=[queue]))

    async def report() -> tuple[object, ...]:
        found = await engine.find_reference(BUS, queue.incarnation, place, 3)
        assert found is not None
        return found.state, found.attempts, found.member, found.last_error

    assert await report() == ("waiting", 0, "", None)
    (lease,) = await queue.claim(member="w1")
    assert await report() == ("leased", 1, "w1", None)
    await queue.nack(lease, delay_seconds=10, reason="no luck")
    assert await report() == ("scheduled", 1, "w1", "no luck")
    under_test.clock.advance(10)
    (lease,) = await queue.claim(member="w2")
    assert await report() == ("leased", 2, "w2", "no luck")
    await queue.settle_as("reject", lease, reason="never")
    assert await report() == ("dead", 2, "w2", "never")
    await engine.redrive(BUS, queue.incarnation, [letter.id for letter in await queue.dead()])
    assert (await report())[:2] == ("waiting", 0)
    await queue.ack(await queue.claim_one())
    assert await report() == ("settled", 0, "", None)


async def test_where_what_was_never_here_is(engine: Engine) -> None:
    """An event from before the subscription, which no fill brought, is not known."""
    _, places = await history(engine, 3)
    queue = await Queue.made(engine)

    assert await engine.find_reference(BUS, queue.incarnation, places[1], 2) is None


async def test_where_the_newest_reference_is(engine: Engine) -> None:
    """Of an event that is here twice, the newer one is told of."""
    feed, _ = await history(engine, 1)
    queue = await Queue.made(engine)
    (place,) = at(await feed.append(entry(), to=[queue]))
    await queue.claim()
    await engine.seek(BUS, queue.incarnation, BEGINNING)
    await fill_all(queue)

    found = await engine.find_reference(BUS, queue.incarnation, place, 2)

    assert found is not None
    assert found.state == "waiting"


async def test_where_one_behind_its_key_is(engine: Engine) -> None:
    """A parked one is waiting."""
    queue = await Queue.made(engine, is_keyed=True)
    places = at(await (await Feed.begun(engine)).append(*(entry(partitionkey="a") for _ in range(2)), to=[queue]))
    await queue.claim()

    found = await engine.find_reference(BUS, queue.incarnation, places[1], 2)

    assert found is not None
    assert (found.state, found.attempts) == ("waiting", 0)
