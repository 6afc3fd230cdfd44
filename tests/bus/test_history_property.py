"""Whatever a store loses and whenever: each stream gets each event once, in order, or is told what is gone.

A *version* is what the log held in one epoch. A stream may miss that an epoch began as long as it had seen nothing that
went; where it had, it is told before it gets anything newer.
"""

from __future__ import annotations

import asyncio
import tempfile
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.bus.reading import Message, Messages, NotingFraming, Reader
from tests.bus.running import BUS, TestedEngine, published, running, turns, until
from waooaw.events.bound import EARLIEST, NOW, After, At, Bound
from waooaw.events.bus.event_bus import EventBus
from waooaw.events.bus.stream import Stream
from waooaw.events.cursor import Cursor
from waooaw.events.epoch import Gap
from waooaw.events.event import StoredEvent
from waooaw.events.pattern import PatternSet
from waooaw.events.position import BEGINNING, Position, previous_position
from waooaw.events.retention import TrimPlan

TYPES: Final = ("a.x", "a.y", "b.x")
PATTERNS: Final = (("*",), ("a.*",), ("b.*", "a.y"), ("nothing",))


@dataclass
class Version:
    """What the log held in one epoch: all its events, and where it ended when the next one began."""

    epoch: int
    events: list[tuple[Position, str]]
    known: frozenset[int]
    """The epochs that the history held when it began: cursors of others mean nothing any more."""
    kept_through: Position | None = None

    def matching(self, patterns: PatternSet, after: Position, through: Position) -> list[Position]:
        """Return the events of a range that a reader asked for."""
        first = bisect_right(self.events, (after, "\uffff"))
        return [at for at, name in self.events[first:] if at <= through and patterns.matches(name)]


@dataclass
class Versions:
    """All that the log ever held."""

    all: list[Version] = field(default_factory=list)
    trims: set[Position] = field(default_factory=lambda: {BEGINNING})

    def of(self, epoch: int) -> int:
        """Return the number of an epoch."""
        return next(number for number, version in enumerate(self.all) if version.epoch == epoch)

    def reachable(self, number: int, place: Position, *, saw_something: bool) -> Iterator[int]:
        """Return the versions that a reader may be in, without having been told of a loss."""
        yield number
        for version in self.all[number:-1]:
            assert version.kept_through is not None
            if saw_something and place > version.kept_through:
                return
            number += 1
            yield number


class CursorFraming(NotingFraming):
    """Notes the cursor that each event was given out with."""

    def __init__(self, cursors: list[Cursor]) -> None:
        super().__init__()
        self.cursors = cursors

    def event(self, event: StoredEvent, epoch: int) -> Messages:
        """See Framing."""
        self.cursors.append(Cursor(epoch, event.position))
        return super().event(event, epoch)


@dataclass
class Life:
    """A reader over all its connections: where it began, whether it had seen anything then, and all it got."""

    patterns: tuple[str, ...]
    start: Position
    version: int
    saw_something: bool
    reader: Reader
    messages: list[Message] = field(default_factory=list)


class World:
    """A bus over a store that loses what it holds."""

    def __init__(self, path: Path | None, ring_bytes_max: int, read_turns: int) -> None:
        self.versions = Versions()
        self.lives: list[Life] = []
        self.cursors: list[Cursor] = []
        self._framing = CursorFraming(self.cursors)
        self._losing = 0
        self._ring_bytes_max = ring_bytes_max
        self._stack = AsyncExitStack()
        self.engine = TestedEngine(path)
        self.engine.reads_take_turns = read_turns
        self.engine.loses = lambda _: self._loses()
        self.bus: EventBus

    async def open(self) -> None:
        """Start."""
        started = running(self.engine, self.engine.clock, ring_bytes_max=self._ring_bytes_max)
        self.bus = await self._stack.enter_async_context(started)
        self.versions.all.append(Version(self._history.current.id, [], frozenset()))

    async def close(self) -> None:
        """Stop."""
        for life in self.lives:
            life.reader.stream.close()
        await self._stack.aclose()

    @property
    def _history(self):  # type: ignore[no-untyped-def]  # noqa: ANN202 - as the engine's
        return self.engine.state(BUS).history

    def _streams(self) -> list[Stream[Messages]]:
        return [life.reader.stream for life in self.lives]

    def _loses(self) -> bool:
        self._losing = max(self._losing - 1, 0)
        return self._losing > 0

    # Steps ------------------------------------------------------------------------------------------------------------

    async def publish(self, types: list[str]) -> None:
        """Publish events together."""
        positions = await published(self.bus, *types)
        self.versions.all[-1].events.extend(zip(positions, types, strict=True))

    async def join(self, patterns: tuple[str, ...], choice: float, kind: str, *, slow: bool) -> None:
        """Begin a stream somewhere."""
        history, events = self._history, self.versions.all[-1].events
        somewhere = events[int(choice * len(events))][0] if events else Position(1)
        starts: dict[str, Bound] = {
            "earliest": EARLIEST,
            "now": NOW,
            "position": At(somewhere),
            "later": At(Position(history.last + 1 + int(choice * 5))),
        }
        start = starts[kind]
        reader = Reader(slow=slow).open(self.bus, *patterns, start=start, framing=self._framing)
        place = previous_position(start.position) if isinstance(start, At) else reader.stream.cursor.position
        number = len(self.versions.all) - 1
        self.lives.append(Life(patterns, place, number, kind != "later", reader))

    async def come_back(self, choice: float, *, by_event: bool) -> None:
        """Let a reader break off and resume: from its stream's cursor, or from that of the last event that it got."""
        if not self.lives:
            return
        life = self.lives[int(choice * len(self.lives))]
        cursor = life.reader.stream.cursor
        self.cursors.append(cursor)
        life.reader.stream.close()
        assert life.reader.stream.cursor == cursor
        life.messages += life.reader.messages
        seen = [message for message in life.messages if not isinstance(message, Cursor)]
        if by_event and seen and not isinstance(seen[-1], Gap):
            cursor = next(given for given in reversed(self.cursors) if given.position == seen[-1])
        if not seen:
            life.start, life.version = min(life.start, cursor.position), self.versions.of(cursor.epoch)
        reader = Reader(slow=life.reader.slow)
        life.reader = reader.open(self.bus, *life.patterns, start=After(cursor), framing=self._framing)

    async def take(self, choice: float) -> None:
        """Let a slow reader take what waits."""
        if self.lives:
            self.lives[int(choice * len(self.lives))].reader.take()

    async def trim(self, count: int) -> None:
        """Let retention take the oldest."""
        await self.engine.trim(BUS, TrimPlan(excess_events=count), limit=count)
        self.versions.trims.add(self._history.trimmed_through)

    async def lose_frames(self, count: int) -> None:
        """Lose the next frames."""
        self._losing = count + 1

    async def wait(self, count: int) -> None:
        """Let everybody go on for a while."""
        await turns(count)

    async def tip(self) -> None:
        """Tell where the log ends."""
        self.engine.tell_tip()

    async def repeat(self, choice: float) -> None:
        """Tell a frame once more, of this epoch or of an older one."""
        if self.engine.told:
            self.engine.tell(self.engine.told[int(choice * len(self.engine.told))])

    async def fail_over(self, lost: int) -> None:
        """Begin an epoch, without the newest events."""
        await self.engine.fail_over(lost)
        self._begin_version(self._history.last)

    async def forget(self) -> None:
        """Lose everything, and the history too."""
        await self.engine.fail_over(forgets_all=True)
        self._begin_version(BEGINNING)

    def _begin_version(self, kept_through: Position) -> None:
        before = self.versions.all[-1]
        before.kept_through = kept_through
        kept = [event for event in before.events if event[0] <= kept_through]
        known = frozenset(epoch.id for epoch in self._history.epochs)
        self.versions.all.append(Version(self._history.current.id, kept, known))

    # The end ----------------------------------------------------------------------------------------------------------

    async def finish(self) -> None:
        """Let everybody take all that there is, and check what they got."""
        self._losing = 0
        for _ in range(10):
            await self.publish(["a.x"])  # beyond each place in the future that a reader began at
        for life in self.lives:
            life.reader.hurry()
        last = self._history.last
        await until(lambda: all(stream.live and stream.cursor.position == last for stream in self._streams()))
        await self.close()
        for life in self.lives:
            assert life.reader.ended == []
            life.messages += life.reader.messages
            check(life, self.versions)
        for cursor in self.cursors:
            version = self.versions.all[self.versions.of(cursor.epoch)]
            assert cursor.position <= max([at for at, _ in version.events] + [*self.versions.trims]), cursor


def check(life: Life, versions: Versions) -> None:
    """Check that a reader got each matching event once, in order, and was told each loss of something it saw."""
    place, number, saw = life.start, life.version, life.saw_something
    patterns = PatternSet.parse(life.patterns)
    for message in life.messages:
        if isinstance(message, Gap):
            number = _check_gap(
                message, place, list(versions.reachable(number, place, saw_something=saw)), life, versions
            )
            place, saw = message.end.position, True
        elif isinstance(message, int):
            possible = versions.reachable(number, place, saw_something=saw)
            fitting = [at for at in possible if versions.all[at].matching(patterns, place, message) == [message]]
            assert fitting, (place, message)
            place, number, saw = message, fitting[0], True
    assert len(versions.all) - 1 in versions.reachable(number, place, saw_something=saw), "a loss was not told"
    newest = versions.all[-1]
    assert newest.matching(patterns, place, newest.events[-1][0]) == []


def _check_gap(gap: Gap, place: Position, possible: list[int], life: Life, versions: Versions) -> int:
    before, after = versions.of(gap.start.epoch), versions.of(gap.end.epoch)
    assert before in possible
    assert place <= gap.start.position or not life.saw_something
    assert versions.all[before].matching(PatternSet.parse(life.patterns), place, gap.start.position) == []
    if gap.reason == "retention":
        assert gap.start.position < gap.end.position
        assert gap.end.position in versions.trims
        return after
    assert before < after
    kept = [version.kept_through for version in versions.all[before:after] if version.kept_through is not None]
    is_known = gap.start.epoch in versions.all[after].known
    assert min(kept) < gap.start.position or not is_known, "nothing that was seen is lost"
    assert gap.end.position in {*kept, *versions.trims}
    return after


Step = tuple[str, dict[str, object]]
"""A method of the world and its arguments."""

SHARE = st.floats(0, 0.999)


def _steps(name: str, **arguments: st.SearchStrategy[object]) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(name), st.fixed_dictionaries(arguments))


KINDS = st.sampled_from(["earliest", "now", "position", "later"])
STEPS = st.lists(
    st.one_of(
        _steps("publish", types=st.lists(st.sampled_from(TYPES), min_size=1, max_size=6)),
        _steps("publish", types=st.lists(st.sampled_from(TYPES), min_size=1, max_size=6)),
        _steps("join", patterns=st.sampled_from(PATTERNS), choice=SHARE, kind=KINDS, slow=st.booleans()),
        _steps("come_back", choice=SHARE, by_event=st.booleans()),
        _steps("take", choice=SHARE),
        _steps("trim", count=st.integers(1, 8)),
        _steps("lose_frames", count=st.integers(1, 3)),
        _steps("wait", count=st.integers(1, 8)),
        _steps("tip"),
        _steps("repeat", choice=SHARE),
        _steps("fail_over", lost=st.integers(0, 6)),
        _steps("forget"),
    ),
    max_size=40,
)
RINGS = st.sampled_from([0, 1500, 1_000_000])
"""Bytes of recent frames: none, three events, all."""


async def _live(path: Path | None, ring_bytes_max: int, read_turns: int, steps: list[Step]) -> None:
    world = World(path, ring_bytes_max, read_turns)
    await world.open()
    try:
        for name, arguments in steps:
            await getattr(world, name)(**arguments)
        await world.finish()
    finally:
        await world.close()


@given(steps=STEPS, ring_bytes_max=RINGS, read_turns=st.sampled_from([0, 1, 5]))
@settings(max_examples=400, deadline=None)
def test_streams_over_losses(steps: list[Step], ring_bytes_max: int, read_turns: int) -> None:
    """Failovers that lose a tail, or nothing, or everything, among slow readers, lost and late frames, in any order."""
    asyncio.run(_live(None, ring_bytes_max, read_turns, steps))


@given(steps=STEPS, ring_bytes_max=RINGS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_streams_over_losses_of_a_file(steps: list[Step], ring_bytes_max: int) -> None:
    """The same with reads in threads."""
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_live(Path(directory) / "events.db", ring_bytes_max, 0, steps))
