"""What a replica knows of a bus: put together from answers that come on several links, newest first or not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from waooaw.events.engine.contract import LogState
from waooaw.events.epoch import Epoch, History
from waooaw.events.position import BEGINNING, Position, position_milliseconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waooaw.events.cursor import Cursor
    from waooaw.events.engine.deduplication_window import DeduplicationWindow
    from waooaw.events.engine.redis.layout import Head


class Tracker:
    """The state of one bus as last heard. Used from the event loop only."""

    def __init__(self, window: DeduplicationWindow) -> None:
        self._window = window
        self._head: Head | None = None
        self._epochs: tuple[Epoch, ...] = ()
        self.seen_ms = 0

    @property
    def epochs(self) -> tuple[Epoch, ...]:
        """All epochs known, oldest first."""
        return self._epochs

    @property
    def epoch(self) -> int | None:
        """The epoch that is being written, as far as known."""
        return self._epochs[-1].id if self._epochs else None

    def is_past(self, epoch: int) -> bool:
        """Tell whether an epoch is one that was known to be over."""
        return any(known.id == epoch for known in self._epochs[:-1])

    @property
    def history(self) -> History:
        """The history as known. Raises LookupError before the first one."""
        if self._head is None:
            raise LookupError
        return History(self._epochs, self._head.last, self._head.trimmed_through)

    @property
    def cursor(self) -> Cursor | None:
        """The end of the log as known, or None before the first history."""
        return None if self._head is None else self.history.cursor(self._head.last)

    @property
    def epoch_text(self) -> str:
        """The epoch that is being written, as scripts spell it; empty where none is known."""
        return "" if self.epoch is None else f"{self.epoch:016x}"

    @property
    def last(self) -> Position:
        """The last position known."""
        return BEGINNING if self._head is None else self._head.last

    def begin(self, head: Head, epochs: Sequence[Epoch]) -> None:
        """Take over a history: the first one, or one of another epoch. What was known before no longer counts."""
        self._head, self._epochs = head, tuple(epochs)
        self._saw(head.last)

    def take(self, head: Head) -> bool:
        """Take over a state; return whether it is of an epoch that is not known yet: then ask for the history."""
        if head.epoch != self.epoch or self._head is None:
            return True
        if head.last >= self._head.last and head.trimmed_through >= self._head.trimmed_through:
            self._head = head
            self._saw(head.last)
        return False

    def heard(self, last: Position, events: int, size_bytes: int, first: Position) -> None:
        """Take over what a frame of the current epoch told."""
        head = self._head
        if head is None or last <= head.last:
            return
        self._head = replace(
            head,
            last=last,
            first=head.first if head.first is not None else first,
            events=head.events + events,
            size_bytes=head.size_bytes + size_bytes,
        )
        self._saw(last)

    def _saw(self, position: Position) -> None:
        self.seen_ms = max(self.seen_ms, position_milliseconds(position))

    def state(self, now_ms: int, size_bytes_max: int | None = None) -> LogState:
        """Return the log's state, with the room that its server has. Raises LookupError before the first history."""
        head = self._head
        if head is None:
            raise LookupError
        return LogState(
            self.history,
            head.first,
            head.events,
            head.size_bytes,
            self._window_seconds(head, now_ms),
            size_bytes_max,
        )

    def _window_seconds(self, head: Head, now_ms: int) -> float:
        cut_ms = max(head.cut_ms, position_milliseconds(head.trimmed_through))
        return min(float(self._window.seconds), max(now_ms - cut_ms, 0) / 1000)
