"""Order by key: one at a time for each key, in log order, whatever fails."""

from __future__ import annotations

import random

from tests.conformance.engines import EngineUnderTest
from tests.conformance.queues import Feed, Queue, at, positions, request
from tests.event_samples import entries, entry
from waooaw.events.engine.contract import Engine
from waooaw.events.engine.queue_contract import ClaimRequest, Lease
from waooaw.events.event import StoredEvent
from waooaw.events.retry import RetryPolicy
from waooaw.events.timestamp import format_timestamp


def key_of(event: StoredEvent) -> str:
    """Return what an event is ordered by."""
    extensions = event.event.extensions
    return str(extensions.get("partitionkey", event.source))


async def keyed(engine: Engine, *keys: str, max_attempts: int = 5) -> tuple[Queue, Feed, list[int]]:
    """Return a keyed queue with an event for each key given, in that order."""
    queue = await Queue.made(engine, is_keyed=True, retry=RetryPolicy(max_attempts=max_attempts))
    feed = await Feed.begun(engine)
    receipts = await feed.append(*(entry(partitionkey=key, data=key) for key in keys), to=[queue])
    return queue, feed, list(at(receipts))


async def test_one_of_a_key_at_a_time(engine: Engine) -> None:
    """The first of each key is leased; those behind are set behind it and wait."""
    queue, _, places = await keyed(engine, *"aabac")

    leases = await queue.claim()

    assert positions(leases) == [places[0], places[2], places[4]]
    counts = await queue.counts()
    assert (counts.leased, counts.waiting) == (3, 2)
    assert await queue.claim() == []


async def test_an_acked_one_lets_the_next_come(engine: Engine) -> None:
    """As long as one of a key is not settled for good, none behind it comes; then the next does."""
    queue, _, places = await keyed(engine, *"aaab")
    first, other = await queue.claim()
    assert positions([other]) == places[3:]

    await queue.ack(first)
    (second,) = await queue.claim()
    assert positions([second]) == places[1:2]
    await queue.ack(second)
    assert positions(await queue.claim()) == places[2:3]


async def test_a_failed_one_keeps_its_key(under_test: EngineUnderTest, engine: Engine) -> None:
    """A key that waits for its retry blocks that key only."""
    queue, _, places = await keyed(engine, *"aabb")
    first, other = await queue.claim()
    await queue.nack(first, delay_seconds=5)
    await queue.ack(other)

    assert positions(await queue.claim()) == places[3:]
    under_test.clock.advance(5)
    (again,) = await queue.claim()
    assert (again.event.position, again.attempt) == (places[0], 2)


async def test_a_released_one_keeps_its_key(engine: Engine) -> None:
    """What nobody handled is still the first of its key."""
    queue, _, places = await keyed(engine, *"aa")
    (first,) = await queue.claim()
    await queue.settle_as("release", first)

    (again,) = await queue.claim()

    assert (again.event.position, again.attempt) == (places[0], 1)


async def test_a_lapsed_one_keeps_its_key(under_test: EngineUnderTest, engine: Engine) -> None:
    """Found by a claim or by a sweep: the same event comes again, and nothing else of its key."""
    queue, _, places = await keyed(engine, *"aa")
    for attempt in (2, 3):
        await queue.claim()
        under_test.clock.advance(30)
        if attempt == 2:
            assert (await queue.sweep()).lapsed == 1
        (again,) = await queue.claim()
        assert (again.event.position, again.attempt) == (places[0], attempt)
        under_test.clock.advance(0.001)
        await queue.settle_as("release", again)
    assert (await queue.counts()).waiting == 2


async def test_a_dead_one_lets_the_next_come(under_test: EngineUnderTest, engine: Engine) -> None:
    """Rejected, exhausted or found lapsed for the last time: its key is free."""
    queue, _, places = await keyed(engine, *"aaaa", max_attempts=1)
    await queue.settle_as("reject", await queue.claim_one())
    await queue.nack(await queue.claim_one())
    third = await queue.claim_one()
    under_test.clock.advance(30)
    assert len((await queue.sweep()).buried) == 1

    assert positions([third]) == places[2:3]
    assert positions(await queue.claim()) == places[3:]


async def test_an_expired_one_lets_the_next_come(under_test: EngineUnderTest, engine: Engine) -> None:
    """What expired while it failed, or behind another, does not hold its key."""
    queue = await Queue.made(engine, is_keyed=True)
    feed = await Feed.begun(engine)
    soon = format_timestamp(under_test.clock.now_ms() + 1000)
    places = at(
        await feed.append(
            entry(partitionkey="a", expirytime=soon),
            entry(partitionkey="a", expirytime=soon),
            entry(partitionkey="a"),
            to=[queue],
        )
    )
    await queue.nack(*await queue.claim(), delay_seconds=1)
    under_test.clock.advance(1)

    leases: list[Lease] = []
    for _ in range(3):
        leases += await queue.claim()

    assert positions(leases) == places[2:]
    counts = await queue.counts()
    assert (counts.expired, counts.leased, counts.waiting) == (2, 1, 0)


async def test_keyed_ignores_priority(engine: Engine) -> None:
    """In a keyed queue the order is that of the log."""
    queue = await Queue.made(engine, is_keyed=True)
    feed = await Feed.begun(engine)
    given = [entry(partitionkey=str(number), priority=name) for number, name in enumerate(("low", "critical", "high"))]

    places = at(await feed.append(*given, to=[queue]))

    assert positions(await queue.claim()) == places


async def test_without_a_key_the_source_orders(engine: Engine) -> None:
    """Events of one source come one after the other."""
    queue = await Queue.made(engine, is_keyed=True)
    feed = await Feed.begun(engine)
    places = at(await feed.append(*entries(2, source="agent/a"), *entries(2, source="agent/b"), to=[queue]))

    assert positions(await queue.claim()) == [places[0], places[2]]


async def test_settling_many_of_a_key_at_once_goes_on(engine: Engine) -> None:
    """One settle that frees several keys brings the next of each, and of no key two."""
    queue, _, places = await keyed(engine, *"abcabcabc")

    for step in range(3):
        leases = await queue.claim()
        assert sorted(positions(leases)) == places[3 * step : 3 * step + 3]
        await queue.ack(*leases)

    assert (await queue.counts()).acked == 9


async def test_what_comes_later_waits_behind(engine: Engine) -> None:
    """An event that is appended while its key is busy waits like those before it."""
    queue, feed, places = await keyed(engine, "a")
    (first,) = await queue.claim()
    places += at(await feed.append(entry(partitionkey="a"), entry(partitionkey="b"), to=[queue]))

    assert positions(await queue.claim()) == places[2:]
    await queue.ack(first)
    assert positions(await queue.claim()) == places[1:2]


class Order:
    """What must hold for each key at any time, watched over two claimers."""

    def __init__(self, events: list[StoredEvent]) -> None:
        self.left: dict[str, list[int]] = {}
        for event in events:
            self.left.setdefault(key_of(event), []).append(event.position)
        self.leased: dict[str, str] = {}

    def take(self, lease: Lease) -> None:
        """A lease is of the oldest unsettled event of its key, and the only one of it."""
        key = key_of(lease.event)
        assert self.leased.setdefault(key, lease.nonce) == lease.nonce, "two leases of one key"
        assert lease.event.position == self.left[key][0], "out of order"

    def give(self, lease: Lease, *, for_good: bool) -> None:
        """A lease was settled."""
        key = key_of(lease.event)
        del self.leased[key]
        if for_good:
            self.left[key].pop(0)


async def test_order_and_exclusivity_with_random_failures(under_test: EngineUnderTest, engine: Engine) -> None:
    """Two claimers, 25 keys, random nacks, releases, rejects and lapses: never two of a key, and each key in order."""
    chance = random.Random(4)
    keys = [f"k{chance.randrange(25)}" for _ in range(150)]
    queue, _, _ = await keyed(engine, *keys, max_attempts=1000)
    page = await engine.read(queue.bus, 0, through=2**62 - 1, limit=1000)  # type: ignore[arg-type]  # positions
    order = Order(list(page.events))
    claimers = [queue, queue.seen_by(engine, "other")]
    for step in range(600):
        if not any(order.left.values()):
            break
        claimer = claimers[step % 2]
        claimed = await claimer.claimed(ClaimRequest("m", chance.randrange(1, 8)))
        for lease in claimed.leases:
            order.take(lease)
        outcomes = [chance.choice(["ack", "ack", "ack", "ack", "nack", "release", "reject"]) for _ in claimed.leases]
        if claimed.leases:
            await claimer.settle(
                *(
                    request(lease, outcome, delay_seconds=chance.choice([0, 1, 3]) if outcome == "nack" else None)  # type: ignore[arg-type]  # outcomes
                    for lease, outcome in zip(claimed.leases, outcomes, strict=True)
                )
            )
        for lease, outcome in zip(claimed.leases, outcomes, strict=True):
            order.give(lease, for_good=outcome in {"ack", "reject"})
        under_test.clock.advance(0.25)
    counts = await queue.counts()

    assert counts.acked + counts.dead == 150
    assert counts.dead > 0
