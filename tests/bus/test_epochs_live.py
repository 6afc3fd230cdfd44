"""A history that changes under live readers: nothing is said where nothing is lost, one gap where something is."""

from __future__ import annotations

import pytest

from tests.bus.histories import ChangingEngine, more, opened
from tests.bus.reading import Messages, Reader, Seen
from tests.bus.running import BUS, published, running, turns, until
from tests.event_samples import entries
from waooaw.events.bound import EARLIEST, NOW, After, At
from waooaw.events.cursor import Cursor
from waooaw.events.epoch import Gap
from waooaw.events.position import BEGINNING, Position, make_position
from waooaw.events.retention import TrimPlan
from waooaw.events.testing import ManualClock

NO_RING = 0
A_RING = 64 * 1024 * 1024
REISSUED = 0.0
"""Seconds that pass over a loss: with none, events that come next get the positions of those that were lost."""


@pytest.fixture
async def engine() -> ChangingEngine:
    return ChangingEngine()


# Nothing is lost ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ring_bytes_max", [NO_RING, A_RING])
async def test_an_epoch_without_loss_is_told_to_nobody(engine: ChangingEngine, ring_bytes_max: int) -> None:
    """A reader that is live, one that is behind and one that waits go on over two epochs as if there were none."""
    async with running(engine, engine.clock, ring_bytes_max=ring_bytes_max) as bus:
        before = await more(bus, *"abc")
        start = At(Position(engine.last + 3))
        live, behind, waiting = opened(bus), opened(bus, start=EARLIEST), opened(bus, start=start)
        await engine.begin_epoch(BUS)
        between = await more(bus, "d")
        await engine.begin_epoch(BUS)
        after = await more(bus, *"efg")
        await until(lambda: all(reader.stream.live for reader in (live, behind, waiting)))

        assert live.ids == between + after
        assert behind.ids == before + between + after
        assert waiting.ids == after[1:]
        assert [reader.gaps for reader in (live, behind, waiting)] == [[], [], []]
        assert bus.metrics.demotions == 0
        assert live.stream.cursor == Cursor(engine.epoch, engine.last) == bus.cursor_of(NOW)


async def test_an_epoch_without_loss_while_frames_are_lost(engine: ChangingEngine) -> None:
    """The tip of a new epoch is as good as any to find out what was missed in the old one."""
    async with running(engine, engine.clock) as bus:
        reader = opened(bus)
        engine.loses = lambda _: True
        missed = await more(bus, *"abc")
        await engine.begin_epoch(BUS)
        await until(lambda: reader.ids == missed)

        assert reader.gaps == []
        assert {message.epoch for message in reader.messages if isinstance(message, Seen)} == {engine.epoch}


async def test_a_tip_after_lost_frames(engine: ChangingEngine) -> None:
    """What was lost while nothing else came is read from the log once the log's end is told; told again, not again."""
    async with running(engine, engine.clock) as bus:
        reader = opened(bus)
        engine.loses = lambda _: True
        missed = await more(bus, *"abc")
        engine.tell_tip()
        engine.tell_tip()
        await until(lambda: reader.ids == missed)
        engine.tell_tip()
        await turns()

        assert reader.ids == missed


# The tail is lost -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [REISSUED, 1.0])
async def test_each_live_reader_is_told_once(engine: ChangingEngine, seconds: float) -> None:
    """From where it stood to where the log goes on; then it gets what the log has after that place, and what comes."""
    async with running(engine, engine.clock) as bus:
        readers = [opened(bus), opened(bus), Reader().open(bus, "nothing")]
        positions = [new for name in "abcde" for new in await published(bus, name)]
        before = engine.state(BUS).history
        seen = readers[0].ids

        engine.lose_after(positions[2])
        engine.clock.advance(seconds)
        after = await more(bus, *"fg") + await more(bus, "h")
        await until(lambda: all(reader.stream.live for reader in readers))

        gap = Gap(before.cursor(positions[4]), Cursor(engine.epoch, positions[2]), "epoch")
        assert readers[0].ids == readers[1].ids == seen + after
        assert [reader.gaps for reader in readers] == [[gap]] * 3
        assert all(reader.messages[5] == gap for reader in readers[:2])
        assert bus.metrics.gaps == {"epoch": 3}
        after += await more(bus, "i")
        assert readers[0].ids == seen + after


async def test_a_frame_tells_the_epoch(engine: ChangingEngine) -> None:
    """The first that is heard of a new history may be an event of it."""
    async with running(engine, engine.clock) as bus:
        reader = opened(bus)
        positions = await published(bus, *"abc")
        wanted = entries(2)
        engine.forget_after(positions[0])
        engine.begin_anew()
        engine.tell(engine.append_at_once(wanted))
        await until(lambda: reader.stream.live)

        (gap,) = reader.gaps
        assert (gap.start.position, gap.end.position) == (positions[2], positions[0])
        assert reader.ids[3:] == [item.id for item in wanted]


async def test_everything_is_lost(engine: ChangingEngine) -> None:
    """After a FLUSHALL readers are told that all they saw is no more, and go on from the beginning of the new log."""
    async with running(engine, engine.clock) as bus:
        live, behind = opened(bus), opened(bus, slow=True, start=EARLIEST)
        old = Cursor(engine.epoch, (await published(bus, *"abc"))[-1])
        engine.lose_all()
        behind.hurry()
        after = await more(bus, "d")
        await until(lambda: live.stream.live and behind.stream.live)

        gap = Gap(old, Cursor(engine.epoch, BEGINNING), "epoch")
        assert live.gaps == [gap]
        assert live.ids[3:] == after
        assert [message.end for message in behind.gaps] == [gap.end]
        assert behind.ids[-1:] == after


async def test_a_backup_that_does_not_know_the_epoch(engine: ChangingEngine) -> None:
    """Of a history that is unknown nothing counts as seen: a gap, and then all that the backup has, once."""
    async with running(engine, engine.clock) as bus:
        kept = await more(bus, *"abc")
        copy = engine.back_up()
        await engine.begin_epoch(BUS)
        reader = opened(bus)
        lost = await more(bus, "d")
        engine.restore(copy)
        after = await more(bus, "e")
        await until(lambda: reader.stream.live)

        (gap,) = reader.gaps
        assert gap.end == Cursor(engine.epoch, BEGINNING)
        assert reader.ids == lost + kept + after


async def test_a_reader_that_begins_now_in_a_restored_history(engine: ChangingEngine) -> None:
    """*Now* is the end of the log also in the instant of a restore: what the backup has is not new."""
    async with running(engine, engine.clock) as bus:
        await more(bus, *"abc")
        copy = engine.back_up()
        await engine.begin_epoch(BUS)
        await more(bus, "d")
        engine.restore(copy)
        reader = opened(bus)

        assert bus.cursor_of(NOW) == Cursor(engine.epoch, engine.last)
        after = await more(bus, "e")
        await until(lambda: reader.ids == after)
        await turns()
        assert reader.ids == after


async def test_a_restore_brings_back_what_was_trimmed(engine: ChangingEngine) -> None:
    """Readers that saw more than the backup has are told; one that begins at the earliest gets what came back."""
    async with running(engine, engine.clock, ring_bytes_max=NO_RING) as bus:
        live = opened(bus)
        kept = await more(bus, *"abcd")
        copy = engine.back_up()
        lost = await more(bus, *"ef")
        await engine.trim(BUS, TrimPlan(excess_events=5), limit=5)
        engine.restore(copy)
        earliest = opened(bus, start=EARLIEST)
        after = await more(bus, "g")
        await until(lambda: live.stream.live and earliest.stream.live)

        assert live.ids == kept + lost + after
        assert [gap.reason for gap in live.gaps] == ["epoch"]
        assert earliest.ids == kept + after
        assert earliest.gaps == []


async def test_who_had_not_seen_what_is_lost_is_not_told(engine: ChangingEngine) -> None:
    """Where the frames of the lost events were lost too, readers go on from before them: nothing to tell."""
    async with running(engine, engine.clock) as bus:
        reader = opened(bus)
        positions = await published(bus, "a")
        engine.loses = lambda _: True
        kept = await published(bus, "b")
        await published(bus, *"cd")
        engine.lose_after(kept[0])
        engine.loses = lambda _: False
        after = await more(bus, "e")
        await until(lambda: len(reader.messages) == 3)

        assert reader.gaps == []
        seen = [message.position for message in reader.messages if isinstance(message, Seen)]
        assert seen[:2] == positions + kept
        assert reader.ids[2:] == after


@pytest.mark.parametrize("kept", [0, 1])
@pytest.mark.parametrize("seconds", [REISSUED, 1.0])
async def test_late_frames_of_an_old_epoch_are_dropped(engine: ChangingEngine, seconds: float, kept: int) -> None:
    """What was on its way when the history went back says nothing of the log as it is, also where it would follow."""
    async with running(engine, engine.clock) as bus:
        reader = opened(bus)
        positions = await published(bus, *"ab")
        seen = list(reader.messages)
        engine.delays = lambda _: True
        await published(bus, "c")
        await published(bus, "d")
        engine.lose_after(positions[kept])
        engine.clock.advance(seconds)
        await until(lambda: reader.stream.live)
        engine.tell_delayed()
        await turns()
        after = await more(bus, *"ef")
        await until(lambda: len(reader.ids) == 4)

        assert reader.messages[:2] == seen
        assert reader.ids[2:] == after
        assert len(reader.gaps) == 1 - kept


class Quitter(Reader):
    """Its owner gives up after some messages, and takes the streams of others along."""

    def __init__(self, after: int, *others: Reader) -> None:
        super().__init__()
        self._quitting = (self, *others)
        self._after = after

    def write(self, payload: Messages) -> None:
        """Take a payload, and close."""
        super().write(payload)
        if len(self.messages) >= self._after:
            for reader in self._quitting:
                reader.stream.close()


async def test_readers_that_are_closed_when_they_are_told(engine: ChangingEngine) -> None:
    """A sink whose owner gives up at a gap, or takes others along, is not taken back into live delivery."""
    async with running(engine, engine.clock) as bus:
        taken_along = Reader()
        quitter = Quitter(3, taken_along).open(bus)
        taken_along.open(bus)
        staying = opened(bus)
        positions = await published(bus, *"ab")
        engine.lose_after(positions[0])
        await turns()
        after = await more(bus, "c")
        await until(lambda: staying.stream.live)

        assert staying.ids[2:] == after
        assert (len(quitter.messages), quitter.stream.live) == (3, False)
        assert (taken_along.messages, taken_along.stream.live) == (positions, False)
        assert quitter.stream.cursor == Cursor(engine.epoch, positions[0])


async def test_a_reader_that_is_closed_while_it_catches_up(engine: ChangingEngine) -> None:
    """Neither is one that gives up at the last event before it would go live."""
    async with running(engine, engine.clock) as bus:
        positions = await published(bus, *"ab")
        quitter = Quitter(2).open(bus, start=EARLIEST)
        await turns()
        await published(bus, "c")
        await turns()

        assert quitter.messages == positions
        assert not quitter.stream.live


# Readers that wait for what is to come --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["position", "time"])
@pytest.mark.parametrize("loses", [False, True])
async def test_a_stream_that_begins_later(engine: ChangingEngine, kind: str, loses: bool) -> None:  # noqa: FBT001 - a parameter
    """It saw nothing that could be lost: it waits on over an epoch, and begins where it asked to."""
    async with running(engine, engine.clock) as bus:
        positions = await published(bus, *"ab")
        start = make_position(engine.clock.now_ms() + 5000)
        reader = opened(bus, start=At(start, is_time=kind == "time"))
        await turns()
        if loses:
            engine.lose_after(positions[0])
        else:
            await engine.begin_epoch(BUS)
        cursors = [reader.stream.cursor]
        await turns()
        cursors.append(reader.stream.cursor)
        await more(bus, "c")
        engine.clock.advance(5)
        after = await more(bus, *"de")
        await until(lambda: reader.stream.live)

        assert reader.messages == [message for message in reader.messages if not isinstance(message, Gap)]
        assert reader.ids == after
        assert all(engine.state(BUS).history.resume(cursor)[1] is None for cursor in cursors)


async def test_an_epoch_begins_and_a_later_start_passes_in_one_step(engine: ChangingEngine) -> None:
    """The first event of a new epoch lies after the start that a stream waits for: that is no gap."""
    async with running(engine, engine.clock) as bus:
        await published(bus, *"ab")
        reader = opened(bus, start=At(make_position(engine.clock.now_ms() + 5000)))
        await turns()
        engine.clock.advance(6)
        wanted = entries(1)
        engine.begin_anew()
        engine.tell(engine.append_at_once(wanted))
        await until(lambda: reader.stream.live)

        assert reader.gaps == []
        assert reader.ids == [wanted[0].id]


async def test_a_later_start_passes_and_its_history_is_lost_in_one_step(engine: ChangingEngine) -> None:
    """What a stream waited for is lost before it could be written: it was told nothing, and waits on."""
    async with running(engine, engine.clock) as bus:
        positions = await published(bus, *"ab")
        reader = opened(bus, start=At(make_position(engine.clock.now_ms() + 5000)))
        await turns()
        engine.clock.advance(6)
        engine.tell(engine.append_at_once(entries(1)))
        engine.lose_after(positions[-1])
        await turns()
        after = await more(bus, "c")
        await until(lambda: reader.stream.live)

        assert reader.gaps == []
        assert reader.ids == after


async def test_a_reader_that_knows_more_than_was_told_here(engine: ChangingEngine) -> None:
    """A client brings a cursor past a lost frame, and its place is lost: it is told at once, and goes on before it."""
    async with running(engine, engine.clock) as bus:
        positions = await published(bus, "a")
        engine.loses = lambda _: True
        positions += await published(bus, *"bcd")
        cursor = Cursor(engine.epoch, positions[3])
        reader = opened(bus, start=After(cursor))
        await turns()
        engine.lose_after(positions[1])
        await until(lambda: bool(reader.messages))
        engine.loses = lambda _: False
        after = await more(bus, "e")
        await until(lambda: reader.stream.live)

        assert reader.gaps == [Gap(cursor, Cursor(engine.epoch, positions[1]), "epoch")]
        assert reader.ids == after


async def test_a_later_start_by_the_clock_of_a_shorter_history(engine: ChangingEngine) -> None:
    """A stream waits past the end of a log that loses everything: it gets what comes from its start on."""
    clock: ManualClock = engine.clock
    async with running(engine, clock) as bus:
        await published(bus, *"ab")
        reader = opened(bus, start=At(make_position(clock.now_ms() + 1000)))
        await turns()
        engine.lose_all()
        await turns()
        await published(bus, "c")
        clock.advance(1)
        after = await more(bus, "d")
        await until(lambda: reader.stream.live)

        assert (reader.ids, reader.gaps) == (after, [])
