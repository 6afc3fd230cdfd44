"""Publishers that never give up, and readers that always come back: what a bus has to do with while Redis fails."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator
from typing import Final

from tests.fault.checker import Item, Received, Told
from tests.fault.history import History
from tests.fault.publishers import EVENTS_PATH, LINES, Source
from tests.fault.readers import Reader, Session
from tests.fault.sockets import HttpLink
from tests.fault.traffic import settle_all

ANSWER_SECONDS_MAX: Final = 15.0
"""Far above what a publish may wait: a service that does not answer at all is found here."""

PAUSE_SECONDS: Final = 0.005
"""Between two requests of one publisher: a load, not a measurement."""

COME_BACK_SECONDS: Final = 0.02


class SteadyPublisher:
    """Publishes batches of one source through refusals and broken connections.

    What is unknown is sent again before anything else, so that the source stays in order; what was refused is not, so
    that a refusal that was none is found.
    """

    def __init__(self, port: int, source: Source, history: History, batch_events: int, path: str = EVENTS_PATH) -> None:
        self._port = port
        self._path = path
        self._source = source
        self._history = history
        self._batch_events = batch_events

    async def run(self, go_on: Callable[[], bool]) -> None:
        """Publish while told to, and until nothing is unknown."""

        def has_work() -> bool:
            return go_on() or self._source.has_repeats()

        while has_work():
            try:
                async with HttpLink(self._port) as link:
                    while has_work():
                        await self._publish(link)
                        await asyncio.sleep(PAUSE_SECONDS)
            except ConnectionError:
                await asyncio.sleep(COME_BACK_SECONDS)

    async def _publish(self, link: HttpLink) -> None:
        events = [self._source.take() for _ in range(self._batch_events)]
        keys = [key for key, _ in events]
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                answer = await link.request("POST", self._path, b"\n".join([body for _, body in events]), LINES)
        except ConnectionError:
            for key in keys:
                self._history.lose(key, "connection lost")
            raise
        else:
            settle_all(self._history, keys, answer.json)
        finally:
            self._source.repeat(keys)


class Follower:
    """A reader from the beginning on, which comes back with its cursor whenever its connection ends."""

    def __init__(self, port: int, kind: type[Reader], place: str = "earliest") -> None:
        self.kind = kind
        self.sessions: list[Session] = []
        self._port = port
        self._place = place
        self._goal: int | None = None

    @property
    def gaps(self) -> list[Told]:
        """The gaps that it was told, over all its connections."""
        return [gap for session in self.sessions for gap in session.gaps]

    @property
    def delivered(self) -> int:
        """How many events came over all its connections."""
        return sum(session.delivered for session in self.sessions)

    @property
    def received(self) -> list[Received]:
        """The events that came over all its connections, in order."""
        return [item for item in self.items if isinstance(item, Received)]

    def end_at(self, position: int) -> None:
        """Have `run` return once a position is reached."""
        self._goal = position

    async def run(self) -> None:
        """Read until `end_at` says otherwise."""
        while not self._is_done():
            try:
                async with self.kind(self._port) as reader:
                    await reader.begin("*", self._place)
                    self.sessions.append(reader.session)
                    while not self._is_done():
                        await reader.step()
                        self._place = reader.session.cursors[-1]
            except ConnectionError:
                await asyncio.sleep(COME_BACK_SECONDS)

    def _is_done(self) -> bool:
        return self._goal is not None and bool(self.sessions) and self._last() >= self._goal

    def _last(self) -> int:
        item = self.sessions[-1].items[-1]
        return item.end if isinstance(item, Told) else item.position

    @property
    def items(self) -> Iterator[Item]:
        """All that came, over all its connections."""
        return itertools.chain.from_iterable(session.items for session in self.sessions)
