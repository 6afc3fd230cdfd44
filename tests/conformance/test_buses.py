"""Several buses in one store: each a log of its own."""

from __future__ import annotations

import asyncio

from tests.conformance.engines import BUS, OTHER_BUS, EngineUnderTest, Writer, stored
from tests.event_samples import entries, entry
from waooaw.events.engine.contract import Engine
from waooaw.events.position import BEGINNING
from waooaw.events.retention import TrimPlan


async def test_a_bus_holds_its_own_events(engine: Engine) -> None:
    """What is appended to one bus is not in the other, nor counted there."""
    await (await Writer.registered(engine)).append(*entries(3))
    (receipt,) = await (await Writer.registered(engine, OTHER_BUS)).append(entry(data="other"))

    assert len(await stored(engine)) == 3
    assert [event.event.data for event in await stored(engine, OTHER_BUS)] == ["other"]
    assert engine.state(OTHER_BUS).events == 1
    found = await engine.get(OTHER_BUS, receipt.position)
    assert found is not None
    assert found.event.data == "other"


async def test_a_trim_concerns_one_bus(engine: Engine) -> None:
    """Trimming one bus leaves the other as it is."""
    await (await Writer.registered(engine)).append(*entries(3))
    await (await Writer.registered(engine, OTHER_BUS)).append(*entries(3))

    await engine.trim(BUS, TrimPlan(excess_events=2), limit=10)

    assert (len(await stored(engine)), len(await stored(engine, OTHER_BUS))) == (1, 3)
    assert engine.state(OTHER_BUS).history.trimmed_through == BEGINNING


async def test_buses_are_written_at_once(under_test: EngineUnderTest) -> None:
    """Appends to two buses at the same time are all stored, and survive together."""
    engine = await under_test.open()
    writers = [await Writer.registered(engine, bus) for bus in (BUS, OTHER_BUS)]
    for _ in range(10):
        await asyncio.gather(*(writer.append(*entries(20)) for writer in writers))
    assert [len(await stored(engine, bus)) for bus in (BUS, OTHER_BUS)] == [200, 200]

    engine = await under_test.reopen()

    expected = 200 if under_test.survives_reopen else 0
    assert [len(await stored(engine, bus)) for bus in (BUS, OTHER_BUS)] == [expected, expected]
