"""Claims of members: joined, in turns, when something may be there, and given back when nobody takes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.bus.delivering import NAME, Desk, Member, claim, outcomes, settled, until, waiting, working
from waooaw.events.bus.deliveries import MemberInfo
from waooaw.events.delivery import ClaimedDeliveries, DeliveryToken
from waooaw.events.errors import ClosedError, InvalidParameterError, NotFoundError
from waooaw.events.outages import EngineLoadingError, UnavailableError


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with working() as desk:
        yield desk


async def test_a_claim_leases_and_a_settle_settles(desk: Desk) -> None:
    """A claim gives events with what a member needs to know, and an ack by token takes them off the queue."""
    await desk.subscribe(lease_seconds=20)
    await desk.publish(2)

    first, second = (await claim(desk)).deliveries

    assert [first.event.data, second.event.data] == [0, 1]
    assert (first.attempt, first.first_delivery_ms, first.last_error) == (1, desk.clock.now_ms(), None)
    assert (first.lease_seconds, first.replay) == (20.0, False)
    info = await desk.bus.subscriptions.info(NAME)
    assert DeliveryToken.parse(first.token).incarnation == info.incarnation
    assert (await desk.counts()).leased == 2
    assert await desk.bus.deliveries.settle(NAME, outcomes("ack", first, second)) == [None, None]
    counts = await desk.counts()
    assert (counts.acked, counts.leased) == (2, 0)


async def test_an_empty_queue_answers_at_once(desk: Desk) -> None:
    """A claim that does not wait is answered with nothing where there is nothing."""
    await desk.subscribe()

    assert await claim(desk) == ClaimedDeliveries((), None)


async def test_a_claim_waits_for_an_event_that_matches(desk: Desk) -> None:
    """A claim that waits is answered as soon as an event matches; one that does not match makes no claim."""
    await desk.subscribe(patterns=["task.*"])
    task = waiting(desk)
    await settled()
    claims = len(desk.engine.claims)

    await desk.publish(1, type="other")
    await settled()
    assert (task.done(), len(desk.engine.claims)) == (False, claims)

    await desk.publish(1)
    await until(task.done)
    assert len(task.result().deliveries) == 1


async def test_a_claim_that_waited_in_vain_is_answered_empty(desk: Desk) -> None:
    """At the end of its time a claim is answered with nothing."""
    await desk.subscribe()
    task = waiting(desk, wait_seconds=2.5)
    await settled()

    await desk.pass_time(2.25)
    assert not task.done()
    await desk.pass_time(0.25)

    assert task.result().deliveries == ()


async def test_what_is_told_and_lost_costs_a_second(desk: Desk) -> None:
    """A member finds an event of a lost frame within a second."""
    await desk.subscribe()
    task = waiting(desk)
    await settled()
    desk.engine.loses_frames = True

    await desk.publish(1)
    await settled()
    assert not task.done()
    await desk.pass_time(1.0)

    assert len(task.result().deliveries) == 1


async def test_nobody_claims_without_a_wish(desk: Desk) -> None:
    """Events that come while no member has credit make no claim, nor does time."""
    await desk.subscribe()
    member = Member(desk, credit=1)
    await desk.publish(3)
    await until(lambda: member.consumption.held == 1)
    await settled()
    claims = len(desk.engine.claims)

    await desk.publish(3)
    await desk.pass_time(3.0)

    assert len(desk.engine.claims) == claims


async def test_wishes_are_joined_into_one_claim_at_a_time(desk: Desk) -> None:
    """While a claim is in flight what members wish forms the next one, with a request each."""
    await desk.subscribe()
    desk.engine.claim_gate.clear()
    tasks = [waiting(desk, 1, member="0")]
    await settled()
    tasks += [waiting(desk, 1, member=str(number)) for number in range(1, 5)]
    await settled()
    assert [len(requests) for requests in desk.engine.claims] == [1]

    await desk.publish(5)
    desk.engine.claim_gate.set()
    await until(lambda: all(task.done() for task in tasks))

    assert [len(requests) for requests in desk.engine.claims] == [1, 4]
    assert desk.engine.in_flight_max["claim"] == 1
    assert sorted(str(task.result().deliveries[0].event.data) for task in tasks) == list("01234")


async def test_members_are_served_in_turns(desk: Desk) -> None:
    """Where events come one by one, members with credit get them in turns."""
    await desk.subscribe()
    members = [Member(desk, str(number)) for number in range(3)]
    await settled()

    for _ in range(30):
        await desk.publish(1)
        await settled()

    assert [len(member.deliveries) for member in members] == [10, 10, 10]


async def test_a_claim_is_shared_out_fairly(desk: Desk) -> None:
    """One claim takes a thousand: each of those who want more gets its part, and those who want less get all."""
    await desk.subscribe(max_in_flight=10_000)
    await desk.publish(1000)
    desk.engine.claim_gate.clear()
    waiting(desk, 1).cancel()
    tasks = [waiting(desk, limit, member=str(limit)) for limit in (1, 1000, 900)]
    await settled()
    desk.engine.claim_gate.set()
    await until(lambda: all(task.done() for task in tasks))

    few, many, most = [len(task.result().deliveries) for task in tasks]
    assert few == 1
    assert many + most == 999
    assert min(many, most) >= 333


async def test_a_claim_whose_caller_is_gone_goes_back(desk: Desk) -> None:
    """What a claim in flight gets for a caller that gave up is released at once, with no failure counted."""
    await desk.subscribe()
    await desk.publish(3)
    desk.engine.claim_gate.clear()
    task = waiting(desk)
    await settled()

    task.cancel()
    await settled()
    desk.engine.claim_gate.set()
    await settled()

    counts = await desk.counts()
    assert (counts.waiting, counts.leased) == (3, 0)
    again = (await claim(desk)).deliveries
    assert [delivery.attempt for delivery in again] == [1, 1, 1]


async def test_a_caller_that_goes_as_it_is_answered_gives_back(desk: Desk) -> None:
    """A cancellation that meets the answer loses no lease."""
    await desk.subscribe()
    await desk.publish(3)
    task = waiting(desk)
    await until(lambda: bool(desk.engine.claims) and not desk.engine.in_flight["claim"])

    task.cancel()  # it is answered by now, and has not run since
    await asyncio.gather(task, return_exceptions=True)
    await settled()

    assert task.cancelled()
    assert (await desk.counts()).waiting == 3


async def test_a_store_that_is_away_is_told_to_callers_and_waited_for_by_members(desk: Desk) -> None:
    """A claim gets the error; a member that is connected gets its events once the store is back."""
    await desk.subscribe()
    member = Member(desk)
    await settled()
    desk.engine.fails_before = [EngineLoadingError("loading") for _ in range(3)]

    with pytest.raises(EngineLoadingError):
        await claim(desk)
    await desk.publish(2)
    await desk.pass_time(8.0)

    assert desk.engine.fails_before == []
    assert member.numbers == [0, 1]


async def test_a_claim_whose_answer_was_lost_is_repeated(desk: Desk) -> None:
    """Leases of a claim whose outcome is not known come to the members that asked, by its repetition."""
    await desk.subscribe()
    await desk.publish(2)
    desk.engine.fails_after = [UnavailableError("cut off", outcome="unknown")]

    member = Member(desk)
    await settled()
    assert (member.numbers, (await desk.counts()).leased) == ([], 2)
    await desk.pass_time(1.0)

    assert member.numbers == [0, 1]
    assert desk.engine.claims[0] == desk.engine.claims[1]


async def test_what_lapsed_before_its_repetition_is_not_handed_out(desk: Desk) -> None:
    """Leases of a lost answer that are over when it is repeated are with others: nobody gets them by it."""
    await desk.subscribe(lease_seconds=1)
    await desk.publish(1)
    desk.engine.fails_after = [UnavailableError("cut off", outcome="unknown")]
    member = Member(desk)
    await settled()
    desk.clock.advance(1.5)
    await settled()

    assert [delivery.attempt for delivery in member.deliveries] == [2]


async def test_a_defect_of_the_engine_is_an_error_of_ours(desk: Desk) -> None:
    """An exception that no engine should raise is told as unavailable, and the next claim works."""
    await desk.subscribe()
    await desk.publish(1)
    desk.engine.fails_before = [RuntimeError("a defect")]

    with pytest.raises(UnavailableError):
        await claim(desk)

    await desk.pass_time(0.5)
    assert len((await claim(desk)).deliveries) == 1


async def test_members_of_a_deleted_subscription_hear_of_it(desk: Desk) -> None:
    """Claims that wait and connected members get `NotFoundError`; the name made anew has nothing of the old."""
    await desk.subscribe()
    await desk.publish(1)
    member = Member(desk, credit=1)
    task = waiting(desk)
    await until(lambda: member.consumption.held == 1)

    await desk.finish(desk.bus.subscriptions.delete(NAME))
    await settled()

    assert [type(error) for error in member.ended] == [NotFoundError]
    with pytest.raises(NotFoundError):
        await task
    with pytest.raises(NotFoundError):
        await claim(desk)
    await desk.subscribe()
    assert (await claim(desk)).deliveries == ()
    (stale,) = await desk.bus.deliveries.settle(NAME, outcomes("ack", *member.deliveries))
    assert stale is not None
    assert stale.code == "stale_token"


async def test_replicas_share_the_work(desk: Desk) -> None:
    """Members of one subscription at two replicas get each event once, and each replica settles what it handed out."""
    await desk.subscribe(max_in_flight=8)
    async with desk.replica() as other:
        await other.subscriptions.find(NAME)
        got: list[object] = []
        here = Member(desk, "here", credit=5)
        there = Member(Desk(desk.engine, other, desk.clock, desk.identifiers), "there", credit=5)
        await desk.publish(40)
        for _ in range(40):
            await settled()
            for member in (here, there):
                batch, member.deliveries = member.deliveries, []
                assert await member.ack(*batch) == [None] * len(batch)
                got += [delivery.event.data for delivery in batch]

    assert sorted(got, key=str) == sorted(range(40), key=str)
    assert (await desk.counts()).acked == 40


async def test_a_retry_comes_when_it_is_due(desk: Desk) -> None:
    """A member gets a failed delivery again when its delay is over, not at the next full second."""
    await desk.subscribe()
    await desk.publish(1)
    member = Member(desk, credit=10)
    await until(lambda: len(member.deliveries) == 1)

    await member.consumption.settle(outcomes("nack", *member.deliveries, delay_seconds=0.5, reason="not now"))
    await desk.pass_time(0.25)
    assert len(member.deliveries) == 1
    await desk.pass_time(0.25)

    again = member.deliveries[1]
    assert (again.attempt, again.last_error, again.event.data) == (2, "not now", 0)


@pytest.mark.parametrize(("name", "value"), [("max_in_flight", 1), ("ordering", "key")])
async def test_an_ack_that_makes_room_brings_the_next_at_once(desk: Desk, name: str, value: object) -> None:
    """With one delivery at a time no second passes between two, even if wakes get lost."""
    await desk.subscribe(NAME, **{name: value})
    await desk.publish(5)
    member = Member(desk)
    desk.engine.loses_wakes = True

    for count in range(1, 6):
        await until(lambda count=count: len(member.deliveries) == count)  # type: ignore[misc]  # bound now
        await member.ack(member.deliveries[-1])

    assert member.numbers == [0, 1, 2, 3, 4]


async def test_a_paused_subscription_gives_nothing_until_it_is_resumed(desk: Desk) -> None:
    """A claim that waits at a paused subscription is answered when it is resumed."""
    await desk.subscribe()
    await desk.finish(desk.bus.subscriptions.set_paused(NAME, True))  # noqa: FBT003 - the facade's signature
    await desk.publish(1)
    task = waiting(desk)
    await desk.pass_time(1.0)
    assert not task.done()

    await desk.finish(desk.bus.subscriptions.set_paused(NAME, False))  # noqa: FBT003 - as above
    await desk.pass_time(0.25)

    assert len(task.result().deliveries) == 1


async def test_members_are_told_apart(desk: Desk) -> None:
    """Who is connected, or waits, is listed with what it holds and may hold."""
    await desk.subscribe()
    await desk.publish(2)
    Member(desk, "connected", credit=5)
    await settled()
    tasks = [waiting(desk, 7, member="waiting"), waiting(desk, 8, member="keyed", key="k")]
    await settled()

    assert desk.bus.deliveries.members(NAME) == [
        MemberInfo("connected", "consume", 5, 2),
        MemberInfo("waiting", "claim", 7, 0),
        MemberInfo("keyed", "claim", 8, 0),
    ]
    assert desk.bus.deliveries.members("nobody") == []
    for task in tasks:
        task.cancel()


async def test_a_bus_that_closes_ends_its_members_and_gives_back() -> None:
    """Closing ends claims and members with `ClosedError`, and nothing stays leased."""
    async with working() as desk:
        await desk.subscribe()
        await desk.publish(3)
        member = Member(desk, credit=2)
        await until(lambda: member.consumption.held == 2)
        await claim(desk, 1)
        task = waiting(desk)
        await settled()

        await desk.bus.deliveries.close()

        assert [type(error) for error in member.ended] == [ClosedError]
        with pytest.raises(ClosedError):
            await task
        with pytest.raises(ClosedError):
            await claim(desk)
        counts = await desk.counts()
        assert (counts.waiting, counts.leased) == (2, 1)
        await desk.bus.deliveries.close()


@pytest.mark.parametrize(
    ("limit", "wait_seconds", "member"), [(0, 0, ""), (1001, 0, ""), (1, -1, ""), (1, 61, ""), (1, 0, "m" * 129)]
)
async def test_limits_of_a_claim(desk: Desk, limit: int, wait_seconds: float, member: str) -> None:
    """A claim takes 1 to 1,000, waits up to a minute, and names a member in 128 characters."""
    await desk.subscribe()

    with pytest.raises(InvalidParameterError):
        await desk.bus.deliveries.claim(NAME, limit, wait_seconds=wait_seconds, member=member)


async def test_deliveries_are_counted(desk: Desk) -> None:
    """Acks are deliveries, failures are errors, and what is tried again is a retry; by type, and for the health."""
    await desk.subscribe(retry={"max_attempts": 2, "first_seconds": 0})
    await desk.publish(4, type="a")
    await desk.publish(1, type="b")
    desk.clock.advance(2.0)
    *some, other = (await claim(desk)).deliveries
    metrics = desk.bus.metrics

    await desk.bus.deliveries.settle(NAME, outcomes("ack", some[0], other))
    await desk.bus.deliveries.settle(NAME, outcomes("nack", some[1]) + outcomes("reject", some[2]))
    await desk.bus.deliveries.settle(NAME, outcomes("release", some[3]))
    desk.clock.advance(0.01)
    again = {one.event.data: one for one in (await claim(desk)).deliveries}
    await desk.bus.deliveries.settle(NAME, outcomes("nack", again[1]))

    counts = metrics.types["a"]
    assert (counts.deliveries, counts.errors, counts.retries, counts.dlq) == (1, 3, 1, 2)
    assert (metrics.types["b"].deliveries, metrics.totals.deliveries) == (1, 2)
    assert (metrics.totals.errors, metrics.totals.retries, metrics.totals.dlq) == (3, 1, 2)
    assert (counts.latency.count, metrics.totals.latency.count) == (4, 5)
    assert metrics.totals.latency.min == pytest.approx(2.0, abs=0.01)
    activity = desk.bus.deliveries.activity()[NAME]
    assert (activity.acked, activity.failed, sum(activity.latencies.values())) == (2, 3, 5)


async def test_a_lapse_is_a_failure(desk: Desk) -> None:
    """A lease that ends without an outcome counts as an error and a retry."""
    await desk.subscribe(lease_seconds=1)
    await desk.publish(1)
    await claim(desk)

    await desk.pass_time(3.0)

    metrics = desk.bus.metrics
    assert (metrics.totals.errors, metrics.totals.retries) == (1, 1)
    assert desk.bus.deliveries.activity()[NAME].failed == 1
