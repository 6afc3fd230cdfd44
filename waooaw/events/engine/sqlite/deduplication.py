"""Which ids were seen lately: an index over the log, so that it survives what the log survives.

Only a hash of ``source`` and ``id`` is kept here, some hundred bytes an id; a hit is compared with the stored event
before it counts, so two ids of one hash are still two events.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from waooaw.events.position import Position, make_position, position_milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from waooaw.events.engine.deduplication_window import DeduplicationWindow


def identity_hash(source: str, event_id: str) -> int:
    """Return what an id is found by. Keyed anew in each process (SipHash), so nobody can aim for collisions."""
    return hash((source, event_id))


class Deduplication:
    """The ids of one bus inside the window, oldest first; ``recent`` are all that came after ``known_after``."""

    def __init__(
        self, window: DeduplicationWindow, recent: Iterable[tuple[Position, str, str]], known_after: Position
    ) -> None:
        self._window = window
        self._positions: dict[int, Position] = {}
        self._order: deque[int] = deque()
        self._cut_at: Position | None = known_after
        for position, source, event_id in recent:
            self.remember(identity_hash(source, event_id), position)

    def find(self, identity: int) -> Position | None:
        """Return where an id was stored, if it is in the window."""
        return self._positions.get(identity)

    def remember(self, identity: int, position: Position) -> None:
        """Add an id; what is beyond the count goes."""
        self._positions[identity] = position
        self._order.append(identity)
        while len(self._order) > self._window.ids_max:
            self._cut_at = self._forget_oldest()

    def expire(self, now_ms: int) -> None:
        """Forget what is older than the window."""
        floor = make_position(max(now_ms - self._window.seconds * 1000, 0))
        self._forget_through(floor)
        if self._cut_at is not None and self._cut_at < floor:
            self._cut_at = None

    def trim(self, through: Position) -> None:
        """Forget what the log no longer has: a hit could not be compared."""
        before = len(self._order)
        self._forget_through(through)
        if len(self._order) < before:
            self._cut_at = max(through, self._cut_at or through)

    def effective_seconds(self, now_ms: int) -> float:
        """Return how far back a repeated id is recognised now."""
        if self._cut_at is None:
            return float(self._window.seconds)
        return min(float(self._window.seconds), max(now_ms - position_milliseconds(self._cut_at), 0) / 1000)

    def _forget_through(self, floor: Position) -> None:
        order, positions = self._order, self._positions
        while order and positions.get(order[0], floor) <= floor:
            self._forget_oldest()

    def _forget_oldest(self) -> Position | None:
        return self._positions.pop(self._order.popleft(), None)
