"""The last attempts at one receiver: kept by the engine for all replicas, written now and then.

Rule 1: a request waits for nothing here. What was attempted is written within half a second, the last hundred of it: a
fast receiver costs one small write in that time.
Rule 2: a store that is away costs attempts, the oldest first, and nothing else: they are for people.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from waooaw.events.errors import NotFoundError
from waooaw.events.outages import UnavailableError
from waooaw.events.push_state import ATTEMPTS_KEPT, Attempt

if TYPE_CHECKING:
    from collections.abc import Callable

    from waooaw.events.engine.contract import Engine

WRITE_SECONDS: Final = 0.5

_decode = msgspec.json.Decoder(Attempt).decode
_encode = msgspec.json.Encoder().encode


class AttemptLog:
    """Of one subscription, written by one replica and read for all."""

    def __init__(self, engine: Engine, bus: str, incarnation: str) -> None:
        self._engine = engine
        self._bus = bus
        self._incarnation = incarnation
        self._waiting: deque[Callable[[], Attempt]] = deque(maxlen=ATTEMPTS_KEPT)
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None

    def add(self, build: Callable[[], Attempt]) -> None:
        """Note an attempt, which is built only if it is kept."""
        self._waiting.append(build)
        if self._timer is None and self._writing is None:
            self._timer = asyncio.get_running_loop().call_later(WRITE_SECONDS, self._begin)

    def _begin(self) -> None:
        self._timer = None
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write(), name="write attempts")

    async def _write(self) -> None:
        attempts = [build() for build in self._waiting]
        self._waiting.clear()
        try:
            if attempts:
                encoded = [_encode(attempt) for attempt in attempts]
                await self._engine.add_push_attempts(self._bus, self._incarnation, encoded, kept=ATTEMPTS_KEPT)
        except UnavailableError:
            for attempt in reversed(attempts[len(self._waiting) :]):
                self._waiting.appendleft(partial(_same, attempt))
        except NotFoundError:
            self._waiting.clear()
        finally:
            self._writing = None
            if self._waiting and self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(WRITE_SECONDS, self._begin)

    async def flush(self) -> None:
        """Return when what was noted before the call is written, or could not be."""
        if self._writing is not None:
            await asyncio.shield(self._writing)
        if self._waiting:
            self._cancel_timer()
            self._begin()
            if self._writing is not None:
                await asyncio.shield(self._writing)

    async def read(self) -> list[Attempt]:
        """Return the attempts of all replicas, newest first; raises `NotFoundError`, and `UnavailableError` kinds."""
        await self.flush()
        attempts: list[Attempt] = []
        for text in await self._engine.push_attempts(self._bus, self._incarnation):
            try:
                attempts.append(_decode(text))
            except msgspec.DecodeError:  # of a later release, and one of many
                continue
        return sorted(attempts, key=lambda attempt: attempt.time_ms, reverse=True)

    async def close(self) -> None:
        """Write what is left."""
        await self.flush()
        self._cancel_timer()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _same(attempt: Attempt) -> Attempt:
    return attempt
