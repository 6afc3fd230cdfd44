"""Durable subscriptions of ``connect()``: the same promises in memory, in a file and over HTTP."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from tests.client.faulty_proxy import FaultyProxy
from tests.service_process import ServiceProcess
from waooaw.events import Bus, Event, connect
from waooaw.events.clock import SystemClock
from waooaw.events.dead_letter import DeadLetterFilter
from waooaw.events.delivery import Delivery, Settlement
from waooaw.events.errors import (
    ConfirmationRequiredError,
    InvalidParameterError,
    NotFoundError,
    OrderingFixedError,
    StaleTokenError,
    SubscriptionExistsError,
)
from waooaw.events.pattern import PatternSet
from waooaw.events.position import format_position
from waooaw.events.receipt import ScheduledReceipt
from waooaw.events.retry import RetryPolicy
from waooaw.events.subscription import Ordering, SubscriptionDefinition
from waooaw.events.subscription_interface import Subscription
from waooaw.events.timestamp import format_timestamp

WAIT_SECONDS = 10.0


def unique_name() -> str:
    """Return a name, and an event type, of this test alone: tests share a service."""
    return f"t{uuid4().hex}"


def wanting(
    name: str, *, start: str = "now", ordering: Ordering = "none", max_in_flight: int = 1000
) -> SubscriptionDefinition:
    """Return a definition of a subscription to one type, whose retries do not wait."""
    return SubscriptionDefinition(
        patterns=PatternSet.parse([name]),
        start=start,
        ordering=ordering,
        max_in_flight=max_in_flight,
        retry=RetryPolicy(max_attempts=3, first_seconds=0),
    )


async def filled(bus: Bus, count: int) -> Subscription:
    """Return a subscription in which so many events wait, numbered from 0."""
    subscription = bus.subscription(unique_name())
    await subscription.put(wanting(subscription.name))
    for answer in await bus.publish_many(
        [Event(type=subscription.name, source="/a", data=number) for number in range(count)]
    ):
        assert not isinstance(answer, Exception)
    return subscription


async def claim(subscription: Subscription, count: int) -> list[Delivery]:
    """Return so many deliveries."""
    taken: list[Delivery] = []
    while len(taken) < count:
        claimed = await subscription.claim(count - len(taken), wait_seconds=WAIT_SECONDS, member="tester")
        assert claimed.deliveries
        taken += claimed.deliveries
    return taken


async def test_a_subscription_is_made_changed_listed_and_removed(bus_url: str) -> None:
    """What was put is told back, the whole of it, until it is deleted; then it is not there."""
    async with connect(bus_url) as bus:
        subscription = bus.subscription(unique_name())
        made = await subscription.put(wanting(subscription.name))
        changed = await subscription.put(wanting(subscription.name, max_in_flight=7))
        listed = await bus.subscriptions()
        assert (made.name, made.state, made.definition.max_in_flight) == (subscription.name, "active", 1000)
        assert changed.definition == wanting(subscription.name, max_in_flight=7)
        assert changed.incarnation == made.incarnation
        assert [info.definition for info in listed if info.name == subscription.name] == [changed.definition]

        await subscription.delete()
        with pytest.raises(NotFoundError):
            await subscription.info()
        with pytest.raises(NotFoundError):
            await subscription.delete()


async def test_what_cannot_be_put_is_refused(bus_url: str) -> None:
    """A start for one that exists, another ordering, and what is no name."""
    async with connect(bus_url) as bus:
        subscription = await filled(bus, 0)
        with pytest.raises(SubscriptionExistsError):
            await subscription.put(wanting(subscription.name, start="earliest"))
        with pytest.raises(OrderingFixedError):
            await subscription.put(wanting(subscription.name, ordering="key"))
        with pytest.raises(InvalidParameterError):
            await bus.subscription("no name").info()


async def test_each_outcome_does_what_it_says(bus_url: str) -> None:
    """Ack ends it; nack brings it back with the reason, as a further attempt; release as the same attempt."""
    async with connect(bus_url) as bus:
        subscription = await filled(bus, 3)
        first, second, third = await claim(subscription, 3)
        outcomes = [
            Settlement(token=first.token, outcome="ack"),
            Settlement(token=second.token, outcome="nack", delay_seconds=0, reason="no room"),
            Settlement(token=third.token, outcome="release"),
        ]
        assert await subscription.settle(outcomes) == [None, None, None]
        assert [type(error) for error in await subscription.settle(outcomes)] == [StaleTokenError] * 3

        again = {delivery.event.data: delivery for delivery in await claim(subscription, 2)}
        assert {data: delivery.attempt for data, delivery in again.items()} == {1: 2, 2: 1}
        assert (again[1].last_error, again[2].last_error) == ("no room", None)
        extend = Settlement(token=again[1].token, outcome="extend", delay_seconds=60)
        reject = Settlement(token=again[2].token, outcome="reject", reason="nonsense")
        assert await subscription.settle([extend, reject]) == [None, None]
        counts = (await subscription.info()).queue.counts
        assert (counts.matched, counts.acked, counts.leased, counts.dead, counts.is_closed) == (3, 1, 1, 1, True)


async def test_what_waits_can_be_held_back_and_moved(bus_url: str) -> None:
    """A paused subscription hands out nothing; seek hands out again what the log has."""
    async with connect(bus_url) as bus:
        subscription = await filled(bus, 2)
        assert (await subscription.pause()).state == "paused"
        assert (await subscription.claim(2)).deliveries == ()
        await subscription.resume()
        taken = await claim(subscription, 2)
        await subscription.settle([Settlement(token=delivery.token, outcome="ack") for delivery in taken])

        await subscription.seek(taken[1].stored.position)
        (again,) = await claim(subscription, 1)
        assert (again.stored, again.replay) == (taken[1].stored, True)


async def test_dead_letters_are_browsed_redriven_and_purged(bus_url: str) -> None:
    """They are found by what is known of them; a dry run changes nothing; destroying them needs the token."""
    async with connect(bus_url) as bus:
        subscription = await filled(bus, 3)
        taken = await claim(subscription, 3)
        await subscription.settle(
            [
                Settlement(token=delivery.token, outcome="reject", reason=f"reason {delivery.event.data}")
                for delivery in taken
            ]
        )
        page = await subscription.dead_letters()
        one = DeadLetterFilter(text="REASON 1", reason="rejected", patterns=PatternSet.parse(["t*"]))
        found = await subscription.dead_letters(one)
        assert [letter.stored for letter in page.items] == [delivery.stored for delivery in taken]
        assert [letter.last_error for letter in found.items] == ["reason 1"]
        assert (found.items[0].member, found.items[0].attempts) == ("tester", 1)
        rest = await subscription.dead_letters(after=page.items[1].id)
        assert rest.items == page.items[2:]

        tried = await subscription.redrive(one, dry_run=True)
        done = await subscription.redrive(one)
        assert ((tried.matched, tried.redriven), (done.matched, done.redriven)) == ((1, 0), (1, 1))
        (again,) = await claim(subscription, 1)
        assert again.event.data == 1
        with pytest.raises(ConfirmationRequiredError) as asked:
            await subscription.purge()
        assert asked.value.count == 2
        assert await subscription.purge(confirm=asked.value.confirm) == 2
        assert (await subscription.dead_letters()).items == ()


async def test_why_is_told(bus_url: str) -> None:
    """For an event, each subscription tells whether it matched, why not, and what became of it."""
    async with connect(bus_url) as bus:
        subscription = await filled(bus, 1)
        other = bus.subscription(unique_name())
        await other.put(wanting(other.name))
        late = bus.subscription(unique_name())
        await late.put(wanting(subscription.name))
        (delivery,) = await claim(subscription, 1)
        reports = {report.subscription: report for report in await bus.deliveries(delivery.stored.position)}
        assert (reports[subscription.name].matched, reports[subscription.name].state) == (True, "leased")
        assert reports[subscription.name].member == "tester"
        assert (reports[other.name].matched, reports[other.name].why) == (False, "pattern")
        assert (reports[late.name].matched, reports[late.name].why) == (False, "created_later")


async def test_events_for_later_are_listed_and_cancelled(bus_url: str) -> None:
    """An event for later has a receipt that says so, waits on the schedule, and is taken off it once."""
    async with connect(bus_url) as bus:
        due = format_timestamp(SystemClock().now_ms() + 300 * 86_400_000)
        event = Event(type=unique_name(), source="/a", id="later", extensions={"deliverat": due})
        receipt = await bus.publish(event)
        assert isinstance(receipt, ScheduledReceipt)
        page = await bus.scheduled()
        assert [item.event.id for item in page.items if item.id == receipt.schedule_id] == ["later"]
        assert [item.due_ms for item in page.items if item.id == receipt.schedule_id] == [receipt.due_ms]

        await bus.cancel_scheduled(receipt.schedule_id)
        with pytest.raises(NotFoundError):
            await bus.cancel_scheduled(receipt.schedule_id)


# Over HTTP: answers that are lost -------------------------------------------------------------------------------------


async def test_a_claim_whose_answer_was_lost_is_the_same_claim(shared_service: ServiceProcess) -> None:
    """Repeated under its key, a claim gets the deliveries that it got: none is left leased to nobody."""
    async with FaultyProxy(shared_service.url) as proxy, connect(proxy.url) as bus:
        subscription = await filled(bus, 3)
        proxy.cut()
        proxy.faults.append("lose_reply")
        taken = (await subscription.claim(2)).deliveries
        counts = (await subscription.info()).queue.counts

    assert [delivery.event.data for delivery in taken] == [0, 1]
    assert (counts.leased, counts.waiting) == (2, 1)


async def test_a_settle_whose_answer_was_lost_has_its_results(shared_service: ServiceProcess) -> None:
    """Repeated under its key, a settle that was carried out says so, instead of that its tokens are stale."""
    async with FaultyProxy(shared_service.url) as proxy, connect(proxy.url) as bus:
        subscription = await filled(bus, 1)
        (delivery,) = await claim(subscription, 1)
        proxy.cut()
        proxy.faults.append("lose_reply")
        results = await subscription.settle([Settlement(token=delivery.token, outcome="ack")])
        counts = (await subscription.info()).queue.counts

    assert results == [None]
    assert (counts.acked, counts.leased) == (1, 0)


async def test_a_removal_whose_answer_was_lost_is_done(shared_service: ServiceProcess) -> None:
    """What is not there any more after a lost answer was removed by it: that is no error."""
    async with FaultyProxy(shared_service.url) as proxy, connect(proxy.url) as bus:
        subscription = await filled(bus, 0)
        proxy.cut()
        proxy.faults.append("lose_reply")
        await subscription.delete()
        with pytest.raises(NotFoundError):
            await subscription.info()


async def test_claims_that_wait_hinder_no_call(shared_service: ServiceProcess) -> None:
    """However many claims of one client wait for events, its other calls go on."""
    async with connect(shared_service.url) as bus:
        subscription = await filled(bus, 0)
        waiting = [asyncio.create_task(subscription.claim(1, wait_seconds=WAIT_SECONDS)) for _ in range(100)]
        await asyncio.sleep(0)
        receipts = await bus.publish_many([Event(type=subscription.name, source="/a") for _ in waiting])
        claimed = [await claim for claim in waiting]

    positions = sorted(delivery.stored.position for answer in claimed for delivery in answer.deliveries)
    assert [format_position(position) for position in positions] == [
        receipt.as_json()["position"] for receipt in receipts if not isinstance(receipt, Exception)
    ]
