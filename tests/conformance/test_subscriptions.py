"""Definitions of subscriptions: made, replaced, deleted, and never missed by an append."""

from __future__ import annotations

import pytest

from tests.conformance.engines import BUS, OTHER_BUS, EngineUnderTest, Writer, until
from tests.conformance.queues import Feed, Queue, at, change, changed, incarnation_of, positions, put
from tests.event_samples import entries, entry
from waooaw.events.engine.contract import Engine
from waooaw.events.engine.queue_contract import Moves
from waooaw.events.engine.subscription_contract import (
    Changed,
    DeleteSubscription,
    PauseSubscription,
    Routes,
    SubscriptionRecord,
)
from waooaw.events.errors import (
    NotFoundError,
    OrderingFixedError,
    SubscriptionExistsError,
    TooManySubscriptionsError,
)
from waooaw.events.position import BEGINNING


def names(routes: Routes) -> list[str]:
    """Return the names of the subscriptions, sorted."""
    return sorted(record.name for record in routes.subscriptions)


async def test_a_bus_begins_without_subscriptions(engine: Engine, writer: Writer) -> None:
    """All there are is none, and the version is the one that a new writer appends with."""
    routes = await engine.routes(BUS)

    assert (routes.subscriptions, routes.gone, routes.is_whole) == ((), (), True)
    assert routes.version == writer.routes_version


async def test_a_subscription_is_known_as_it_was_made(
    under_test: EngineUnderTest, engine: Engine, writer: Writer
) -> None:
    """The record says all that was given, when it was made, and where the log ended then."""
    (receipt,) = await writer.append(entry())

    made = await changed(engine, put("work", definition=b'{"a":"\xc3\xa9"}', max_waiting=7, is_keyed=True))

    assert made == Changed(
        SubscriptionRecord(
            name="work",
            incarnation=incarnation_of("work"),
            definition=b'{"a":"\xc3\xa9"}',
            created_ms=under_test.clock.now_ms(),
            after=receipt.position,
            is_paused=False,
            max_waiting=7,
            is_keyed=True,
        ),
        is_new=True,
    )
    assert (await engine.routes(BUS)).subscriptions == (made.record,)


async def test_a_new_queue_is_empty(under_test: EngineUnderTest, engine: Engine) -> None:
    """Nothing is counted, nothing is old, and its making counts as its last claim."""
    queue = await Queue.made(engine)
    state = await queue.state()

    assert set(vars_of(state.counts)) == {0}
    assert (state.oldest_ms, state.oldest_dead_ms, state.fill) == (None, None, None)
    assert state.claimed_ms == under_test.clock.now_ms()


def vars_of(counts: object) -> list[int]:
    """Return all numbers of a record."""
    return [getattr(counts, name) for name in counts.__struct_fields__]  # type: ignore[attr-defined]  # a msgspec.Struct


async def test_the_same_again_changes_nothing(under_test: EngineUnderTest, engine: Engine) -> None:
    """A put that changes nothing moves no version, and answers the subscription as it is, incarnation included."""
    made = await changed(engine, put("work", max_waiting=7))
    version = (await engine.routes(BUS)).version
    under_test.clock.advance(10)

    again = await changed(engine, put("work", max_waiting=7, incarnation=incarnation_of("another")))

    assert again == Changed(made.record)
    assert (await engine.routes(BUS)).version == version


async def test_a_definition_is_replaced_and_the_queue_stays(engine: Engine) -> None:
    """Another definition has another version; the place and what waits are kept."""
    queue = await Queue.made(engine)
    feed = await Feed.begun(engine)
    receipts = await feed.append(*entries(3), to=[queue])
    before = await engine.routes(BUS)

    again = await changed(engine, put("work", definition=b'{"b":1}', max_in_flight=2, max_waiting=9))

    after = await engine.routes(BUS)
    assert not again.is_new
    assert (again.record.definition, again.record.max_waiting) == (b'{"b":1}', 9)
    assert (again.record.incarnation, again.record.after) == (queue.incarnation, before.subscriptions[0].after)
    assert after.version != before.version
    assert after.subscriptions == (again.record,)
    assert positions(await queue.claim(10)) == at(receipts)[:2], "the new max_in_flight counts at once"


async def test_rules_alone_change_too(under_test: EngineUnderTest, engine: Engine) -> None:
    """What only the queue goes by takes effect at its next claim, with the definition as it was."""
    queue = await Queue.made(engine, lease_seconds=30.0)
    feed = await Feed.begun(engine)
    await feed.append(entry(), to=[queue])

    await changed(engine, put("work", lease_seconds=5.0))

    lease = await queue.claim_one()
    assert lease.until_ms == under_test.clock.now_ms() + 5000


async def test_a_start_for_an_existing_one_is_refused(engine: Engine) -> None:
    """A start counts at creation; afterwards it is an error, and nothing changes."""
    await changed(engine, put("work"))
    before = await engine.routes(BUS)

    (answer,) = await change(engine, put("work", definition=b'{"b":1}', start=BEGINNING))

    assert isinstance(answer, SubscriptionExistsError)
    assert await engine.routes(BUS) == before


@pytest.mark.parametrize("is_keyed", [False, True])
async def test_the_ordering_is_fixed(engine: Engine, is_keyed: bool) -> None:  # noqa: FBT001 - both ways
    """What waits was queued by the old one: another is refused, and nothing changes."""
    await changed(engine, put("work", is_keyed=is_keyed))
    before = await engine.routes(BUS)

    (answer,) = await change(engine, put("work", is_keyed=not is_keyed))

    assert isinstance(answer, OrderingFixedError)
    assert await engine.routes(BUS) == before


async def test_there_are_no_more_than_may_be(engine: Engine) -> None:
    """A new one too many is refused; those that are there can still be changed, and replaced when one went."""
    answers = await change(engine, put("a"), put("b"), put("c"), subscriptions_max=2)
    (again,) = await change(engine, put("a", definition=b'{"b":1}'), subscriptions_max=2)
    later = await change(engine, DeleteSubscription(name="a"), put("c"), subscriptions_max=2)

    assert [type(answer) for answer in answers] == [Changed, Changed, TooManySubscriptionsError]
    assert isinstance(again, Changed)
    assert [type(answer) for answer in later] == [Changed, Changed]
    assert names(await engine.routes(BUS)) == ["b", "c"]


async def test_each_change_has_its_answer(engine: Engine) -> None:
    """Changes are made in their order, and one that is refused does not undo the others."""
    answers = await change(
        engine,
        put("a"),
        PauseSubscription(name="nobody", is_paused=True),
        PauseSubscription(name="a", is_paused=True),
        DeleteSubscription(name="nobody"),
        put("b"),
        DeleteSubscription(name="b"),
        put("b", incarnation=incarnation_of("b again")),
    )

    assert [type(answer) for answer in answers] == [
        *(Changed, NotFoundError, Changed, NotFoundError, Changed, Changed, Changed),
    ]
    records = {record.name: record for record in (await engine.routes(BUS)).subscriptions}
    assert records["a"].is_paused
    assert records["b"].incarnation == incarnation_of("b again")


async def test_a_hundred_changes_at_once(engine: Engine) -> None:
    """As many as one call may carry."""
    answers = await change(engine, *(put(f"s{number:03}") for number in range(100)))

    assert all(isinstance(answer, Changed) and answer.is_new for answer in answers)
    assert names(await engine.routes(BUS)) == [f"s{number:03}" for number in range(100)]


async def test_deleting(engine: Engine) -> None:
    """It goes with its queue and its dead letters: whoever asks for them is told that nothing is there."""
    queue = await Queue.made(engine)
    feed = await Feed.begun(engine)
    await feed.append(*entries(3), to=[queue])
    lease = await queue.claim_one()
    await queue.settle_as("reject", lease)
    before = await engine.routes(BUS)

    answer = await queue.delete()

    after = await engine.routes(BUS)
    assert answer == Changed(before.subscriptions[0], is_deleted=True)
    assert (after.subscriptions, after.version == before.version) == ((), False)
    assert await engine.queue_states(BUS, [queue.incarnation]) == (None,)
    assert await queue.sweep() == Moves()
    assert await engine.oldest_needed(BUS, [queue.incarnation]) is None
    for call in (
        queue.claim(1),
        queue.ack(lease),
        queue.dead(),
        engine.queue_details(BUS, queue.incarnation),
        engine.seek(BUS, queue.incarnation, BEGINNING),
        engine.redrive(BUS, queue.incarnation, ["1-1"]),
        engine.purge(BUS, queue.incarnation, ["1-1"]),
        engine.fill(BUS, queue.incarnation, [], expected=BEGINNING, reached=BEGINNING),
        engine.find_reference(BUS, queue.incarnation, lease.event.position, 2),
    ):
        with pytest.raises(NotFoundError):
            await call


async def test_a_name_used_again_meets_no_old_references(engine: Engine) -> None:
    """The new subscription begins empty, and tokens of the old one are good for nothing."""
    old = await Queue.made(engine)
    feed = await Feed.begun(engine)
    await feed.append(*entries(3), to=[old])
    lease = await old.claim_one()
    await old.delete()

    new = await Queue.made(engine, incarnation=incarnation_of("the second"))

    assert (await new.counts()).matched == 0
    assert await new.claim() == []
    with pytest.raises(NotFoundError):
        await old.ack(lease)


async def test_an_unused_one_is_deleted_only_if_it_is_unused(under_test: EngineUnderTest, engine: Engine) -> None:
    """Where a claim came after the time it stays, unharmed, and no version moves; else it goes."""
    queue = await Queue.made(engine)
    feed = await Feed.begun(engine)
    await feed.append(*entries(2), to=[queue])
    under_test.clock.advance(100)
    (lease,) = await queue.claim(1)
    claimed_ms = under_test.clock.now_ms()
    under_test.clock.advance(100)
    before = await engine.routes(BUS)

    kept = await changed(engine, DeleteSubscription(name="work", unclaimed_since_ms=claimed_ms - 1))
    assert not kept.is_deleted
    assert await engine.routes(BUS) == before
    await queue.ack(lease)

    gone = await changed(engine, DeleteSubscription(name="work", unclaimed_since_ms=claimed_ms))
    assert gone.is_deleted
    assert (await engine.routes(BUS)).subscriptions == ()


async def test_a_paused_one_gives_nothing(engine: Engine) -> None:
    """Claims say so and get nothing; appends, leases and settles go on; a pause that changes nothing moves nothing."""
    queue = await Queue.made(engine)
    feed = await Feed.begun(engine)
    await feed.append(*entries(2), to=[queue])
    lease = await queue.claim_one()

    answer = await queue.pause()
    version = (await engine.routes(BUS)).version
    again = await queue.pause()

    assert answer.record.is_paused
    assert again == answer
    assert (await engine.routes(BUS)).version == version
    await feed.append(entry(), to=[queue])
    await queue.ack(lease)
    assert (await queue.counts()).waiting == 2
    paused = await queue.claimed()
    assert await queue.claim() == []
    assert (paused.leases, paused.is_paused) == ((), True)

    resumed = await queue.pause(is_paused=False)
    assert not resumed.record.is_paused
    assert len(await queue.claim()) == 2


async def test_buses_have_subscriptions_of_their_own(engine: Engine) -> None:
    """The same name on two buses is two subscriptions; a queue of one is unknown to the other."""
    one = await Queue.made(engine)
    other = await Queue.made(engine, bus=OTHER_BUS, incarnation=incarnation_of("other"))
    feed = await Feed.begun(engine, OTHER_BUS)
    await feed.append(entry(), to=[other])

    assert ((await one.counts()).matched, (await other.counts()).matched) == (0, 1)
    with pytest.raises(NotFoundError):
        await one.seen_by(engine, "c").engine.claim(OTHER_BUS, one.incarnation, "c", 1, [])
    await one.delete()
    assert names(await engine.routes(OTHER_BUS)) == ["work"]


async def test_subscriptions_outlive_their_engine(under_test: EngineUnderTest) -> None:
    """After a reopen definitions, queues, leases and dead letters are as before, where the store keeps anything."""
    engine = await under_test.open()
    queue = await Queue.made(engine)
    feed = await Feed.begun(engine)
    await feed.append(*entries(4), to=[queue])
    leased, rejected, failed = await queue.claim(3)
    await queue.settle_as("reject", rejected)
    await queue.nack(failed, delay_seconds=7)
    before = ((await engine.routes(BUS)).subscriptions, await queue.state(), await queue.dead())

    engine = await under_test.reopen()

    routes = await engine.routes(BUS)
    if not under_test.survives_reopen:
        assert routes.subscriptions == ()
        return
    queue = queue.seen_by(engine, "another")
    assert (routes.subscriptions, await queue.state(), await queue.dead()) == before
    await queue.ack(leased)
    assert len(await queue.claim()) == 1


class Wakes:
    """What a listener of wakes was told."""

    def __init__(self, engine: Engine) -> None:
        self.told: list[str | None] = []
        self.stop = engine.listen_to_wakes(BUS, self.told.append)

    async def wait(self, incarnation: str) -> None:
        """Return once the queue was named, or all of them, and forget it."""
        await until(lambda: incarnation in self.told or None in self.told)
        self.told.clear()


async def test_who_waits_is_woken(under_test: EngineUnderTest) -> None:
    """By what makes something claimable without an append, in whichever engine it was done."""
    engine = await under_test.open()
    listening = await under_test.open() if under_test.is_shared else engine
    queue = await Queue.made(engine)
    feed = await Feed.begun(engine)
    await feed.append(*entries(4), to=[queue])
    wakes = Wakes(listening)
    released, failed, rejected, _ = await queue.claim()

    await queue.settle_as("release", released)
    await wakes.wait(queue.incarnation)
    await queue.nack(failed, delay_seconds=0)
    await wakes.wait(queue.incarnation)
    await queue.pause()
    await queue.pause(is_paused=False)
    await wakes.wait(queue.incarnation)
    await queue.settle_as("reject", rejected)
    wakes.told.clear()
    await engine.redrive(BUS, queue.incarnation, [letter.id for letter in await queue.dead()])
    await wakes.wait(queue.incarnation)
    wakes.stop()
    wakes.stop()
