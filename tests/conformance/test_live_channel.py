"""The live channel: frames in the order of the log, after durability, to those who listen."""

from __future__ import annotations

import asyncio

import pytest

from tests.conformance.engines import BUS, OTHER_BUS, EngineUnderTest, Heard, Writer, stored
from tests.event_samples import entries, entry
from waooaw.events.engine.contract import Engine, Frame, Tip
from waooaw.events.errors import IdReusedError


async def test_a_frame_carries_what_was_stored(under_test: EngineUnderTest, engine: Engine, writer: Writer) -> None:
    """A frame holds the events of one append as the log has them, and when they were accepted."""
    heard = Heard(engine)

    await writer.append(*entries(3))

    (frame,) = await heard.wait(1)
    assert list(frame.events) == await stored(engine)
    assert frame.accepted_at == pytest.approx(under_test.clock.now(), abs=1e-6)


async def test_frames_follow_one_another(engine: Engine, writer: Writer) -> None:
    """Each frame names the position before it, from the end of the log at the time of listening on."""
    early = Heard(engine)
    await writer.append(entry())
    await early.wait(1)
    reached = engine.state(BUS).history.last
    heard = Heard(engine)
    writers = [await Writer.registered(engine) for _ in range(4)]

    for _ in range(5):
        await asyncio.gather(*(other.append(*entries(3)) for other in writers))

    frames = await heard.wait(20)
    assert [frame.previous for frame in frames] == [reached, *(frame.last for frame in frames[:-1])]
    assert len(frames) == 20


async def test_a_frame_comes_after_its_events_are_stored(engine: Engine, writer: Writer) -> None:
    """When a frame comes, the log has it: its state says so, and a read finds it."""
    reading: list[asyncio.Task[int]] = []

    async def count(frame: Frame) -> int:
        page = await engine.read(BUS, frame.previous, through=frame.last, limit=100)
        return len(page.events)

    def listener(told: Frame | Tip) -> None:
        assert isinstance(told, Frame)
        assert engine.state(BUS).history.last >= told.last
        reading.append(asyncio.get_running_loop().create_task(count(told)))

    heard = Heard(engine)
    stop = engine.listen(BUS, listener)
    await writer.append(*entries(7))
    await heard.wait(1)
    stop()

    assert await asyncio.gather(*reading) == [7]


async def test_what_stores_nothing_is_told_to_nobody(engine: Engine, writer: Writer) -> None:
    """Duplicates and refusals alone make no frame; mixed with an event, only the event is in it."""
    early = Heard(engine)
    await writer.append(entry(id="one", data=1))
    await early.wait(1)
    heard = Heard(engine)

    await writer.append(entry(id="one", data=1))
    (refused,) = await writer.answers(entry(id="one", data=2))
    await writer.append(entry(id="one", data=1), entry(data="new"))

    assert isinstance(refused, IdReusedError)
    assert [[event.event.data for event in frame.events] for frame in await heard.wait(1)] == [["new"]]


async def test_every_listener_gets_every_frame(engine: Engine, writer: Writer) -> None:
    """Listeners do not share frames out among them; the same one twice gets them twice."""
    first, second = Heard(engine), Heard(engine)
    twice: list[Frame | Tip] = []
    engine.listen(BUS, twice.append)
    engine.listen(BUS, twice.append)

    await writer.append(entry())

    await first.wait(1)
    await second.wait(1)
    assert twice == first.frames * 2


async def test_a_listener_that_stops_gets_nothing_more(engine: Engine, writer: Writer) -> None:
    """Stopping ends one listener alone; stopping twice is harmless."""
    stopped, going_on = Heard(engine), Heard(engine)
    await writer.append(entry())
    await stopped.wait(1)
    stopped.stop()
    stopped.stop()

    await writer.append(entry())

    await going_on.wait(2)
    assert (len(stopped.frames), len(going_on.frames)) == (1, 2)


async def test_stopping_one_of_two_equal_listeners_leaves_the_other(engine: Engine, writer: Writer) -> None:
    """What ends listening ends the one it was given for, even twice."""
    told: list[Frame | Tip] = []
    stop = engine.listen(BUS, told.append)
    engine.listen(BUS, told.append)
    heard = Heard(engine)
    stop()
    stop()

    await writer.append(entry())

    assert told == await heard.wait(1)


async def test_a_listener_may_stop_while_it_is_called(engine: Engine, writer: Writer) -> None:
    """A listener that ends itself with its first frame does not disturb the others."""
    once: list[Frame | Tip] = []
    others = Heard(engine)

    def listener(told: Frame | Tip) -> None:
        once.append(told)
        stop()

    stop = engine.listen(BUS, listener)
    more = Heard(engine)

    await writer.append(entry())
    await writer.append(entry())

    await others.wait(2)
    await more.wait(2)
    assert (len(once), len(others.frames), len(more.frames)) == (1, 2, 2)


async def test_buses_are_told_apart(engine: Engine) -> None:
    """A listener of one bus hears nothing of another."""
    other, own = Heard(engine, OTHER_BUS), Heard(engine)

    await (await Writer.registered(engine)).append(entry())
    await own.wait(1)
    await (await Writer.registered(engine, OTHER_BUS)).append(entry(data="other"))

    assert [[event.event.data for event in frame.events] for frame in await other.wait(1)] == [["other"]]


async def test_large_events_are_told_too(engine: Engine, writer: Writer) -> None:
    """Listeners hear of large events, in a frame or by a tip that sends them to the log, and what follows chains."""
    heard = Heard(engine)

    (large,) = await writer.append(entry(data="x" * 100_000))
    await writer.append(entry(data="small"))

    await heard.wait(1)
    *_, small = heard.frames
    assert small.previous == large.position
    assert heard.frames[0].last == large.position or heard.tips[-1].last == large.position
