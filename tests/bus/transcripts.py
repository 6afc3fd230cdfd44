"""What a reader was told, held against all that a log ever was.

A *version* is the log in one epoch: every event that it had, whatever retention took of it since. A reader's place is
an epoch and a position; it may pass to a later version in silence only where both hold the same events up to there.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple

from tests.bus.reading import Message, Seen
from waooaw.events.cursor import Cursor
from waooaw.events.epoch import Epoch, Gap
from waooaw.events.pattern import PatternSet
from waooaw.events.position import BEGINNING, Position


class Known(NamedTuple):
    """An event that the log had."""

    position: Position
    id: str
    type: str


@dataclass
class Version:
    """The log in one epoch, the newest of ``epochs``."""

    epochs: tuple[Epoch, ...]
    events: list[Known]

    @property
    def id(self) -> int:
        """The epoch."""
        return self.epochs[-1].id

    def through(self, position: Position) -> list[Known]:
        """Return the events up to a place."""
        return self.events[: bisect_right(self.events, position, key=attrgetter("position"))]

    def between(self, after: Position, through: Position, patterns: PatternSet) -> list[str]:
        """Return which events of a range a reader asked for."""
        return [event.id for event in self.through(through) if event.position > after and patterns.matches(event.type)]

    def end_of(self, epoch: int) -> Position | None:
        """Return where an older epoch ended, or None where this version knows nothing of it."""
        ids = [known.id for known in self.epochs]
        return self.epochs[ids.index(epoch) + 1].after if epoch in ids[:-1] else None


class Place(NamedTuple):
    """Where a reader is; without an epoch it has seen nothing, and waits for what comes after a position."""

    epoch: int | None
    position: Position


@dataclass
class Chronicle:
    """All that a log ever was, oldest version first, and every place that it was ever trimmed through."""

    versions: list[Version] = field(default_factory=list)
    trims: set[Position] = field(default_factory=lambda: {BEGINNING})

    @property
    def current(self) -> Version:
        """The log as it is."""
        return self.versions[-1]

    def version(self, epoch: int) -> Version:
        """Return the version of an epoch."""
        return next(version for version in self.versions if version.id == epoch)

    def read(self, messages: Sequence[Message], place: Place, patterns: PatternSet) -> Place:
        """Follow what a reader was told, and check each message; return where it is then."""
        for message in messages:
            if isinstance(message, Seen):
                self.pass_to(place, Place(message.epoch, Position(message.position - 1)), patterns)
                seen = self.version(message.epoch).between(place.position, message.position, patterns)
                assert seen == [message.id], (place, message)
                place = Place(message.epoch, message.position)
            else:
                assert isinstance(message, Gap)
                self.pass_to(place, Place(*message.start), patterns)
                self._check_gap(message)
                place = Place(*message.end)
        return place

    def pass_to(self, place: Place, later: Place, patterns: PatternSet) -> None:
        """Check that a reader at one place may be at a later one, having been told nothing between the two."""
        assert later.epoch is not None
        version = self.version(later.epoch)
        assert version.between(place.position, later.position, patterns) == [], (place, later)
        if place.epoch is not None:
            before = self.version(place.epoch)
            assert self.versions.index(before) <= self.versions.index(version), (place, later)
            assert before.through(place.position) == version.through(place.position), (place, later)

    def _check_gap(self, gap: Gap) -> None:
        if gap.reason == "retention":
            assert gap.start.position < gap.end.position, gap
            assert gap.end.position in self.trims, gap
            return
        version = self.version(gap.end.epoch)
        assert self.versions.index(self.version(gap.start.epoch)) < self.versions.index(version), gap
        self._check_reached(gap.start)
        end = version.end_of(gap.start.epoch)
        assert end is None or gap.start.position > end, ("nothing is lost", gap)
        place = end or BEGINNING
        assert gap.end.position == place or (gap.end.position > place and gap.end.position in self.trims), gap

    def _check_reached(self, cursor: Cursor) -> None:
        """Check that a cursor does not stand in the future: who waits there has seen nothing that could be lost."""
        events = self.version(cursor.epoch).events
        assert cursor.position in self.trims or cursor.position <= events[-1].position, cursor

    def check_cursor(self, cursor: Cursor, place: Place, patterns: PatternSet) -> None:
        """Check a cursor that a reader was given: it had everything up to there, and nothing after it."""
        self._check_reached(cursor)
        if place.epoch is not None:
            assert place.position <= cursor.position, (place, cursor)
            self.pass_to(place, Place(*cursor), patterns)

    def check_end(self, place: Place, patterns: PatternSet) -> None:
        """Check that a reader has everything, and was told whatever of it is no more."""
        current = self.current
        self.pass_to(place, Place(current.id, current.events[-1].position), patterns)
