"""When a receiver that only fails is left alone for a while. Pure; the caller tells the time.

Rule 1: so many failures in a row open it; for a time that doubles each time nothing is sent.
Rule 2: then one request is sent: a success closes it, a failure opens it again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from waooaw.events.push_state import BreakerState

FAILURES_MAX: Final = 10
"""In a row, as Convoy: fewer would be chance where a tenth of all requests fails (one series in 10,000,000,000)."""

OPEN_SECONDS: Final = (5.0, 60.0)
"""The first time, and the longest: a receiver that is restarted is tried soon, one that is down not in a circle."""


class Breaker:
    """Of one receiver at one replica. Times are monotonic, in seconds."""

    __slots__ = ("_failures", "_opened", "_until")

    def __init__(self) -> None:
        self._failures = 0
        self._opened = 0
        self._until = 0.0

    def state(self, now: float) -> BreakerState:
        """Return its state at a time."""
        if not self._opened:
            return "closed"
        return "open" if now < self._until else "half_open"

    @property
    def until(self) -> float:
        """When it half-opens, or did so; of no meaning while it is closed."""
        return self._until

    def succeed(self) -> bool:
        """Take a success; return whether that closed it."""
        was_open = self._opened > 0
        self._failures = self._opened = 0
        return was_open

    def fail(self, now: float) -> bool:
        """Take a failure; return whether that opened it. One that began before it opened changes nothing."""
        if self.state(now) == "open":
            return False
        self._failures += 1
        if not self._opened and self._failures < FAILURES_MAX:
            return False
        first, longest = OPEN_SECONDS
        self._until = now + min(first * 2.0 ** min(self._opened, 10), longest)
        self._opened += 1
        return True

    def reset(self) -> None:
        """Forget what was: the receiver is another one."""
        self._failures = self._opened = 0
