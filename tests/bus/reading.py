"""Readers of streams that note what they get, and what a reader must have got."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from operator import itemgetter

import msgspec

from waooaw.events.bound import NOW, Bound
from waooaw.events.bus.event_bus import EventBus
from waooaw.events.bus.stream import Stream
from waooaw.events.cursor import Cursor
from waooaw.events.epoch import Gap
from waooaw.events.event import StoredEvent
from waooaw.events.pattern import PatternSet
from waooaw.events.position import BEGINNING, Position


@dataclass(frozen=True, slots=True)
class Seen:
    """An event as a reader of a history that changes notes it: which one it was, and the epoch it came in."""

    epoch: int
    position: Position
    id: str


Message = Position | Gap | Cursor | Seen
Messages = tuple[Message, ...]

UNTAKEN_BYTES = 512 * 1024
"""What a payload that was not taken counts for: with three of them a reader is slow."""


class NotingFraming:
    """Spells an event as its position, and counts how often."""

    def __init__(self) -> None:
        self.events = 0
        self.joins = 0

    def event(self, event: StoredEvent, epoch: int) -> Messages:
        """See Framing."""
        assert epoch
        self.events += 1
        return (event.position,)

    def join(self, payloads: Sequence[Messages]) -> Messages:
        """See Framing."""
        self.joins += 1
        return tuple(message for payload in payloads for message in payload)

    def gap(self, gap: Gap) -> Messages:
        """See Framing."""
        return (gap,)

    def cursor(self, cursor: Cursor) -> Messages:
        """See Framing."""
        return (cursor,)


class SeeingFraming(NotingFraming):
    """Spells an event as what it is, so that one of a lost history is not taken for the one that has its place now."""

    def event(self, event: StoredEvent, epoch: int) -> Messages:
        """See Framing."""
        return (Seen(epoch, event.position, msgspec.json.decode(event.body)["id"]),)


class Reader:
    """One reader's end: it takes all at once, or only when it is told to."""

    def __init__(self, *, slow: bool = False) -> None:
        self.slow = slow
        self.payloads: list[Messages] = []
        self.ended: list[BaseException] = []
        self.stream: Stream[Messages]
        self._untaken = 0
        self._taken = asyncio.Event()
        self._broken: Exception | None = None

    @property
    def messages(self) -> list[Message]:
        """All it got."""
        return [message for payload in self.payloads for message in payload]

    @property
    def positions(self) -> list[Position]:
        """The events it got."""
        return [message for message in self.messages if isinstance(message, int)]

    @property
    def ids(self) -> list[str]:
        """The events it got, where it is told which ones they are."""
        return [message.id for message in self.messages if isinstance(message, Seen)]

    @property
    def gaps(self) -> list[Gap]:
        """The gaps it was told."""
        return [message for message in self.messages if isinstance(message, Gap)]

    def open(self, bus: EventBus, *patterns: str, start: Bound = NOW, framing: NotingFraming | None = None) -> Reader:
        """Begin a stream."""
        self.stream = bus.open_stream(
            PatternSet.parse(patterns or ["*"]), framing or NotingFraming(), self, start=start, ended=self.ended.append
        )
        return self

    def write(self, payload: Messages) -> None:
        """See Sink."""
        self.payloads.append(payload)
        self._untaken += self.slow

    def buffered_bytes(self) -> int:
        """See Sink."""
        return self._untaken * UNTAKEN_BYTES

    async def drained(self) -> None:
        """See Sink."""
        while self._untaken:
            self._taken.clear()
            await self._taken.wait()
            if self._broken is not None:
                raise self._broken

    def take(self) -> None:
        """Take all that waits."""
        self._untaken = 0
        self._taken.set()

    def hurry(self) -> None:
        """Take everything at once from now on."""
        self.slow = False
        self.take()

    def break_off(self) -> None:
        """Lose the connection."""
        self._broken = ConnectionResetError("gone")
        self._taken.set()


@dataclass(frozen=True)
class Stored:
    """What the log of a test has seen: every event, and every place that was ever trimmed through."""

    events: list[tuple[Position, str]]
    trims: set[Position]

    def matching(self, patterns: PatternSet, after: Position, through: Position) -> list[Position]:
        """Return the events of a range that a reader asked for."""
        first = bisect_right(self.events, after, key=itemgetter(0))
        asked_for = takewhile(lambda event: event[0] <= through, islice(self.events, first, None))
        return [position for position, name in asked_for if patterns.matches(name)]


def check(messages: Sequence[Message], start: Position, patterns: PatternSet, stored: Stored, end: Position) -> None:
    """Check that a reader got each matching event once, in order, or a gap that says exactly what it could not have."""
    place = start
    for message in messages:
        if isinstance(message, Gap):
            place = _check_gap(message, place, patterns, stored)
        elif isinstance(message, int):
            assert stored.matching(patterns, place, message) == [message], (place, message)
            place = message
    assert stored.matching(patterns, place, end) == []


def _check_gap(gap: Gap, place: Position, patterns: PatternSet, stored: Stored) -> Position:
    assert gap.end.position in stored.trims | {BEGINNING} or gap.reason == "epoch", gap
    if gap.reason == "retention":
        assert place <= gap.start.position < gap.end.position
        assert stored.matching(patterns, place, gap.start.position) == []
    return gap.end.position
