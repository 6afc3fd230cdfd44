"""Reading the log of a bus: by place, pattern, source and conversation, in pages."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from waooaw.events.bound import EARLIEST, NOW, After, At, Bound, resolve_end, resolve_start
from waooaw.events.epoch import Gap
from waooaw.events.errors import NotFoundError, TrimmedError
from waooaw.events.outages import UnavailableError
from waooaw.events.pattern import PatternSet
from waooaw.events.position import BEGINNING, Position, format_position, previous_position

if TYPE_CHECKING:
    from waooaw.events.clock import Clock
    from waooaw.events.cursor import Cursor
    from waooaw.events.engine.contract import Engine, LogState
    from waooaw.events.event import StoredEvent

PAGE_EVENTS_MAX: Final = 1000
"""A page of the largest common events is then some megabytes; clients page on."""

SCAN_EVENTS_MAX: Final = 10_000
SCAN_SECONDS_MAX: Final = 0.05
"""A page that matches little ends here: the caller goes on with ``next``, and other callers get their turn."""

PAGE_BYTES_MAX: Final = 4 * 1024 * 1024
"""A page ends here below its count: a thousand of the largest events would be 256 MB in one answer."""

_READ_EVENTS: Final = 1000

ALL: Final = PatternSet.parse(["*"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What to read: everything from ``start`` (inclusive) to ``end`` (exclusive) that matches."""

    patterns: PatternSet = ALL
    source: str | None = None
    correlationid: str | None = None
    start: Bound = EARLIEST
    end: Bound = NOW
    newest_first: bool = False
    limit: int = 100

    @property
    def asks_for_all(self) -> bool:
        """Whether the start names a place, so that what is missing after it is a gap."""
        match self.start:
            case After() | At(is_time=False):
                return True
        return False

    def matches(self, event: StoredEvent) -> bool:
        """Tell whether an event is one of those asked for."""
        return (
            (self.source is None or event.source == self.source)
            and (self.correlationid is None or event.correlationid == self.correlationid)
            and self.patterns.matches(event.type)
        )


@dataclass(frozen=True, slots=True)
class StorePage:
    """What was read. Going on: oldest first, give ``next`` as ``start``; newest first, as ``end``.

    ``is_end`` tells that nothing more lies in the range now; a page may be short without being the end.
    """

    events: tuple[StoredEvent, ...]
    next: Cursor
    is_end: bool
    gap: Gap | None


class EventStore:
    """The reading side of a bus's log."""

    def __init__(self, engine: Engine, bus: str, clock: Clock) -> None:
        self._engine = engine
        self._bus = bus
        self._clock = clock

    def state(self) -> LogState:
        """Return the log as it stands, from memory."""
        return self._engine.state(self._bus)

    async def get(self, position: Position) -> StoredEvent:
        """Return one event; raises `TrimmedError` for one that retention removed, `NotFoundError` for none."""
        event = await self._engine.get(self._bus, position)
        if event is not None:
            return event
        spelled = format_position(position)
        if BEGINNING < position <= self.state().history.trimmed_through:
            message = f"the event at {spelled}, if there was one, has been removed by retention"
            raise TrimmedError(message)
        message = f"no event at {spelled}"
        raise NotFoundError(message)

    async def learn(self, *bounds: Bound) -> None:
        """Ask the store where a cursor goes beyond what this replica has heard: another replica may have given it.

        While the store is away the replica goes by what it knows.
        """
        history = self.state().history
        for bound in bounds:
            if isinstance(bound, After):
                end = history.end_of(bound.cursor.epoch)
                if end is None or bound.cursor.position > end:
                    with suppress(UnavailableError):
                        await self._engine.refresh(self._bus)
                    return

    async def read(self, query: Query) -> StorePage:
        """Return a page of what a query asks for."""
        await self.learn(query.start, query.end)
        history = self.state().history
        after, gap = resolve_start(query.start, history)
        through = min(resolve_end(query.end, history), history.last)
        scan = _Scan(query, after, through)
        deadline = self._clock.monotonic() + SCAN_SECONDS_MAX
        while not scan.is_done:
            page = await self._engine.read(
                self._bus,
                scan.after,
                through=scan.through,
                limit=min(_READ_EVENTS, SCAN_EVENTS_MAX - scan.looked_at),
                newest_first=query.newest_first,
            )
            if self.state().history.current.id != history.current.id:
                break  # the history may have gone back: what was found before is good, ``next`` tells what is lost
            is_asked_for = query.asks_for_all or scan.looked_at > 0  # "earliest" begins wherever the log does, once
            if page.trimmed_through > scan.after and not query.newest_first and is_asked_for:
                # What was trimmed since ``history`` was taken, or in this instant, is known from the page alone.
                if scan.found:
                    break  # the next page tells it, before its own events
                lost = gap or Gap(history.cursor(scan.after), history.cursor(scan.after), "retention")
                gap = Gap(lost.start, history.cursor(page.trimmed_through), lost.reason)
            scan.take(page.events, page.reached)
            if scan.looked_at >= SCAN_EVENTS_MAX or self._clock.monotonic() > deadline:
                break
            await asyncio.sleep(0)
        return StorePage(tuple(scan.found), history.cursor(min(scan.place, history.last)), scan.is_at_end, gap)


class _Scan:
    """Where a read stands, in either direction."""

    def __init__(self, query: Query, after: Position, through: Position) -> None:
        self._query = query
        self.after = after
        self.through = through
        self.looked_at = 0
        self._size_bytes = 0
        self.found: list[StoredEvent] = []

    @property
    def is_at_end(self) -> bool:
        """Whether the whole range was looked at."""
        return self.after >= self.through

    @property
    def is_done(self) -> bool:
        """Whether the page is full, or has nothing more to come."""
        return self.is_at_end or self._is_full

    @property
    def _is_full(self) -> bool:
        return len(self.found) >= self._query.limit or self._size_bytes >= PAGE_BYTES_MAX

    @property
    def place(self) -> Position:
        """Where the next page goes on."""
        return self.through if self._query.newest_first else self.after

    def take(self, events: tuple[StoredEvent, ...], reached: Position) -> None:
        """Look at events, up to the limits; without reaching one, the log was looked at up to ``reached``."""
        for event in events:
            self.looked_at += 1
            if self._query.matches(event):
                self.found.append(event)
                self._size_bytes += len(event.body)
                if self._is_full:
                    reached = event.position
                    break
        if self._query.newest_first:
            self.through = max(previous_position(reached) if events else self.after, self.after)
        else:
            self.after = max(reached, self.after)
