"""When a failed delivery is tried again, and when no more: decided here, kept by the engines.

The wait is exponential with full jitter: a random time between zero and the bound of the attempt. Many deliveries that
failed together, as when a database was away, then come back spread out (Brooker, "Exponential Backoff And Jitter", AWS
Architecture Blog, 2015).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

DeadReason = Literal["max_attempts", "max_age", "rejected", "validation", "undeliverable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often a delivery is tried: ``max_attempts`` in all, each after a wait, none after ``max_age_seconds``.

    The age of a delivery counts from its first hand-out. A lapsed lease is a failure that has waited already.
    """

    max_attempts: int = 5
    first_seconds: float = 1.0
    factor: float = 2.0
    cap_seconds: float = 300.0
    max_age_seconds: float | None = None

    def bound_seconds(self, failures: int) -> float:
        """Return the longest wait after so many failures: first * factor ** (failures - 1), at most the cap.

        ``failures`` is 1 or more. No wait stays none, also where the power is beyond a double.
        """
        if self.first_seconds == 0:
            return 0.0
        try:
            grown = self.first_seconds * self.factor ** (failures - 1)
        except OverflowError:
            return self.cap_seconds
        return min(grown, self.cap_seconds)

    def exhausted(self, failures: int, age_seconds: float) -> DeadReason | None:
        """Tell why a delivery that failed so often is not tried again, or None where it is."""
        if failures >= self.max_attempts:
            return "max_attempts"
        if self.max_age_seconds is not None and age_seconds >= self.max_age_seconds:
            return "max_age"
        return None


DEFAULT_RETRY: Final = RetryPolicy()
"""For members that claim or connect: they are there, so what fails is mostly the event."""

PUSH_RETRY: Final = RetryPolicy(max_attempts=12, first_seconds=5.0, factor=3.0, cap_seconds=36_000.0)
"""For receivers that are called, where the policy says nothing else: a receiver may be away for a night.

The bounds are 5 s, 15 s, 45 s, 2 min, 7 min, 20 min, 1 h, 3 h, 9 h, 10 h, 10 h: 17 hours in the mean, as Svix' 27.
"""
