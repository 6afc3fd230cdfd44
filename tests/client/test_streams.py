"""Streams of ``connect()``: the same promises in memory, in a file and over HTTP."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from waooaw.events import Bus, Delivered, Event, EventStream, GapMessage, connect
from waooaw.events.cursor import Cursor, encode_cursor
from waooaw.events.errors import ClosedError, InvalidCursorError, InvalidPatternError
from waooaw.events.stream_message import StreamStatus


def unique_type() -> str:
    """Return an event type of this test alone: tests share a service."""
    return f"test.t{uuid4().hex}"


async def publish_numbers(bus: Bus, event_type: str, numbers: range) -> None:
    """Publish an event for each number."""
    for answer in await bus.publish_many([Event(type=event_type, source="/a", data=number) for number in numbers]):
        assert not isinstance(answer, Exception)


async def take(stream: EventStream, count: int) -> list[Delivered]:
    """Return the next messages, which must be events."""
    taken = []
    for _ in range(count):
        message = await anext(stream)
        assert isinstance(message, Delivered)
        taken.append(message)
    return taken


def numbers_of(taken: list[Delivered]) -> list[int]:
    """Return what `publish_numbers` published."""
    return [message.event.data for message in taken]


async def test_a_stream_sees_what_is_published_once_it_is_entered(bus_url: str) -> None:
    """From entering on, each matching event comes once, in order, and no other."""
    event_type = unique_type()
    async with connect(bus_url) as bus, bus.stream(f"{event_type}.*") as stream:
        await publish_numbers(bus, f"{event_type}.x", range(5))
        await publish_numbers(bus, f"other.{event_type}", range(5))
        await publish_numbers(bus, f"{event_type}.y", range(5, 10))

        assert numbers_of(await take(stream, 10)) == list(range(10))


async def test_history_and_live_meet_without_gap_or_duplicate(bus_url: str) -> None:
    """A stream from the past goes over to live while events are being published, each exactly once."""
    event_type = unique_type()
    async with connect(bus_url) as bus:
        start = (await bus.log()).cursor
        await publish_numbers(bus, event_type, range(3000))

        async def go_on() -> None:
            for begin in range(3000, 6000, 50):
                await publish_numbers(bus, event_type, range(begin, begin + 50))

        async with bus.stream(event_type, start=start) as stream, asyncio.TaskGroup() as group:
            publishing = group.create_task(go_on())
            taken = await take(stream, 6000)
            await publishing

    assert numbers_of(taken) == list(range(6000))
    positions = [message.position for message in taken]
    assert positions == sorted(set(positions))


async def test_a_cursor_resumes_after_its_event(bus_url: str) -> None:
    """A new stream from the cursor of an event begins with the next one, whatever was read ahead."""
    event_type = unique_type()
    async with connect(bus_url) as bus:
        start = (await bus.log()).cursor
        await publish_numbers(bus, event_type, range(10))
        async with bus.stream(event_type, start=start) as stream:
            taken = await take(stream, 4)
            assert stream.cursor == taken[-1].cursor
        async with bus.stream(event_type, start=taken[-1].cursor) as stream:
            assert numbers_of(await take(stream, 6)) == list(range(4, 10))


async def test_a_cancelled_wait_loses_nothing(bus_url: str) -> None:
    """Giving up on a message, many times over, leaves every event to the next reader."""
    event_type = unique_type()
    async with connect(bus_url) as bus, bus.stream(event_type) as stream:
        taken: list[int] = []
        async with asyncio.TaskGroup() as group:
            publishing = group.create_task(publish_numbers(bus, event_type, range(500)))
            while len(taken) < 500:
                try:
                    taken += numbers_of(await asyncio.wait_for(take(stream, 1), 0.0005))
                except TimeoutError:
                    continue
            await publishing

    assert taken == list(range(500))


async def test_a_slow_reader_gets_everything(bus_url: str) -> None:
    """Ten megabytes published before the first is taken come whole and in order: what is not taken is not held."""
    event_type = unique_type()
    filling = "x" * 50_000
    async with connect(bus_url) as bus, bus.stream(event_type) as stream:
        for number in range(200):
            await bus.publish(Event(type=event_type, source="/a", data=[number, filling]))
        taken = await take(stream, 200)

    assert [message.event.data[0] for message in taken] == list(range(200))


async def test_a_gap_is_told_before_what_comes_after_it(bus_url: str) -> None:
    """A cursor of an unknown history gets the gap first, then what the log has; the gap's end is the cursor."""
    event_type = unique_type()
    async with connect(bus_url) as bus:
        receipt = await bus.publish(Event(type=event_type, source="/a", data=0))
        await publish_numbers(bus, event_type, range(1, 2))
        token = encode_cursor("default", Cursor(4711, receipt.position))
        async with bus.stream(event_type, start=token) as stream:
            gap = await anext(stream)
            taken = await take(stream, 2)

    assert isinstance(gap, GapMessage)
    assert (gap.start, gap.reason) == (token, "epoch")
    assert numbers_of(taken) == [0, 1]


async def test_closing_ends_a_waiting_reader(bus_url: str) -> None:
    """A reader that waits for a message sees the end when its stream is closed, twice or once."""
    async with connect(bus_url) as bus:
        stream = bus.stream(unique_type())

        async def read_all() -> list[object]:
            return [message async for message in stream]

        async with stream, asyncio.TaskGroup() as group:
            reading = group.create_task(read_all())
            await asyncio.sleep(0)
            await stream.close()
            await stream.close()

    assert reading.result() == []


async def test_leaving_the_bus_ends_its_streams(bus_url: str) -> None:
    """A reader sees the end when its bus is left, and a stream of a bus that was left is refused."""
    bus = connect(bus_url)
    async with bus:
        stream = bus.stream(unique_type())
        await stream.__aenter__()
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    with pytest.raises(ClosedError):
        await bus.stream("a").__aenter__()


async def test_what_cannot_be_streamed_is_refused(bus_url: str) -> None:
    """A bad pattern and a bad cursor raise on entering, and are not tried again."""
    async with connect(bus_url) as bus:
        with pytest.raises(InvalidPatternError):
            await bus.stream("a[b").__aenter__()
        with pytest.raises(InvalidCursorError):
            await anext(bus.stream("a", start="nonsense"))


async def test_the_watcher_is_told_of_the_connection(bus_url: str) -> None:
    """Entering a stream tells its watcher once that it is connected."""
    told: list[StreamStatus] = []
    async with connect(bus_url) as bus, bus.stream("a", watch=told.append):
        pass

    assert told == [StreamStatus()]
    assert told[0].is_connected
