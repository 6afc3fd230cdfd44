"""Trying again while a service is away or busy, for a bounded time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from waooaw.events.client.backoff import Backoff
from waooaw.events.errors import WowEventError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random
    from typing import TypeVar

    from waooaw.events.clock import Clock

    Result = TypeVar("Result")

CALLS: Final = Backoff(first_seconds=0.2, cap_seconds=5.0)
"""A restart takes about a second; five seconds keep a thousand clients at 400 calls a second once it is back."""

CALL_SECONDS_MIN: Final = 1.0
"""The last try is given this long, however little patience is left: a shorter one could not succeed."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long calls go on trying, and the clock and the chance for it."""

    seconds: float
    clock: Clock
    chance: Random

    def begin(self) -> Trial:
        """Begin one call's tries."""
        return Trial(self)

    async def call(self, attempt: Callable[[float], Awaitable[Result]]) -> Result:
        """Return what an attempt returns, given its seconds; one that fails retryably is repeated."""
        trial = self.begin()
        while True:
            try:
                return await attempt(trial.seconds_left)
            except WowEventError as error:
                if not await trial.wait_after(error):
                    raise


class Trial:
    """The tries of one call."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._deadline = patience.clock.monotonic() + patience.seconds
        self._failures = 0

    @property
    def seconds_left(self) -> float:
        """How long the next try may take."""
        return max(self._deadline - self._patience.clock.monotonic(), CALL_SECONDS_MIN)

    async def wait_after(self, error: WowEventError) -> bool:
        """Wait before the next try and return True; False at once where a further try is no use or comes too late."""
        if not error.retryable:
            return False
        self._failures += 1
        wait_seconds = CALLS.wait_seconds(
            self._failures, self._patience.chance.random(), at_least=error.retry_after_seconds
        )
        if self._patience.clock.monotonic() + wait_seconds > self._deadline:
            return False
        await asyncio.sleep(wait_seconds)
        return True
