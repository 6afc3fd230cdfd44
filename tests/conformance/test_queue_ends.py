"""Cancellation and closing: a call on a queue happened whole or not at all, and its sequence tells which."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.conformance.engines import BUS, EngineUnderTest
from tests.conformance.queues import Feed, Queue, change, put, request, route
from tests.conformance.test_cancellation import cancel_after
from tests.event_samples import entries, entry
from waooaw.events.engine.contract import Engine
from waooaw.events.engine.queue_contract import Claimed, ClaimRequest
from waooaw.events.errors import ClosedError
from waooaw.events.position import BEGINNING
from waooaw.events.subscription_state import Counts

LATEST_STEP = 25
"""Steps of the loop after which the latest cancellation comes."""

INCARNATION = "0123456789abcdef"

CALLS: list[tuple[str, Callable[[Engine], Awaitable[object]]]] = [
    ("routes", lambda engine: engine.routes(BUS)),
    ("change_subscriptions", lambda engine: change(engine, put())),
    ("seek", lambda engine: engine.seek(BUS, INCARNATION, BEGINNING)),
    ("claim", lambda engine: engine.claim(BUS, INCARNATION, "c", 1, [ClaimRequest("m", 1)])),
    ("settle", lambda engine: engine.settle(BUS, INCARNATION, "c", 1, [])),
    ("sweep", lambda engine: engine.sweep(BUS, [INCARNATION], limit=1, dead_seconds=1, dead_max=1)),
    ("queue_states", lambda engine: engine.queue_states(BUS, [INCARNATION])),
    ("queue_details", lambda engine: engine.queue_details(BUS, INCARNATION)),
    ("find_reference", lambda engine: engine.find_reference(BUS, INCARNATION, BEGINNING, 2)),
    ("oldest_needed", lambda engine: engine.oldest_needed(BUS, [INCARNATION])),
    ("fill", lambda engine: engine.fill(BUS, INCARNATION, [], expected=BEGINNING, reached=BEGINNING)),
    ("dead_letters", lambda engine: engine.dead_letters(BUS, INCARNATION, after="", limit=1)),
    ("redrive", lambda engine: engine.redrive(BUS, INCARNATION, ["1-1"])),
    ("purge", lambda engine: engine.purge(BUS, INCARNATION, ["1-1"])),
    ("schedule", lambda engine: engine.schedule(BUS, [entry()], events_max=1)),
    ("due_events", lambda engine: engine.due_events(BUS, limit=1)),
    ("scheduled_events", lambda engine: engine.scheduled_events(BUS, after=None, limit=1)),
    ("scheduled_event", lambda engine: engine.scheduled_event(BUS, "0" * 32)),
    ("cancel_scheduled", lambda engine: engine.cancel_scheduled(BUS, "0" * 32)),
    ("hold_job", lambda engine: engine.hold_job(BUS, "job", 1.0)),
]


async def test_a_closed_engine_says_so(under_test: EngineUnderTest) -> None:
    """Every call on a closed engine raises `ClosedError`."""
    engine = await under_test.open()
    await under_test.close()

    for name, call in CALLS:
        with pytest.raises(ClosedError):
            pytest.fail(f"{name} answered {await call(engine)}")


async def test_listening_to_wakes_ends_after_a_close(under_test: EngineUnderTest) -> None:
    """What ends listening may be called when the engine is gone."""
    stop = (await under_test.open()).listen_to_wakes(BUS, lambda _: None)

    await under_test.close()

    stop()


async def test_an_append_that_is_cancelled_queues_once(engine: Engine) -> None:
    """Wherever it is cancelled, asked again under its sequence its references are there once."""
    queue = await Queue.made(engine)
    feed = await Feed.begun(engine)
    await feed.learn()
    writer = feed.writer
    cancelled, began = 0, writer.sequence
    for steps in range(LATEST_STEP):
        given = entries(3)
        references = route(given, queue)
        cancelled += await cancel_after(steps, asyncio.create_task(writer.answers(*given, references=references)))
        writer.sequence = began + steps + 1
        await writer.again(*given, references=references)

    assert cancelled > 0
    assert await queue.counts() == Counts(matched=3 * LATEST_STEP, waiting=3 * LATEST_STEP)
    assert len(await queue.claim(1000)) == 3 * LATEST_STEP


async def test_a_claim_that_is_cancelled_leases_once(engine: Engine) -> None:
    """Wherever it is cancelled, asked again under its sequence it answers leases, and there are no others."""
    queue = await Queue.made(engine)
    await (await Feed.begun(engine)).append(*entries(3 * LATEST_STEP), to=[queue])
    cancelled = 0
    got: list[Claimed] = []
    for steps in range(LATEST_STEP):
        cancelled += await cancel_after(steps, asyncio.create_task(queue.claim(3)))
        queue.claims = steps + 1
        got.append(await queue.claimed_again(ClaimRequest("m1", 3)))

    assert cancelled > 0
    assert [len(claimed.leases) for claimed in got] == [3] * LATEST_STEP
    assert await queue.counts() == Counts(matched=3 * LATEST_STEP, leased=3 * LATEST_STEP)
    await queue.ack(*(lease for claimed in got for lease in claimed.leases))


async def test_a_settle_that_is_cancelled_settles_once(engine: Engine) -> None:
    """Wherever it is cancelled, asked again under its sequence it answers that the tokens were good."""
    queue = await Queue.made(engine)
    await (await Feed.begun(engine)).append(*entries(2 * LATEST_STEP), to=[queue])
    leases = await queue.claim()
    cancelled = 0
    for steps in range(LATEST_STEP):
        given = [request(lease) for lease in leases[2 * steps : 2 * steps + 2]]
        cancelled += await cancel_after(steps, asyncio.create_task(queue.settle(*given)))
        queue.settles = steps + 1
        assert (await queue.settle_again(*given)).attempts == (1, 1)

    assert cancelled > 0
    assert await queue.counts() == Counts(matched=2 * LATEST_STEP, acked=2 * LATEST_STEP)


async def test_changes_that_are_cancelled(engine: Engine) -> None:
    """A cancelled change was made whole or not at all; made again, it is as if it had been made once."""
    for steps in range(LATEST_STEP):
        puts = [put(f"s{steps}-{part}") for part in range(3)]
        await cancel_after(steps, asyncio.create_task(change(engine, *puts)))
        names = {record.name for record in (await engine.routes(BUS)).subscriptions}
        assert len(names & {each.name for each in puts}) in {0, 3}
        await change(engine, *puts)

    assert len((await engine.routes(BUS)).subscriptions) == 3 * LATEST_STEP


async def test_calls_that_run_while_it_closes_are_answered(under_test: EngineUnderTest) -> None:
    """Each is done, or answered `ClosedError`; what was done is there after a reopen."""
    engine = await under_test.open()
    queue = await Queue.made(engine)
    await (await Feed.begun(engine)).append(*entries(60), to=[queue])
    claimers = [queue.seen_by(engine, f"c{number}") for number in range(10)]
    claiming = [asyncio.create_task(claimer.claim(5)) for claimer in claimers]
    await asyncio.sleep(0)

    await under_test.close()

    answers = await asyncio.wait_for(asyncio.gather(*claiming, return_exceptions=True), 10)
    assert all(isinstance(answer, (list, ClosedError)) for answer in answers)
    if under_test.survives_reopen:
        counts = await queue.seen_by(await under_test.open(), "c").counts()
        assert counts.leased >= sum(len(answer) for answer in answers if isinstance(answer, list))
        assert counts.leased % 5 == 0
