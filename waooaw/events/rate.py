"""How many in the last minute: a ring of one-second slots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

WINDOW_SECONDS: Final = 60
"""What ``throughput`` in the metrics looks back over; also the size of the ring."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What happened in the window: the count, and its mean a second and a minute."""

    count: int
    per_second: float
    per_minute: float


class SlidingCounter:
    """Counts what happened in the current second and the 59 before it. Not safe across threads.

    ``now`` is monotonic time in seconds; one that runs back counts into the newest second. Every call takes constant
    time: a slot is emptied when its second comes round again.
    """

    __slots__ = ("_count", "_second", "_slots")

    def __init__(self) -> None:
        self._slots = [0] * WINDOW_SECONDS
        self._second = 0
        self._count = 0

    def add(self, now: float, count: int = 1) -> None:
        """Count ``count`` things that happen at ``now``."""
        self._advance(now)
        self._slots[self._second % WINDOW_SECONDS] += count
        self._count += count

    def count(self, now: float) -> int:
        """How many in the window that ends at ``now``."""
        self._advance(now)
        return self._count

    def rate(self, now: float) -> Rate:
        """How many in the window, and what that is a second and a minute, a young counter's empty seconds included."""
        count = self.count(now)
        return Rate(count, count / WINDOW_SECONDS, count * 60 / WINDOW_SECONDS)

    def _advance(self, now: float) -> None:
        second = int(now)
        if second <= self._second:
            return
        for passed in range(max(self._second + 1, second - WINDOW_SECONDS + 1), second + 1):
            self._count -= self._slots[passed % WINDOW_SECONDS]
            self._slots[passed % WINDOW_SECONDS] = 0
        self._second = second
