"""A sweep: what a claim would do where nobody claims, and the retention of dead letters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from waooaw.events.engine.sqlite import queue_statements as sql
from waooaw.events.engine.sqlite.failing import LAPSE_ERROR, failed
from waooaw.events.engine.sqlite.reference import FILL_LIST, LEASED, SCHEDULED, WAITING, Held
from waooaw.events.event import StoredEvent

if TYPE_CHECKING:
    from waooaw.events.engine.queue_contract import Moves
    from waooaw.events.engine.sqlite.queue_change import QueueChange

_FRONTS: Final = (0, 1, 2, 3, FILL_LIST)


class Sweep:
    """One queue's sweep under way; at most ``limit`` references are moved, and about as many looked at."""

    def __init__(self, change: QueueChange, limit: int) -> None:
        self._change = change
        self._queue = change.queue
        self._left = limit
        self.makes_claimable = False

    def run(self, *, dead_seconds: int, dead_max: int) -> Moves:
        """Move what has to move, and write it."""
        queue = self._queue
        if queue.leased:
            self._lapse()
        if queue.scheduled:
            self._drop_due(SCHEDULED)
        if queue.waiting:
            self._drop_due(WAITING)
            for number in _FRONTS:
                self._drop_front(number)
        if self._change.write():
            self.makes_claimable = True
        if queue.dead:
            self._drop_letters(dead_seconds, dead_max)
        self._change.write()
        return self._change.moves

    def _held(self, state: int) -> list[tuple[Held, StoredEvent | None]]:
        change = self._change
        values = (self._queue.number, state, change.now_ms, -1, -1, -1, self._left)
        rows = change.connection.execute(change.sql(sql.HELD_PAGE), values).fetchall()
        return [(Held(*row[:15]), None if row[-1] is None else StoredEvent(row[2], *row[15:])) for row in rows]

    def _lapse(self) -> None:
        change = self._change
        for held, event in self._held(LEASED):
            self._left -= 1
            after = failed(held, LAPSE_ERROR, change.now_ms)._replace(nonce="")
            if change.lapse(held, after, event):
                change.count("leased", "scheduled")
                change.hold(after, event)
            self.makes_claimable = True

    def _drop_due(self, state: int) -> None:
        for held, event in self._held(state):
            gone = self._fate(held.expires_ms, event is not None)
            if gone is not None:
                self._left -= 1
                self._change.settle(held, gone)

    def _drop_front(self, number: int) -> None:
        change = self._change
        values = (self._queue.number, number, -1, -1, self._left)
        for position, copy, _, expires_ms, _, *event in change.connection.execute(change.sql(sql.FRESH_PAGE), values):
            gone = self._fate(expires_ms, event[-1] is not None)
            if gone is None:
                return
            self._left -= 1
            change.take(number, position, copy)
            change.count("waiting", gone)

    def _fate(self, expires_ms: int, is_there: bool) -> Literal["expired", "overrun"] | None:  # noqa: FBT001 - the place says it
        if 0 < expires_ms <= self._change.now_ms:
            return "expired"
        return None if is_there else "overrun"

    def _drop_letters(self, dead_seconds: int, dead_max: int) -> None:
        connection, queue = self._change.connection, self._queue
        before_ms = self._change.now_ms - dead_seconds * 1000
        gone = connection.execute(sql.OLD_LETTERS, (queue.number, before_ms, self._left)).fetchall()
        if (excess := min(queue.dead - dead_max, self._left)) > len(gone):
            gone = connection.execute(sql.OLDEST_LETTERS, (queue.number, excess)).fetchall()
        connection.executemany(sql.DROP_LETTER, [(queue.number, *place) for place in gone])
        self._change.count("dead", "dropped", len(gone))
