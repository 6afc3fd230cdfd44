"""An engine in memory whose history changes under its bus: it goes back, is lost, or only begins a new epoch."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, ExitStack

from tests.bus.reading import Reader, SeeingFraming
from tests.bus.running import BUS, TestedEngine
from tests.event_samples import entry
from waooaw.events.bound import NOW, Bound
from waooaw.events.bus.event_bus import EventBus
from waooaw.events.engine.contract import Frame, Page, Tip
from waooaw.events.engine.sqlite import statements
from waooaw.events.event import Entry
from waooaw.events.position import Position


class ChangingEngine(TestedEngine):
    """The embedded engine in memory as a store that fails over, is emptied or restored while it is used.

    What is lost is really gone from the store, with its totals and the epochs that had begun since; what the engine
    knows is then read back from the store, as it is after a restart.
    """

    def __init__(self) -> None:
        super().__init__()
        self.delays: Callable[[Frame], bool] = lambda _: False
        self.delayed: list[Frame] = []
        self.requests = asyncio.Event()
        self.requests.set()
        self.answers = asyncio.Event()
        self.answers.set()
        self.waiting_reads = 0
        self._copies = ExitStack()

    async def open(self, stack: AsyncExitStack) -> None:
        """Open the store; copies of it are closed with it."""
        stack.enter_context(self._copies)
        await super().open(stack)

    @property
    def epoch(self) -> int:
        """The epoch that is being written."""
        return self.state(BUS).history.current.id

    @property
    def last(self) -> Position:
        """The end of the log."""
        return self.state(BUS).history.last

    # Telling ----------------------------------------------------------------------------------------------------------

    def tell(self, told: Frame | Tip) -> None:
        """Tell all who listen; a frame may get lost or be late."""
        for listener in tuple(self._listeners[BUS].values()):
            listener(told)

    def tell_tip(self) -> None:
        """Tell where the log ends, as after a connection that was lost."""
        self.tell(Tip(self.epoch, self.last))

    def listen(self, bus: str, listener: Callable[[Frame | Tip], None]) -> Callable[[], None]:
        """Carry what is told, but for frames that are held up."""

        def hear(told: Frame | Tip) -> None:
            if isinstance(told, Frame) and self.delays(told):
                self.delayed.append(told)
            else:
                listener(told)

        return super().listen(bus, hear)

    def tell_delayed(self) -> None:
        """Let the frames through that were held up."""
        delayed, self.delayed = self.delayed, []
        self.delays = lambda _: False
        for frame in delayed:
            self.tell(frame)

    # The history ------------------------------------------------------------------------------------------------------

    def back_up(self) -> sqlite3.Connection:
        """Return a copy of the store; it lives as long as the engine's."""
        copy = sqlite3.connect(":memory:")
        self._copies.callback(copy.close)
        self._connection.backup(copy)
        return copy

    def restore(self, copy: sqlite3.Connection) -> None:
        """Put a copy in place of the store, and begin an epoch."""
        copy.backup(self._connection)
        self.begin_anew()
        self.tell_tip()

    def lose_after(self, position: Position) -> None:
        """Lose what came after an event, and begin an epoch, as where a primary dies before its replica has all."""
        self.forget_after(position)
        self.begin_anew()
        self.tell_tip()

    def lose_all(self) -> None:
        """Lose everything, as by FLUSHALL: the log and the epochs, also that it was ever trimmed."""
        number, connection = self._logs[BUS].number, self._connection
        connection.execute(f"DELETE FROM log_{number}")  # noqa: S608 - a number
        connection.execute("DELETE FROM epochs WHERE bus = ?", (number,))
        connection.execute(
            "UPDATE buses SET last = 0, trimmed_through = 0, events = 0, size_bytes = 0 WHERE number = ?", (number,)
        )
        self.begin_anew()
        self.tell_tip()

    def forget_after(self, position: Position) -> None:
        """Take what came after an event out of the store, and the epochs that began later."""
        number, connection = self._logs[BUS].number, self._connection
        connection.execute(f"DELETE FROM log_{number} WHERE position > ?", (position,))  # noqa: S608 - a number
        connection.execute("DELETE FROM epochs WHERE bus = ? AND after > ?", (number, position))
        connection.execute(
            f"UPDATE buses SET last = ?, (events, size_bytes) = "  # noqa: S608 - a number
            f"(SELECT count(*), coalesce(sum(length(body)), 0) FROM log_{number}) WHERE number = ?",
            (position, number),
        )

    def begin_anew(self) -> None:
        """Read back from the store what is known of the bus, in a new epoch; nobody is told."""
        self._connection.execute("BEGIN IMMEDIATE")
        self._logs[BUS].open(self._identifiers.new_epoch(), self._options.deduplication, self._clock.now_ms())
        self._connection.execute("COMMIT")

    def append_at_once(self, entries: Sequence[Entry]) -> Frame:
        """Store entries in one step of the event loop, as another process does; nobody is told."""
        log = self._logs[BUS]
        append = log.decide(entries, self._clock.now())
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(log.sql(statements.INSERT), append.rows)
        log.write_totals(append)
        self._connection.execute("COMMIT")
        return log.committed(append)

    # Reads ------------------------------------------------------------------------------------------------------------

    async def read(
        self, bus: str, after: Position, *, through: Position, limit: int, newest_first: bool = False
    ) -> Page:
        """Read, when requests get through, and answer when answers do."""
        self.waiting_reads += 1
        try:
            await self.requests.wait()
            page = await super().read(bus, after, through=through, limit=limit, newest_first=newest_first)
            await self.answers.wait()
        finally:
            self.waiting_reads -= 1
        return page

    def release_reads(self) -> None:
        """Let every read through."""
        self.requests.set()
        self.answers.set()


async def more(bus: EventBus, *types: str) -> list[str]:
    """Publish events together; return which they are."""
    wanted = [entry(type=name) for name in types]
    await bus.submit(wanted)
    return [item.id for item in wanted]


def opened(bus: EventBus, *patterns: str, start: Bound = NOW, slow: bool = False) -> Reader:
    """Begin a stream that tells which events it gives."""
    return Reader(slow=slow).open(bus, *patterns, framing=SeeingFraming(), start=start)
