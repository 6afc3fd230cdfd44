"""What one call changes of one queue: gathered while it decides, written in one go, inside its transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from waooaw.events.engine.queue_contract import Burial, Moves
from waooaw.events.engine.sqlite import queue_statements as sql
from waooaw.events.engine.sqlite.failing import exhausted
from waooaw.events.engine.sqlite.reference import FILL_LIST, LEASED, SCHEDULED, WAITING, Held
from waooaw.events.event import StoredEvent
from waooaw.events.position import Position

if TYPE_CHECKING:
    import sqlite3

    from waooaw.events.engine.sqlite.queue_row import QueueRow
    from waooaw.events.retry import DeadReason

Gone = Literal["acked", "expired", "overrun", "dropped"]

_Parked = tuple[int, str, Position, int, int, int, int]
"""A row of the table ``parked``."""

_PLACES: Final = {LEASED: "leased", SCHEDULED: "scheduled", WAITING: "waiting"}


class QueueChange:
    """One queue within a transaction. References that a method was given are not to be used again."""

    def __init__(self, connection: sqlite3.Connection, log_table: str, queue: QueueRow, now_ms: int) -> None:
        self.queue = queue
        self.now_ms = now_ms
        self.connection = connection
        self.log_table = log_table
        self.lapsed = 0
        self._before = queue.values()
        self._buried: list[Burial] = []
        self._expired_before, self._overrun_before = queue.expired, queue.overrun
        self._taken: list[tuple[int, int, Position, int]] = []
        self._parked: dict[str, list[_Parked]] = {}
        self._held: dict[tuple[Position, int], Held] = {}
        self._let_go: list[tuple[int, int, Position, int]] = []
        self._copies: list[tuple[int, Position, int, str, str, str | None, bytes]] = []
        self._copies_gone: list[tuple[int, Position, int]] = []
        self._letters: list[tuple[object, ...]] = []
        self._freed: dict[str, _Parked | None] = {}
        """Keys that nobody holds any more, each with what stood behind it first then."""
        self._new_keys: set[str] = set()
        self._died_ms = 0

    def sql(self, statement: str) -> str:
        """Return a statement for the bus's log."""
        return statement.format(log=self.log_table)

    @property
    def moves(self) -> Moves:
        """What was moved besides what the call asked for."""
        expired, overrun = self.queue.expired - self._expired_before, self.queue.overrun - self._overrun_before
        if not (self._buried or self.lapsed or expired or overrun):
            return _NO_MOVES
        return Moves(tuple(self._buried), self.lapsed, expired, overrun)

    # Out of the lists ---------------------------------------------------------------------------------------------

    def take(self, list_number: int, position: Position, copy: int) -> None:
        """Take a reference out of its list; it is counted waiting until it is moved on."""
        self._taken.append((self.queue.number, list_number, position, copy))
        if list_number == FILL_LIST:
            self.queue.fill_waiting -= 1

    def park(self, held: Held) -> None:
        """Set a waiting reference behind the busy one of its key."""
        row = (held.queue, held.key, held.position, held.copy, held.copied, held.at_ms, held.expires_ms)
        self._parked.setdefault(held.key, []).append(row)

    def count(self, place: str, gone: Gone | Literal["dead", "leased", "scheduled", "waiting"], by: int = 1) -> None:
        """Move references from one count to another."""
        queue = self.queue
        setattr(queue, place, getattr(queue, place) - by)
        setattr(queue, gone, getattr(queue, gone) + by)

    # In somebody's hands, or waiting for it ---------------------------------------------------------------------------

    def hold(self, held: Held, event: StoredEvent | None = None) -> None:
        """Write a reference as it is now; with ``event``, it carries its own copy from here on."""
        if event is not None and not held.copied:
            self._let_go.append(held.place)
            self._add_copy(held, event)
            held = held._replace(copied=1)
        self._held[held.position, held.copy] = held

    def add_copied(self, held: Held, event: StoredEvent) -> None:
        """Write a reference that was not in the queue before, with its own copy, or set it behind its key."""
        self._add_copy(held, event)
        if held.key and (held.key in self._new_keys or self.is_busy(held.key)):
            self.park(held)
        else:
            self._new_keys.add(held.key)
            self._held[held.position, held.copy] = held

    def _add_copy(self, held: Held, event: StoredEvent) -> None:
        self._copies.append(
            (held.queue, held.position, held.copy, event.type, event.source, event.correlationid, event.body)
        )

    def is_busy(self, key: str) -> bool:
        """Whether a reference of a key is held, as the store has it, or comes when this is written."""
        if key in self._freed:
            return self._freed[key] is not None
        return self.connection.execute(sql.HOLDS_KEY, (self.queue.number, key)).fetchone() is not None

    def settle(self, held: Held, gone: Gone) -> None:
        """Let a reference go for good."""
        self.count(_PLACES[held.state], gone)
        self._remove(held)

    def _remove(self, held: Held) -> None:
        self._held.pop((held.position, held.copy), None)
        self._let_go.append(held.place)
        if held.copied:
            self._copies_gone.append((held.queue, held.position, held.copy))
        if held.key:
            self._freed[held.key] = self._first_behind(held.key)

    def _first_behind(self, key: str) -> _Parked | None:
        found = self.connection.execute(sql.NEXT_PARKED, (self.queue.number, key)).fetchone()
        rows = self._parked.get(key, [])
        if found is not None:
            rows = [*rows, (self.queue.number, key, *found)]
        return min(rows, key=lambda row: (row[2], row[3]), default=None)

    def lapse(self, before: Held, after: Held, event: StoredEvent | None) -> bool:
        """Go on with a lease that lapsed: it leaves the queue, or True is returned and the caller holds it.

        ``event`` is its event, None where the log has it no more and no copy was made.
        """
        rules = self.queue.rules
        reason = exhausted(after, rules.retry, self.now_ms)
        if reason is not None:
            self.bury(before, after, reason, event, is_dropped=rules.drops_exhausted)
        elif 0 < before.expires_ms <= self.now_ms:
            self.settle(before, "expired")
        elif event is None:
            self.settle(before, "overrun")
        else:
            self.lapsed += 1
            return True
        return False

    def bury(
        self, before: Held, after: Held, reason: DeadReason, event: StoredEvent | None, *, is_dropped: bool = False
    ) -> None:
        """Write a dead letter, or drop the reference instead; ``before`` is how it stands in the store."""
        if event is None and not is_dropped:
            self.settle(before, "overrun")
            return
        error = after.last_error or ""
        self._buried.append(Burial(before.position, reason, after.failures, error, after.member, is_dropped))
        self.count(_PLACES[before.state], "dropped" if is_dropped else "dead")
        self._remove(before)
        if event is None or is_dropped:
            return
        letter = (self.queue.number, self._time_of_death(), self.queue.next_copy(), before.position, before.copy)
        failures = (reason, after.failures, after.first_failure_ms, after.last_failure_ms, error, after.member)
        content = (event.type, event.source, event.correlationid, event.body)
        self._letters.append((*letter, before.key, before.expires_ms, *failures, *content))

    def _time_of_death(self) -> int:
        """Return the time, or that of the newest dead letter where the clock ran back: later deaths sort later."""
        if self._died_ms == 0:
            (newest,) = self.connection.execute(sql.NEWEST_LETTER_MS, (self.queue.number,)).fetchone()
            self._died_ms = max(newest or 0, self.now_ms)
        return self._died_ms

    def event_of(self, held: Held) -> StoredEvent | None:
        """Return the event of a reference: its copy, or the log's."""
        if held.copied:
            found = self.connection.execute(sql.FIND_COPY, (held.queue, held.position, held.copy)).fetchone()
        else:
            found = self.connection.execute(self.sql(sql.LOG_EVENT), (held.position,)).fetchone()
        return None if found is None else StoredEvent(held.position, *found)

    # Writing --------------------------------------------------------------------------------------------------------

    def write(self) -> int:
        """Write what was gathered; return how many references came from behind their keys by it."""
        connection = self.connection
        for statement, rows in (
            (sql.ADD_LETTER, self._letters),
            (sql.LET_GO, self._let_go),
            (sql.DROP_COPY, self._copies_gone),
            (sql.ADD_COPY, self._copies),
            (sql.TAKE_FRESH, self._taken),
            (sql.PARK, [row for behind in self._parked.values() for row in behind]),
        ):
            if rows:
                connection.executemany(statement, rows)
                rows.clear()
        self._parked.clear()
        if self._held:
            connection.executemany(sql.HOLD, self._held.values())
            self._held.clear()
        brought = [row for row in self._freed.values() if row is not None]
        for row in brought:
            self._bring(row)
        self._freed.clear()
        if (values := self.queue.values()) != self._before:
            self.queue.save(connection)
            self._before = values
        return len(brought)

    def _bring(self, row: _Parked) -> None:
        """Have the next reference of a key come, now that nobody holds one of it."""
        number, key, position, copy, copied, at_ms, expires_ms = row
        self.connection.execute(sql.UNPARK, (number, key, position, copy))
        held = Held(number, copied, position, copy, WAITING, max(at_ms, self.now_ms), key, expires_ms)
        self.connection.execute(sql.HOLD, held)


_NO_MOVES: Final = Moves()
