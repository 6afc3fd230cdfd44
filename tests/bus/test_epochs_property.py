"""Whatever a store loses, brings back or only begins anew: each reader has what the log is, or was told, in any order.

Beside the steps of ``test_history_property.py``: positions that are handed out again, backups that bring back what was
trimmed, reads held over losses, late frames, readers of pages, and each cursor that anybody was ever given.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Final

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bus.histories import ChangingEngine
from tests.bus.reading import Message, Reader, SeeingFraming, Seen
from tests.bus.running import BUS, running, turns, until
from tests.bus.transcripts import Chronicle, Known, Place, Version
from tests.event_samples import entry
from waooaw.events.bound import EARLIEST, NOW, After, At, Bound, resolve_start
from waooaw.events.bus.event_bus import EventBus
from waooaw.events.bus.event_store import Query, StorePage
from waooaw.events.cursor import Cursor
from waooaw.events.epoch import Epoch, History
from waooaw.events.event import Entry, StoredEvent
from waooaw.events.pattern import PatternSet
from waooaw.events.position import BEGINNING, Position, make_position, previous_position
from waooaw.events.receipt import Receipt
from waooaw.events.retention import TrimPlan

TYPES: Final = ("a.x", "a.y", "b.x")
PATTERNS: Final = (("*",), ("*",), ("a.*",), ("nothing",))
EVERYTHING: Final = PatternSet.parse(["*"])
PAGE_EVENTS: Final = 3


@dataclass
class Life:
    """A reader over all its connections: where it began, and all it was told."""

    patterns: tuple[str, ...]
    start: Place
    reader: Reader
    earlier: list[Message] = field(default_factory=list)

    @property
    def asked_for(self) -> PatternSet:
        """Its patterns."""
        return PatternSet.parse(self.patterns)

    @property
    def messages(self) -> list[Message]:
        """All it was told."""
        return self.earlier + self.reader.messages


@dataclass
class Pager:
    """A client that reads the log page by page."""

    start: Place
    next: Cursor
    messages: list[Message] = field(default_factory=list)
    reading: asyncio.Task[StorePage] | None = None


class World:
    """A bus over a store whose history changes, and what the log has been."""

    def __init__(self, ring_bytes_max: int) -> None:
        self.chronicle = Chronicle()
        self.lives: list[Life] = []
        self.pagers: list[Pager] = []
        self.given: list[Cursor] = []
        self._copies: list[tuple[sqlite3.Connection, Version]] = []
        self._ring_bytes_max = ring_bytes_max
        self._stack = AsyncExitStack()
        self._framing = SeeingFraming()
        self.engine = ChangingEngine()
        self.bus: EventBus

    async def open(self) -> None:
        """Start."""
        started = running(self.engine, self.engine.clock, ring_bytes_max=self._ring_bytes_max)
        self.bus = await self._stack.enter_async_context(started)
        self.chronicle.versions.append(Version((self._history.current,), []))
        await self.publish([*TYPES, *TYPES])

    async def close(self) -> None:
        """Stop."""
        self.engine.release_reads()
        for life in self.lives:
            life.reader.stream.close()
        await asyncio.gather(*(pager.reading for pager in self.pagers if pager.reading is not None))
        await self._stack.aclose()

    @property
    def _history(self) -> History:
        return self.engine.state(BUS).history

    # Events -----------------------------------------------------------------------------------------------------------

    async def publish(self, types: list[str]) -> None:
        """Publish events together."""
        wanted = [entry(type=name) for name in types]
        positions = [receipt.position for receipt in await self.bus.submit(wanted) if isinstance(receipt, Receipt)]
        self._add(list(zip(positions, wanted, strict=True)))

    def _add(self, stored: list[tuple[Position, Entry]]) -> None:
        self.chronicle.current.events.extend(Known(place, item.id, item.type) for place, item in stored)

    async def trim(self, count: int) -> None:
        """Let retention take the oldest."""
        await self.engine.trim(BUS, TrimPlan(excess_events=count), limit=count)
        self.chronicle.trims.add(self._history.trimmed_through)

    async def lose_frames(self, *, lost: bool) -> None:
        """Lose frames from now on, or no more."""
        self.engine.loses = lambda _: lost

    async def delay_frames(self) -> None:
        """Hold frames up from now on."""
        self.engine.delays = lambda _: True

    async def tell_delayed(self) -> None:
        """Let those through that were held up."""
        self.engine.tell_delayed()

    async def tell_tip(self) -> None:
        """Tell where the log ends."""
        self.engine.tell_tip()

    async def hold_reads(self, *, answers: bool) -> None:
        """Hold reads before the store sees them, or their answers."""
        (self.engine.answers if answers else self.engine.requests).clear()

    async def release_reads(self) -> None:
        """Let them through."""
        self.engine.release_reads()

    async def wait(self, count: int) -> None:
        """Let everybody go on for a while."""
        await turns(count)

    async def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        self.engine.clock.advance(seconds)

    # Histories --------------------------------------------------------------------------------------------------------

    def _begin_version(self, epochs: tuple[Epoch, ...], events: list[Known]) -> None:
        end = max([event.position for event in events], default=BEGINNING)
        assert self._history.last >= end
        self.chronicle.versions.append(Version((*epochs, self._history.current), events))

    async def begin_epoch(self) -> None:
        """Begin an epoch; nothing is lost."""
        before = self.chronicle.current
        await self.engine.begin_epoch(BUS)
        self._begin_version(before.epochs, list(before.events))

    async def lose_tail(self, count: int, *, frame_first: bool) -> None:
        """Lose the newest events. A tip may tell, or the first event of the new epoch, at once."""
        before = self.chronicle.current
        kept = before.events[: max(len(before.events) - count, 0)]
        place = max(kept[-1].position if kept else BEGINNING, self._history.trimmed_through)
        self.engine.forget_after(place)
        self.engine.begin_anew()
        self._begin_version(tuple(epoch for epoch in before.epochs if epoch.after <= place), before.through(place))
        if frame_first:
            first = entry(type="a.x")
            frame = self.engine.append_at_once([first])
            self._add([(frame.last, first)])
            self.engine.tell(frame)
        self.engine.tell_tip()

    async def lose_all(self) -> None:
        """Lose everything and the history too."""
        self.engine.lose_all()
        self._begin_version((), [])

    async def back_up(self) -> None:
        """Take a backup."""
        current = self.chronicle.current
        self._copies.append((self.engine.back_up(), Version(current.epochs, list(current.events))))

    async def restore(self, choice: float) -> None:
        """Put a backup in place of the log."""
        if self._copies:
            copy, version = self._copies[int(choice * len(self._copies))]
            self.engine.restore(copy)
            self._begin_version(version.epochs, list(version.events))

    # Readers ----------------------------------------------------------------------------------------------------------

    async def join(self, patterns: tuple[str, ...], choice: float, kind: str, *, slow: bool) -> None:
        """Begin a stream somewhere."""
        events, history = self.chronicle.current.events, self._history
        somewhere = events[int(choice * len(events))].position if events else Position(1)
        starts: dict[str, Bound] = {
            "earliest": EARLIEST,
            "now": NOW,
            "position": At(somewhere),
            "later": At(Position(history.last + 1 + int(choice * 5))),
            "time": At(make_position(self.engine.clock.now_ms() + int(choice * 3)), is_time=True),
        }
        start = starts[kind]
        reader = Reader(slow=slow).open(self.bus, *patterns, start=start, framing=self._framing)
        place = reader.stream.cursor.position if kind == "now" else resolve_start(start, history)[0]
        if kind in {"position", "later"}:
            place = previous_position(start.position)  # type: ignore[union-attr]  # those two are
        self.lives.append(Life(patterns, Place(None if place > history.last else history.current.id, place), reader))

    async def resume(self, patterns: tuple[str, ...], choice: float, *, slow: bool) -> None:
        """Begin a stream at a cursor that somebody was given some time."""
        if self.given:
            cursor = self.given[int(choice * len(self.given))]
            reader = Reader(slow=slow).open(self.bus, *patterns, start=After(cursor), framing=self._framing)
            self.lives.append(Life(patterns, Place(*cursor), reader))

    async def reconnect(self, choice: float, *, by_event: bool) -> None:
        """Let a reader break off and come back with its stream's cursor, or with that of the last event it got."""
        if self.lives:
            life = self.lives[int(choice * len(self.lives))]
            cursor = self._note(life)
            life.reader.stream.close()
            assert life.reader.stream.cursor == cursor
            life.earlier = life.messages
            if life.earlier and by_event and isinstance(last := life.earlier[-1], Seen):
                cursor = Cursor(last.epoch, last.position)
            if not life.earlier and life.start.epoch is None:
                life.start = Place(*cursor)
            reader = Reader(slow=life.reader.slow)
            life.reader = reader.open(self.bus, *life.patterns, start=After(cursor), framing=self._framing)

    async def take(self, choice: float) -> None:
        """Let a slow reader take what waits."""
        if self.lives:
            self.lives[int(choice * len(self.lives))].reader.take()

    def note(self) -> None:
        """Give cursors out to everybody, and check that each is true."""
        for life in self.lives:
            self.given.append(self._note(life))
        self.given.append(self.bus.cursor_of(NOW))

    def _note(self, life: Life) -> Cursor:
        cursor = life.reader.stream.cursor
        place = self.chronicle.read(life.messages, life.start, life.asked_for)
        self.chronicle.check_cursor(cursor, place, life.asked_for)
        return cursor

    async def page(self, choice: float, *, new: bool) -> None:
        """Let a client of the store go on to its next page, if it has the last one, or come."""
        if new or not self.pagers:
            cursor = self.given[int(choice * len(self.given))] if self.given else self._history.cursor(BEGINNING)
            self.pagers.append(Pager(Place(*cursor), cursor))
        pager = self.pagers[int(choice * len(self.pagers))]
        if self._has_page(pager):
            query = Query(start=After(pager.next), limit=PAGE_EVENTS)
            pager.reading = asyncio.get_running_loop().create_task(self.bus.store.read(query))

    def _has_page(self, pager: Pager) -> bool:
        if pager.reading is None:
            return True
        if not pager.reading.done():
            return False
        page, pager.reading = pager.reading.result(), None
        gap = page.gap
        before = [event for event in page.events if gap is not None and event.position <= gap.start.position]
        if gap is not None and gap.reason == "epoch":
            before = []
        pager.messages += [_seen(page, event) for event in before]
        pager.messages += [] if gap is None else [gap]
        pager.messages += [_seen(page, event) for event in page.events[len(before) :]]
        pager.next = page.next
        place = self.chronicle.read(pager.messages, pager.start, EVERYTHING)
        self.chronicle.check_cursor(page.next, place, EVERYTHING)
        return True

    # The end ----------------------------------------------------------------------------------------------------------

    async def finish(self) -> None:
        """Let everybody take all that there is, and check what they got."""
        self.engine.loses = self.engine.delays = lambda _: False
        self.engine.tell_delayed()
        self.engine.release_reads()
        self.engine.clock.advance(1)
        for _ in range(6):
            await self.publish(["a.x"])  # beyond each place in the future that a reader began at
        for life in self.lives:
            life.reader.hurry()
        last = self._history.cursor(self._history.last)
        streams = [life.reader.stream for life in self.lives]
        await until(lambda: all(stream.live and stream.cursor == last for stream in streams))
        for life in self.lives:
            assert life.reader.ended == []
            place = self.chronicle.read(life.messages, life.start, life.asked_for)
            self.chronicle.check_end(place, life.asked_for)
        for pager in self.pagers:
            while not self._has_page(pager) or pager.next != last:
                pager.reading = pager.reading or asyncio.create_task(
                    self.bus.store.read(Query(start=After(pager.next)))
                )
                await asyncio.wait((pager.reading,))
            place = self.chronicle.read(pager.messages, pager.start, PatternSet.parse(["*"]))
            self.chronicle.check_end(place, PatternSet.parse(["*"]))


def _seen(page: StorePage, event: StoredEvent) -> Seen:
    return Seen(page.next.epoch, event.position, msgspec.json.decode(event.body)["id"])


Step = tuple[str, dict[str, object]]
"""A method of the world and its arguments."""

SHARE = st.floats(0, 0.999)


def _steps(name: str, **arguments: st.SearchStrategy[object]) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(name), st.fixed_dictionaries(arguments))


KINDS = st.sampled_from(["earliest", "now", "position", "later", "time"])
PUBLISH = _steps("publish", types=st.lists(st.sampled_from(TYPES), min_size=1, max_size=4))
JOIN = _steps("join", patterns=st.sampled_from(PATTERNS), choice=SHARE, kind=KINDS, slow=st.booleans())
LOSE_TAIL = _steps("lose_tail", count=st.integers(0, 5), frame_first=st.booleans())
WAIT = _steps("wait", count=st.integers(1, 4))
USUAL = st.one_of(PUBLISH, PUBLISH, JOIN, WAIT, LOSE_TAIL)
SELDOM = st.one_of(
    _steps("resume", patterns=st.sampled_from(PATTERNS), choice=SHARE, slow=st.booleans()),
    _steps("reconnect", choice=SHARE, by_event=st.booleans()),
    _steps("take", choice=SHARE),
    _steps("page", choice=SHARE, new=st.booleans()),
    _steps("trim", count=st.integers(1, 5)),
    _steps("lose_frames", lost=st.booleans()),
    _steps("delay_frames"),
    _steps("tell_delayed"),
    _steps("tell_tip"),
    _steps("hold_reads", answers=st.booleans()),
    _steps("hold_reads", answers=st.booleans()),
    _steps("release_reads"),
    _steps("pass_time", seconds=st.sampled_from([0.001, 0.002, 5.0])),
    _steps("begin_epoch"),
    _steps("lose_all"),
    _steps("back_up"),
    _steps("restore", choice=SHARE),
)
STEPS = st.lists(st.one_of(USUAL, SELDOM), min_size=8, max_size=40)
RINGS = st.sampled_from([0, 0, 1500, 1_000_000])
"""Bytes of recent frames: none, three events, all."""


async def _live(ring_bytes_max: int, steps: list[Step]) -> None:
    world = World(ring_bytes_max)
    await world.open()
    try:
        for name, arguments in steps:
            await getattr(world, name)(**arguments)
            world.note()
        await world.finish()
    except BaseException as error:
        error.add_note("\n".join(f"{name} {arguments}" for name, arguments in steps))
        raise
    finally:
        await world.close()


@given(steps=STEPS, ring_bytes_max=RINGS)
@settings(max_examples=400, deadline=None)
def test_readers_of_a_history_that_changes(steps: list[Step], ring_bytes_max: int) -> None:
    """In order, each event once, and everything after the last gap; each gap is due; each cursor is true."""
    asyncio.run(_live(ring_bytes_max, steps))
