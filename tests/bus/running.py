"""A bus over a real engine in memory, or in a file, and engines that lose, hold back and fail as real ones can."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import blake2b
from pathlib import Path

import msgspec

from tests.event_samples import entry
from waooaw.events.bus.event_bus import BusOptions, EventBus
from waooaw.events.engine.contract import Engine, Frame, Page, Registration, Tip
from waooaw.events.engine.deduplication_window import DeduplicationWindow
from waooaw.events.engine.queue_contract import RouteSet
from waooaw.events.engine.sqlite import SqliteEngine, SqliteOptions
from waooaw.events.engine.subscription_contract import Changed, PutSubscription, Rules
from waooaw.events.errors import WowEventError
from waooaw.events.event import Entry
from waooaw.events.pattern import PatternSet
from waooaw.events.position import Position, position_milliseconds
from waooaw.events.receipt import Receipt
from waooaw.events.retry import RetryPolicy
from waooaw.events.subscription import SubscriptionDefinition
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
        self.reads_take_turns = 0
        self.told: list[Frame] = []
        self._floor_ms = 0

    def listen(self, bus: str, listener: Callable[[Frame | Tip], None]) -> Callable[[], None]:
        """Carry frames, but for those that get lost."""

        def hear(told: Frame | Tip) -> None:
            if isinstance(told, Frame):
                self.told.append(told)
                if self.loses(told):
                    return
            listener(told)

        return super().listen(bus, hear)

    def tell(self, told: Frame | Tip) -> None:
        """Tell listeners something by hand: a tip, or a frame that comes late or twice."""
        for listener in tuple(self._listeners[BUS].values()):
            listener(told)

    def tell_tip(self) -> None:
        """Tell where the log ends, as engines do where frames may have been lost."""
        history = self.state(BUS).history
        self.tell(Tip(history.current.id, history.last))

    async def fail_over(self, lost: int = 0, *, forgets_all: bool = False) -> None:
        """Lose the newest events, or everything with its history, and go on in a new epoch: a failover, or FLUSHALL.

        Epochs that began in what is lost are lost too. As with every engine that can lose events, no lost position is
        handed out again.
        """
        async with self._writing:
            log, connection = self._logs[BUS], self._connection
            self._floor_ms = max(self._floor_ms, position_milliseconds(log.last) + 2)  # times are rounded down
            connection.execute("BEGIN IMMEDIATE")
            if forgets_all:
                connection.execute(log.sql("DELETE FROM {log}"))
                connection.execute("DELETE FROM epochs WHERE bus = ?", (log.number,))
                connection.execute("UPDATE buses SET trimmed_through = 0 WHERE number = ?", (log.number,))
            connection.execute(
                log.sql(
                    "DELETE FROM {log} WHERE position IN (SELECT position FROM {log} ORDER BY position DESC LIMIT ?)"
                ),
                (lost,),
            )
            connection.execute(
                log.sql(
                    "UPDATE buses SET (last, events, size_bytes) = (SELECT coalesce(max(position), trimmed_through), "
                    "count(*), coalesce(sum(length(body)), 0) FROM {log}) WHERE number = ?"
                ),
                (log.number,),
            )
            connection.execute(
                "DELETE FROM epochs WHERE bus = ?1 AND after > (SELECT last FROM buses WHERE number = ?1)",
                (log.number,),
            )
            log.open(self.identifiers.new_epoch(), DeduplicationWindow(), self.clock.now_ms())
            connection.execute("COMMIT")
        self.tell_tip()

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
        references: Sequence[RouteSet] = (),
        patience_seconds: float = 2.0,
    ) -> tuple[Receipt | WowEventError, ...]:
        """Append when the gate is open, and fail before or after it."""
        await self.gate.wait()
        self.clock.set_wall(max(self.clock.now_ms(), self._floor_ms))
        error, self.fails_before = self.fails_before, None
        if error is not None:
            raise error
        answers = await super().append(
            bus, writer, sequence, routes_version, entries, references=references, patience_seconds=patience_seconds
        )
        self.appended.append(len(entries))
        error, self.fails_after = self.fails_after, None
        if error is not None:
            raise error
        return answers

    async def read(
        self, bus: str, after: Position, *, through: Position, limit: int, newest_first: bool = False
    ) -> Page:
        """Read, and note it; or fail once. The answer may take some turns of the loop to come."""
        error, self.fails_reads = self.fails_reads, None
        if error is not None:
            raise error
        self.reads.append((after, through))
        page = await super().read(bus, after, through=through, limit=limit, newest_first=newest_first)
        await turns(self.reads_take_turns)
        return page


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


async def made(engine: Engine, name: str, *patterns: str, definition: bytes = b"") -> str:
    """Make a subscription behind the back of every bus, as another replica does; return its incarnation."""
    members = SubscriptionDefinition(patterns=PatternSet.parse(patterns)).to_members()
    rules = Rules(
        lease_seconds=30,
        max_in_flight=1000,
        max_waiting=1_000_000,
        is_keyed=False,
        retry=RetryPolicy(),
        drops_exhausted=False,
    )
    incarnation = blake2b(name.encode(), digest_size=8).hexdigest()
    encoded = definition or msgspec.json.encode(members)
    put = PutSubscription(name=name, incarnation=incarnation, definition=encoded, rules=rules)
    (changed,) = await engine.change_subscriptions(BUS, [put], subscriptions_max=10_000)
    assert isinstance(changed, Changed), changed
    return changed.record.incarnation


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
