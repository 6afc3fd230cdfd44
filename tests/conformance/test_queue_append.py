"""References: what an append puts into queues, and what leaves them again."""

from __future__ import annotations

from tests.conformance.engines import BUS, FEW_ENGINES, EngineUnderTest, Writer, stored
from tests.conformance.queues import Feed, Queue, at, change, incarnation_of, positions, put, route
from tests.event_samples import entries, entry
from waooaw.events.engine.contract import Engine
from waooaw.events.engine.queue_contract import QueueItem, RouteSet
from waooaw.events.errors import IdReusedError
from waooaw.events.position import position_milliseconds
from waooaw.events.receipt import Receipt


async def test_each_entry_is_put_into_its_queues(engine: Engine) -> None:
    """Every queue of a set gets its items in log order; matched and waiting count them."""
    one, two, other = [await Queue.made(engine, name) for name in ("one", "two", "other")]
    feed = await Feed.begun(engine)
    await feed.learn()
    given = entries(4)
    references = [
        RouteSet(((one.incarnation, 100), (two.incarnation, 100)), tuple(QueueItem(i, 2, "", 0) for i in (0, 2, 3))),
        RouteSet(((other.incarnation, 100),), (QueueItem(1, 2, "", 0),)),
    ]

    receipts = at(await feed.writer.append(*given, references=references))

    for queue, expected in ((one, [0, 2, 3]), (two, [0, 2, 3]), (other, [1])):
        counts = await queue.counts()
        assert (counts.matched, counts.waiting) == (len(expected), len(expected))
        assert positions(await queue.claim()) == [receipts[index] for index in expected]


async def test_a_lease_carries_the_event(engine: Engine) -> None:
    """What is handed out is what the log holds."""
    queue = await Queue.made(engine)
    feed = await Feed.begun(engine)
    await feed.append(entry(type="a.b", source="agent/x", correlationid="c-1", data={"x": "é"}), to=[queue])

    assert [(await queue.claim_one()).event] == await stored(engine)


async def test_appends_queue_in_log_order(engine: Engine) -> None:
    """What one append after the other brings is handed out in that order."""
    queue = await Queue.made(engine)
    feed = await Feed.begun(engine)
    receipts = [receipt for _ in range(5) for receipt in await feed.append(*entries(3), to=[queue])]

    assert positions(await queue.claim()) == at(receipts)


async def test_what_is_not_stored_is_not_queued(engine: Engine) -> None:
    """A duplicate, also inside one append, and an id used again go nowhere; what is beside them does."""
    queue = await Queue.made(engine)
    feed = await Feed.begun(engine)
    await feed.append(entry(id="one", data=1), to=[queue])
    given = [
        entry(id="one", data=1),
        entry(id="two", data=2),
        entry(id="two", data=2),
        entry(id="one", data=9),
        entry(id="three", data=3),
    ]

    answers = await feed.writer.answers(*given, references=route(given, queue))

    assert [type(answer) for answer in answers] == [Receipt, Receipt, Receipt, IdReusedError, Receipt]
    assert [lease.event.event.data for lease in await queue.claim()] == [1, 2, 3]
    assert (await queue.counts()).matched == 3


async def test_a_repeated_append_queues_once(engine: Engine) -> None:
    """The same sequence again answers the same and puts nothing into a queue."""
    queue = await Queue.made(engine)
    feed = await Feed.begun(engine)
    await feed.learn()
    given = entries(3)
    first = await feed.writer.answers(*given, references=route(given, queue))

    assert await feed.writer.again(*given, references=route(given, queue)) == first

    assert (await queue.counts()).matched == 3
    assert len(await queue.claim()) == 3


async def test_a_queue_that_is_gone_gets_nothing(engine: Engine) -> None:
    """The append is stored, and the other queues get theirs."""
    queue = await Queue.made(engine)
    gone = Queue(engine, incarnation_of("gone"), queue.rules)
    feed = await Feed.begun(engine)

    await feed.append(*entries(2), to=[gone, queue])

    assert len(await stored(engine)) == 2
    assert (await queue.counts()).waiting == 2
    assert await engine.queue_states(queue.bus, [gone.incarnation, queue.incarnation]) == (None, await queue.state())


async def test_more_than_may_wait(engine: Engine) -> None:
    """The oldest leave again, counted overrun; what was just appended stays."""
    queue = await Queue.made(engine, max_waiting=3)
    feed = await Feed.begun(engine)

    receipts = at([*await feed.append(*entries(2), to=[queue]), *await feed.append(*entries(3), to=[queue])])

    counts = await queue.counts()
    assert (counts.matched, counts.waiting, counts.overrun) == (5, 3, 2)
    assert positions(await queue.claim()) == receipts[2:]


async def test_an_append_of_more_than_may_wait(engine: Engine) -> None:
    """One append that is larger than the queue leaves its newest there."""
    queue = await Queue.made(engine, max_waiting=3)
    feed = await Feed.begun(engine)

    receipts = at(await feed.append(*entries(10), to=[queue]))

    counts = await queue.counts()
    assert (counts.matched, counts.waiting, counts.overrun) == (10, 3, 7)
    assert positions(await queue.claim()) == receipts[7:]


async def test_the_least_urgent_leave_first(engine: Engine) -> None:
    """The oldest of the least urgent priority, then of the next one; the most urgent stay."""
    queue = await Queue.made(engine, max_waiting=4)
    feed = await Feed.begun(engine)
    given = [entry(priority=name, data=name) for name in ("critical", "low", "normal", "low", "high", "normal")]

    await feed.append(*given, to=[queue])
    assert (await queue.counts()).overrun == 2
    await feed.append(entry(priority="critical", data="late"), to=[queue])

    assert sorted(lease.event.event.data for lease in await queue.claim()) == ["critical", "high", "late", "normal"]
    assert (await queue.counts()).overrun == 3


async def test_what_is_leased_does_not_wait(engine: Engine) -> None:
    """Only what waits counts against the limit: leases and retries keep their place."""
    queue = await Queue.made(engine, max_waiting=2)
    feed = await Feed.begun(engine)
    await feed.append(*entries(2), to=[queue])
    first, second = await queue.claim()
    await queue.nack(second, delay_seconds=60)
    await feed.append(*entries(2), to=[queue])

    counts = await queue.counts()
    assert (counts.waiting, counts.leased, counts.scheduled, counts.overrun) == (2, 1, 1, 0)
    await queue.ack(first)


async def test_a_keyed_queue_drops_its_oldest(engine: Engine) -> None:
    """The limit holds for keyed queues as well."""
    queue = await Queue.made(engine, is_keyed=True, max_waiting=2)
    feed = await Feed.begun(engine)

    receipts = at(await feed.append(*(entry(partitionkey=f"k{number}") for number in range(5)), to=[queue]))

    counts = await queue.counts()
    assert (counts.waiting, counts.overrun) == (2, 3)
    assert positions(await queue.claim()) == receipts[3:]


async def test_the_oldest_in_a_queue(under_test: EngineUnderTest, engine: Engine) -> None:
    """A queue tells the log's time of its oldest event that is not settled: waiting, leased or failed."""
    queue = await Queue.made(engine)
    feed = await Feed.begun(engine)
    times = []
    for _ in range(3):
        under_test.clock.advance(1)
        (receipt,) = await feed.append(entry(), to=[queue])
        times.append(position_milliseconds(receipt.position))

    assert (await queue.state()).oldest_ms == times[0]
    first, second = await queue.claim(2)
    assert (await queue.state()).oldest_ms == times[0]
    await queue.nack(first, delay_seconds=10)
    assert (await queue.state()).oldest_ms == times[0]
    under_test.clock.advance(10)
    (again,) = await queue.claim(1)
    await queue.ack(again)
    assert (await queue.state()).oldest_ms == times[1]
    (last,) = await queue.claim()
    await queue.ack(last)
    await queue.ack(second)
    assert (await queue.state()).oldest_ms is None


@FEW_ENGINES
async def test_a_batch_for_many_queues(engine: Engine, writer: Writer) -> None:
    """A hundred entries for five hundred queues, 50,000 references, are one append."""
    puts = [put(f"s{number}") for number in range(500)]
    for first in range(0, 500, 100):
        await change(engine, *puts[first : first + 100])
    queues = [Queue(engine, each.incarnation, each.rules) for each in puts]

    receipts = at(await Feed(writer).append(*entries(100), to=queues))

    states = await engine.queue_states(BUS, [queue.incarnation for queue in queues])
    assert {state.counts.waiting for state in states if state is not None} == {100}
    assert positions(await queues[-1].claim()) == receipts
