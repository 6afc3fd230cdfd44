"""The log of one bus in a store: what is known of it in memory, and the decision what an append stores.

Nothing here is awaited: `SqliteEngine` says when, and makes it durable.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from waooaw.events.acceptance import content_of
from waooaw.events.engine.contract import Frame, LogState
from waooaw.events.engine.sqlite import statements
from waooaw.events.engine.sqlite.deduplication import Deduplication, identity_hash
from waooaw.events.engine.sqlite.schedule_rows import is_scheduled, not_scheduled
from waooaw.events.engine.sqlite.subscription_rows import SubscriptionRows
from waooaw.events.epoch import EPOCHS_KEPT, Epoch, History
from waooaw.events.errors import IdReusedError, Violation, WowEventError
from waooaw.events.event import Entry, StoredEvent
from waooaw.events.position import Position, make_position, next_position, position_milliseconds
from waooaw.events.receipt import Durability, Receipt
from waooaw.events.retention import TrimPlan, cut

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from waooaw.events.engine.deduplication_window import DeduplicationWindow

_ID_GIVEN: Final = 1
_TIME_GIVEN: Final = 2

CLOCK_AHEAD_SECONDS: Final = 60
"""Log time this far ahead of the clock is worth a warning: less is what NTP corrects."""

Row = tuple[Position, str, str, str, str | None, int, bytes]
Answer = Receipt | WowEventError


@dataclass(slots=True)
class Append:
    """What one append will do, decided before anything is written."""

    rows: list[Row] = field(default_factory=list)
    positions: dict[int, Position] = field(default_factory=dict)
    """Where the entries are that are stored, by their index."""
    off_schedule: list[str] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    fresh: dict[int, tuple[Position, Entry]] = field(default_factory=dict)
    size_bytes: int = 0
    accepted_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Trim:
    """What one trim will remove: everything at or before ``through``."""

    through: Position
    events: int
    size_bytes: int


class BusLog:
    """One bus of the store. Used from the event loop only."""

    def __init__(self, name: str, connection: sqlite3.Connection, durability: Durability) -> None:
        self.name = name
        self._connection = connection
        self._durability: Durability = durability
        self.subscriptions = SubscriptionRows(connection)

    def open(self, epoch: int, window: DeduplicationWindow, now_ms: int) -> None:
        """Find or make the bus in the store, begin an epoch, and read back what is kept in memory."""
        connection = self._connection
        found = connection.execute(statements.FIND_BUS, (self.name,)).fetchone()
        if found is None:
            connection.execute(statements.ADD_BUS, (self.name,))
            found = connection.execute(statements.FIND_BUS, (self.name,)).fetchone()
            connection.execute(self.sql(statements.CREATE_LOG, found[0]))
        self.number: int
        self._last: Position
        self._trimmed_through: Position
        self._first: Position | None
        self.number, self._last, self._trimmed_through, self._events, self._size_bytes = found
        self._epochs = self.write_epoch(epoch)
        self.subscriptions.open(self.number)
        self._read_first()
        floor = make_position(max(now_ms - window.seconds * 1000, 0))
        recent = connection.execute(self.sql(statements.RECENT_IDS), (floor, window.ids_max + 1)).fetchall()
        self._deduplication = Deduplication(window, reversed(recent), max(self._trimmed_through, floor))

    def write_epoch(self, epoch: int) -> tuple[Epoch, ...]:
        """Write a new epoch that begins at the end of the log, inside a transaction; return all that are kept."""
        connection = self._connection
        connection.execute(statements.ADD_EPOCH, (self.number, epoch.to_bytes(8, "big"), self._last))
        connection.execute(statements.FORGET_EPOCHS, (self.number, EPOCHS_KEPT))
        rows = connection.execute(statements.EPOCHS, (self.number, EPOCHS_KEPT)).fetchall()
        return tuple(Epoch(int.from_bytes(stored, "big"), Position(after)) for stored, after in reversed(rows))

    @property
    def routes_version(self) -> str:
        """The version that an append has to name; it is another one in each epoch."""
        return f"{self._epochs[-1].id:x}-{self.subscriptions.version}"

    def known_routes(self, version: str) -> int | None:
        """Return the number of a version that was named in this epoch; None for any other text."""
        epoch, _, number = version.partition("-")
        is_ours = epoch == f"{self._epochs[-1].id:x}" and number.isascii() and number.isdecimal()
        return int(number) if is_ours else None

    def take_epochs(self, epochs: tuple[Epoch, ...]) -> None:
        """Take over the epochs that were written, once they are durable."""
        self._epochs = epochs

    def sql(self, statement: str, number: int | None = None) -> str:
        """Return a statement for this bus's table."""
        return statement.format(log=f"log_{self.number if number is None else number}")

    def _read_first(self) -> None:
        (self._first,) = self._connection.execute(self.sql(statements.FIRST)).fetchone()

    @property
    def last(self) -> Position:
        """The newest position whose append is durable."""
        return self._last

    def state(self, now_ms: int) -> LogState:
        """Return the log as it stands."""
        history = History(self._epochs, self._last, self._trimmed_through)
        window = self._deduplication.effective_seconds(now_ms)
        return LogState(history, self._first, self._events, self._size_bytes, window)

    def clock_warning(self, now_ms: int) -> str | None:
        """Return what to tell an operator where the log's time is far ahead of the clock."""
        ahead_seconds = (position_milliseconds(self._last) - now_ms) // 1000
        if ahead_seconds <= CLOCK_AHEAD_SECONDS:
            return None
        return (
            f"the log of bus {self.name} is {ahead_seconds} s ahead of the clock: the clock ran back; "
            "positions go on growing, times in them are late until the clock catches up"
        )

    # Appending --------------------------------------------------------------------------------------------------------

    def decide(self, entries: Sequence[Entry], now: float) -> Append:
        """Decide for each entry whether it is stored, and where, at a Unix time in seconds."""
        now_ms = round(now * 1_000_000) // 1000  # in doubles, a whole millisecond times 1000 may be a little less
        self._deduplication.expire(now_ms)
        append = Append(accepted_at=now)
        last = self._last
        for index, entry in enumerate(entries):
            identity = identity_hash(entry.source, entry.id) if entry.id_given else None
            answer: Answer | None = self._take_off(entry.schedule_id, append) if entry.schedule_id else None
            if answer is None and identity is not None:
                answer = self._answer_repeated(identity, entry, append)
            if answer is None:
                last = next_position(last, now_ms)
                answer = Receipt(entry.id, last, self._durability)
                append.rows.append(_row(last, entry))
                append.positions[index] = last
                append.size_bytes += len(entry.body)
                if identity is not None:
                    append.fresh[identity] = (last, entry)
            append.answers.append(answer)
        return append

    def _take_off(self, schedule_id: str, append: Append) -> WowEventError | None:
        """Have an append take an event off the schedule; the error where it is not there (any more)."""
        if schedule_id in append.off_schedule or not is_scheduled(self._connection, self.number, schedule_id):
            return not_scheduled(schedule_id)
        append.off_schedule.append(schedule_id)
        return None

    def _answer_repeated(self, identity: int, entry: Entry, append: Append) -> Answer | None:
        if (earlier := append.fresh.get(identity)) is not None:
            position, stored = earlier
            content = (stored.source, stored.id, stored.time_given, stored.body)
        else:
            position_found = self._deduplication.find(identity)
            row = None if position_found is None else self._content(position_found)
            if position_found is None or row is None:
                return None
            position, content = position_found, row
        source, event_id, time_given, body = content
        if (source, event_id) != (entry.source, entry.id):
            return None
        if content_of(body, time_given=time_given) == content_of(entry.body, time_given=entry.time_given):
            return Receipt(entry.id, position, self._durability, duplicate=True)
        detail = f"source {entry.source!r} gave the id {entry.id!r} to another event; a new event needs a new id"
        return IdReusedError(detail, errors=(Violation("#/id", "was used for other content", IdReusedError.code),))

    def _content(self, position: Position) -> tuple[str, str, bool, bytes] | None:
        row = self._connection.execute(self.sql(statements.CONTENT), (position,)).fetchone()
        return None if row is None else (row[0], row[1], bool(row[2] & _TIME_GIVEN), row[3])

    def write_totals(self, append: Append) -> None:
        """Write the bus's row for an append, inside its transaction."""
        self._connection.execute(
            statements.GROWN,
            (append.rows[-1][0], self._events + len(append.rows), self._size_bytes + append.size_bytes, self.number),
        )

    def committed(self, append: Append) -> Frame:
        """Take over what an append stored, once it is durable, and return what listeners are told."""
        previous = self._last
        self._last = append.rows[-1][0]
        self._events += len(append.rows)
        self._size_bytes += append.size_bytes
        if self._first is None:
            self._first = append.rows[0][0]
        for identity, (position, _) in append.fresh.items():
            self._deduplication.remember(identity, position)
        events = tuple(
            StoredEvent(position, type_, source, correlationid, body)
            for position, type_, source, _, correlationid, _, body in append.rows
        )
        return Frame(self._epochs[-1].id, previous, events, append.accepted_at)

    # Trimming ---------------------------------------------------------------------------------------------------------

    def decide_trim(self, plan: TrimPlan, limit: int) -> Trim | None:
        """Decide which of the oldest events go, or None for none."""
        rows = self._connection.execute(self.sql(statements.OLDEST), (limit,)).fetchall()
        count = cut(plan, rows)
        if count == 0:
            return None
        return Trim(Position(rows[count - 1][0]), count, sum(size for _, size in rows[:count]))

    def write_trim(self, trim: Trim) -> None:
        """Remove what a trim names, inside its transaction."""
        self._connection.execute(self.sql(statements.DELETE), (trim.through,))
        self._connection.execute(
            statements.TRIMMED,
            (trim.through, self._events - trim.events, self._size_bytes - trim.size_bytes, self.number),
        )

    def trimmed(self, trim: Trim) -> None:
        """Take over what a trim removed, once it is durable."""
        self._trimmed_through = trim.through
        self._events -= trim.events
        self._size_bytes -= trim.size_bytes
        self._deduplication.trim(trim.through)
        self._read_first()


def _row(position: Position, entry: Entry) -> Row:
    given = entry.id_given * _ID_GIVEN | entry.time_given * _TIME_GIVEN
    return position, entry.type, entry.source, entry.id, entry.correlationid, given, entry.body
