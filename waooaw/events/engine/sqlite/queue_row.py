"""The row of a queue: its rules, its counts, whose turn it is, how far its fill is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from waooaw.events.engine.sqlite import queue_statements as sql
from waooaw.events.engine.subscription_contract import Rules
from waooaw.events.position import Position
from waooaw.events.retry import RetryPolicy
from waooaw.events.subscription_state import Counts, FillState

if TYPE_CHECKING:
    import sqlite3


def encode_rules(rules: Rules) -> bytes:
    """Return rules as they are stored."""
    return msgspec.json.encode(rules)


@lru_cache(maxsize=4096)
def decode_rules(text: bytes) -> Rules:
    """Read stored rules."""
    members: dict[str, Any] = msgspec.json.decode(text)
    return Rules(retry=RetryPolicy(**members.pop("retry")), **members)


@dataclass(slots=True)
class QueueRow:
    """One queue within a transaction; `save` writes what changed."""

    number: int
    is_paused: int
    rules_text: bytes
    matched: int
    acked: int
    waiting: int
    leased: int
    scheduled: int
    dead: int
    expired: int
    overrun: int
    dropped: int
    claimed_ms: int
    turn: int
    is_due_next: int
    copies: int
    history_from: int
    fill_reached: int | None
    fill_through: int | None
    fill_waiting: int

    @property
    def rules(self) -> Rules:
        """What the queue goes by."""
        return decode_rules(self.rules_text)

    @property
    def counts(self) -> Counts:
        """The nine counts."""
        return Counts(
            self.matched,
            self.acked,
            self.waiting,
            self.leased,
            self.scheduled,
            self.dead,
            self.expired,
            self.overrun,
            self.dropped,
        )

    @property
    def fill(self) -> FillState | None:
        """The fill that is under way."""
        if self.fill_reached is None or self.fill_through is None:
            return None
        return FillState(Position(self.fill_reached), Position(self.fill_through), self.fill_waiting)

    @property
    def is_filling(self) -> bool:
        """Whether a fill is under way, or something that one made waits."""
        return self.fill_reached is not None or self.fill_waiting > 0

    def next_copy(self) -> int:
        """Draw the number of a reference that is spelled with one."""
        self.copies += 1
        return self.copies

    def values(self) -> tuple[int | None, ...]:
        """Return what `save` writes."""
        return (
            *msgspec.structs.astuple(self.counts),
            self.claimed_ms,
            self.turn,
            self.is_due_next,
            self.copies,
            self.history_from,
            self.fill_reached,
            self.fill_through,
            self.fill_waiting,
        )

    def save(self, connection: sqlite3.Connection) -> None:
        """Write the row."""
        connection.execute(sql.SAVE_QUEUE, (*self.values(), self.number))


def find_queue(connection: sqlite3.Connection, number: int) -> QueueRow | None:
    """Read a queue; None where it is not there any more."""
    row = connection.execute(sql.FIND_QUEUE, (number,)).fetchone()
    return None if row is None else QueueRow(*row)
