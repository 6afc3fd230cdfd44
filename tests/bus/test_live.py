"""Live delivery: each matching stream once a frame, equal payloads made once, slow readers alone and behind."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.bus.reading import NotingFraming, Reader
from tests.bus.running import TestedEngine, published, running, turns, until
from waooaw.events.bound import At
from waooaw.events.bus.event_bus import EventBus
from waooaw.events.position import Position, make_position
from waooaw.events.retention import TrimPlan


@pytest.fixture
async def engine() -> TestedEngine:
    return TestedEngine()


@pytest.fixture
async def bus(engine: TestedEngine) -> AsyncIterator[EventBus]:
    async with running(engine, engine.clock) as bus:
        yield bus


async def test_a_live_stream_gets_what_is_published_when_it_is_answered(bus: EventBus) -> None:
    """A reader at the end of the log has an event before its publisher has the answer: nothing is polled."""
    reader = Reader().open(bus)

    positions = await published(bus, "a", "b")

    assert reader.positions == positions


async def test_a_stream_gets_what_it_asked_for(bus: EventBus) -> None:
    """Patterns choose, any one of several is enough, and an event that two of them match comes once."""
    task, both, nothing = Reader().open(bus, "task.*"), Reader().open(bus, "task.*", "*.done"), Reader().open(bus, "x")

    positions = await published(bus, "task.done", "job.done", "task.new", "job.new")

    assert task.positions == [positions[0], positions[2]]
    assert both.positions == positions[:3]
    assert nothing.payloads == []


async def test_a_stream_is_written_once_a_frame(bus: EventBus) -> None:
    """What is appended together reaches a reader as one payload."""
    reader = Reader().open(bus)

    await published(bus, *"abc")
    await published(bus, *"de")

    assert [len(payload) for payload in reader.payloads] == [3, 2]


async def test_streams_with_the_same_matches_share_one_payload(bus: EventBus) -> None:
    """Readers that get the same events get the same object, also where they asked in different words."""
    framing = NotingFraming()
    readers = [Reader().open(bus, *patterns, framing=framing) for patterns in (["task.*"], ["task.*"], ["t*", "x"])]
    other = Reader().open(bus, "task.a", framing=framing)

    await published(bus, "task.a", "task.b", "other")

    assert all(reader.payloads[0] is readers[0].payloads[0] for reader in readers)
    assert len(other.payloads[0]) == 1
    assert (framing.events, framing.joins) == (2, 2)


async def test_framings_do_not_share(bus: EventBus) -> None:
    """Two spellings of the same events are two payloads."""
    one, two = NotingFraming(), NotingFraming()
    readers = [Reader().open(bus, framing=framing) for framing in (one, one, two)]

    await published(bus, "a", "b")

    assert readers[0].payloads[0] is readers[1].payloads[0]
    assert readers[0].payloads[0] is not readers[2].payloads[0]
    assert (one.events, two.events) == (2, 2)


async def test_nothing_is_spelled_where_nobody_reads(bus: EventBus) -> None:
    """An event that no stream asked for costs no encoding."""
    framing = NotingFraming()
    Reader().open(bus, "task.*", framing=framing)

    await published(bus, "other")

    assert (framing.events, framing.joins) == (0, 0)


async def test_a_closed_stream_gets_nothing_more(bus: EventBus) -> None:
    """Closing ends one stream, twice is harmless, and its cursor stays where it was."""
    reader, other = Reader().open(bus), Reader().open(bus)
    positions = await published(bus, "a")
    reader.stream.close()
    reader.stream.close()

    later = await published(bus, "b")

    assert reader.positions == positions
    assert other.positions == [*positions, *later]
    assert reader.stream.cursor.position == positions[-1]


async def test_a_route_that_comes_back_is_found(bus: EventBus) -> None:
    """What a type matched is looked up anew when readers come and go."""
    first = Reader().open(bus, "task.*")
    await published(bus, "task.a")
    first.stream.close()
    await published(bus, "task.a")
    second, third = Reader().open(bus, "task.*"), Reader().open(bus, "task.?")

    positions = await published(bus, "task.a")

    assert (second.positions, third.positions) == (positions, positions)


# Slow readers ---------------------------------------------------------------------------------------------------------


async def fall_behind(bus: EventBus) -> list[Position]:
    """Publish, frame by frame, more than a reader may leave untaken."""
    return [position for _ in range(6) for position in await published(bus, "a")]


async def test_a_slow_reader_leaves_live_delivery_and_comes_back(bus: EventBus) -> None:
    """It is not written to while it takes nothing; when it takes, it gets the rest, in order, and is live again."""
    reader = Reader(slow=True).open(bus)
    positions = await fall_behind(bus)
    await turns()
    assert reader.positions == positions[:3]
    assert bus.metrics.demotions == 1
    assert not reader.stream.live

    reader.hurry()
    await until(lambda: reader.stream.live)
    positions += await published(bus, "b")

    assert reader.positions == positions
    assert bus.metrics.demotions == 1


async def test_a_slow_reader_does_not_hold_up_the_others(bus: EventBus) -> None:
    """Others of the same patterns, of the same framing and of another one, get everything at once."""
    framing = NotingFraming()
    slow = Reader(slow=True).open(bus, framing=framing)
    others = [Reader().open(bus, framing=framing), Reader().open(bus), Reader().open(bus, "?")]

    positions = await fall_behind(bus)

    assert [reader.positions for reader in others] == [positions] * 3
    assert slow.positions == positions[:3]


async def test_all_readers_are_slow(bus: EventBus) -> None:
    """The last reader of a route may leave it in the middle of a frame; publishing does not notice."""
    readers = [Reader(slow=True).open(bus, *patterns) for patterns in (["*"], ["*"], ["a"], ["?", "b"])]

    positions = await fall_behind(bus)

    for reader in readers:
        reader.hurry()
    await until(lambda: all(reader.stream.live for reader in readers))
    assert [reader.positions for reader in readers] == [positions] * 4


async def test_a_stream_may_be_closed_while_it_is_written(bus: EventBus) -> None:
    """A sink whose owner gives up in the middle of a frame takes nobody else with it."""

    class Quitter(Reader):
        def write(self, payload: tuple[object, ...]) -> None:
            super().write(payload)  # type: ignore[arg-type]  # the messages of the base class
            self.stream.close()

    quitters = [Quitter().open(bus) for _ in range(3)]
    staying = Reader().open(bus)

    positions = await published(bus, "a") + await published(bus, "a")

    assert [reader.positions for reader in quitters] == [positions[:1]] * 3
    assert staying.positions == positions


async def test_a_broken_reader_ends_alone(bus: EventBus) -> None:
    """A sink that cannot drain any more ends its stream, once, with its error."""
    reader, other = Reader(slow=True).open(bus), Reader().open(bus)
    await fall_behind(bus)
    await turns()
    reader.break_off()
    await until(lambda: bool(reader.ended))

    positions = await published(bus, "b")

    assert [type(error) for error in reader.ended] == [ConnectionResetError]
    assert other.positions[-1:] == positions


# Lost frames ----------------------------------------------------------------------------------------------------------


async def test_a_lost_frame_is_read_from_the_log(engine: TestedEngine, bus: EventBus) -> None:
    """The frame after a lost one does not follow: what is missing is read, and every reader gets each event once."""
    readers = [Reader().open(bus), Reader().open(bus, "b")]
    engine.loses = lambda _: True
    positions = await published(bus, "a", "b") + await published(bus, "b")
    engine.loses = lambda _: False
    positions += await published(bus, "b")

    await until(lambda: readers[0].positions == positions)
    assert readers[1].positions == positions[1:]
    positions += await published(bus, "b")
    assert readers[0].positions == positions


async def test_frames_during_a_repair_are_not_lost(engine: TestedEngine, bus: EventBus) -> None:
    """What comes while the log is read is delivered after it, in order."""
    reader = Reader().open(bus)
    positions = []
    for number in range(50):
        engine.loses = lambda frame: frame.last % 3 == 0
        engine.clock.advance(0.001 * (number % 2))
        positions += await published(bus, *"abc"[: 1 + number % 3])
    engine.loses = lambda _: False
    positions += await published(bus, "z")

    await until(lambda: len(reader.positions) == len(positions))
    assert reader.positions == positions


async def test_what_was_lost_and_trimmed_is_a_gap(engine: TestedEngine, bus: EventBus) -> None:
    """A frame that was missed and cannot be read any more is told to each reader, with its bounds."""
    reader = Reader().open(bus)
    before = await published(bus, "a")
    engine.loses = lambda _: True
    lost = await published(bus, "a", "b", "c")
    await engine.trim("default", TrimPlan(excess_events=4), limit=4)
    engine.loses = lambda _: False
    after = await published(bus, "d")

    await until(lambda: reader.positions == before + after)
    (gap,) = reader.gaps
    assert (gap.start.position, gap.end.position, gap.reason) == (before[-1], lost[-1], "retention")
    assert bus.metrics.gaps == {"retention": 1}


# Streams that begin in the future -------------------------------------------------------------------------------------


async def test_a_stream_that_begins_at_a_later_position(bus: EventBus) -> None:
    """It gets nothing before that position, and everything from it on."""
    (position,) = await published(bus, "a")
    reader = Reader().open(bus, start=At(Position(position + 3)))

    positions = [new for _ in range(5) for new in await published(bus, "a")]
    await until(lambda: reader.positions == positions[2:])

    positions += await published(bus, "a")
    assert reader.positions == positions[2:]


async def test_a_stream_that_begins_at_a_later_time(engine: TestedEngine, bus: EventBus) -> None:
    """It begins with the first event accepted at that time or after."""
    start = At(make_position(engine.clock.now_ms() + 5000), is_time=True)
    reader = Reader().open(bus, start=start)
    await published(bus, "a")
    engine.clock.advance(4.999)
    await published(bus, "b")
    engine.clock.advance(0.001)

    positions = await published(bus, "c", "d")

    await until(lambda: reader.positions == positions)


async def test_streams_that_never_begin_leave_nothing_behind(bus: EventBus) -> None:
    """A thousand readers that wait for a far future and go away are forgotten."""
    for _ in range(1000):
        reader = Reader().open(bus, start=At(make_position(2**41)))
        await turns(2)
        reader.stream.close()
    await turns()

    assert bus._hub._passing == {}  # noqa: SLF001 - what is forgotten cannot be seen from outside
