"""The subscriptions of one bus: their rows, and what of them is known in memory. Nothing here is awaited but slices."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from waooaw.events.engine.sqlite import queue_statements as sql
from waooaw.events.engine.sqlite.queue_row import decode_rules, encode_rules
from waooaw.events.engine.subscription_contract import (
    Changed,
    DeleteSubscription,
    PauseSubscription,
    PutSubscription,
    Routes,
    SubscriptionChange,
    SubscriptionRecord,
)
from waooaw.events.errors import (
    NotFoundError,
    OrderingFixedError,
    SubscriptionExistsError,
    TooManySubscriptionsError,
    WowEventError,
)
from waooaw.events.position import Position

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

CHANGES_KEPT: Final = 1000
"""Changes told one by one; who knows only an older version gets all subscriptions."""


@dataclass(frozen=True, slots=True)
class RoutesChange:
    """One version of the routes, and the names that it changed."""

    version: int
    names: frozenset[str]


@dataclass(slots=True)
class ChangeOfSubscriptions:
    """What one call changed, to be taken over once it is durable."""

    answers: list[Changed | WowEventError]
    added: dict[str, int]
    removed: list[str]
    removed_queues: list[int]
    names: set[str]


class SubscriptionRows:
    """The subscriptions of one bus."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def open(self, bus: int) -> None:
        """Read back what is kept in memory."""
        self._bus = bus
        (self.version,) = self._connection.execute(sql.ROUTES, (bus,)).fetchone()
        self._changes: deque[RoutesChange] = deque(maxlen=CHANGES_KEPT)
        self._numbers: dict[str, int] = dict(self._connection.execute(sql.QUEUE_NUMBERS, (bus,)).fetchall())
        self._claimed_ms: dict[int, int] = {}

    def number_of(self, incarnation: str) -> int | None:
        """Return the number of a queue; None where there is none."""
        return self._numbers.get(incarnation)

    def queue_number(self, incarnation: str) -> int:
        """Return the number of a queue; raises `NotFoundError`."""
        number = self._numbers.get(incarnation)
        if number is None:
            message = "the subscription was deleted"
            raise NotFoundError(message)
        return number

    def note_claim(self, number: int, now_ms: int) -> None:
        """Note that somebody claimed from a queue; its row hears of it later."""
        self._claimed_ms[number] = now_ms

    def claimed_ms(self, number: int) -> int:
        """Return when somebody claimed from a queue last, as far as memory knows."""
        return self._claimed_ms.get(number, 0)

    def routes(self, version: str, known: int | None) -> Routes:
        """Return all subscriptions, or those that changed since a version (None: one of another epoch)."""
        rows = {row[0]: _record(row) for row in self._connection.execute(sql.ALL_SUBSCRIPTIONS, (self._bus,))}
        is_known = known is not None and (
            known == self.version or (self._changes and self._changes[0].version <= known + 1)
        )
        if known is None or known > self.version or not is_known:
            return Routes(version, tuple(rows.values()))
        names = {name for change in self._changes if change.version > known for name in change.names}
        changed = tuple(record for name, record in rows.items() if name in names)
        return Routes(version, changed, tuple(sorted(names - rows.keys())), is_whole=False)

    # Changes ----------------------------------------------------------------------------------------------------------

    def change(
        self, changes: Sequence[SubscriptionChange], *, subscriptions_max: int, last: Position, now_ms: int
    ) -> ChangeOfSubscriptions:
        """Write changes, in order, inside a transaction; queues that go are to be emptied by the caller."""
        done = ChangeOfSubscriptions([], {}, [], [], set())
        for change in changes:
            try:
                if isinstance(change, PutSubscription):
                    answer = self._put(change, done, subscriptions_max, last, now_ms)
                elif isinstance(change, PauseSubscription):
                    answer = self._pause(change, done)
                else:
                    answer = self._delete(change, done)
            except WowEventError as error:
                done.answers.append(error)
            else:
                done.answers.append(answer)
        if done.names:
            self._connection.execute(sql.SET_ROUTES, (self.version + 1, self._bus))
        return done

    def take_over(self, done: ChangeOfSubscriptions) -> None:
        """Take over what was changed, once it is durable."""
        self._numbers |= done.added
        for incarnation in done.removed:
            self._claimed_ms.pop(self._numbers.pop(incarnation, 0), None)
        if done.names:
            self.version += 1
            self._changes.append(RoutesChange(self.version, frozenset(done.names)))

    def _put(
        self, put: PutSubscription, done: ChangeOfSubscriptions, subscriptions_max: int, last: Position, now_ms: int
    ) -> Changed:
        connection = self._connection
        rules = encode_rules(put.rules)
        row = self._find(put.name)
        if row is None:
            (count,) = connection.execute(sql.COUNT_SUBSCRIPTIONS, (self._bus,)).fetchone()
            if count >= subscriptions_max:
                message = f"the bus has {count} subscriptions, the limit is {subscriptions_max}; delete unused ones"
                raise TooManySubscriptionsError(message)
            new = (self._bus, put.name, put.incarnation, put.definition, now_ms, last)
            number = connection.execute(sql.ADD_SUBSCRIPTION, new).lastrowid
            start = last if put.start is None else min(put.start, last)
            fill = (start, last) if start < last else (None, None)
            connection.execute(sql.ADD_QUEUE, (number, rules, now_ms, start, *fill))
            done.added[put.incarnation] = number or 0
        else:
            if put.start is not None:
                message = f"the subscription {put.name} exists; where it starts counts when it is made, seek moves it"
                raise SubscriptionExistsError(message)
            if decode_rules(row[6]).is_keyed != put.rules.is_keyed:
                message = f"the ordering of {put.name} cannot change; delete it, or make another one beside it"
                raise OrderingFixedError(message)
            if (row[2], row[6]) == (put.definition, rules):
                return Changed(_record(row))
            connection.execute(sql.REDEFINE, (put.definition, row[7]))
            connection.execute(sql.SET_RULES, (rules, row[7]))
        done.names.add(put.name)
        return Changed(_record(self._existing(put.name)), is_new=row is None)

    def _pause(self, pause: PauseSubscription, done: ChangeOfSubscriptions) -> Changed:
        row = self._existing(pause.name)
        if bool(row[5]) == pause.is_paused:
            return Changed(_record(row))
        self._connection.execute(sql.SET_PAUSED, (int(pause.is_paused), row[7]))
        done.names.add(pause.name)
        return Changed(_record(self._existing(pause.name)))

    def _delete(self, delete: DeleteSubscription, done: ChangeOfSubscriptions) -> Changed:
        row = self._existing(delete.name)
        record, number = _record(row), row[7]
        (claimed_ms,) = self._connection.execute(sql.CLAIMED_MS, (number,)).fetchone()
        claimed_ms = max(claimed_ms, self.claimed_ms(number))
        if delete.unclaimed_since_ms is not None and claimed_ms > delete.unclaimed_since_ms:
            return Changed(record)
        self._connection.execute(sql.DELETE_SUBSCRIPTION, (number,))
        self._connection.execute(sql.DELETE_QUEUE, (number,))
        done.names.add(delete.name)
        done.removed.append(record.incarnation)
        done.removed_queues.append(number)
        return Changed(record, is_deleted=True)

    def _find(self, name: str) -> Any:  # noqa: ANN401 - a row of SQLite
        return self._connection.execute(sql.FIND_SUBSCRIPTION, (self._bus, name)).fetchone()

    def _existing(self, name: str) -> Any:  # noqa: ANN401 - a row of SQLite
        row = self._find(name)
        if row is None:
            message = f"there is no subscription {name}"
            raise NotFoundError(message)
        return row


def _record(row: tuple[Any, ...]) -> SubscriptionRecord:
    name, incarnation, definition, created_ms, after, is_paused, rules_text, _ = row
    rules = decode_rules(rules_text)
    return SubscriptionRecord(
        name,
        incarnation,
        definition,
        created_ms,
        Position(after),
        bool(is_paused),
        rules.max_waiting,
        rules.is_keyed,
    )
