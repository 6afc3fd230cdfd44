"""What puts references into queues: an append, and a fill."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from waooaw.events.engine.sqlite import queue_statements as sql
from waooaw.events.engine.sqlite.reference import FILL_LIST

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from waooaw.events.engine.queue_contract import FillItem, RouteSet
    from waooaw.events.engine.sqlite.queue_row import QueueRow
    from waooaw.events.engine.sqlite.subscription_rows import SubscriptionRows
    from waooaw.events.position import Position

SLICE_ROWS: Final = 500
"""References written before other work of the loop gets its turn: about a millisecond."""

LEAST_URGENT_FIRST: Final = (3, 2, 1, 0)


async def add_references(
    connection: sqlite3.Connection,
    subscriptions: SubscriptionRows,
    references: Sequence[RouteSet],
    positions: Mapping[int, Position],
) -> None:
    """Put stored entries (``positions`` by their index) into their queues, inside the transaction of their append."""
    rows_written = 0
    for route_set in references:
        items = [
            (item.priority, positions[item.index], item.key, item.expires_ms)
            for item in route_set.items
            if item.index in positions
        ]
        if not items:
            continue
        for incarnation, waiting_max in route_set.queues:
            number = subscriptions.number_of(incarnation)
            if number is None:
                continue
            rows = [(number, priority, position, 0, key, expires_ms) for priority, position, key, expires_ms in items]
            connection.executemany(sql.ADD_FRESH, rows)
            count = len(items)
            (waiting,) = connection.execute(sql.MATCHED, (count, count, number)).fetchone()
            if waiting > waiting_max:
                _overrun(connection, number, waiting - waiting_max)
            rows_written += count
            if rows_written >= SLICE_ROWS:
                rows_written = 0
                await asyncio.sleep(0)


def _overrun(connection: sqlite3.Connection, number: int, excess: int) -> None:
    """Drop the oldest of the least urgent list, and so on; what is in no list stays: it was claimed before."""
    left = excess
    for list_number in LEAST_URGENT_FIRST:
        if left == 0:
            break
        boundary = connection.execute(sql.FRESH_BOUNDARY, (number, list_number, left - 1)).fetchone()
        through = boundary or (_AFTER_ALL, 0)
        left -= connection.execute(sql.DROP_FRESH, (number, list_number, *through)).rowcount
    connection.execute(sql.OVERRUN, (excess - left, excess - left, number))


_AFTER_ALL: Final = 2**63 - 1


def fill(
    connection: sqlite3.Connection, queue: QueueRow, items: Sequence[FillItem], expected: Position, reached: Position
) -> None:
    """Add a step of a fill to its list, unless another one came before."""
    if queue.fill_reached is None or queue.fill_through is None or queue.fill_reached != expected:
        return
    connection.executemany(
        sql.ADD_FRESH,
        [(queue.number, FILL_LIST, item.position, queue.next_copy(), item.key, item.expires_ms) for item in items],
    )
    queue.matched += len(items)
    queue.waiting += len(items)
    queue.fill_waiting += len(items)
    queue.fill_reached = reached
    if reached >= queue.fill_through:
        queue.fill_reached = queue.fill_through = None
    queue.save(connection)


async def drop_rows(connection: sqlite3.Connection, number: int, statements: Sequence[str]) -> None:
    """Delete rows of a queue in slices, so that the loop goes on."""
    for statement in statements:
        deleted = SLICE_ROWS
        while deleted == SLICE_ROWS:
            deleted = connection.execute(statement, (number, SLICE_ROWS)).rowcount
            await asyncio.sleep(0)


async def seek(connection: sqlite3.Connection, queue: QueueRow, start: Position, last: Position) -> None:
    """Drop what waits or is scheduled, and begin a fill up to the end of the log."""
    await drop_rows(connection, queue.number, sql.DELETE_ROWS)
    queue.dropped += queue.waiting + queue.scheduled
    queue.waiting = queue.scheduled = queue.fill_waiting = 0
    start = min(start, last)
    queue.history_from = min(queue.history_from, start)
    queue.fill_reached, queue.fill_through = (start, last) if start < last else (None, None)
    queue.save(connection)
