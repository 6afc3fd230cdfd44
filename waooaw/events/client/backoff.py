"""How long to wait before trying again, so that many clients do not come back together.

Full jitter (Amazon Architecture Blog, "Exponential Backoff And Jitter"): the wait is anywhere between nothing and a
bound that doubles, so a herd of clients spreads over the whole of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

WAIT_SECONDS_MIN: Final = 0.05
"""No chance is so small that a client tries more than twenty times a second."""

_DOUBLINGS_MAX: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Bounds of the waits: ``first_seconds``, then twice as long each time, up to ``cap_seconds``."""

    first_seconds: float
    cap_seconds: float

    def wait_seconds(self, failures: int, chance: float, *, at_least: float | None = None) -> float:
        """Return the wait after so many failures in a row (from 1), by a chance from 0 to 1.

        ``at_least`` is what the service asked for; it wins over the jitter.
        """
        bound = min(self.cap_seconds, self.first_seconds * 2.0 ** min(failures - 1, _DOUBLINGS_MAX))
        return max(chance * bound, at_least or 0.0, WAIT_SECONDS_MIN)
