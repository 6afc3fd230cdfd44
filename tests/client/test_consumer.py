"""Consumers of ``connect()``: members that hold a bounded number of events, and give back what they do not settle."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import pytest

from tests.client.faulty_proxy import FaultyProxy
from tests.client.test_subscriptions import filled, unique_name
from tests.service_process import ServiceProcess
from waooaw.events import Event, connect
from waooaw.events.client.joined_settles import JoinedSettles
from waooaw.events.delivery import CLAIM_MAX, Delivery, Settlement
from waooaw.events.errors import InvalidParameterError, NotFoundError, StaleTokenError, WowEventError
from waooaw.events.handling import RejectError, RetryError, handle, run_handler
from waooaw.events.outages import UnavailableError
from waooaw.events.stream_message import StreamStatus
from waooaw.events.subscription_interface import Consumer, Subscription
from waooaw.events.subscription_state import Counts


async def take(consumer: Consumer, count: int) -> list[Delivery]:
    """Return the next deliveries."""
    return [await anext(consumer) for _ in range(count)]


async def next_of(consumer: Consumer) -> Delivery:
    """Return the next delivery."""
    return await anext(consumer)


async def counts_when(subscription: Subscription, reached: Callable[[Counts], bool]) -> Counts:
    """Return the counts once they are as wanted; a test that waits in vain ends by its time-out."""
    while not reached(counts := (await subscription.info()).queue.counts):
        pass
    return counts


async def test_what_is_consumed_is_settled(bus_url: str) -> None:
    """Each settlement returns once it is stored, in any order; a second one is stale."""
    async with connect(bus_url) as bus:
        subscription = await filled(bus, 5)
        async with subscription.consume(credit=5, member="m1") as consumer:
            deliveries = await take(consumer, 5)
            assert [delivery.event.data for delivery in deliveries] == list(range(5))
            await consumer.ack(deliveries[4])
            await consumer.nack(deliveries[0], reason="no room", delay_seconds=0)
            await consumer.reject(deliveries[1], reason="nonsense")
            await consumer.extend(deliveries[2], 60)
            with pytest.raises(StaleTokenError):
                await consumer.ack(deliveries[4])
            again = await anext(consumer)
            assert (again.event.data, again.attempt, again.last_error) == (0, 2, "no room")
            await consumer.release(again)
            counts = (await subscription.info()).queue.counts
            assert (counts.acked, counts.dead, counts.is_closed) == (1, 1, True)


async def test_credit_bounds_what_is_held(bus_url: str) -> None:
    """A member holds as many unsettled events as its credit; the next one comes for each that it settles."""
    async with connect(bus_url) as bus:
        subscription = await filled(bus, 3)
        async with subscription.consume(credit=2) as consumer:
            first, _ = await take(consumer, 2)
            counts = (await subscription.info()).queue.counts
            assert (counts.leased, counts.waiting) == (2, 1)
            await consumer.ack(first)
            assert (await anext(consumer)).event.data == 2
        with pytest.raises(InvalidParameterError):
            subscription.consume(credit=CLAIM_MAX + 1)


async def test_leaving_gives_back_at_once(bus_url: str) -> None:
    """What a member held when it left waits again, with no failure counted; its reader sees the end."""
    async with connect(bus_url) as bus:
        subscription = await filled(bus, 2)
        consumer = subscription.consume(credit=10)
        async with consumer:
            (taken,) = await take(consumer, 1)
        with pytest.raises(StopAsyncIteration):
            await anext(consumer)
        counts = await counts_when(subscription, lambda counts: counts.leased == 0)
        assert (counts.waiting, counts.scheduled) == (2, 0)
        async with subscription.consume() as other:
            deliveries = await take(other, 2)
        assert {delivery.stored.position: delivery.attempt for delivery in deliveries}[taken.stored.position] == 1


async def test_there_must_be_a_subscription(bus_url: str) -> None:
    """Entering without one is refused; deleting it ends its consumers."""
    async with connect(bus_url) as bus:
        with pytest.raises(NotFoundError):
            await bus.subscription(unique_name()).consume().__aenter__()
        subscription = await filled(bus, 0)
        async with subscription.consume() as consumer:
            waiting = asyncio.create_task(next_of(consumer))
            await subscription.delete()
            with pytest.raises(NotFoundError):
                await waiting


async def test_leaving_the_bus_ends_its_consumers(bus_url: str) -> None:
    """A reader sees the end when its bus is left."""
    async with connect(bus_url) as bus:
        subscription = await filled(bus, 0)
        consumer = subscription.consume()
        await consumer.__aenter__()
        waiting = asyncio.create_task(next_of(consumer))
    with pytest.raises(StopAsyncIteration):
        await waiting


async def test_a_cancelled_wait_loses_nothing(bus_url: str) -> None:
    """Whoever gives up waiting leaves the event to the next one who waits."""
    async with connect(bus_url) as bus:
        subscription = await filled(bus, 0)
        async with subscription.consume() as consumer:
            waiting = asyncio.create_task(next_of(consumer))
            await asyncio.sleep(0)
            waiting.cancel()
            with suppress(asyncio.CancelledError):
                await waiting
            await bus.publish(Event(type=subscription.name, source="/a", data="kept"))
            assert (await anext(consumer)).event.data == "kept"


# Over HTTP: connections that break ------------------------------------------------------------------------------------


async def test_a_broken_connection_is_taken_up_again(shared_service: ServiceProcess) -> None:
    """After a break the member goes on by itself; what it held went back, and settling that is stale."""
    told: list[StreamStatus] = []
    async with FaultyProxy(shared_service.url) as proxy, connect(proxy.url) as bus:
        subscription = await filled(bus, 2)
        async with subscription.consume(credit=10, watch=told.append) as consumer:
            before = await take(consumer, 2)
            proxy.cut()
            after = await take(consumer, 2)
            with pytest.raises(StaleTokenError):
                await consumer.ack(before[0])
            tokens = [delivery.token for delivery in (*after, *before)]
            results = await consumer.settle(acks(*tokens))
            counts = (await subscription.info()).queue.counts

    assert results[:2] == [None, None]
    assert [type(result) for result in results[2:]] == [StaleTokenError] * 2
    assert counts.acked == 2
    assert [status.is_connected for status in told] == [True, False, True]
    assert isinstance(told[1].problem, UnavailableError)


async def test_an_ack_outlives_the_replica_that_it_was_for(own_service: ServiceProcess) -> None:
    """A service that was killed gives nothing back: what it handed out is acked once it is there again, not redone."""
    async with connect(own_service.url) as bus:
        subscription = await filled(bus, 1)
        async with subscription.consume(credit=1) as consumer:
            (delivery,) = await take(consumer, 1)
            await asyncio.to_thread(own_service.kill)
            acking = asyncio.create_task(consumer.ack(delivery))
            await asyncio.to_thread(own_service.start)
            await acking
            counts = (await subscription.info()).queue.counts

    assert (counts.acked, counts.leased, counts.waiting) == (1, 0, 0)


# Joining --------------------------------------------------------------------------------------------------------------


class Sent:
    """Takes messages of settlements, and answers each when it is told to."""

    def __init__(self) -> None:
        self.messages: list[list[Settlement]] = []
        self.answers: list[asyncio.Future[list[WowEventError | None]]] = []

    async def send(self, settlements: list[Settlement]) -> list[WowEventError | None]:
        """Take a message."""
        self.messages.append(settlements)
        self.answers.append(asyncio.get_running_loop().create_future())
        return await self.answers[-1]


def acks(*tokens: str) -> list[Settlement]:
    """Return acks."""
    return [Settlement(token=token, outcome="ack") for token in tokens]


async def settle_tick() -> None:
    """Let every task run that can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_settles_are_joined_while_one_is_unanswered() -> None:
    """What comes meanwhile forms the next message, up to its limit; each caller gets the results of its own."""
    sent = Sent()
    settles = JoinedSettles(sent.send)
    first = asyncio.create_task(settles.submit(acks("a")))
    await settle_tick()
    second, third = (asyncio.create_task(settles.submit(acks(*tokens))) for tokens in ("b", "cd"))
    full = asyncio.create_task(settles.submit(acks(*["e"] * CLAIM_MAX)))
    await settle_tick()
    assert [len(message) for message in sent.messages] == [1]
    sent.answers[0].set_result([None])
    await settle_tick()
    stale = StaleTokenError("stale")
    sent.answers[1].set_result([None, stale, None])
    await settle_tick()
    sent.answers[2].set_exception(UnavailableError("away"))

    assert (await first, await second, await third) == ([None], [None], [stale, None])
    with pytest.raises(UnavailableError):
        await full
    assert [len(message) for message in sent.messages] == [1, 3, CLAIM_MAX]


# Handlers -------------------------------------------------------------------------------------------------------------


def handler_of(wanted: Sequence[Exception | None]) -> Callable[[Delivery], Awaitable[None]]:
    """Return a handler that raises, for the event of a number, what stands there, on its first attempt."""

    async def handler(delivery: Delivery) -> None:
        error = wanted[delivery.event.data]
        if error is not None and delivery.attempt == 1:
            raise error

    return handler


async def test_a_handler_decides_by_what_it_does(caplog: pytest.LogCaptureFixture) -> None:
    """Returning acks, RejectError rejects, RetryError and any other error have it tried again with their text."""
    errors = (None, RejectError("nonsense"), RetryError("later", delay_seconds=0), ValueError("bad"))
    async with connect("memory://") as bus:
        subscription = await filled(bus, 4)
        async with subscription.consume() as consumer:
            await handle(consumer, handler_of(errors), limit=6)
        counts = (await subscription.info()).queue.counts
        (letter,) = (await subscription.dead_letters()).items

    assert (counts.acked, counts.dead, letter.last_error) == (3, 1, "nonsense")
    assert [record.getMessage() for record in caplog.records if record.exc_info] == ["handling.failed"]


async def test_handlers_stop_when_told(caplog: pytest.LogCaptureFixture) -> None:
    """After the stop no handler begins, those at work end, and what is left waits for others."""
    stop, both_run, go_on = asyncio.Event(), asyncio.Barrier(3), asyncio.Event()

    async def handler(_: Delivery) -> None:
        await both_run.wait()
        await go_on.wait()

    async with connect("memory://") as bus:
        subscription = await filled(bus, 5)
        running = asyncio.create_task(run_handler(subscription, handler, concurrency=2, stop=stop))
        await both_run.wait()
        stop.set()
        go_on.set()
        await running
        counts = (await subscription.info()).queue.counts

    assert (counts.acked, counts.waiting, counts.leased) == (2, 3, 0)
    assert not caplog.records


async def test_a_handler_learns_of_the_end_of_its_subscription() -> None:
    """What ends a consumer for good ends the work with it."""
    async with connect("memory://") as bus:
        with pytest.raises(NotFoundError):
            await run_handler(bus.subscription(unique_name()), handler_of([]))
