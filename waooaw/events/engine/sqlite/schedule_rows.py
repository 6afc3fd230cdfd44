"""Events for later, beside the log until they are due."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from waooaw.events.acceptance import content_of
from waooaw.events.engine.sqlite import schedule_statements as sql
from waooaw.events.engine.sqlite.transactions import Written
from waooaw.events.errors import IdReusedError, NotFoundError, Violation, WowEventError
from waooaw.events.outages import ScheduleFullError
from waooaw.events.position import make_position
from waooaw.events.receipt import Durability, ScheduledReceipt
from waooaw.events.scheduled_event import ScheduledEvent

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from waooaw.events.engine.sqlite.bus_log import BusLog
    from waooaw.events.engine.sqlite.store import Store
    from waooaw.events.event import Entry

PAGE_BYTES_MAX: Final = 4 * 1024 * 1024
"""A page ends here even below its count."""

_Answer = ScheduledReceipt | WowEventError


def schedule_id_of(source: str, event_id: str) -> str:
    """Return what an event is found by: 128 bits of a digest, so that nobody can aim for the id of another one."""
    return blake2b(f"{source}\0{event_id}".encode(), digest_size=16).hexdigest()


class ScheduleRows:
    """The schedules of one store; see `waooaw.events.engine.schedule_contract.Schedule`."""

    def __init__(self, store: Store, durability: Durability) -> None:
        self._store = store
        self._durability: Durability = durability

    async def schedule(self, log: BusLog, entries: Sequence[Entry], events_max: int) -> tuple[_Answer, ...]:
        """See `Schedule.schedule`."""

        async def write() -> Written[tuple[_Answer, ...]]:
            self._store.health.check_room()
            (count,) = self._store.connection.execute(sql.COUNT, (log.number,)).fetchone()
            before = count
            answers: list[_Answer] = []
            for entry in entries:
                answer = self._schedule(log, entry, is_full=count >= events_max)
                count += isinstance(answer, ScheduledReceipt) and not answer.duplicate
                answers.append(answer)
            if count > before:
                self._store.connection.execute(sql.COUNTED, (count - before, log.number))
            return Written(tuple(answers))

        return await self._store.transactions.run(write)

    def _schedule(self, log: BusLog, entry: Entry, *, is_full: bool) -> _Answer:
        schedule_id, due_ms = schedule_id_of(entry.source, entry.id), entry.delivery.due_ms
        found = self._store.connection.execute(sql.FIND, (log.number, schedule_id)).fetchone()
        is_duplicate = found is not None
        if found is not None:
            due_ms, body, time_given = found
            if content_of(body, time_given=bool(time_given)) != content_of(entry.body, time_given=entry.time_given):
                detail = (
                    f"source {entry.source!r} gave the id {entry.id!r} to another event; a new event needs a new id"
                )
                violation = Violation("#/id", "was used for other content", IdReusedError.code)
                return IdReusedError(detail, errors=(violation,))
        elif is_full:
            return ScheduleFullError(
                "as many events are scheduled as may be; publish it when it is due, or cancel some"
            )
        else:
            row = (log.number, due_ms, schedule_id, int(entry.time_given), entry.body)
            self._store.connection.execute(sql.ADD, row)
        return ScheduledReceipt(
            entry.id, make_position(due_ms), self._durability, is_duplicate, schedule_id=schedule_id, due_ms=due_ms
        )

    async def due_events(self, log: BusLog, limit: int) -> tuple[tuple[ScheduledEvent, ...], int | None]:
        """See `Schedule.due_events`."""
        now_ms = self._store.clock.now_ms()

        def read(connection: sqlite3.Connection) -> tuple[tuple[ScheduledEvent, ...], int | None]:
            events = _page(connection, sql.DUE, (log.number, now_ms, limit))
            last = (events[-1].due_ms, events[-1].id) if events else (-1, "")
            found = connection.execute(sql.NEXT, (log.number, *last)).fetchone()
            return events, None if found is None else found[0]

        return await self._store.read(read)

    async def scheduled_events(
        self, log: BusLog, after: tuple[int, str] | None, limit: int
    ) -> tuple[tuple[ScheduledEvent, ...], int]:
        """See `Schedule.scheduled_events`."""

        def read(connection: sqlite3.Connection) -> tuple[tuple[ScheduledEvent, ...], int]:
            events = _page(connection, sql.PAGE, (log.number, *(after or (-1, "")), limit))
            (total,) = connection.execute(sql.COUNT, (log.number,)).fetchone()
            return events, total

        return await self._store.read(read)

    async def scheduled_event(self, log: BusLog, schedule_id: str) -> ScheduledEvent | None:
        """See `Schedule.scheduled_event`."""

        def read(connection: sqlite3.Connection) -> ScheduledEvent | None:
            found = connection.execute(sql.FIND, (log.number, schedule_id)).fetchone()
            return None if found is None else ScheduledEvent(schedule_id, found[0], found[1])

        return await self._store.read(read)

    async def cancel_scheduled(self, log: BusLog, schedule_id: str) -> bool:
        """See `Schedule.cancel_scheduled`."""

        async def write() -> Written[bool]:
            self._store.health.check()
            return Written(take_off(self._store.connection, log.number, schedule_id))

        # As an append, which decides by what is on the schedule.
        return await self._store.transactions.run(write, part=log.name)


def is_scheduled(connection: sqlite3.Connection, bus: int, schedule_id: str) -> bool:
    """Tell whether an event is still on the schedule."""
    return connection.execute(sql.FIND, (bus, schedule_id)).fetchone() is not None


def take_off(connection: sqlite3.Connection, bus: int, schedule_id: str) -> bool:
    """Take an event off the schedule; tell whether it was there."""
    was_there = connection.execute(sql.REMOVE, (bus, schedule_id)).rowcount > 0
    if was_there:
        connection.execute(sql.COUNTED, (-1, bus))
    return was_there


def not_scheduled(schedule_id: str) -> NotFoundError:
    """Return the answer for an entry that is not on the schedule any more."""
    return NotFoundError(f"{schedule_id} is not scheduled any more: it was published or cancelled")


def _page(connection: sqlite3.Connection, statement: str, values: tuple[Any, ...]) -> tuple[ScheduledEvent, ...]:
    events: list[ScheduledEvent] = []
    size_bytes = 0
    cursor = connection.execute(statement, values)
    for schedule_id, due_ms, body in cursor:
        events.append(ScheduledEvent(schedule_id, due_ms, body))
        size_bytes += len(body)
        if size_bytes >= PAGE_BYTES_MAX:
            break
    cursor.close()
    return tuple(events)
