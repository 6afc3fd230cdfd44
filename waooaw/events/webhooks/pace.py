"""How fast requests follow each other: the generic cell rate algorithm (ITU-T I.371). Pure; the caller tells the time.

Beside the rate it lets through what `TOLERANCE_SECONDS` of it are, so that timers that come late cost no throughput.
"""

from __future__ import annotations

from typing import Final

TOLERANCE_SECONDS: Final = 0.02


class Pace:
    """A rate of requests a second (None: any). Times are monotonic, in seconds."""

    __slots__ = ("_due", "_rate")

    def __init__(self) -> None:
        self._rate: float | None = None
        self._due = 0.0

    def set_rate(self, rate: float | None) -> None:
        """Go by another rate from now on."""
        self._rate = rate

    def wait_seconds(self, now: float) -> float:
        """Return how long the next request has to wait; 0 or less: not at all."""
        return 0.0 if self._rate is None else self._due - TOLERANCE_SECONDS - now

    def take(self, now: float) -> None:
        """Count a request that begins."""
        if self._rate is not None:
            self._due = max(self._due, now) + 1 / self._rate
