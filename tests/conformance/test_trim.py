"""Trimming: what a plan names, a bounded step at a time, told in the same instant."""

from __future__ import annotations

import asyncio

from tests.conformance.engines import BUS, EngineUnderTest, Heard, Writer, stored
from tests.event_samples import entries, entry
from waooaw.events.engine.contract import Engine
from waooaw.events.position import BEGINNING, END
from waooaw.events.retention import TrimPlan


async def test_trim_by_count(engine: Engine, writer: Writer) -> None:
    """The oldest so many go, and the rest stays."""
    receipts = await writer.append(*entries(10))

    removed = await engine.trim(BUS, TrimPlan(excess_events=4), limit=100)

    assert removed == 4
    assert [event.position for event in await stored(engine)] == [receipt.position for receipt in receipts[4:]]
    assert engine.state(BUS).history.trimmed_through == receipts[3].position


async def test_trim_by_age(under_test: EngineUnderTest, engine: Engine, writer: Writer) -> None:
    """What was accepted before the time goes; what was accepted at it stays."""
    for _ in range(5):
        await writer.append(entry())
        under_test.clock.advance(1)

    removed = await engine.trim(BUS, TrimPlan(before_ms=under_test.clock.now_ms() - 2000), limit=100)

    assert removed == 3
    assert len(await stored(engine)) == 2


async def test_trim_by_bytes(engine: Engine, writer: Writer) -> None:
    """As many of the oldest go as free the bytes, and not one more."""
    given = entries(10)
    await writer.append(*given)

    removed = await engine.trim(BUS, TrimPlan(excess_bytes=len(given[0].body) + 1), limit=100)

    assert removed == 2


async def test_a_step_is_bounded(engine: Engine, writer: Writer) -> None:
    """No more than ``limit`` go in one step, whatever the plan asks for."""
    await writer.append(*entries(10))

    steps = [await engine.trim(BUS, TrimPlan(excess_events=8), limit=3) for _ in range(2)]

    assert steps == [3, 3]
    assert len(await stored(engine)) == 4


async def test_nothing_to_trim(engine: Engine, writer: Writer) -> None:
    """A plan that names nothing removes nothing, and an empty log has nothing to remove."""
    assert await engine.trim(BUS, TrimPlan(excess_events=5), limit=10) == 0
    await writer.append(entry())
    assert await engine.trim(BUS, TrimPlan(), limit=10) == 0

    assert len(await stored(engine)) == 1
    assert engine.state(BUS).history.trimmed_through == BEGINNING


async def test_a_trimmed_event_is_gone(engine: Engine, writer: Writer) -> None:
    """It is found neither by its position nor in a page, and the page tells how far the log was trimmed."""
    one, two = await writer.append(entry(), entry())
    await engine.trim(BUS, TrimPlan(excess_events=1), limit=10)

    page = await engine.read(BUS, BEGINNING, through=END, limit=10)

    assert await engine.get(BUS, one.position) is None
    assert [event.position for event in page.events] == [two.position]
    assert page.trimmed_through == one.position


async def test_a_page_and_its_trimmed_through_are_of_one_instant(engine: Engine, writer: Writer) -> None:
    """While events are trimmed and appended, each page begins right after the place that it says was trimmed."""
    receipts = [receipt for _ in range(4) for receipt in await writer.append(*entries(100))]
    places = [BEGINNING, *(receipt.position for receipt in receipts)]

    async def trim() -> None:
        for _ in range(40):
            await engine.trim(BUS, TrimPlan(excess_events=9), limit=9)
            await writer.append(entry())

    trimming = asyncio.create_task(trim())
    seen = set()
    while not trimming.done():
        page = await engine.read(BUS, BEGINNING, through=places[-1], limit=1000)
        trimmed = places.index(page.trimmed_through)
        seen.add(trimmed)
        assert [event.position for event in page.events] == places[trimmed + 1 :]
        await asyncio.sleep(0)
    await trimming

    assert len(seen) > 1


async def test_an_append_after_a_trim_goes_on(engine: Engine, writer: Writer) -> None:
    """Positions are not used again, also where the log was emptied."""
    (before,) = await writer.append(entry())
    await engine.trim(BUS, TrimPlan(excess_events=1), limit=10)

    (after,) = await writer.append(entry())

    assert after.position > before.position
    assert len(await stored(engine)) == 1


async def test_a_trim_sends_no_frame_and_does_not_break_the_chain(engine: Engine, writer: Writer) -> None:
    """Frames follow one another over a trim: listeners lose nothing they would have got."""
    heard = Heard(engine)
    await writer.append(entry())
    await engine.trim(BUS, TrimPlan(excess_events=1), limit=10)
    await writer.append(entry())

    frames = await heard.wait(2)
    assert len(frames) == 2
    assert frames[1].previous == frames[0].last


async def test_a_trim_survives_a_reopen(under_test: EngineUnderTest) -> None:
    """What was removed does not come back."""
    engine = await under_test.open()
    await (await Writer.registered(engine)).append(*entries(10))
    await engine.trim(BUS, TrimPlan(excess_events=7), limit=10)

    engine = await under_test.reopen()

    assert len(await stored(engine)) == (3 if under_test.survives_reopen else 0)
