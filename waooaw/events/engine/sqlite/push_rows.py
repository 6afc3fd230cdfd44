"""What is kept for subscriptions that are pushed: a record, and the last attempts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waooaw.events.engine.push_contract import PushRecord
from waooaw.events.engine.sqlite import push_statements as sql
from waooaw.events.engine.sqlite.transactions import Written
from waooaw.events.errors import NotFoundError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from waooaw.events.engine.sqlite.bus_log import BusLog
    from waooaw.events.engine.sqlite.store import Store


class PushRows:
    """The push records of one store; see `waooaw.events.engine.push_contract.PushRecords`.

    What is written is bounded for each queue, so a disk that is nearly full does not refuse it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def record(self, log: BusLog, incarnation: str) -> PushRecord:
        """See `PushRecords.push_record`."""
        number, now_ms = log.subscriptions.queue_number(incarnation), self._store.clock.now_ms()
        return await self._store.read(lambda connection: _record(connection, number, now_ms))

    async def write_record(
        self, log: BusLog, incarnation: str, value: bytes, expected: int, *, tells: bool
    ) -> PushRecord:
        """See `PushRecords.write_push_record`."""

        async def write() -> Written[PushRecord]:
            self._store.health.check()
            connection, now_ms = self._store.connection, self._store.clock.now_ms()
            number = log.subscriptions.queue_number(incarnation)
            found = _record(connection, number, now_ms)
            if found.version != expected:
                return Written(found)
            written = PushRecord(value, expected + 1, now_ms)
            connection.execute(sql.WRITE_RECORD, (number, written.version, value))
            return Written(written, (lambda: self._store.wake(log.name, incarnation)) if tells else None)

        return await self._store.transactions.run(write)

    async def add_attempts(self, log: BusLog, incarnation: str, attempts: Sequence[bytes], kept: int) -> None:
        """See `PushRecords.add_push_attempts`."""

        async def write() -> Written[None]:
            self._store.health.check()
            connection, number = self._store.connection, log.subscriptions.queue_number(incarnation)
            found = connection.execute(sql.LAST_ATTEMPT, (number,)).fetchone()
            if found is None:
                raise _deleted()
            last = found[0] + len(attempts)
            rows = [(number, found[0] + index, attempt) for index, attempt in enumerate(attempts, start=1)]
            connection.executemany(sql.ADD_ATTEMPT, rows[-kept:])
            connection.execute(sql.DROP_ATTEMPTS, (number, last - kept))
            return Written(None)

        await self._store.transactions.run(write)

    async def attempts(self, log: BusLog, incarnation: str) -> tuple[bytes, ...]:
        """See `PushRecords.push_attempts`."""
        number = log.subscriptions.queue_number(incarnation)

        def read(connection: sqlite3.Connection) -> tuple[bytes, ...]:
            rows = connection.execute(sql.ATTEMPTS, (number,)).fetchall()
            if not rows:
                raise _deleted()
            return tuple([attempt for (attempt,) in rows if attempt is not None])

        return await self._store.read(read)


def _record(connection: sqlite3.Connection, number: int, now_ms: int) -> PushRecord:
    found = connection.execute(sql.FIND_RECORD, (number,)).fetchone()
    if found is None:  # deleted in the commit that this call is part of
        raise _deleted()
    version, value = found
    return PushRecord(value, version, now_ms)


def _deleted() -> NotFoundError:
    return NotFoundError("the subscription was deleted")
