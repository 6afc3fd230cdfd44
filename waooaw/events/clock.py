"""Where time comes from; injected, so that tests move it by hand. Nothing else of the package reads a clock."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time. Safe to call from any thread."""

    def now_ms(self) -> int:
        """Wall time: Unix milliseconds, floored. May jump, also back: never measure with it."""
        ...

    def now(self) -> float:
        """Wall time in Unix seconds, as fine as the machine has it. May jump like ``now_ms``."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start, never running back: for durations and time-outs."""
        ...


class SystemClock:
    """The machine's clocks."""

    __slots__ = ()

    def now_ms(self) -> int:
        """See Clock."""
        return time.time_ns() // 1_000_000

    def now(self) -> float:
        """See Clock."""
        return time.time()

    def monotonic(self) -> float:
        """See Clock."""
        return time.monotonic()


_: type[Clock] = SystemClock
