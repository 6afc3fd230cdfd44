"""A bus over a real engine in memory, or in a file, and engines that lose, hold back and fail as real ones can."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tests.event_samples import entry
from waooaw.events.bus.event_bus import BusOptions, EventBus
from waooaw.events.engine.contract import Frame, Page, Registration, Tip
from waooaw.events.engine.sqlite import SqliteEngine, SqliteOptions
from waooaw.events.errors import RoutesChangedError, WowEventError
from waooaw.events.event import Entry
from waooaw.events.position import Position
from waooaw.events.receipt import Receipt
from waooaw.events.testing import ManualClock, SequentialIdentifiers

BUS = "default"
SPINS_MAX = 200_000
"""Turns of the loop that a test waits at most: some seconds."""


class TestedEngine(SqliteEngine):
    """The embedded engine, with places where a test can interfere."""

    __test__ = False

    def __init__(
        self,
        path: Path | None = None,
        *,
        clock: ManualClock | None = None,
        identifiers: SequentialIdentifiers | None = None,
    ) -> None:
        self.clock = clock or ManualClock()
        self.identifiers = identifiers or SequentialIdentifiers()
        super().__init__(
            path, (BUS,), clock=self.clock, identifiers=self.identifiers, options=SqliteOptions(reserve_bytes=0)
        )
        self.loses: Callable[[Frame], bool] = lambda _: False
        self.gate = asyncio.Event()
        self.gate.set()
        self.appended: list[int] = []
        self.reads: list[tuple[Position, Position]] = []
        self.registrations = 0
        self.fails_registration: WowEventError | None = None
        self.fails_before: WowEventError | Exception | None = None
        self.fails_after: WowEventError | Exception | None = None
        self.fails_reads: WowEventError | None = None
        self.routes_wanted = "0"

    def listen(self, bus: str, listener: Callable[[Frame | Tip], None]) -> Callable[[], None]:
        """Carry frames, but for those that get lost."""
        return super().listen(
            bus, lambda told: None if isinstance(told, Frame) and self.loses(told) else listener(told)
        )

    async def register(self, bus: str, *, patience_seconds: float = 2.0) -> Registration:
        """Count registrations, and fail before one."""
        error, self.fails_registration = self.fails_registration, None
        if error is not None:
            raise error
        self.registrations += 1
        return await super().register(bus, patience_seconds=patience_seconds)

    async def append(
        self,
        bus: str,
        writer: str,
        sequence: int,
        routes_version: str,
        entries: Sequence[Entry],
        *,
        patience_seconds: float = 2.0,
    ) -> tuple[Receipt | WowEventError, ...]:
        """Append when the gate is open, and fail before or after it."""
        await self.gate.wait()
        if routes_version != self.routes_wanted:
            raise RoutesChangedError("routes have changed", routes_version=self.routes_wanted)
        error, self.fails_before = self.fails_before, None
        if error is not None:
            raise error
        answers = await super().append(bus, writer, sequence, "0", entries, patience_seconds=patience_seconds)
        self.appended.append(len(entries))
        error, self.fails_after = self.fails_after, None
        if error is not None:
            raise error
        return answers

    async def read(
        self, bus: str, after: Position, *, through: Position, limit: int, newest_first: bool = False
    ) -> Page:
        """Read, and note it; or fail once."""
        error, self.fails_reads = self.fails_reads, None
        if error is not None:
            raise error
        self.reads.append((after, through))
        return await super().read(bus, after, through=through, limit=limit, newest_first=newest_first)


@asynccontextmanager
async def running(engine: SqliteEngine, clock: ManualClock, **options: float) -> AsyncIterator[EventBus]:
    """Open an engine and run a bus over it."""
    async with AsyncExitStack() as stack:
        await engine.open(stack)
        bus = EventBus(
            engine,
            BUS,
            clock=clock,
            identifiers=SequentialIdentifiers(),
            options=BusOptions(**options),  # type: ignore[arg-type]  # limits, which are numbers
        )
        yield await stack.enter_async_context(bus)


async def published(bus: EventBus, *types: str, **members: object) -> list[Position]:
    """Publish an event of each type together; return their positions."""
    answers = await bus.submit([entry(type=name, **members) for name in types])
    receipts = [answer for answer in answers if isinstance(answer, Receipt)]
    assert len(receipts) == len(types), answers
    return [receipt.position for receipt in receipts]


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until a condition holds."""
    for _ in range(SPINS_MAX):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("what was waited for did not come")


async def turns(count: int = 20) -> None:
    """Let the loop turn: whatever does not wait for anything is done afterwards."""
    for _ in range(count):
        await asyncio.sleep(0)
