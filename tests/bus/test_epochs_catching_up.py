"""A history that changes under readers that are behind, under reads in flight and between two pages of the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.bus.histories import ChangingEngine, more, opened
from tests.bus.reading import Reader, Seen
from tests.bus.running import BUS, published, running, turns, until
from waooaw.events.bound import EARLIEST, NOW, After, At
from waooaw.events.bus.event_store import Query
from waooaw.events.cursor import Cursor
from waooaw.events.epoch import Gap
from waooaw.events.position import BEGINNING, Position
from waooaw.events.retention import TrimPlan

NO_RING = 0
A_RING = 64 * 1024 * 1024
REISSUED = 0.0
"""Seconds that pass over a loss: with none, events that come next get the positions of those that were lost."""


@pytest.fixture
async def engine() -> ChangingEngine:
    return ChangingEngine()


# Slow readers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ring_bytes_max", [NO_RING, A_RING])
@pytest.mark.parametrize("seconds", [REISSUED, 1.0])
async def test_a_demoted_reader_is_told_when_it_takes(
    engine: ChangingEngine, ring_bytes_max: int, seconds: float
) -> None:
    """What it had been written is no more: one gap, then the log as it is, from the ring as from the log."""
    async with running(engine, engine.clock, ring_bytes_max=ring_bytes_max) as bus:
        reader = opened(bus, slow=True)
        kept = await published(bus, *"ab")
        for _ in range(5):
            await published(bus, "c")
        await turns()
        old, seen = reader.stream.cursor, list(reader.messages)
        engine.lose_after(kept[1])
        engine.clock.advance(seconds)
        after = await more(bus, "d") + await more(bus, "e")
        await turns()
        assert reader.messages == seen
        assert reader.stream.cursor == old

        reader.hurry()
        await until(lambda: reader.stream.live)
        after += await more(bus, "f")

        assert reader.messages[: len(seen) + 1] == [*seen, Gap(old, Cursor(engine.epoch, kept[1]), "epoch")]
        assert reader.ids[len(seen) :] == after
        assert old.position > kept[1]


@pytest.mark.parametrize("ring_bytes_max", [NO_RING, A_RING])
async def test_a_demoted_reader_that_had_not_got_so_far(engine: ChangingEngine, ring_bytes_max: int) -> None:
    """What it had not been written yet it cannot lose: it is told nothing, and gets what is kept and what is new."""
    async with running(engine, engine.clock, ring_bytes_max=ring_bytes_max) as bus:
        live, reader = opened(bus), opened(bus, slow=True)
        positions = [new for _ in range(6) for new in await published(bus, "a")]
        await turns()
        assert len(reader.messages) == 3
        engine.lose_after(positions[4])
        after = await more(bus, "b")
        reader.hurry()
        await until(lambda: reader.stream.live and live.stream.live)

        assert (len(live.gaps), len(reader.gaps)) == (1, 0)
        assert reader.ids == live.ids[:5] + after


async def test_two_losses_while_a_reader_takes_nothing(engine: ChangingEngine) -> None:
    """It is told once, up to the place that both histories share with what it saw."""
    async with running(engine, engine.clock) as bus:
        reader = opened(bus, slow=True)
        positions = [new for _ in range(8) for new in await published(bus, "a")]
        await turns()
        engine.lose_after(positions[1])
        between = await published(bus, *"bcd")
        engine.lose_after(between[0])
        after = await more(bus, "e")
        reader.hurry()
        await until(lambda: reader.stream.live)

        (gap,) = reader.gaps
        assert gap.end == Cursor(engine.epoch, positions[1])
        assert len(reader.ids[3:]) == 2
        assert reader.ids[4:] == after


async def test_a_loss_in_the_middle_of_a_long_history(engine: ChangingEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader in the middle of the recent frames goes on after them in the log, with nothing to be told."""
    monkeypatch.setattr("waooaw.events.bus.stream.SCAN_EVENTS", 5)
    async with running(engine, engine.clock) as bus:
        positions = [new for _ in range(10) for new in await published(bus, *"abc")]
        behind = opened(bus, start=EARLIEST)
        await until(lambda: len(behind.messages) >= 10)
        at = len(behind.messages)
        engine.lose_after(positions[-2])
        after = await more(bus, *"de")
        await until(lambda: behind.stream.live)

        assert at < len(positions) - 1
        assert behind.gaps == []
        assert len(behind.ids) == len(positions) - 1 + 2
        assert behind.ids[-2:] == after


# Reads in flight ------------------------------------------------------------------------------------------------------


def hold_requests(engine: ChangingEngine) -> None:
    """Reads do not reach the store."""
    engine.requests.clear()


def hold_answers(engine: ChangingEngine) -> None:
    """Reads are answered by the store, but the answers do not come."""
    engine.answers.clear()


HOLDS = pytest.mark.parametrize("hold", [hold_requests, hold_answers])
Hold = Callable[[ChangingEngine], None]


@HOLDS
@pytest.mark.parametrize("seconds", [REISSUED, 1.0])
async def test_a_page_of_the_old_history_is_not_written(engine: ChangingEngine, hold: Hold, seconds: float) -> None:
    """Readers that share a read, one that waits for it, and one that comes after the loss get the log as it is."""
    async with running(engine, engine.clock, ring_bytes_max=NO_RING) as bus:
        kept = await more(bus, *"ab")
        place = engine.last
        await more(bus, *"cdef")
        hold(engine)
        before = [opened(bus, start=start) for start in (EARLIEST, EARLIEST, At(place))]
        await until(lambda: engine.waiting_reads > 0)
        engine.lose_after(place)
        engine.clock.advance(seconds)
        after = await more(bus, *"gh")
        late = opened(bus, start=EARLIEST)
        await turns()
        engine.release_reads()
        await until(lambda: all(reader.stream.live for reader in (*before, late)))

        assert [reader.ids for reader in (*before, late)] == [
            kept + after,
            kept + after,
            kept[1:] + after,
            kept + after,
        ]
        assert all(reader.gaps == [] for reader in (*before, late))


async def test_a_page_of_the_old_history_is_not_kept(engine: ChangingEngine) -> None:
    """Who began the read is gone when its page comes; who comes then gets nothing of it."""
    async with running(engine, engine.clock, ring_bytes_max=NO_RING) as bus:
        kept = await more(bus, *"ab")
        place = engine.last
        await more(bus, *"cdef")
        hold_answers(engine)
        leaving = opened(bus, start=EARLIEST)
        await until(lambda: engine.waiting_reads > 0)
        leaving.stream.close()
        engine.lose_after(place)
        after = await more(bus, *"ghijk")
        engine.release_reads()
        await turns()
        late = opened(bus, start=EARLIEST)
        await until(lambda: late.stream.live)

        assert late.ids == kept + after


@HOLDS
async def test_a_reader_past_the_place_while_its_read_is_held(engine: ChangingEngine, hold: Hold) -> None:
    """Where the page it waits for began after what is kept, it is told instead of written."""
    async with running(engine, engine.clock, ring_bytes_max=NO_RING) as bus:
        positions = await published(bus, *"abcdef")
        cursor = Cursor(engine.epoch, positions[3])
        hold(engine)
        reader = opened(bus, start=After(cursor))
        await until(lambda: engine.waiting_reads > 0)
        engine.lose_after(positions[1])
        after = await more(bus, *"gh")
        engine.release_reads()
        await until(lambda: reader.stream.live)

        assert reader.gaps == [Gap(cursor, Cursor(engine.epoch, positions[1]), "epoch")]
        assert reader.ids == after


@HOLDS
async def test_a_page_over_an_epoch_without_loss(engine: ChangingEngine, hold: Hold) -> None:
    """Nothing is lost, nothing is told, nothing comes twice."""
    async with running(engine, engine.clock, ring_bytes_max=NO_RING) as bus:
        before = await more(bus, *"abcdef")
        hold(engine)
        readers = [opened(bus, start=EARLIEST) for _ in range(3)]
        await until(lambda: engine.waiting_reads > 0)
        await engine.begin_epoch(BUS)
        engine.release_reads()
        after = await more(bus, "g")
        await until(lambda: all(reader.stream.live for reader in readers))

        assert [reader.messages for reader in readers] == [readers[0].messages] * 3
        assert readers[0].ids == before + after


@HOLDS
@pytest.mark.parametrize("seconds", [REISSUED, 1.0])
async def test_a_repair_over_a_loss(engine: ChangingEngine, hold: Hold, seconds: float) -> None:
    """What the hub was reading because frames were lost is no more: what is kept of it comes once, and what is new."""
    async with running(engine, engine.clock) as bus:
        reader = opened(bus)
        hold(engine)
        engine.loses = lambda _: True
        kept = await more(bus, *"ab")
        place = engine.last
        await more(bus, *"cd")
        engine.tell_tip()
        await until(lambda: engine.waiting_reads > 0)
        engine.lose_after(place)
        engine.loses = lambda _: False
        engine.clock.advance(seconds)
        after = await more(bus, "e") + await more(bus, "f")
        engine.release_reads()
        await until(lambda: len(reader.messages) == 4)

        assert reader.gaps == []
        assert reader.ids == kept + after
        after += await more(bus, "g")
        assert reader.ids == kept + after


async def test_a_repair_after_which_nothing_is_left_to_read(engine: ChangingEngine) -> None:
    """All that was missed is lost with all that was seen: the repair ends, and live delivery goes on without it."""
    async with running(engine, engine.clock) as bus:
        reader = opened(bus)
        await published(bus, "a")
        engine.loses = lambda _: True
        await published(bus, "b")
        hold_answers(engine)
        engine.tell_tip()
        await until(lambda: engine.waiting_reads > 0)
        engine.lose_all()
        engine.release_reads()
        engine.loses = lambda _: False
        await until(lambda: reader.stream.live)
        await turns()
        after = await more(bus, "c")

        assert reader.ids[1:] == after
        assert [gap.end.position for gap in reader.gaps] == [BEGINNING]


# The store ------------------------------------------------------------------------------------------------------------


async def test_pages_of_the_store_over_a_loss(engine: ChangingEngine) -> None:
    """A page goes on silently below the loss; past it the next one tells what the pages before held and is gone."""
    async with running(engine, engine.clock) as bus:
        positions = await published(bus, *"abcdef")
        below = await bus.store.read(Query(limit=2))
        past = await bus.store.read(Query(limit=5))
        engine.lose_after(positions[2])
        after = await published(bus, "g")
        pages = [await bus.store.read(Query(start=After(page.next))) for page in (below, past)]

        assert [page.gap for page in pages] == [None, Gap(past.next, Cursor(engine.epoch, positions[2]), "epoch")]
        assert [event.position for event in pages[0].events] == [positions[2], *after]
        assert [event.position for event in pages[1].events] == after
        assert all(page.is_end for page in pages)


@HOLDS
@pytest.mark.parametrize("newest_first", [False, True])
async def test_a_page_of_the_store_ends_at_an_epoch(engine: ChangingEngine, hold: Hold, *, newest_first: bool) -> None:
    """What was being read is left out, since it may be of another history; going on from the page misses nothing."""
    async with running(engine, engine.clock) as bus:
        positions = await published(bus, *"abcd")
        hold(engine)
        reading = bus.store.read(Query(newest_first=newest_first))
        task = asyncio.create_task(reading)
        await until(lambda: engine.waiting_reads > 0)
        engine.lose_after(positions[1])
        engine.release_reads()
        page = await task

        assert (page.events, page.is_end, page.gap) == ((), False, None)
        going_on = Query(end=After(page.next), newest_first=True) if newest_first else Query(start=After(page.next))
        found = [event.position for event in (await bus.store.read(going_on)).events]
        assert sorted(found) == positions[:2]


async def test_a_page_of_the_store_that_was_found_in_part(
    engine: ChangingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a page found before the epoch began it gives, and ``next`` tells what of it is lost."""
    monkeypatch.setattr("waooaw.events.bus.event_store._READ_EVENTS", 4)
    async with running(engine, engine.clock) as bus:
        positions = await published(bus, *"abcdefgh")
        task = asyncio.create_task(bus.store.read(Query()))
        await until(lambda: len(engine.reads) == 1)
        hold_answers(engine)
        await until(lambda: len(engine.reads) == 2)
        engine.lose_after(positions[1])
        engine.release_reads()
        page = await task
        after = await published(bus, "i")
        following = await bus.store.read(Query(start=After(page.next)))

        assert [event.position for event in page.events] == positions[:4]
        assert not page.is_end
        assert following.gap == Gap(page.next, Cursor(engine.epoch, positions[1]), "epoch")
        assert [event.position for event in following.events] == after


# Cursors --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [0, 1, 3, 7])
async def test_every_cursor_that_was_given_out(engine: ChangingEngine, lost: int) -> None:
    """Whoever comes back with one is told what it saw that is gone, or goes on; nothing is left out in silence."""
    async with running(engine, engine.clock, ring_bytes_max=NO_RING) as bus:
        readers = [opened(bus), opened(bus, slow=True), opened(bus, start=EARLIEST)]
        given: list[tuple[Cursor, list[str]]] = []

        def note() -> None:
            events = [message for message in readers[0].messages if isinstance(message, Seen)]
            held = {event.position: event.id for event in events}
            for reader in readers:
                cursor = reader.stream.cursor
                given.append((cursor, [held[place] for place in sorted(held) if place <= cursor.position]))
            given.append((bus.cursor_of(NOW), list(held.values())))

        positions: list[Position] = []
        for _ in range(7):
            positions += await published(bus, "a")
            note()
            await turns(2)
            note()
        kept = readers[0].ids[: 7 - lost]
        engine.lose_after(Position(([BEGINNING, *positions])[7 - lost]))
        resumed_at_once = [opened(bus, start=After(cursor)) for cursor, _ in given]
        after = await more(bus, "b")
        resumed_later = [opened(bus, start=After(cursor)) for cursor, _ in given]
        await turns()
        readers[1].hurry()
        everybody = [*readers, *resumed_at_once, *resumed_later]
        await until(lambda: all(reader.stream.live for reader in everybody))

        for (cursor, seen), *resumed in zip(given, resumed_at_once, resumed_later, strict=True):
            for reader in resumed:
                assert len(reader.gaps) == (len(seen) > len(kept)), cursor
                assert seen[: len(kept)] + reader.ids == kept + after, cursor
        last = Cursor(engine.epoch, engine.last)
        assert all(reader.stream.cursor == last for reader in everybody)


async def test_a_loss_and_retention(engine: ChangingEngine) -> None:
    """Where the place to go on at was trimmed meanwhile, one gap covers both."""
    async with running(engine, engine.clock, ring_bytes_max=NO_RING) as bus:
        reader = Reader(slow=True).open(bus)
        positions = [new for _ in range(6) for new in await published(bus, "a")]
        await turns()
        engine.lose_after(positions[1])
        after = await published(bus, *"bcd")
        await engine.trim(BUS, TrimPlan(excess_events=3), limit=3)
        reader.hurry()
        await until(lambda: reader.stream.live)

        (gap,) = reader.gaps
        assert (gap.start.position, gap.end.position, gap.reason) == (positions[2], after[0], "epoch")
        assert reader.positions[3:] == after[1:]
