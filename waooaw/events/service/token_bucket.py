"""How much of something is let through: a rate, and a burst above it. Pure; the caller tells the time."""

from __future__ import annotations


class TokenBucket:
    """Holds up to ``burst`` tokens, full at first, and gets ``per_second`` new ones each second."""

    __slots__ = ("_burst", "_filled_at", "_per_second", "_tokens")

    def __init__(self, *, per_second: float, burst: int, now: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._tokens = float(burst)
        self._filled_at = now

    def take(self, count: int, now: float) -> bool:
        """Take some tokens at a monotonic time in seconds; False, and none is taken, where there are fewer."""
        passed_seconds = max(now - self._filled_at, 0.0)
        self._filled_at = max(now, self._filled_at)
        self._tokens = min(self._tokens + passed_seconds * self._per_second, self._burst)
        if count > self._tokens:
            return False
        self._tokens -= count
        return True
