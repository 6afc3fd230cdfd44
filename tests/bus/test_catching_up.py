"""From history to live: each event once, or a gap with its bounds, and the log is read once for all."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.bus.reading import Reader, Stored, check
from tests.bus.running import BUS, TestedEngine, published, running, turns, until
from tests.conformance.engines import Writer
from tests.event_samples import entries
from waooaw.events.bound import EARLIEST, After, At
from waooaw.events.bus import stream as stream_module
from waooaw.events.bus.event_bus import EventBus
from waooaw.events.engine.contract import LogState
from waooaw.events.outages import StorageFailedError
from waooaw.events.pattern import PatternSet
from waooaw.events.position import BEGINNING, Position
from waooaw.events.retention import TrimPlan

EVERYTHING = PatternSet.parse(["*"])


@pytest.fixture
async def engine() -> TestedEngine:
    return TestedEngine()


@pytest.fixture
async def bus(engine: TestedEngine) -> AsyncIterator[EventBus]:
    """Run a bus that keeps no recent frames in memory, so that history is read from the log."""
    async with running(engine, engine.clock, ring_bytes_max=0) as bus:
        yield bus


async def test_history_then_live(bus: EventBus) -> None:
    """A stream from the earliest event gets what was and what comes, once each."""
    positions = await published(bus, *("a" for _ in range(2500)))
    reader = Reader().open(bus, start=EARLIEST)
    positions += await published(bus, "b")
    await until(lambda: reader.stream.live)
    positions += await published(bus, "c")

    assert reader.positions == positions


async def test_fifty_readers_read_the_log_once(engine: TestedEngine, bus: EventBus) -> None:
    """Readers at one place share every block: the log is read as often as for one."""
    positions = [new for _ in range(5) for new in await published(bus, *("a" for _ in range(1000)))]
    engine.reads.clear()
    readers = [Reader().open(bus, start=EARLIEST) for _ in range(50)]

    await until(lambda: all(reader.stream.live for reader in readers))

    assert all(reader.positions == positions for reader in readers)
    assert len(engine.reads) == 5


async def test_readers_near_one_another_share_blocks(engine: TestedEngine, bus: EventBus) -> None:
    """Readers that begin at different places are on the same blocks soon."""
    positions = [new for _ in range(5) for new in await published(bus, *("a" for _ in range(1000)))]
    engine.reads.clear()
    readers = [Reader().open(bus, start=At(position)) for position in positions[:40]]

    await until(lambda: all(reader.stream.live for reader in readers))

    assert [reader.positions for reader in readers] == [positions[index:] for index in range(40)]
    assert len(engine.reads) < 3 * 5


async def test_recent_frames_are_read_from_memory(engine: TestedEngine) -> None:
    """A reader that is only a little behind does not touch the log."""
    async with running(engine, engine.clock) as bus:
        positions = await published(bus, *("a" for _ in range(100)))
        engine.reads.clear()
        reader = Reader().open(bus, start=At(positions[10]))
        await until(lambda: reader.stream.live)

        assert reader.positions == positions[10:]
        assert engine.reads == []


async def test_a_log_that_is_away_is_waited_for(
    engine: TestedEngine, bus: EventBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read that fails is tried again; the reader is not told, and loses nothing."""
    monkeypatch.setattr(stream_module, "RETRY_SECONDS", 0)
    positions = await published(bus, "a", "b")
    engine.fails_reads = StorageFailedError("away")

    reader = Reader().open(bus, start=EARLIEST)
    await until(lambda: reader.stream.live)

    assert reader.positions == positions
    assert reader.ended == []


async def test_what_retention_took_is_a_gap(engine: TestedEngine, bus: EventBus) -> None:
    """A cursor before what the log has gets a gap from there to where the log begins, first of all."""
    positions = await published(bus, *"abcdef")
    cursor = engine.state(BUS).history.cursor(positions[1])
    await engine.trim(BUS, TrimPlan(excess_events=4), limit=4)

    reader = Reader().open(bus, start=After(cursor))
    await until(lambda: reader.stream.live)

    (gap,) = reader.gaps
    assert (gap.start, gap.end.position, gap.reason) == (cursor, positions[3], "retention")
    assert reader.messages == [gap, *positions[4:]]


async def test_a_slow_reader_that_retention_overtakes_is_told(engine: TestedEngine, bus: EventBus) -> None:
    """Its gap begins right after the last event it got."""
    reader = Reader(slow=True).open(bus)
    positions = [new for _ in range(10) for new in await published(bus, "a")]
    await engine.trim(BUS, TrimPlan(excess_events=7), limit=7)

    reader.hurry()
    await until(lambda: reader.stream.live)

    (gap,) = reader.gaps
    assert (gap.start.position, gap.end.position) == (positions[2], positions[6])
    assert reader.positions == positions[:3] + positions[7:]


class LateState(TestedEngine):
    """An engine as it is in the instant of a trim: pages tell of it already, the state in memory does not yet."""

    late: LogState | None = None

    def state(self, bus: str) -> LogState:
        """Return the state of before."""
        return self.late or super().state(bus)


async def test_a_trim_that_the_state_does_not_tell_yet_is_a_gap() -> None:
    """The page decides: a stream that meets a trim before the log's state knows of it tells the gap and goes on."""
    engine = LateState()
    async with running(engine, engine.clock, ring_bytes_max=0) as bus:
        positions = await published(bus, *"abcd")
        engine.late = engine.state(BUS)
        await engine.trim(BUS, TrimPlan(excess_events=2), limit=2)

        reader = Reader().open(bus, start=At(positions[0]))
        await until(lambda: reader.stream.live)

        (gap,) = reader.gaps
        assert (gap.start.position, gap.end.position) == (positions[0] - 1, positions[1])
        assert reader.messages == [gap, *positions[2:]]
        assert reader.ended == []


async def test_the_cursor_is_what_was_written(bus: EventBus) -> None:
    """While a reader takes nothing, its cursor stands after what was written to it: nothing is skipped on resuming."""
    positions = await published(bus, *("a" for _ in range(3000)), data="x" * 1000)
    reader = Reader(slow=True).open(bus, start=EARLIEST)
    await turns(100)
    cursor = reader.stream.cursor
    reader.stream.close()

    resumed = Reader().open(bus, start=After(cursor))
    await until(lambda: resumed.stream.live)

    assert 0 < len(reader.positions) < 3000
    assert cursor.position == reader.positions[-1]
    assert reader.positions + resumed.positions == positions


async def test_the_cursor_of_a_stream_that_is_ahead_of_live_delivery(engine: TestedEngine, bus: EventBus) -> None:
    """While a frame is lost, a stream that begins after it does not have a cursor before where it began."""
    engine.loses = lambda _: True
    positions = await published(bus, *"abc")
    reader = Reader().open(bus, start=At(positions[2]))
    await turns()

    assert reader.stream.cursor.position == positions[2] - 1

    engine.loses = lambda _: False
    positions += await published(bus, "d")
    await until(lambda: reader.stream.live)
    assert reader.positions == positions[2:]


async def test_a_cursor_of_an_older_epoch(tmp_path: Path) -> None:
    """Over a restart a reader goes on without a gap; beyond the end of its epoch it is told."""
    path = tmp_path / "events.db"
    first = TestedEngine(path)
    async with running(first, first.clock) as bus:
        positions = await published(bus, *"abc")
        history = first.state(BUS).history
        cursor = history.cursor(positions[0])
        beyond = history.cursor(Position(positions[-1] + 5))
    second = TestedEngine(path, identifiers=first.identifiers)
    async with running(second, second.clock) as bus:
        readers = [Reader().open(bus, start=After(start)) for start in (cursor, beyond)]
        positions += await published(bus, "d")
        await until(lambda: all(reader.stream.live for reader in readers))

        assert readers[0].messages == positions[1:]
        (gap,) = readers[1].gaps
        assert (gap.start, gap.end.position, gap.reason) == (beyond, positions[2], "epoch")
        assert readers[1].messages == [gap, positions[3]]


async def test_a_thousand_joins_under_publishing(engine: TestedEngine) -> None:
    """Readers join at random places of recent history, while events come all the time: none misses or repeats one."""
    chance = random.Random(7)
    log = Stored([], set())
    async with running(engine, engine.clock, ring_bytes_max=100_000) as bus:
        finished = False

        async def publish() -> None:
            while not finished:
                names = chance.choices(["a.x", "a.y", "b.x"], k=chance.randint(1, 20))
                log.events.extend(zip(await published(bus, *names), names, strict=True))
                engine.clock.advance(0.001 * chance.randint(0, 2))
                await turns(chance.randint(0, 3))

        async def join() -> None:
            patterns = chance.choice([["*"], ["a.*"], ["*.x"], ["b.*", "a.y"]])
            start = chance.choice([position for position, _ in log.events[-2000:]])
            reader = Reader(slow=chance.random() < 0.3).open(bus, *patterns, start=At(start))
            for _ in range(chance.randint(1, 5)):
                await turns(chance.randint(0, 20))
                reader.take()
            reader.hurry()
            await until(lambda: reader.stream.live)
            end = len(reader.positions) + 3
            await until(lambda: len(reader.positions) >= end)
            reached = reader.stream.cursor.position
            reader.stream.close()
            await until(lambda: log.events[-1][0] >= reached)
            check(reader.messages, Position(start - 1), PatternSet.parse(patterns), log, reached)
            assert reader.gaps == []

        publishing = asyncio.create_task(publish())
        await until(lambda: len(log.events) > 1000)
        for _ in range(20):
            await asyncio.gather(*(join() for _ in range(50)))
        finished = True
        await publishing


async def test_a_long_history_is_written_in_bounded_chunks(engine: TestedEngine, bus: EventBus) -> None:
    """A reader that takes nothing is written a chunk and no more, however long the history is."""
    writer = await Writer.registered(engine)
    for _ in range(10):
        await writer.append(*entries(100, subject="x" * 10_000))
    await published(bus, "a")
    reader = Reader(slow=True).open(bus, start=At(Position(BEGINNING + 1)))
    await turns(200)

    assert len(reader.payloads) == 1
    assert len(reader.positions) < 30


def test_the_check_of_these_tests_can_fail() -> None:
    """A missing event, one twice, one out of order, one not asked for and a wrong gap are all found."""
    log = Stored([(Position(place), "a") for place in (1, 2, 3)], {Position(1)})
    for messages in ([1, 3], [1, 2, 2, 3], [2, 1, 3], [1, 2], [1, 2, 3, 4]):
        with pytest.raises(AssertionError):
            check([Position(place) for place in messages], BEGINNING, EVERYTHING, log, Position(3))
    check([Position(place) for place in (1, 2, 3)], BEGINNING, EVERYTHING, log, Position(3))
