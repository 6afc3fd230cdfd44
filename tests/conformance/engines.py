"""The engines that the suite is run over. A new one is one more row of `ENGINES`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from waooaw.events.clock import Clock
from waooaw.events.engine.contract import Engine, Frame, Tip
from waooaw.events.engine.deduplication_window import DeduplicationWindow
from waooaw.events.engine.queue_contract import RouteSet
from waooaw.events.engine.redis import RedisEngine, RedisOptions
from waooaw.events.engine.sqlite import SqliteEngine, SqliteOptions
from waooaw.events.errors import WowEventError
from waooaw.events.event import Entry, StoredEvent
from waooaw.events.identifier import Identifiers
from waooaw.events.position import BEGINNING, END, Position
from waooaw.events.receipt import Durability, Receipt
from waooaw.events.testing import ManualClock, SequentialIdentifiers

BUS: Final = "default"
OTHER_BUS: Final = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What an engine is made from."""

    directory: Path
    url: str
    """Of the servers that run for the test, where its engine needs some."""
    clock: Clock
    identifiers: Identifiers
    deduplication_seconds: int
    deduplication_ids: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineKind:
    """One engine in one mode, and what it declares of itself: the suite expects exactly that."""

    name: str
    survives_reopen: bool
    begins_epoch_at_open: bool
    is_shared: bool
    """Whether several engines can have the store open at once, as replicas have."""
    build: Callable[[Build], Engine]
    topology: str | None = None
    """The servers that have to run: a name of `tests.redis_servers.shared.KINDS`."""


class EngineUnderTest:
    """One store: open it, close it, open it again. Time and identifiers are the test's."""

    def __init__(self, kind: EngineKind, directory: Path, url: str) -> None:
        self.survives_reopen = kind.survives_reopen
        self.begins_epoch_at_open = kind.begins_epoch_at_open
        self.is_shared = kind.is_shared
        self.clock = ManualClock()
        self.identifiers = SequentialIdentifiers()
        self._kind = kind
        self._directory = directory
        self._url = url
        self._stacks: list[AsyncExitStack] = []

    async def open(self, *, deduplication_seconds: int = 300, deduplication_ids: int = 1_000_000) -> Engine:
        """Open the store with a new engine, which stands for a new process: beside others, where it is shared."""
        engine = self._kind.build(
            Build(
                directory=self._directory,
                url=self._url,
                clock=self.clock,
                identifiers=self.identifiers,
                deduplication_seconds=deduplication_seconds,
                deduplication_ids=deduplication_ids,
            )
        )
        async with AsyncExitStack() as stack:
            await engine.open(stack)
            self._stacks.append(stack.pop_all())
        return engine

    async def close(self) -> None:
        """Close the store; harmless where it is not open."""
        for stack in self._stacks:
            await stack.aclose()

    async def reopen(self, *, deduplication_seconds: int = 300, deduplication_ids: int = 1_000_000) -> Engine:
        """Close the store and open it again."""
        await self.close()
        return await self.open(deduplication_seconds=deduplication_seconds, deduplication_ids=deduplication_ids)


class Writer:
    """A replica's way to append: registered, one sequence after the other."""

    def __init__(self, engine: Engine, bus: str, name: str, routes_version: str) -> None:
        self.engine = engine
        self.bus = bus
        self.name = name
        self.routes_version = routes_version
        self.sequence = 0

    @classmethod
    async def registered(cls, engine: Engine, bus: str = BUS) -> Writer:
        """Register with an engine."""
        registration = await engine.register(bus)
        return cls(engine, bus, registration.writer, registration.routes_version)

    async def answers(
        self, *entries: Entry, references: Sequence[RouteSet] = ()
    ) -> tuple[Receipt | WowEventError, ...]:
        """Append under the next sequence; return what the engine answers."""
        self.sequence += 1
        return await self.again(*entries, references=references)

    async def again(self, *entries: Entry, references: Sequence[RouteSet] = ()) -> tuple[Receipt | WowEventError, ...]:
        """Append under the last sequence once more."""
        return await self.engine.append(
            self.bus, self.name, self.sequence, self.routes_version, entries, references=references
        )

    async def append(self, *entries: Entry, references: Sequence[RouteSet] = ()) -> list[Receipt]:
        """Append what must be accepted; return the receipts."""
        answers = await self.answers(*entries, references=references)
        receipts = [answer for answer in answers if isinstance(answer, Receipt)]
        assert len(receipts) == len(entries), answers
        return receipts


class Heard:
    """What a listener was told, frame by frame. Frames come with the append, or a little later over a network."""

    def __init__(self, engine: Engine, bus: str = BUS) -> None:
        self.frames: list[Frame] = []
        self.tips: list[Tip] = []
        self.stop = engine.listen(bus, self._take)

    def _take(self, told: Frame | Tip) -> None:
        if isinstance(told, Frame):
            self.frames.append(told)
        else:
            self.tips.append(told)

    async def wait(self, frames: int) -> list[Frame]:
        """Return the frames, once there are so many."""
        await until(lambda: len(self.frames) >= frames)
        return self.frames


async def until(condition: Callable[[], bool], within_seconds: float = 10.0) -> None:
    """Return once a condition holds; a store over a network needs a moment."""
    async with asyncio.timeout(within_seconds):
        while not condition():  # noqa: ASYNC110 - of many kinds, none of which can be waited on
            await asyncio.sleep(0.001)


async def stored(engine: Engine, bus: str = BUS, after: Position = BEGINNING) -> list[StoredEvent]:
    """Return all that a bus holds, page by page."""
    found: list[StoredEvent] = []
    while True:
        page = await engine.read(bus, after, through=END, limit=10_000)
        found.extend(page.events)
        if not page.events:
            return found
        after = page.reached


def _sqlite(path: Path | None, build: Build) -> Engine:
    window = DeduplicationWindow(build.deduplication_seconds, build.deduplication_ids)
    return SqliteEngine(
        path,
        (BUS, OTHER_BUS),
        clock=build.clock,
        identifiers=build.identifiers,
        options=SqliteOptions(deduplication=window, reserve_bytes=0),
    )


def _redis(build: Build, durability: Durability = "local") -> Engine:
    window = DeduplicationWindow(build.deduplication_seconds, build.deduplication_ids)
    options = RedisOptions(
        durability=dict.fromkeys((BUS, OTHER_BUS), durability), deduplication=window, time_by=build.clock
    )
    return RedisEngine(build.url, (BUS, OTHER_BUS), clock=build.clock, identifiers=build.identifiers, options=options)


def _redis_kind(name: str, topology: str, durability: Durability = "local") -> EngineKind:
    return EngineKind(
        name=name,
        survives_reopen=True,
        begins_epoch_at_open=False,
        is_shared=True,
        build=lambda build: _redis(build, durability),
        topology=topology,
    )


ENGINES: Final = (
    EngineKind(
        name="memory",
        survives_reopen=False,
        begins_epoch_at_open=True,
        is_shared=False,
        build=lambda build: _sqlite(None, build),
    ),
    EngineKind(
        name="sqlite",
        survives_reopen=True,
        begins_epoch_at_open=True,
        is_shared=False,
        build=lambda build: _sqlite(build.directory / "events.db", build),
    ),
    _redis_kind("redis", "redis"),
    _redis_kind("valkey", "valkey"),
    _redis_kind("sentinel-replicated", "sentinel", "replicated"),
    _redis_kind("cluster", "cluster"),
    _redis_kind("valkey-cluster-replicated", "valkey-cluster", "replicated"),
)

FEW_ENGINES: Final = pytest.mark.parametrize(
    "under_test",
    [kind for kind in ENGINES if kind.name in {"memory", "redis"}],
    ids=lambda kind: kind.name,
    indirect=True,
)
"""For tests that take long: one engine of each make, whose code is that of the others."""
