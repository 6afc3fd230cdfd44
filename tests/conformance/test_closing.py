"""Closing: twice is harmless, afterwards every call says so, and nothing that waited is left waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.conformance.engines import BUS, EngineUnderTest, Writer, stored
from tests.event_samples import entries, entry
from waooaw.events.engine.contract import Engine, Page
from waooaw.events.errors import ClosedError
from waooaw.events.position import BEGINNING, END
from waooaw.events.receipt import Receipt
from waooaw.events.retention import TrimPlan


async def _state(engine: Engine) -> object:
    return engine.state(BUS)


CALLS: list[tuple[str, Callable[[Engine], Awaitable[object]]]] = [
    ("register", lambda engine: engine.register(BUS)),
    ("append", lambda engine: engine.append(BUS, "w", 1, "0", [entry()])),
    ("read", lambda engine: engine.read(BUS, BEGINNING, through=END, limit=1)),
    ("get", lambda engine: engine.get(BUS, END)),
    ("state", _state),
    ("refresh", lambda engine: engine.refresh(BUS)),
    ("begin_epoch", lambda engine: engine.begin_epoch(BUS)),
    ("beat", lambda engine: engine.beat("replica", b"{}")),
    ("trim", lambda engine: engine.trim(BUS, TrimPlan(excess_events=1), limit=1)),
]


async def test_closing_twice_is_harmless(under_test: EngineUnderTest) -> None:
    """A second close does nothing."""
    await under_test.open()

    await under_test.close()
    await under_test.close()


@pytest.mark.parametrize("call", [call for _, call in CALLS], ids=[name for name, _ in CALLS])
async def test_a_closed_engine_says_so(
    under_test: EngineUnderTest, call: Callable[[Engine], Awaitable[object]]
) -> None:
    """Every call on a closed engine raises `ClosedError`."""
    engine = await under_test.open()
    await under_test.close()

    with pytest.raises(ClosedError):
        await call(engine)


async def test_a_closed_engine_still_tells_how_it_does(under_test: EngineUnderTest) -> None:
    """Probes may ask at any time."""
    engine = await under_test.open()
    await under_test.close()

    assert engine.engine_state(BUS).problem is None
    assert isinstance(engine.details(), dict)


async def test_appends_that_run_while_it_closes_are_answered(under_test: EngineUnderTest) -> None:
    """Each is stored, or answered `ClosedError`; what was answered is there after a reopen, and nothing else."""
    engine = await under_test.open()
    writers = [await Writer.registered(engine) for _ in range(10)]
    appending = [asyncio.create_task(writer.answers(*entries(100))) for writer in writers]
    await asyncio.sleep(0)

    await under_test.close()

    answers = await asyncio.wait_for(asyncio.gather(*appending, return_exceptions=True), 10)
    assert all(isinstance(answer, (tuple, ClosedError)) for answer in answers)
    receipts = {
        item.position for answer in answers if isinstance(answer, tuple) for item in answer if isinstance(item, Receipt)
    }
    engine = await under_test.open()
    if under_test.survives_reopen:
        assert {event.position for event in await stored(engine)} == receipts


async def test_reads_that_run_while_it_closes_are_answered(under_test: EngineUnderTest) -> None:
    """Each gets its page, or `ClosedError`: a close is no cancellation of those who wait."""
    engine = await under_test.open()
    await (await Writer.registered(engine)).append(*entries(1000))
    reading = [asyncio.create_task(engine.read(BUS, BEGINNING, through=END, limit=1000)) for _ in range(20)]
    await asyncio.sleep(0)

    await under_test.close()

    answers = await asyncio.wait_for(asyncio.gather(*reading, return_exceptions=True), 10)
    assert all(isinstance(answer, (Page, ClosedError)) for answer in answers)


async def test_listening_ends_after_a_close(under_test: EngineUnderTest) -> None:
    """What ends listening may be called when the engine is gone."""
    stop = (await under_test.open()).listen(BUS, lambda _: None)

    await under_test.close()

    stop()


async def test_an_open_that_is_cancelled_leaves_nothing_behind(under_test: EngineUnderTest) -> None:
    """Wherever opening is cancelled, the store can be opened afterwards."""
    for steps in range(8):
        opening = asyncio.create_task(under_test.open())
        for _ in range(steps):
            await asyncio.sleep(0)
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        await under_test.close()

    engine = await under_test.open()

    await (await Writer.registered(engine)).append(entry())
    assert len(await stored(engine)) == 1
