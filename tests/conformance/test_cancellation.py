"""Cancellation: a cancelled write happened whole or not at all, and its sequence tells which."""

from __future__ import annotations

import asyncio

import pytest

from tests.conformance.engines import BUS, Heard, Writer, stored
from tests.event_samples import entries, entry
from waooaw.events.engine.contract import Engine
from waooaw.events.position import BEGINNING, END
from waooaw.events.receipt import Receipt
from waooaw.events.retention import TrimPlan

LATEST_STEP = 40
"""Steps of the loop after which the latest cancellation comes: by then an append of memory has long ended."""


async def cancel_after(steps: int, task: asyncio.Task[object]) -> bool:
    """Let a task run for some steps of the loop, cancel it, and tell whether it was cancelled."""
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    (result,) = await asyncio.gather(task, return_exceptions=True)
    return isinstance(result, asyncio.CancelledError)


@pytest.mark.parametrize("count", [1, 600])
async def test_an_append_that_is_cancelled_at_any_step(engine: Engine, writer: Writer, count: int) -> None:
    """Wherever an append is cancelled: asked again under its sequence, it is stored once, whole, and answered."""
    heard = Heard(engine)
    cancelled = 0
    receipts: list[Receipt] = []
    for steps in range(LATEST_STEP):
        given = entries(count, subject=f"step {steps}")
        cancelled += await cancel_after(steps, asyncio.create_task(writer.answers(*given)))
        if writer.sequence <= steps:
            writer.sequence += 1  # cancelled before it began
        receipts += [answer for answer in await writer.again(*given) if isinstance(answer, Receipt)]

    found = await stored(engine)
    assert cancelled > 0
    assert [event.event.subject for event in found] == [
        f"step {steps}" for steps in range(LATEST_STEP) for _ in range(count)
    ]
    assert [event.position for event in found] == [receipt.position for receipt in receipts]
    assert [len(frame.events) for frame in await heard.wait(LATEST_STEP)] == [count] * LATEST_STEP


async def test_an_append_that_is_cancelled_while_it_waits_for_another(engine: Engine, writer: Writer) -> None:
    """Two writers at once, the waiting one cancelled: the other is not disturbed, its own is stored once."""
    other = await Writer.registered(engine)
    for steps in range(LATEST_STEP // 2):
        running = asyncio.create_task(other.append(*entries(300, subject="other")))
        await asyncio.sleep(0)
        await cancel_after(steps, asyncio.create_task(writer.answers(entry(subject="own"))))
        if writer.sequence <= steps:
            writer.sequence += 1
        await running
        await writer.again(entry(subject="own"))

    subjects = [event.event.subject for event in await stored(engine)]
    assert (subjects.count("own"), subjects.count("other")) == (LATEST_STEP // 2, 300 * LATEST_STEP // 2)


async def test_a_read_that_is_cancelled_leaves_nothing_behind(engine: Engine, writer: Writer) -> None:
    """Reads are cancelled at every step; the next ones, and appends, go on as if nothing had been."""
    await writer.append(*entries(100))
    for steps in range(LATEST_STEP):
        await cancel_after(steps, asyncio.create_task(engine.read(BUS, BEGINNING, through=END, limit=100)))
    await writer.append(entry())

    assert len(await stored(engine)) == 101


async def test_a_trim_that_is_cancelled_at_any_step(engine: Engine, writer: Writer) -> None:
    """A cancelled trim removed all of its step or nothing, and the state says what the log holds."""
    await writer.append(*entries(10 * LATEST_STEP))
    for steps in range(LATEST_STEP):
        trimming = asyncio.create_task(engine.trim(BUS, TrimPlan(excess_events=10), limit=10))
        await cancel_after(steps, trimming)
        await writer.append(entry())

        events = await stored(engine)
        assert engine.state(BUS).events == len(events)
        assert (11 * LATEST_STEP - len(events)) % 10 == (LATEST_STEP - steps - 1) % 10
        assert engine.state(BUS).first == events[0].position
