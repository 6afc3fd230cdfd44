"""Appending: order, atomicity, positions and receipts."""

from __future__ import annotations

import asyncio

import pytest

from tests.conformance.engines import BUS, EngineUnderTest, Heard, Writer, stored
from tests.event_samples import entries, entry
from waooaw.events.engine.contract import Engine
from waooaw.events.errors import IdReusedError
from waooaw.events.position import END, position_milliseconds
from waooaw.events.receipt import Receipt


async def test_what_is_appended_is_stored_as_it_is(engine: Engine, writer: Writer) -> None:
    """The log holds the bytes, type, source and conversation of each entry at the position of its receipt."""
    given = entry(type="a.b", source="agent/x", correlationid="c-1", data={"x": [1, None, "é"]})

    (receipt,) = await writer.append(given)

    (found,) = await stored(engine)
    assert (found.position, found.type, found.source, found.correlationid, found.body) == (
        receipt.position,
        "a.b",
        "agent/x",
        "c-1",
        given.body,
    )


async def test_a_receipt_names_id_durability_and_no_duplicate(engine: Engine, writer: Writer) -> None:
    """A receipt carries the event's id and the durability that the engine promises."""
    (receipt,) = await writer.append(entry(id="one"))

    assert (receipt.id, receipt.durability, receipt.duplicate) == ("one", engine.durability_of(BUS), False)


async def test_positions_grow_in_the_order_of_the_entries(engine: Engine, writer: Writer) -> None:
    """Receipts come in the order of the entries, and so do the events in the log, over several appends."""
    receipts = [receipt for _ in range(3) for receipt in await writer.append(*entries(20))]

    positions = [receipt.position for receipt in receipts]
    assert positions == sorted(set(positions))
    assert positions == [event.position for event in await stored(engine)]


async def test_a_position_is_the_time_of_acceptance(under_test: EngineUnderTest, writer: Writer) -> None:
    """With a clock that goes forward, the milliseconds of a position are the clock's."""
    times = []
    for _ in range(3):
        under_test.clock.advance(1.5)
        (receipt,) = await writer.append(entry())
        times.append((position_milliseconds(receipt.position), under_test.clock.now_ms()))

    assert [position for position, _ in times] == [clock for _, clock in times]


@pytest.mark.parametrize("back_ms", [1, 3_600_000])
async def test_positions_grow_when_the_clock_runs_back(
    under_test: EngineUnderTest, writer: Writer, back_ms: int
) -> None:
    """A clock that is set back, by a little or an hour, hands no position out again and hides no event."""
    first = await writer.append(*entries(3))
    under_test.clock.set_wall(under_test.clock.now_ms() - back_ms)
    second = await writer.append(*entries(3))

    positions = [receipt.position for receipt in (*first, *second)]
    assert positions == sorted(set(positions))


async def test_positions_grow_over_a_reopen_with_a_slow_clock(under_test: EngineUnderTest) -> None:
    """A store that is opened again under a clock that is behind goes on after its last position."""
    engine = await under_test.open()
    (before,) = await (await Writer.registered(engine)).append(entry())
    under_test.clock.set_wall(under_test.clock.now_ms() - 60_000)
    engine = await under_test.reopen()

    (after,) = await (await Writer.registered(engine)).append(entry())

    assert (after.position > before.position) is under_test.survives_reopen


async def test_a_thousand_entries_in_one_append(engine: Engine, writer: Writer) -> None:
    """An append of a thousand entries stores all of them, in order, in one frame."""
    heard = Heard(engine)
    given = entries(1000)

    receipts = await writer.append(*given)

    found = await stored(engine)
    assert [event.body for event in found] == [item.body for item in given]
    assert [event.position for event in found] == [receipt.position for receipt in receipts]
    assert [len(frame.events) for frame in await heard.wait(1)] == [1000]


async def test_an_append_is_seen_whole_or_not_at_all(engine: Engine, writer: Writer) -> None:
    """While an append runs, a reader sees none of it; never a part."""
    appending = asyncio.create_task(writer.append(*entries(1000)))
    sizes = set()
    while not appending.done():
        page = await engine.read(BUS, engine.state(BUS).history.trimmed_through, through=END, limit=10_000)
        sizes.add(len(page.events))
        await asyncio.sleep(0)
    await appending

    assert sizes <= {0, 1000}
    assert len(await stored(engine)) == 1000


async def test_a_refused_entry_does_not_refuse_the_others(engine: Engine, writer: Writer) -> None:
    """In one append, what can be stored is stored, and each entry gets its own answer in its own place."""
    await writer.append(entry(id="one", data=1))

    answers = await writer.answers(entry(data="a"), entry(id="one", data=2), entry(data="b"))

    assert [type(answer) for answer in answers] == [Receipt, IdReusedError, Receipt]
    assert [event.event.data for event in await stored(engine)] == [1, "a", "b"]


async def test_writers_append_side_by_side(engine: Engine) -> None:
    """Appends of several writers at once are all stored, each in its own order, none inside another."""
    writers = [await Writer.registered(engine) for _ in range(5)]

    receipts = await asyncio.gather(
        *(writer.append(*entries(50, source=f"agent/{number}")) for number, writer in enumerate(writers))
    )

    found = await stored(engine)
    assert len({receipt.position for answers in receipts for receipt in answers}) == 250
    runs = [found[start].source for start in range(0, 250, 50)]
    assert [event.source for event in found] == [source for source in runs for _ in range(50)]
    assert [event.event.data for event in found] == [*range(50)] * 5
