"""How often a replica tries to connect: at once while that works, at most ten times a second while it does not."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from random import Random

PAUSE_SECONDS: Final = (0.1, 0.3)
"""Between two tries after a failure: the lower end is the bound of ten a second for all buses of a replica together,
the spread keeps replicas that lost the same server from coming back in step.
"""


class Pace:
    """Gives out turns, shared by everything in one process that connects to one Redis."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._next = 0.0
        self._failing = False
        self._working = asyncio.Event()

    async def turn(self) -> None:
        """Return when the caller may try: at its turn, or at once when another one's try succeeds."""
        delay_seconds = self.take_turn(asyncio.get_running_loop().time())
        if delay_seconds > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(delay_seconds):
                    await self._working.wait()

    def take_turn(self, now: float) -> float:
        """Take the next turn at a time in seconds; return how long to wait for it."""
        at = max(now, self._next)
        if self._failing:
            self._next = at + self._random.uniform(*PAUSE_SECONDS)
        return at - now

    def failed(self) -> None:
        """Slow down: the last try failed."""
        self._failing = True
        self._working.clear()

    def succeeded(self) -> None:
        """Go at once again."""
        self._failing = False
        self._next = 0.0
        self._working.set()
