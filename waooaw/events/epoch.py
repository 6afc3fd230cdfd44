"""Stretches of a log's history, and what a cursor of an older one still means.

A new epoch begins where history may have been lost: each open of an SQLite file, each new primary of a Redis. Most lose
nothing, so a new epoch alone is told to nobody; only a cursor that lies past the end of its own epoch has a gap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from waooaw.events.cursor import Cursor
from waooaw.events.position import BEGINNING, Position

GapReason = Literal["retention", "epoch"]

EPOCHS_KEPT: Final = 10_000
"""Epochs remembered: at one restart a minute a week of them; a cursor of a forgotten one gets a `gap`."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """One stretch: its id (64 bits, random) and the last position before it began."""

    id: int
    after: Position


@dataclass(frozen=True, slots=True)
class Gap:
    """What a reader is told it did not see: everything after ``start`` up to ``end``, where reading goes on."""

    start: Cursor
    end: Cursor
    reason: GapReason


@dataclass(frozen=True, slots=True)
class History:
    """The epochs of one log, oldest first, with its last position and what retention removed."""

    epochs: tuple[Epoch, ...]
    last: Position
    trimmed_through: Position

    @property
    def current(self) -> Epoch:
        """The epoch that is being written."""
        return self.epochs[-1]

    def cursor(self, position: Position) -> Cursor:
        """Return the cursor of a position as known now."""
        return Cursor(self.current.id, position)

    def end_of(self, epoch: int) -> Position | None:
        """Return the last position that an epoch holds, or None for an unknown epoch."""
        following = [*self.epochs[1:], Epoch(0, self.last)]
        for known, successor in zip(self.epochs, following, strict=True):
            if known.id == epoch:
                return successor.after
        return None

    def resume(self, cursor: Cursor) -> tuple[Position, Gap | None]:
        """Return where reading goes on after a cursor, and the gap if events were lost before that place.

        Of an unknown epoch nothing is known, so everything that the log still has counts as unseen.
        """
        end = self.end_of(cursor.epoch)
        if end is not None and cursor.position <= end:
            return self.after_trim(cursor.position, cursor)
        place = max(self.trimmed_through, end if end is not None else BEGINNING)
        return place, Gap(cursor, self.cursor(place), "epoch")

    def after_trim(self, position: Position, cursor: Cursor | None = None) -> tuple[Position, Gap | None]:
        """Return where reading after ``position`` goes on, and the gap if retention removed what came next."""
        if position >= self.trimmed_through:
            return position, None
        start = cursor if cursor is not None else self.cursor(position)
        return self.trimmed_through, Gap(start, self.cursor(self.trimmed_through), "retention")
