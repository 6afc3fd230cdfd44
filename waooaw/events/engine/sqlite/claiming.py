"""A claim: which references it takes, in which order, and for whom."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from waooaw.events.delivery import CLAIM_MAX
from waooaw.events.engine.queue_contract import Claimed, ClaimRequest, Lease
from waooaw.events.engine.sqlite import queue_statements as sql
from waooaw.events.engine.sqlite.failing import LAPSE_ERROR, failed
from waooaw.events.engine.sqlite.reference import FILL_LIST, LEASED, SCHEDULED, WAITING, Held, format_reference
from waooaw.events.engine.sqlite.turns import next_with_room, priority_of_turn, turn_after
from waooaw.events.event import StoredEvent
from waooaw.events.position import Position

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from waooaw.events.engine.sqlite.queue_change import QueueChange
    from waooaw.events.identifier import Identifiers

BYTES_MAX: Final = 4 * 1024 * 1024
"""A claim ends here even below its count."""

LOOKS_MAX: Final = 2 * CLAIM_MAX
"""References looked at in one claim, also those that are expired or behind their key: the rest is for the next one."""

PAGE_ROWS: Final = 64
"""References read at once from one list; some are read in vain where several lists have their turns."""

SLICE_LOOKS: Final = 250
"""References looked at before other work of the loop gets its turn: about a millisecond."""

PRIORITIES: Final = range(4)


class _Reference(NamedTuple):
    """One that may be claimed: as it is held, or would be; its event, and the list that it is in (None: held)."""

    held: Held
    event: StoredEvent | None
    list_number: int | None


class _Front:
    """The front of one list, read page by page as it is taken from."""

    def __init__(self, read: Callable[[_Reference | None, int], list[_Reference]], page_rows: int) -> None:
        self._read = read
        self._page_rows = page_rows
        self._page: list[_Reference] = []
        self._index = 0
        self._is_whole = False
        self._last: _Reference | None = None

    def peek(self) -> _Reference | None:
        """Return the first reference; None where there is none."""
        if self._index == len(self._page) and not self._is_whole:
            self._page, self._index = self._read(self._last, self._page_rows), 0
            self._is_whole = len(self._page) < self._page_rows
            if self._page:
                self._last = self._page[-1]
        return self._page[self._index] if self._index < len(self._page) else None

    def pop(self) -> None:
        """Go past the first one."""
        self._index += 1


class Claim:
    """One claim under way."""

    def __init__(self, change: QueueChange, requests: Sequence[ClaimRequest], identifiers: Identifiers) -> None:
        self._change = change
        self._queue = change.queue
        self._rules = change.queue.rules
        self._requests = requests
        self._identifiers = identifiers
        self._rooms = [request.limit for request in requests]
        self._left = min(sum(self._rooms), CLAIM_MAX)
        self._last_request = -1
        self._until_ms = change.now_ms + round(self._rules.lease_seconds * 1000)
        self._leases: list[Lease] = []
        self._size_bytes = 0
        self._looks = 0
        self._keys: set[str] = set()
        """Keys found busy."""
        self._left_fill = False
        """Whether the last of a fill was taken in this round, so that the rest is fresh now."""

    async def run(self) -> Claimed:
        """Take references, write them, and say when there is more."""
        if self._queue.is_paused:
            return Claimed((), None, is_paused=True)
        await self._round()
        while (self._change.write() or self._left_fill) and self._is_open:
            await self._round()
        return Claimed(tuple(self._leases), self._next_due_ms(), moves=self._change.moves)

    @property
    def _is_open(self) -> bool:
        return self._left > 0 and self._size_bytes < BYTES_MAX and self._looks < LOOKS_MAX

    @property
    def _in_flight_left(self) -> int:
        return self._rules.max_in_flight - self._queue.leased

    async def _round(self) -> None:
        self._keys.clear()
        was_filling = self._queue.is_filling
        page_rows = min(self._left + 1, PAGE_ROWS)
        due = {state: _Front(self._held_reader(state), page_rows) for state in (LEASED, SCHEDULED, WAITING)}
        lists = (FILL_LIST,) if self._queue.is_filling else PRIORITIES
        fresh = {number: _Front(self._fresh_reader(number), page_rows) for number in lists}
        while self._is_open:
            is_full = self._in_flight_left <= 0
            front_of_due = _first_due(due, lapsed_only=is_full)
            front_of_fresh = None if is_full else self._first_fresh(fresh)
            is_due_turn = bool(self._queue.is_due_next)
            takes_due = is_due_turn if front_of_due and front_of_fresh else front_of_due is not None
            front = front_of_due if takes_due else front_of_fresh
            if front is None or (found := front.peek()) is None:
                break
            front.pop()
            self._looks += 1
            is_taken = self._take_due(found) if found.list_number is None else self._take_fresh(found)
            if is_taken and takes_due == is_due_turn:
                self._queue.is_due_next = int(not is_due_turn)
            if self._looks % SLICE_LOOKS == 0:
                await asyncio.sleep(0)
        self._left_fill = was_filling and not self._queue.is_filling

    def _first_fresh(self, fresh: dict[int, _Front]) -> _Front | None:
        _drop_empty(fresh)
        if not fresh:
            return None
        return fresh[FILL_LIST if FILL_LIST in fresh else priority_of_turn(self._queue.turn, fresh)]

    # One reference ----------------------------------------------------------------------------------------------------

    def _take_due(self, found: _Reference) -> bool:
        """Lease one that was claimed before; False where it goes instead."""
        change, held, event = self._change, found.held, found.event
        if held.state == LEASED:
            return self._take_lapsed(held, event)
        if 0 < held.expires_ms <= change.now_ms:
            change.settle(held, "expired")
        elif event is None:
            change.settle(held, "overrun")
        else:
            change.count("scheduled" if held.state == SCHEDULED else "waiting", "leased")
            change.hold(self._lease(held, event))
            return True
        return False

    def _take_lapsed(self, held: Held, event: StoredEvent | None) -> bool:
        """Lease one anew whose lease lapsed; False where it is dead, or the limit was lowered and it waits for room."""
        change = self._change
        after = failed(held, LAPSE_ERROR, change.now_ms)
        if not change.lapse(held, after, event) or event is None:
            return False
        if self._in_flight_left < 0:
            change.count("leased", "scheduled")
            change.hold(after._replace(nonce=""), event)
            return False
        change.hold(self._lease(after, event), event)
        return True

    def _take_fresh(self, found: _Reference) -> bool:
        """Lease one that nobody claimed yet; False where it goes instead, or behind its key."""
        change, held, event, list_number = self._change, found.held, found.event, found.list_number or 0
        change.take(list_number, held.position, held.copy)
        if 0 < held.expires_ms <= change.now_ms:
            change.count("waiting", "expired")
        elif held.key and self._is_busy(held.key):
            change.park(held)
        elif event is None:
            change.count("waiting", "overrun")
            self._keys.discard(held.key)
        else:
            change.count("waiting", "leased")
            change.hold(self._lease(held, event))
            if list_number != FILL_LIST:
                self._queue.turn = turn_after(self._queue.turn)
            return True
        return False

    def _is_busy(self, key: str) -> bool:
        """Whether one of a key is held; it is from now on, whatever is said now."""
        if key in self._keys:
            return True
        self._keys.add(key)
        return self._change.is_busy(key)

    def _lease(self, held: Held, event: StoredEvent) -> Held:
        request = self._last_request = next_with_room(self._rooms, self._last_request)
        self._rooms[request] -= 1
        self._left -= 1
        self._size_bytes += len(event.body)
        leased = held._replace(
            state=LEASED,
            at_ms=self._until_ms,
            nonce=self._identifiers.new_token(),
            member=self._requests[request].member,
            first_delivery_ms=held.first_delivery_ms or self._change.now_ms,
        )
        self._leases.append(
            Lease(
                request,
                format_reference(held.position, held.copy),
                leased.nonce,
                held.failures + 1,
                leased.first_delivery_ms,
                held.last_error,
                self._until_ms,
                event,
            )
        )
        return leased

    # Reading ----------------------------------------------------------------------------------------------------------

    def _held_reader(self, state: int) -> Callable[[_Reference | None, int], list[_Reference]]:
        statement, change = self._change.sql(sql.HELD_PAGE), self._change

        def read(last: _Reference | None, rows_max: int) -> list[_Reference]:
            after = (-1, -1, -1) if last is None else (last.held.at_ms, last.held.position, last.held.copy)
            rows = change.connection.execute(
                statement, (change.queue.number, state, change.now_ms, *after, rows_max)
            ).fetchall()
            return [_Reference(Held(*row[:15]), _event(Position(row[2]), row[15:]), None) for row in rows]

        return read

    def _fresh_reader(self, number: int) -> Callable[[_Reference | None, int], list[_Reference]]:
        statement, change, queue = self._change.sql(sql.FRESH_PAGE), self._change, self._change.queue.number

        def read(last: _Reference | None, rows_max: int) -> list[_Reference]:
            after = (-1, -1) if last is None else (last.held.position, last.held.copy)
            rows = change.connection.execute(statement, (queue, number, *after, rows_max)).fetchall()
            return [
                _Reference(
                    Held(queue, 0, Position(position), copy, WAITING, change.now_ms, key, expires_ms),
                    _event(Position(position), event),
                    list_number,
                )
                for position, copy, key, expires_ms, list_number, *event in rows
            ]

        return read

    def _next_due_ms(self) -> int | None:
        """Return when something will be claimable by time alone; not after now: more is claimable at once."""
        change, number = self._change, self._queue.number
        is_full = self._in_flight_left <= 0
        states = (LEASED,) if is_full else (LEASED, SCHEDULED, WAITING)
        times = [
            time for state in states for time in change.connection.execute(sql.NEXT_AT, (number, state)).fetchone()
        ]
        if not is_full:
            lists = (FILL_LIST,) if self._queue.is_filling else PRIORITIES
            times += [
                change.now_ms
                for number_ in lists
                if change.connection.execute(sql.HAS_FRESH, (number, number_)).fetchone()
            ]
        return min((time for time in times if time is not None), default=None)


def _event(position: Position, content: Sequence[Any]) -> StoredEvent | None:
    type_, source, correlationid, body = content
    return None if body is None else StoredEvent(position, type_, source, correlationid, body)


def _drop_empty(fronts: dict[int, _Front]) -> None:
    """Look no more at lists of which nothing is left: for each reference, all that may be there are looked at."""
    for number in [number for number, front in fronts.items() if front.peek() is None]:
        del fronts[number]


def _first_due(due: dict[int, _Front], *, lapsed_only: bool) -> _Front | None:
    """Return the front whose first reference became due first."""
    _drop_empty(due)
    fronts = [front for state, front in due.items() if state == LEASED or not lapsed_only]
    found = [
        (first.held.at_ms, first.held.position, first.held.copy, front) for front in fronts if (first := front.peek())
    ]
    return min(found, key=lambda item: item[:3])[3] if found else None
