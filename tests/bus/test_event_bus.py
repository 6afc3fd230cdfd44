"""The bus as a whole: events in, receipts out, and what was accepted is finished before it closes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.bus.reading import Reader
from tests.bus.running import BUS, TestedEngine, published, running, turns
from tests.conformance.engines import stored
from tests.event_samples import entry
from waooaw.events.bound import EARLIEST, NOW, After, At, Bound
from waooaw.events.bus.event_bus import EventBus
from waooaw.events.cursor import encode_cursor
from waooaw.events.errors import EventTooLargeError, IdReusedError, InvalidCursorError, InvalidEventError
from waooaw.events.event import Event
from waooaw.events.position import Position, format_position
from waooaw.events.receipt import Receipt
from waooaw.events.retention import TrimPlan


@pytest.fixture
async def engine() -> TestedEngine:
    return TestedEngine()


@pytest.fixture
async def bus(engine: TestedEngine) -> AsyncIterator[EventBus]:
    async with running(engine, engine.clock) as bus:
        yield bus


async def test_publish(bus: EventBus) -> None:
    """An event goes in as agents hold it, and comes out of the store equal, with what the bus filled in."""
    given = Event(type="task.created", source="agent/a", subject="s", extensions={"n": 1}, data={"x": [1, "é"]})

    receipt = await bus.publish(given)

    event = (await bus.store.get(receipt.position)).event
    assert (event.type, event.source, event.subject, event.extensions, event.data) == (
        "task.created",
        "agent/a",
        "s",
        {"n": 1},
        {"x": [1, "é"]},
    )
    assert event.id == receipt.id
    assert event.time is not None


async def test_publish_twice_with_an_id(bus: EventBus) -> None:
    """A repeat answers the first receipt; another event under the id is refused."""
    first = await bus.publish(Event(type="t", source="s", id="1", data=1))
    again = await bus.publish(Event(type="t", source="s", id="1", data=1))
    with pytest.raises(IdReusedError):
        await bus.publish(Event(type="t", source="s", id="1", data=2))

    assert (again.position, again.duplicate) == (first.position, True)


async def test_publish_refuses_what_is_no_event(bus: EventBus) -> None:
    """A rule that is broken is raised where it is published, and nothing is stored."""
    with pytest.raises(InvalidEventError):
        await bus.publish(Event(type="t", source="not a uri"))
    with pytest.raises(EventTooLargeError):
        await bus.publish(Event(type="t", source="s", data="x" * 300_000))

    assert bus.store.state().events == 0


async def test_publish_many_answers_each(engine: TestedEngine, bus: EventBus) -> None:
    """Refused and accepted events of one batch are answered in their places."""
    answers = await bus.publish_many(
        [Event(type="t", source=source, id=str(number)) for number, source in enumerate(["a", "b b", "c", "d d", "e"])]
    )

    assert [type(answer) for answer in answers] == [Receipt, InvalidEventError, Receipt, InvalidEventError, Receipt]
    assert [event.event.source for event in await stored(engine)] == ["a", "c", "e"]


async def test_leaving_finishes_what_was_accepted() -> None:
    """Events that wait when the bus closes are stored and answered."""
    engine = TestedEngine()
    async with running(engine, engine.clock) as bus:
        engine.gate.clear()
        waiting = [asyncio.create_task(bus.submit([entry(data=number)])) for number in range(20)]
        await turns()
        asyncio.get_running_loop().call_soon(engine.gate.set)
    answers = await asyncio.gather(*waiting)

    assert all(isinstance(receipt, Receipt) for (receipt,) in answers)


async def test_a_bus_that_stops_listens_no_more(engine: TestedEngine) -> None:
    """After the bus is closed, streams get nothing, and the engine may go on."""
    async with running(engine, engine.clock) as bus:
        reader = Reader().open(bus)
        await bus.__aexit__(None, None, None)
        registration = await engine.register(BUS)
        await engine.append(BUS, registration.writer, 1, registration.routes_version, [entry()])

        assert reader.payloads == []


async def test_bounds_are_of_this_bus(bus: EventBus) -> None:
    """A cursor of another bus is refused, one of this bus is read."""
    (position,) = await published(bus, "a")
    cursor = bus.store.state().history.cursor(position)

    assert bus.parse_bound(encode_cursor(BUS, cursor)) == After(cursor)
    assert bus.parse_bound(format_position(position)) == At(position)
    with pytest.raises(InvalidCursorError):
        bus.parse_bound(encode_cursor("other", cursor))


async def test_the_cursor_of_a_start_resumes_there(engine: TestedEngine, bus: EventBus) -> None:
    """What a stream that starts somewhere would get first is what follows the cursor of that start, gaps included."""
    positions = await published(bus, *"abcdef")
    history = engine.state(BUS).history
    old = history.cursor(positions[0])
    await engine.trim(BUS, TrimPlan(excess_events=3), limit=3)
    starts: dict[Bound, int] = {
        EARLIEST: positions[2],
        NOW: positions[-1],
        At(positions[4]): positions[4] - 1,
        At(positions[1]): positions[1] - 1,
        After(old): old.position,
        At(Position(positions[-1] + 100)): positions[-1],
    }

    assert {start: bus.cursor_of(start).position for start in starts} == starts


async def test_a_gap_at_the_start_is_counted(engine: TestedEngine, bus: EventBus) -> None:
    """Gaps that readers are told are in the metrics, whatever their reason."""
    positions = await published(bus, *"abc")
    await engine.trim(BUS, TrimPlan(excess_events=2), limit=2)
    Reader().open(bus, start=At(positions[0]))
    Reader().open(bus, start=After(engine.state(BUS).history.cursor(Position(positions[2] + 1))))

    assert bus.metrics.gaps == {"retention": 1, "epoch": 1}


async def test_details(engine: TestedEngine, bus: EventBus) -> None:
    """People see the engine, where it is, and what its receipts promise."""
    details = bus.details()

    assert (details["name"], details["location"], details["durability"]) == ("memory", "memory", "memory")
    assert bus.engine_state().problem is None
    assert engine.registrations == 0
