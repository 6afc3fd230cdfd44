"""Whatever happens in whatever order: each stream gets each matching event once, in order, or a gap that says so."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.bus.reading import Message, Reader, Stored, check
from tests.bus.running import BUS, TestedEngine, published, running, turns, until
from waooaw.events.bound import EARLIEST, NOW, After, At, Bound, resolve_start
from waooaw.events.bus.event_bus import EventBus
from waooaw.events.cursor import Cursor
from waooaw.events.pattern import PatternSet
from waooaw.events.position import Position, make_position, previous_position
from waooaw.events.retention import TrimPlan
from waooaw.events.testing import ManualClock, SequentialIdentifiers

TYPES: Final = ("a.x", "a.y", "b.x")
PATTERNS: Final = (("*",), ("a.*",), ("*.x",), ("b.*", "a.y"), ("nothing",))


@dataclass
class Life:
    """A reader over all its connections: where it began, and all it got."""

    patterns: tuple[str, ...]
    start: Position
    reader: Reader
    messages: list[Message] = field(default_factory=list)


class World:
    """A bus that steps act on, and what a reader must have got of it."""

    def __init__(self, path: Path | None, ring_bytes_max: int) -> None:
        self.log = Stored([], set())
        self.lives: list[Life] = []
        self._path = path
        self._ring_bytes_max = ring_bytes_max
        self._clock = ManualClock()
        self._identifiers = SequentialIdentifiers()
        self._stack = AsyncExitStack()
        self._losing = 0
        self.engine: TestedEngine
        self.bus: EventBus

    async def open(self) -> None:
        """Start a process on the store."""
        self.engine = TestedEngine(self._path, clock=self._clock, identifiers=self._identifiers)
        self.engine.loses = lambda _: self._loses()
        started = running(self.engine, self._clock, ring_bytes_max=self._ring_bytes_max)
        self.bus = await self._stack.enter_async_context(started)

    async def close(self) -> None:
        """Stop it; what readers got until then is kept."""
        for life in self.lives:
            life.messages += life.reader.messages
            life.reader.stream.close()
        await self._stack.aclose()

    def _loses(self) -> bool:
        self._losing = max(self._losing - 1, 0)
        return self._losing > 0

    # Steps ------------------------------------------------------------------------------------------------------------

    async def publish(self, types: list[str]) -> None:
        """Publish events together."""
        self.log.events.extend(zip(await published(self.bus, *types), types, strict=True))

    async def join(self, patterns: tuple[str, ...], choice: float, kind: str, *, slow: bool) -> None:
        """Begin a stream somewhere."""
        start = self._start(choice, kind)
        reader = Reader(slow=slow).open(self.bus, *patterns, start=start)
        place = reader.stream.cursor.position if start == NOW else resolve_start(start, self._history)[0]
        if isinstance(start, At) and not start.is_time:
            place = previous_position(start.position)
        elif isinstance(start, After):
            place = start.cursor.position
        self.lives.append(Life(patterns, place, reader))

    def _start(self, choice: float, kind: str) -> Bound:
        events = self.log.events
        somewhere = events[int(choice * len(events))][0] if events else make_position(self._clock.now_ms())
        last = self._history.last
        epochs = self._history.epochs
        starts: dict[str, Bound] = {
            "earliest": EARLIEST,
            "now": NOW,
            "time": At(make_position(somewhere >> 20), is_time=True),
            "position": At(somewhere),
            "later": At(Position(last + 1 + int(choice * 5))),
            "cursor": After(Cursor(epochs[int(choice * len(epochs))].id, somewhere)),
            "beyond": After(Cursor(epochs[int(choice * len(epochs))].id, Position(last + 1 + int(choice * 9)))),
            "stranger": After(Cursor(999_999, somewhere)),
        }
        return starts[kind]

    @property
    def _history(self):  # type: ignore[no-untyped-def]  # noqa: ANN202 - as the engine's
        return self.engine.state(BUS).history

    async def take(self, choice: float) -> None:
        """Let a slow reader take what waits."""
        if self.lives:
            self.lives[int(choice * len(self.lives))].reader.take()

    async def trim(self, count: int) -> None:
        """Let retention take the oldest."""
        await self.engine.trim(BUS, TrimPlan(excess_events=count), limit=count)
        self.log.trims.add(self._history.trimmed_through)

    async def lose(self, count: int) -> None:
        """Lose the next frames."""
        self._losing = count + 1

    async def wait(self, count: int) -> None:
        """Let everybody go on for a while."""
        await turns(count)

    async def pass_time(self, seconds: float) -> None:
        """Move the clock, forth or back."""
        self._clock.set_wall(self._clock.now_ms() + int(seconds * 1000))

    async def restart(self) -> None:
        """Stop the process and start another one; each reader comes back with the cursor that it had."""
        cursors = [life.reader.stream.cursor for life in self.lives]
        await self.close()
        self._losing = 0
        await self.open()
        for life, cursor in zip(self.lives, cursors, strict=True):
            if not life.messages:
                life.start = min(life.start, cursor.position)  # no cursor stands in the future: it was still waiting
            life.reader = Reader(slow=life.reader.slow).open(self.bus, *life.patterns, start=After(cursor))

    # The end ----------------------------------------------------------------------------------------------------------

    async def finish(self) -> None:
        """Let everybody take all that there is, and check what they got."""
        self._losing = 0
        await self.pass_time(86_400)
        for _ in range(10):
            await self.publish(["a.x"])  # beyond each place in the future that a reader began at
        for life in self.lives:
            life.reader.hurry()
        await until(lambda: all(life.reader.stream.live for life in self.lives))
        await self.close()
        for life in self.lives:
            assert life.reader.ended == []
            check(life.messages, life.start, PatternSet.parse(life.patterns), self.log, self.log.events[-1][0])


Step = tuple[str, dict[str, object]]
"""A method of the world and its arguments."""

SHARE = st.floats(0, 0.999)


def _steps(name: str, **arguments: st.SearchStrategy[object]) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(name), st.fixed_dictionaries(arguments))


KINDS = st.sampled_from(["earliest", "now", "time", "position", "later", "cursor", "beyond", "stranger"])
WITHOUT_RESTARTS: Final = (
    _steps("publish", types=st.lists(st.sampled_from(TYPES), min_size=1, max_size=6)),
    _steps("join", patterns=st.sampled_from(PATTERNS), choice=SHARE, kind=KINDS, slow=st.booleans()),
    _steps("take", choice=SHARE),
    _steps("trim", count=st.integers(1, 8)),
    _steps("lose", count=st.integers(1, 3)),
    _steps("wait", count=st.integers(1, 8)),
    _steps("pass_time", seconds=st.sampled_from([-5.0, 0.001, 5.0])),
)
IN_MEMORY = st.lists(st.one_of(*WITHOUT_RESTARTS), max_size=40)
IN_A_FILE = st.lists(st.one_of(*WITHOUT_RESTARTS, _steps("restart")), max_size=30)
RINGS = st.sampled_from([0, 1500, 1_000_000])
"""Bytes of recent frames: none, three events, all."""


async def _live(path: Path | None, ring_bytes_max: int, steps: list[Step]) -> None:
    world = World(path, ring_bytes_max)
    await world.open()
    try:
        for name, arguments in steps:
            await getattr(world, name)(**arguments)
        await world.finish()
    finally:
        await world.close()


@given(steps=IN_MEMORY, ring_bytes_max=RINGS)
@settings(max_examples=250, deadline=None)
def test_streams_over_memory(steps: list[Step], ring_bytes_max: int) -> None:
    """Publishing, joining anywhere, slowness, retention, lost frames and a clock that jumps, in any order."""
    asyncio.run(_live(None, ring_bytes_max, steps))


@given(steps=IN_A_FILE, ring_bytes_max=RINGS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_streams_over_restarts(steps: list[Step], ring_bytes_max: int) -> None:
    """The same over a file, with reads in threads, and restarts after which each reader resumes from its cursor."""
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_live(Path(directory) / "events.db", ring_bytes_max, steps))
