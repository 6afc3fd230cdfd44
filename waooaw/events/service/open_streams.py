"""Every stream that is open: pinged now and then, moved on when old, told when the service goes."""

from __future__ import annotations

import asyncio
import contextlib
from heapq import nsmallest
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from waooaw.events.bus.event_bus import EventBus
    from waooaw.events.bus.stream import Stream

TICKS_A_PING: Final = 15
"""Pings are spread over so many steps, so that ten thousand idle streams do not all write in one tick."""

AGE_SPREAD: Final = 0.2
"""Connections live 80 to 120 % of their age: those that came together do not leave together."""


def spread_age(random: Random, age_seconds: float) -> float:
    """Return how long one connection may live; for ever where there is no age."""
    return age_seconds * random.uniform(1 - AGE_SPREAD, 1 + AGE_SPREAD) if age_seconds else float("inf")


class OpenStream(Protocol):
    """One socket that may carry a stream."""

    @property
    def bus(self) -> EventBus:
        """The bus that it is of."""
        ...

    @property
    def stream(self) -> Stream[Any] | None:
        """The stream, if there is one."""
        ...

    def ping(self) -> None:
        """Write a sign of life with the cursor reached."""
        ...

    def leave(self, retry_after_seconds: float) -> None:
        """Tell the cursor and when to come back, and begin to close."""
        ...


class OpenStreams:
    """The open streams of one service."""

    def __init__(self, random: Random, *, ping_seconds: float, age_seconds: float) -> None:
        self._random = random
        self._ping_seconds = ping_seconds
        self._age_seconds = age_seconds
        self._slots: tuple[dict[OpenStream, float], ...] = tuple({} for _ in range(TICKS_A_PING))
        self._next = 0
        self._told: set[OpenStream] = set()
        self._empty: asyncio.Event | None = None

    def add(self, opened: OpenStream) -> None:
        """Count a stream in."""
        now = asyncio.get_running_loop().time()
        self._slots[self._next][opened] = now + spread_age(self._random, self._age_seconds)
        self._next = (self._next + 1) % TICKS_A_PING

    def remove(self, opened: OpenStream) -> None:
        """Count a stream out."""
        for slot in self._slots:
            if slot.pop(opened, None) is not None:
                break
        self._told.discard(opened)
        if self._empty is not None and not len(self):
            self._empty.set()

    def __iter__(self) -> Iterator[OpenStream]:
        """Return every open stream."""
        return (opened for slot in self._slots for opened in tuple(slot))

    def __len__(self) -> int:
        """Return how many are open."""
        return sum(len(slot) for slot in self._slots)

    @property
    def staying(self) -> int:
        """How many are open and were not asked to move."""
        return len(self) - len(self._told)

    def shed(self, count: int) -> None:
        """Ask the oldest streams to move on, as their age would have done next."""
        staying = [
            (until, number, opened)
            for number, (opened, until) in enumerate(item for slot in self._slots for item in slot.items())
            if opened not in self._told
        ]
        for _, _, opened in nsmallest(count, staying):
            self._tell(opened)

    def _tell(self, opened: OpenStream) -> None:
        self._told.add(opened)
        opened.leave(self.retry_seconds())

    async def watch(self) -> None:
        """Ping each stream in its turn, and ask old ones to move, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            for slot in self._slots:
                await asyncio.sleep(self._ping_seconds / TICKS_A_PING)
                now = loop.time()
                for opened, until in tuple(slot.items()):
                    if opened in self._told:
                        continue
                    if now >= until:
                        self._tell(opened)
                    else:
                        opened.ping()

    async def left(self, seconds: float) -> None:
        """Return once none is open, or after some seconds."""
        self._empty = asyncio.Event()
        if len(self):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), seconds)

    def leave_all(self) -> None:
        """Tell every stream that the service goes."""
        for opened in self:
            if opened not in self._told:
                self._tell(opened)

    def retry_seconds(self) -> float:
        """Return when a stream may come back: spread out, so that a herd does not return in one tick."""
        return round(self._random.uniform(2.0, 5.0), 3)
