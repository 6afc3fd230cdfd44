"""Reading a queue: how it stands, who holds what, what is dead, what the log is needed for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from waooaw.events.dead_letter import DeadLetter
from waooaw.events.engine.queue_contract import ReferenceReport
from waooaw.events.engine.sqlite import queue_statements as sql
from waooaw.events.engine.sqlite.queue_row import QueueRow, find_queue
from waooaw.events.engine.sqlite.reference import FILL_LIST, LEASED, SCHEDULED, Held, format_reference
from waooaw.events.event import StoredEvent
from waooaw.events.position import Position, position_milliseconds
from waooaw.events.subscription_state import Holding, QueueDetails, QueueState

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from waooaw.events.subscription_state import DeliveryState

DETAILS_MAX: Final = 20

PAGE_BYTES_MAX: Final = 4 * 1024 * 1024
"""A page of dead letters ends here even below its count."""

_LISTS: Final = (0, 1, 2, 3, FILL_LIST)


def queue_state(connection: sqlite3.Connection, queue: QueueRow, claimed_ms: int) -> QueueState:
    """Return a queue as it stands; ``claimed_ms`` is when it was last claimed, where that is not yet in its row."""
    oldest = min(_unsettled(connection, queue), default=None)
    oldest_dead_ms = None
    if queue.dead:
        (oldest_dead_ms,) = connection.execute(sql.OLDEST_LETTER_MS, (queue.number,)).fetchone()
    return QueueState(
        queue.counts,
        None if oldest is None else position_milliseconds(Position(oldest)),
        oldest_dead_ms,
        max(queue.claimed_ms, claimed_ms),
        queue.fill,
    )


def _unsettled(connection: sqlite3.Connection, queue: QueueRow, *copied: int) -> Iterator[int]:
    """Return the oldest position of each place that has one; only of references without a copy, where so asked."""
    questions: list[tuple[str, tuple[int, ...]]] = []
    if queue.waiting:
        questions += [(sql.OLDEST_FRESH, (queue.number, number)) for number in _LISTS]
        questions += [(sql.OLDEST_PARKED, (queue.number, number)) for number in copied or (0, 1)]
    if queue.waiting or queue.leased or queue.scheduled:
        questions += [(sql.OLDEST_HELD, (queue.number, number)) for number in copied or (0, 1)]
    for statement, values in questions:
        (position,) = connection.execute(statement, values).fetchone()
        if position is not None:
            yield position


def oldest_needed(connection: sqlite3.Connection, queue: QueueRow) -> int | None:
    """Return the oldest position that a queue needs the log for, with a running fill's next one."""
    needed = list(_unsettled(connection, queue, 0))
    if queue.fill_reached is not None:
        needed.append(queue.fill_reached + 1)
    return min(needed, default=None)


def queue_details(connection: sqlite3.Connection, queue: QueueRow) -> QueueDetails:
    """Return the leases that lapse first, and the oldest that fail."""
    leases = connection.execute(sql.HELD_OF_STATE, (queue.number, LEASED, DETAILS_MAX)).fetchall()
    failing = connection.execute(sql.FAILING, (queue.number, DETAILS_MAX)).fetchall()
    return QueueDetails(tuple(_holding(Held(*row)) for row in leases), tuple(_holding(Held(*row)) for row in failing))


def _holding(held: Held) -> Holding:
    return Holding(held.position, _state_of(held), held.member, held.failures, held.at_ms, held.last_error)


def _state_of(held: Held) -> Any:  # noqa: ANN401 - both kinds of literal have these three
    return {LEASED: "leased", SCHEDULED: "scheduled"}.get(held.state, "waiting")


def find_reference(
    connection: sqlite3.Connection, queue: QueueRow, position: Position, priority: int, last: Position
) -> ReferenceReport | None:
    """Tell where the newest reference to an event is; ``last`` is the end of the log."""
    number = queue.number
    found: list[tuple[int, ReferenceReport]] = []
    row = connection.execute(sql.HELD_OF_POSITION, (number, position)).fetchone()
    if row is not None:
        held = Held(*row)
        attempts = held.failures + (held.state == LEASED)
        found.append((held.copy, ReferenceReport(_state_of(held), attempts, held.member, held.last_error)))
    waiting: DeliveryState = "waiting"
    for statement, values in (
        (sql.FIND_FRESH, (number, priority, position)),
        (sql.FIND_FRESH, (number, FILL_LIST, position)),
        (sql.PARKED_OF_POSITION, (number, position)),
    ):
        row = connection.execute(statement, values).fetchone()
        if row is not None:
            found.append((row[0], ReferenceReport(waiting, 0, "", None)))
    row = connection.execute(sql.LETTER_OF_POSITION, (number, position)).fetchone()
    if row is not None:
        copy, attempts, member, last_error = row
        found.append((copy, ReferenceReport("dead", attempts, member, last_error)))
    if found:
        return max(found, key=lambda item: item[0])[1]
    is_filled = queue.fill_reached is None or not queue.fill_reached < position <= (queue.fill_through or 0)
    if not queue.history_from < position <= last or not is_filled:
        return None
    return ReferenceReport("settled", 0, "", None)


def dead_letters(connection: sqlite3.Connection, number: int, after: str, limit: int) -> tuple[DeadLetter, ...]:
    """Return dead letters after an id, oldest first."""
    cursor = connection.execute(sql.LETTERS, (number, *parse_letter_id(after), limit))
    letters: list[DeadLetter] = []
    size_bytes = 0
    for row in cursor:
        died_ms, letter, position, copy, reason, attempts, first_ms, last_ms, error, member, *event = row
        letters.append(
            DeadLetter(
                id=f"{died_ms}-{letter}",
                reference=format_reference(position, copy),
                reason=reason,
                attempts=attempts,
                first_failure_ms=first_ms,
                last_failure_ms=last_ms,
                last_error=error,
                member=member,
                stored=StoredEvent(position, *event),
            )
        )
        size_bytes += len(event[-1])
        if size_bytes >= PAGE_BYTES_MAX:
            break
    cursor.close()
    return tuple(letters)


def parse_letter_id(text: str) -> tuple[int, int]:
    """Read the id of a dead letter; before all where it is empty or none."""
    died_ms, _, number = text.partition("-")
    is_id = all(part.isascii() and part.isdecimal() and len(part) <= _DIGITS_MAX for part in (died_ms, number))
    return (int(died_ms), int(number)) if is_id else (-1, -1)


_DIGITS_MAX: Final = 18


def find_queues(connection: sqlite3.Connection, numbers: list[int | None]) -> list[QueueRow | None]:
    """Read queues; None for those that are not there."""
    return [None if number is None else find_queue(connection, number) for number in numbers]
