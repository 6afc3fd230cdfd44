"""Settles of members: joined, answered one by one, repeated while the store is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.bus.delivering import NAME, Desk, outcomes, settled, until, working
from waooaw.events.delivery import REASON_LENGTH_MAX, Delivery, Settlement
from waooaw.events.errors import InvalidParameterError, NotFoundError, StaleTokenError, WowEventError
from waooaw.events.outages import EngineLoadingError, UnavailableError

Results = list[WowEventError | None]


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with working() as desk:
        await desk.subscribe()
        yield desk


async def claimed(desk: Desk, count: int) -> tuple[Delivery, ...]:
    """Publish events and claim them."""
    await desk.publish(count)
    deliveries = (await desk.bus.deliveries.claim(NAME, count)).deliveries
    assert len(deliveries) == count
    return deliveries


def settling(desk: Desk, settlements: list[Settlement]) -> asyncio.Task[Results]:
    """Begin to settle."""
    return asyncio.create_task(desk.bus.deliveries.settle(NAME, settlements))


async def test_what_arrives_while_one_is_in_flight_forms_the_next(desk: Desk) -> None:
    """Many settles at once are few settles of the engine, one at a time; each caller gets its own results."""
    deliveries = await claimed(desk, 20)
    desk.engine.settle_gate.clear()
    first = settling(desk, outcomes("ack", deliveries[0]))
    await settled()
    others = [settling(desk, outcomes("ack", one)) for one in deliveries[1:]]
    twice = settling(desk, outcomes("ack", deliveries[5], deliveries[6]))
    await settled()

    desk.engine.settle_gate.set()
    await until(lambda: all(task.done() for task in (first, *others, twice)))

    assert [len(requests) for requests in desk.engine.settles] == [1, 21]
    assert desk.engine.in_flight_max["settle"] == 1
    assert [task.result() for task in (first, *others)] == [[None]] * 20
    assert [type(error) for error in twice.result()] == [StaleTokenError, StaleTokenError]
    assert (await desk.counts()).acked == 20


async def test_one_settle_of_the_engine_takes_a_thousand(desk: Desk) -> None:
    """More than a thousand outcomes that wait are several settles, and nobody's answer is mixed up."""
    await desk.subscribe(max_in_flight=5000)
    deliveries = [*await claimed(desk, 1000), *await claimed(desk, 900)]
    desk.engine.settle_gate.clear()
    tasks = [settling(desk, outcomes("ack", *deliveries[start : start + 475])) for start in range(0, 1900, 475)]
    stale = settling(desk, outcomes("ack", deliveries[0]))
    await settled()
    desk.engine.settle_gate.set()
    await until(lambda: all(task.done() for task in (*tasks, stale)))

    assert [len(requests) for requests in desk.engine.settles] == [1000, 901]
    assert [task.result() for task in tasks] == [[None] * 475] * 4
    assert isinstance(stale.result()[0], StaleTokenError)


async def test_every_outcome_has_a_result_of_its_own(desk: Desk) -> None:
    """What is no token, of another queue, settled before, or said in a way that is not known, fails alone."""
    first, second, third = await claimed(desk, 3)
    await desk.subscribe("other")
    incarnation, reference, nonce = third.token.split(".")
    given = [
        Settlement(token="nonsense", outcome="ack"),
        *outcomes("ack", first, first),
        Settlement(token=f"{'0' * 16}.{reference}.{nonce}", outcome="ack"),
        Settlement(token=f"{incarnation}.{reference}.{'0' * 16}", outcome="ack"),
        *outcomes("nack", second, delay_seconds=-1.0),
        *outcomes("extend", second, delay_seconds=31 * 86_400.0),
        *outcomes("lose", second),
        *outcomes("ack", third),
    ]

    results = await desk.bus.deliveries.settle(NAME, given)

    wrong, stale = InvalidParameterError, StaleTokenError
    assert [None if one is None else type(one) for one in results] == [
        wrong,
        None,
        stale,
        stale,
        stale,
        wrong,
        wrong,
        wrong,
        None,
    ]
    assert [error.errors[0].pointer for error in results if isinstance(error, wrong)] == [
        "#/outcomes/0/token",
        "#/outcomes/5/delay_seconds",
        "#/outcomes/6/delay_seconds",
        "#/outcomes/7/outcome",
    ]
    counts = await desk.counts()
    assert (counts.acked, counts.leased) == (2, 1)


async def test_nothing_to_settle_asks_nobody(desk: Desk) -> None:
    """An empty settle, and one in which nothing is a token, is answered without the store."""
    assert await desk.bus.deliveries.settle(NAME, []) == []
    (error,) = await desk.bus.deliveries.settle(NAME, [Settlement(token="x", outcome="ack")])

    assert isinstance(error, InvalidParameterError)
    assert desk.engine.settles == []


async def test_reasons_are_cut_and_failures_jitter(desk: Desk) -> None:
    """A long reason is cut; chance, not the member, spreads the retries of nacks, and plays no part elsewhere."""
    deliveries = await claimed(desk, 20)

    await desk.bus.deliveries.settle(NAME, outcomes("nack", *deliveries[:19], reason="x" * 5000))
    await desk.bus.deliveries.settle(NAME, outcomes("reject", deliveries[19]))

    nacks, (reject,) = desk.engine.settles
    assert {len(request.reason) for request in nacks} == {REASON_LENGTH_MAX}
    assert len({request.chance for request in nacks}) == 19
    assert all(0 <= request.chance < 1 for request in nacks)
    assert reject.chance == 1.0


async def test_a_store_that_is_away_for_a_while_is_waited_for(desk: Desk) -> None:
    """Outcomes wait for a store that comes back in time, under one sequence: an ack whose answer was lost is an ack."""
    deliveries = await claimed(desk, 2)
    desk.engine.fails_after = [UnavailableError("cut off", outcome="unknown")]
    task = settling(desk, outcomes("ack", *deliveries))
    await settled()
    desk.engine.fails_before = [EngineLoadingError("loading")] * 3
    await desk.pass_time(2.0)

    assert task.result() == [None, None]
    assert (await desk.counts()).acked == 2


async def test_a_store_that_stays_away_is_told(desk: Desk) -> None:
    """After ten seconds those who wait get the error, also those behind them; what comes later is tried anew."""
    deliveries = await claimed(desk, 3)
    desk.engine.fails_before = [EngineLoadingError("loading") for _ in range(1000)]
    first = settling(desk, outcomes("ack", deliveries[0]))
    await settled()
    second = settling(desk, outcomes("ack", deliveries[1]))
    await desk.pass_time(9.5)
    assert not first.done()
    await desk.pass_time(1.0)

    assert isinstance(first.exception(), EngineLoadingError)
    assert isinstance(second.exception(), EngineLoadingError)
    desk.engine.fails_before = []
    assert await settling(desk, outcomes("ack", *deliveries)) == [None] * 3


async def test_a_defect_of_the_engine_leaves_nobody_waiting(desk: Desk) -> None:
    """An exception that no engine should raise is told as unavailable; the next settle works."""
    deliveries = await claimed(desk, 1)
    desk.engine.fails_before = [RuntimeError("a defect")]

    with pytest.raises(UnavailableError):
        await desk.bus.deliveries.settle(NAME, outcomes("ack", *deliveries))

    assert await desk.bus.deliveries.settle(NAME, outcomes("ack", *deliveries)) == [None]


async def test_a_settle_goes_on_without_its_caller(desk: Desk) -> None:
    """What a caller that went away said is settled all the same, and the others are answered."""
    deliveries = await claimed(desk, 2)
    desk.engine.settle_gate.clear()
    gone = settling(desk, outcomes("ack", deliveries[0]))
    await settled()
    gone.cancel()
    stays = settling(desk, outcomes("ack", deliveries[1]))
    await settled()
    desk.engine.settle_gate.set()

    assert await stays == [None]
    assert (await desk.counts()).acked == 2


async def test_a_key_makes_a_settle_repeatable(desk: Desk) -> None:
    """The same key again answers as the first time, where the tokens alone would be stale by now."""
    deliveries = await claimed(desk, 2)
    settlements = outcomes("ack", *deliveries)

    first = await desk.bus.deliveries.settle(NAME, settlements, idempotency_key="k")
    again = await desk.bus.deliveries.settle(NAME, settlements, idempotency_key="k")
    without = await desk.bus.deliveries.settle(NAME, settlements)

    assert first == again == [None, None]
    assert [type(error) for error in without] == [StaleTokenError, StaleTokenError]
    assert desk.bus.metrics.totals.deliveries == 2


async def test_a_subscription_that_is_not_there(desk: Desk) -> None:
    """Settling for a name that there is not is `NotFoundError`, as is a queue that is gone since."""
    deliveries = await claimed(desk, 1)
    with pytest.raises(NotFoundError):
        await desk.bus.deliveries.settle("nobody", outcomes("ack", *deliveries))
    desk.engine.settle_gate.clear()
    task = settling(desk, outcomes("ack", *deliveries))
    await settled()
    await desk.finish(desk.bus.subscriptions.delete(NAME))
    desk.engine.settle_gate.set()

    with pytest.raises(NotFoundError):
        await task


async def test_too_many_outcomes_are_refused(desk: Desk) -> None:
    """One call settles up to a thousand."""
    with pytest.raises(InvalidParameterError):
        await desk.bus.deliveries.settle(NAME, [Settlement(token="a.b.c", outcome="ack")] * 1001)
