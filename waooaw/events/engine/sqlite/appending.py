"""Appends: who may, what they store, and what listeners are told."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from waooaw.events.engine.contract import Frame, Registration, Tip
from waooaw.events.engine.sqlite import statements
from waooaw.events.engine.sqlite.filling import add_references
from waooaw.events.engine.sqlite.schedule_rows import take_off
from waooaw.events.engine.sqlite.transactions import Written
from waooaw.events.errors import RoutesChangedError, SupersededError
from waooaw.events.outages import WriterUnknownError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from waooaw.events.engine.queue_contract import RouteSet
    from waooaw.events.engine.sqlite.bus_log import Answer, Append, BusLog
    from waooaw.events.engine.sqlite.store import Store
    from waooaw.events.event import Entry
    from waooaw.events.retention import TrimPlan

SLICE_ROWS: Final = 250
"""Rows inserted before other work of the loop gets its turn: about a millisecond."""

WRITERS_MAX: Final = 64
"""Writers remembered, with their last answers: a process has one a bus, and a new one after an unknown outcome."""


@dataclass(slots=True)
class _Writer:
    sequence: int = 0
    answers: tuple[Answer, ...] = ()


class Appending:
    """What changes the logs of a store. Calls of one bus follow one another: each decides by the end of its log."""

    def __init__(self, store: Store, tell: Callable[[str, Frame | Tip], None]) -> None:
        self._store = store
        self._tell = tell
        self._writers: dict[tuple[str, str], _Writer] = {}

    def register(self, log: BusLog) -> Registration:
        """Make the caller a writer of a bus."""
        writer = self._store.identifiers.new_token()
        self._writers[log.name, writer] = _Writer()
        while len(self._writers) > WRITERS_MAX:
            del self._writers[next(iter(self._writers))]
        return Registration(writer, log.routes_version)

    async def append(
        self,
        log: BusLog,
        writer: str,
        sequence: int,
        routes_version: str,
        entries: Sequence[Entry],
        *,
        references: Sequence[RouteSet],
    ) -> tuple[Answer, ...]:
        """See `EventLog.append`."""

        async def write() -> Written[tuple[Answer, ...]]:
            known = self._find_writer(log, writer)
            if sequence == known.sequence:
                return Written(known.answers)
            if sequence < known.sequence:
                message = f"append {sequence} came after {known.sequence} was stored"
                raise SupersededError(message)
            if routes_version != log.routes_version:
                message = f"matched against routes {routes_version}, now {log.routes_version}"
                raise RoutesChangedError(message, routes_version=log.routes_version)
            self._store.health.check_room()
            append = log.decide(entries, self._store.clock.now())
            await self._write(log, append, references)

            def take_over() -> None:
                known.sequence, known.answers = sequence, tuple(append.answers)
                if append.rows:
                    self._tell(log.name, log.committed(append))

            return Written(tuple(append.answers), take_over)

        return await self._store.transactions.run(write, part=log.name)

    def _find_writer(self, log: BusLog, writer: str) -> _Writer:
        known = self._writers.get((log.name, writer))
        if known is None:
            message = "this writer is not registered; register again; what it had in flight may be stored"
            raise WriterUnknownError(message, outcome="unknown")
        return known

    async def _write(self, log: BusLog, append: Append, references: Sequence[RouteSet]) -> None:
        connection, insert = self._store.connection, log.sql(statements.INSERT)
        for start in range(0, len(append.rows), SLICE_ROWS):
            if start:
                await asyncio.sleep(0)
            connection.executemany(insert, append.rows[start : start + SLICE_ROWS])
        if append.rows:
            log.write_totals(append)
            await add_references(connection, log.subscriptions, references, append.positions)
        for schedule_id in append.off_schedule:
            take_off(connection, log.number, schedule_id)

    async def trim(self, log: BusLog, plan: TrimPlan, limit: int) -> int:
        """See `EventLog.trim`."""

        async def write() -> Written[int]:
            trim = log.decide_trim(plan, limit)
            if trim is None:
                return Written(0)
            log.write_trim(trim)

            def take_over() -> None:
                log.trimmed(trim)
                self._store.health.look_inside()

            return Written(trim.events, take_over)

        return await self._store.transactions.run(write, part=log.name)

    async def begin_epoch(self, log: BusLog) -> None:
        """See `EventLog.begin_epoch`."""

        async def write() -> Written[None]:
            epochs = log.write_epoch(self._store.identifiers.new_epoch())

            def take_over() -> None:
                log.take_epochs(epochs)
                self._tell(log.name, Tip(epochs[-1].id, log.last))
                self._store.wake(log.name, None)

            return Written(None, take_over)

        await self._store.transactions.run(write, part=log.name)
