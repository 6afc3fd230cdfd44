"""Claims with a key of their own: repeatable at any replica, and taking turns while they wait."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.bus.delivering import NAME, Desk, claim, outcomes, settled, until, waiting, working
from waooaw.events.errors import ClosedError, NotFoundError


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with working() as desk:
        yield desk


async def test_a_key_makes_a_claim_repeatable(desk: Desk) -> None:
    """The same key again gets the same deliveries, another one gets others."""
    await desk.subscribe()
    await desk.publish(4)

    first = await claim(desk, 2, key="a")
    again = await claim(desk, 2, key="a")
    other = await claim(desk, 2, key="b")

    assert first.deliveries == again.deliveries
    assert [delivery.event.data for delivery in first.deliveries + other.deliveries] == [0, 1, 2, 3]


async def test_a_claim_with_a_key_waits_and_is_repeatable(desk: Desk) -> None:
    """A claim with a key that waited in vain for some time gives its deliveries again to whoever repeats it."""
    await desk.subscribe()
    task = waiting(desk, key="a")
    await settled()
    await desk.pass_time(3.0)
    await desk.publish(1)
    await until(task.done)

    again = await claim(desk, wait_seconds=10.0, key="a")

    assert len(again.deliveries) == 1
    assert again.deliveries == task.result().deliveries


async def test_any_replica_repeats_an_answer(desk: Desk) -> None:
    """A call with a key is answered the same by another replica, which never heard of the subscription before."""
    await desk.subscribe()
    await desk.publish(2)
    first = await claim(desk, 2, key="a")
    settlements = outcomes("ack", *first.deliveries)
    await desk.bus.deliveries.settle(NAME, settlements, idempotency_key="b")

    async with desk.replica() as other:
        again = await other.deliveries.claim(NAME, 2, member="w", idempotency_key="a")
        results = await other.deliveries.settle(NAME, settlements, idempotency_key="b")

    assert again.deliveries == first.deliveries
    assert results == [None, None]


async def test_a_key_with_another_wish_is_another_call(desk: Desk) -> None:
    """A key that is used again for something else is never answered with what the first call got, at any replica."""
    await desk.subscribe()
    await desk.publish(4)
    first = await claim(desk, 2, key="a")
    second = await claim(desk, 1, key="a")
    held = outcomes("ack", *first.deliveries, *second.deliveries)

    async with desk.replica() as other:
        results = await desk.bus.deliveries.settle(NAME, held[:1], idempotency_key="b")
        others = await other.deliveries.settle(NAME, held[1:], idempotency_key="b")

    assert [delivery.event.data for delivery in first.deliveries + second.deliveries] == [0, 1, 2]
    assert results + others == [None, None, None]
    assert (await desk.counts()).acked == 3


async def test_claims_with_keys_take_turns_while_they_wait(desk: Desk) -> None:
    """A hundred that wait for nothing make one claim a second together; events for all of them reach them at once."""
    await desk.subscribe()
    tasks = [waiting(desk, 1, key=str(number)) for number in range(100)]
    await settled()
    await settled()
    claims = len(desk.engine.claims)
    await desk.pass_time(4.0)

    assert claims == 100
    assert len(desk.engine.claims) - claims <= 5

    await desk.publish(100)
    await until(lambda: all(task.done() for task in tasks))
    assert sum(len(task.result().deliveries) for task in tasks) == 100


async def test_a_claim_that_waits_hears_of_the_end() -> None:
    """A claim with a key that waits gets `NotFoundError` for a deleted subscription, `ClosedError` from a bus."""
    async with working() as desk:
        await desk.subscribe()
        task = waiting(desk, key="a")
        await settled()
        await desk.finish(desk.bus.subscriptions.delete(NAME))
        with pytest.raises(NotFoundError):
            await task

        await desk.subscribe()
        task = waiting(desk, key="b")
        await settled()
        claims = len(desk.engine.claims)
        await desk.bus.deliveries.close()
        with pytest.raises(ClosedError):
            await task
        assert len(desk.engine.claims) == claims


async def test_a_wait_with_a_key_ends(desk: Desk) -> None:
    """At the end of its time a claim with a key is answered with nothing."""
    await desk.subscribe()
    task = waiting(desk, wait_seconds=1.5, key="a")
    await settled()

    await desk.pass_time(1.5)

    assert task.result().deliveries == ()
