"""The live channel: frames in the order of the log, after durability, to those who listen."""

from __future__ import annotations

import asyncio

from tests.conformance.engines import BUS, OTHER_BUS, EngineUnderTest, Writer, stored
from tests.event_samples import entries, entry
from waooaw.events.engine.contract import Engine, Frame
from waooaw.events.errors import IdReusedError


async def test_a_frame_carries_what_was_stored(under_test: EngineUnderTest, engine: Engine, writer: Writer) -> None:
    """A frame holds the events of one append as the log has them, and when they were accepted."""
    frames: list[Frame] = []
    engine.listen(BUS, frames.append)

    await writer.append(*entries(3))

    assert [list(frame.events) for frame in frames] == [await stored(engine)]
    assert [frame.accepted_at for frame in frames] == [under_test.clock.now()]


async def test_frames_follow_one_another(engine: Engine, writer: Writer) -> None:
    """Each frame names the position before it, from the end of the log at the time of listening on."""
    await writer.append(entry())
    frames: list[Frame] = []
    reached = engine.state(BUS).history.last
    engine.listen(BUS, frames.append)
    writers = [await Writer.registered(engine) for _ in range(4)]

    for _ in range(5):
        await asyncio.gather(*(other.append(*entries(3)) for other in writers))

    assert [frame.previous for frame in frames] == [reached, *(frame.last for frame in frames[:-1])]
    assert len(frames) == 20


async def test_a_frame_comes_after_its_events_are_stored(engine: Engine, writer: Writer) -> None:
    """When a frame comes, the log has it: its state says so, and a read finds it."""
    reading: list[asyncio.Task[int]] = []

    async def count(frame: Frame) -> int:
        page = await engine.read(BUS, frame.previous, through=frame.last, limit=100)
        return len(page.events)

    def listener(frame: Frame) -> None:
        assert engine.state(BUS).history.last >= frame.last
        reading.append(asyncio.get_running_loop().create_task(count(frame)))

    engine.listen(BUS, listener)
    await writer.append(*entries(7))

    assert await asyncio.gather(*reading) == [7]


async def test_what_stores_nothing_is_told_to_nobody(engine: Engine, writer: Writer) -> None:
    """Duplicates and refusals alone make no frame; mixed with an event, only the event is in it."""
    await writer.append(entry(id="one", data=1))
    frames: list[Frame] = []
    engine.listen(BUS, frames.append)

    await writer.append(entry(id="one", data=1))
    (refused,) = await writer.answers(entry(id="one", data=2))
    await writer.append(entry(id="one", data=1), entry(data="new"))

    assert isinstance(refused, IdReusedError)
    assert [[event.event.data for event in frame.events] for frame in frames] == [["new"]]


async def test_every_listener_gets_every_frame(engine: Engine, writer: Writer) -> None:
    """Listeners do not share frames out among them; the same one twice gets them twice."""
    first: list[Frame] = []
    second: list[Frame] = []
    engine.listen(BUS, first.append)
    engine.listen(BUS, second.append)
    engine.listen(BUS, second.append)

    await writer.append(entry())

    assert (len(first), len(second)) == (1, 2)


async def test_a_listener_that_stops_gets_nothing_more(engine: Engine, writer: Writer) -> None:
    """Stopping ends one listener alone; stopping twice is harmless."""
    stopped: list[Frame] = []
    going_on: list[Frame] = []
    stop = engine.listen(BUS, stopped.append)
    engine.listen(BUS, going_on.append)
    await writer.append(entry())
    stop()
    stop()

    await writer.append(entry())

    assert (len(stopped), len(going_on)) == (1, 2)


async def test_stopping_one_of_two_equal_listeners_leaves_the_other(engine: Engine, writer: Writer) -> None:
    """What ends listening ends the one it was given for, even twice."""
    frames: list[Frame] = []
    stop = engine.listen(BUS, frames.append)
    engine.listen(BUS, frames.append)
    stop()
    stop()

    await writer.append(entry())

    assert len(frames) == 1


async def test_a_listener_may_stop_while_it_is_called(engine: Engine, writer: Writer) -> None:
    """A listener that ends itself with its first frame does not disturb the others."""
    once: list[Frame] = []
    others: list[Frame] = []

    def listener(frame: Frame) -> None:
        once.append(frame)
        stop()

    stop = engine.listen(BUS, listener)
    engine.listen(BUS, others.append)

    await writer.append(entry())
    await writer.append(entry())

    assert (len(once), len(others)) == (1, 2)


async def test_buses_are_told_apart(engine: Engine) -> None:
    """A listener of one bus hears nothing of another."""
    frames: list[Frame] = []
    engine.listen(OTHER_BUS, frames.append)

    await (await Writer.registered(engine)).append(entry())

    assert frames == []
