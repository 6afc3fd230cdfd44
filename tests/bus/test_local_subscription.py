"""Durable subscriptions of a bus inside the process: the interface that agents have over HTTP, without a service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.bus.delivering import turns
from waooaw.events import Event, connect
from waooaw.events.clock import SystemClock
from waooaw.events.dead_letter import DeadLetterFilter, RedriveResult
from waooaw.events.delivery import Delivery, Settlement
from waooaw.events.errors import (
    ClosedError,
    ConfirmationRequiredError,
    InvalidParameterError,
    NotFoundError,
    OrderingFixedError,
    StaleTokenError,
    SubscriptionExistsError,
)
from waooaw.events.interface import Bus
from waooaw.events.stream_message import StreamStatus
from waooaw.events.subscription import SubscriptionDefinition, parse_subscription
from waooaw.events.subscription_interface import Consumer
from waooaw.events.timestamp import format_timestamp


@pytest.fixture
async def bus() -> AsyncIterator[Bus]:
    async with connect("memory://") as bus:
        yield bus


def definition(**members: object) -> SubscriptionDefinition:
    """Return a definition that wants everything, or as said."""
    return parse_subscription({"patterns": ["*"]} | members)


async def publish(bus: Bus, *numbers: int) -> None:
    """Publish an event for each number."""
    await bus.publish_many([Event(type="task.created", source="agent/a", data=number) for number in numbers])


async def following(consumer: Consumer) -> Delivery:
    """Return the next delivery."""
    return await anext(consumer)


async def remaining(consumer: Consumer) -> list[Delivery]:
    """Return what comes until the end."""
    return [delivery async for delivery in consumer]


async def test_a_consumer_gets_and_settles(bus: Bus) -> None:
    """Iterating gives each event once it is there, and each way to settle does what it says."""
    subscription = bus.subscription("work")
    await subscription.put(definition(retry={"first_seconds": 0}))
    statuses: list[StreamStatus] = []

    async with subscription.consume(member="m", credit=10, watch=statuses.append) as consumer:
        await publish(bus, 0, 1, 2, 3)
        first, second, third, fourth = [await anext(consumer) for _ in range(4)]
        await consumer.ack(first)
        await consumer.nack(second, reason="again", delay_seconds=0.0)
        await consumer.reject(third, reason="never")
        await consumer.extend(fourth, 60.0)
        again = await anext(consumer)
        await consumer.release(fourth)
        released = await anext(consumer)
        assert await consumer.settle([Settlement(token=again.token, outcome="ack")]) == [None]

    assert (again.event.data, again.attempt, again.last_error) == (1, 2, "again")
    assert (released.event.data, released.attempt) == (3, 1)
    assert [status.is_connected for status in statuses] == [True]
    counts = (await subscription.info()).queue.counts
    assert (counts.acked, counts.dead, counts.waiting, counts.leased) == (2, 1, 1, 0)


async def test_a_stale_token_is_raised(bus: Bus) -> None:
    """Settling one delivery too late raises; settling several tells it of each."""
    subscription = bus.subscription("work")
    await subscription.put(definition())
    await publish(bus, 0, 1)
    async with subscription.consume() as consumer:
        first, second = await anext(consumer), await anext(consumer)
        await consumer.ack(first)

        with pytest.raises(StaleTokenError):
            await consumer.ack(first)
        answers = await consumer.settle(
            [Settlement(token=first.token, outcome="nack"), Settlement(token=second.token, outcome="ack")]
        )

    assert [type(answer) for answer in answers] == [StaleTokenError, type(None)]


async def test_leaving_gives_back_and_ends_the_iteration(bus: Bus) -> None:
    """A consumer that is left gives back what it holds; whoever waits at it is released."""
    subscription = bus.subscription("work")
    await subscription.put(definition())
    consumer = subscription.consume()
    async with consumer:
        await publish(bus, 0, 1, 2)
        delivery = await anext(consumer)
    assert await remaining(consumer) == []
    with pytest.raises(StaleTokenError):
        await consumer.ack(delivery)
    assert (await subscription.info()).queue.counts.waiting == 3

    waiting = subscription.consume(credit=1)
    assert (await anext(waiting)).attempt == 1
    task = asyncio.create_task(remaining(waiting))
    await turns(10)
    await waiting.close()
    await waiting.close()
    assert await task == []


async def test_cancelling_a_wait_loses_no_delivery(bus: Bus) -> None:
    """A wait that is cancelled leaves the consumer as it was."""
    subscription = bus.subscription("work")
    await subscription.put(definition())
    async with subscription.consume() as consumer:
        task = asyncio.create_task(following(consumer))
        await turns(10)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await publish(bus, 7)

        assert (await anext(consumer)).event.data == 7


async def test_a_consumer_hears_of_the_end(bus: Bus) -> None:
    """A subscription that is not there, or is deleted, raises at who consumes it."""
    subscription = bus.subscription("work")
    with pytest.raises(NotFoundError):
        async with subscription.consume():
            raise AssertionError
    with pytest.raises(NotFoundError):
        await anext(subscription.consume())
    await subscription.put(definition())
    async with subscription.consume() as consumer:
        task = asyncio.create_task(following(consumer))
        await turns(10)
        await subscription.delete()
        with pytest.raises(NotFoundError):
            await task


async def test_a_bus_that_is_closed_ends_its_consumers() -> None:
    """Closing the bus ends the iteration of those who wait; calls after it raise `ClosedError`."""
    async with connect("memory://") as bus:
        subscription = bus.subscription("work")
        await subscription.put(definition())
        consumer = await subscription.consume().__aenter__()
        task = asyncio.create_task(remaining(consumer))
        await turns(10)
    assert await task == []
    await consumer.close()
    with pytest.raises(ClosedError):
        await subscription.info()


async def test_a_claim_and_a_settle(bus: Bus) -> None:
    """Pulling works as over HTTP: a claim leases, a settle answers for each."""
    subscription = bus.subscription("work")
    await subscription.put(definition())
    task = asyncio.create_task(subscription.claim(5, wait_seconds=10.0, member="m"))
    await turns(10)
    await publish(bus, 0, 1)

    claimed = await task
    answers = await subscription.settle([Settlement(token=one.token, outcome="ack") for one in claimed.deliveries])

    assert [one.event.data for one in claimed.deliveries] == [0, 1]
    assert answers == [None, None]


async def test_the_life_of_a_subscription(bus: Bus) -> None:
    """It is made, changed, paused, resumed, moved, listed, asked about and removed, by the rules of each."""
    subscription = bus.subscription("work")
    made = await subscription.put(definition(lease_seconds=5))
    assert (made.name, subscription.name, made.state, made.definition.lease_seconds) == ("work", "work", "active", 5.0)
    with pytest.raises(SubscriptionExistsError):
        await subscription.put(definition(**{"from": "earliest"}))
    with pytest.raises(OrderingFixedError):
        await subscription.put(definition(ordering="key"))

    await publish(bus, 0, 1)
    assert (await subscription.pause()).state == "paused"
    assert (await subscription.claim()).deliveries == ()
    assert (await subscription.resume()).state == "active"
    (first, *_) = (await subscription.claim(1)).deliveries
    (report,) = await bus.deliveries(first.stored.position)
    assert (report.subscription, report.matched, report.state) == ("work", True, "leased")
    assert [info.name for info in await bus.subscriptions()] == ["work"]
    await subscription.seek("now")
    assert (await subscription.info()).queue.counts.dropped == 1

    await subscription.delete()
    assert await bus.subscriptions() == []
    with pytest.raises(NotFoundError):
        await subscription.info()


async def test_dead_letters_are_looked_at_put_back_and_destroyed(bus: Bus) -> None:
    """The interface reaches the dead letters of the subscription: all of them where no filter is given."""
    subscription = bus.subscription("work")
    await subscription.put(definition())
    await publish(bus, 0, 1)
    async with subscription.consume() as consumer:
        for _ in range(2):
            await consumer.reject(await anext(consumer), reason="no")

    page = await subscription.dead_letters(limit=1)
    assert [letter.stored.event.data for letter in page.items] == [0]
    rest = await subscription.dead_letters(after=page.next or "")
    assert [letter.stored.event.data for letter in rest.items] == [1]
    one = DeadLetterFilter(ids=frozenset((page.items[0].id,)))
    assert await subscription.redrive(dry_run=True) == RedriveResult(2, 0)
    assert await subscription.redrive(one) == RedriveResult(1, 1)
    with pytest.raises(ConfirmationRequiredError) as asked:
        await subscription.purge()
    assert await subscription.purge(confirm=asked.value.confirm) == 1


async def test_events_for_later_are_listed_and_cancelled(bus: Bus) -> None:
    """An event with ``deliverat`` is on the schedule until it is cancelled, once."""
    tomorrow = format_timestamp(SystemClock().now_ms() + 86_400_000)
    await bus.publish(Event(type="t", source="s", id="i", extensions={"deliverat": tomorrow}))

    page = await bus.scheduled()
    assert (page.total, [one.event.id for one in page.items]) == (1, ["i"])
    await bus.cancel_scheduled(page.items[0].id)

    assert (await bus.scheduled()).items == ()
    with pytest.raises(NotFoundError):
        await bus.cancel_scheduled(page.items[0].id)


async def test_limits_are_checked_before_anything_is_asked(bus: Bus) -> None:
    """Names, credit and numbers of outcomes outside their limits are refused."""
    with pytest.raises(InvalidParameterError):
        bus.subscription("not a name")
    subscription = bus.subscription("work")
    for credit in (0, 1001):
        with pytest.raises(InvalidParameterError):
            subscription.consume(credit=credit)
    await subscription.put(definition())
    async with subscription.consume() as consumer:
        with pytest.raises(InvalidParameterError):
            await consumer.settle([Settlement(token="a.b.c", outcome="ack")] * 1001)
