"""Publishers that write down each event before they send it and each answer when it comes.

Each has a source of its own, begins with what its source does not know the fate of, and ends when it is told to or
when its connection breaks, whichever comes first.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from tests.fault.history import History, Key
from tests.fault.sockets import HttpLink, SocketLink
from tests.fault.traffic import content, event_json, settle, settle_all

EVENTS_PATH: Final = "/v1/events"
STRUCTURED: Final = "application/cloudevents+json"
LINES: Final = "application/x-ndjson"
BROKEN: Final = "connection lost"
BATCH_EVENTS: Final = 20
WINDOW_EVENTS: Final = 16
"""Publishes that a WebSocket publisher has under way at once."""


class Source:
    """Where a publisher gets its events: first those to send again, then new ones. It outlives its publishers."""

    def __init__(self, name: str, history: History, content_bytes: int = 64) -> None:
        self.name = name
        self._history = history
        self._content_bytes = content_bytes
        self._numbers = itertools.count()
        self._again: deque[Key] = deque()

    def resume(self) -> None:
        """Send again what is unknown, before anything new."""
        self._again = deque(self._history.unresolved(self.name))

    def repeat(self, keys: Sequence[Key]) -> None:
        """Send again, before anything else, what is unknown of these."""
        operations = self._history.operations
        self._again.extendleft(key for key in reversed(keys) if operations[key].unresolved)

    def has_repeats(self) -> bool:
        """Whether something is left to send again."""
        return bool(self._again)

    def take(self) -> tuple[Key, bytes]:
        """Return the next event, written down as begun."""
        key = self._again.popleft() if self._again else Key(self.name, next(self._numbers))
        text = content(key, self._content_bytes)
        self._history.begin(key, text)
        return key, event_json(key, text)


class Publisher(ABC):
    """One connection that publishes the events of one source."""

    def __init__(self, port: int, source: Source, history: History) -> None:
        self._port = port
        self._source = source
        self._history = history

    @abstractmethod
    async def run(self, go_on: Callable[[], bool]) -> None:
        """Publish while ``go_on`` says so, and until the connection breaks. Leaves no operation open."""


class SinglePublisher(Publisher):
    """One event a request, in structured form."""

    async def run(self, go_on: Callable[[], bool]) -> None:
        """See Publisher."""
        async with HttpLink(self._port) as link:
            while go_on():
                key, body = self._source.take()
                try:
                    answer = await link.request("POST", EVENTS_PATH, body, STRUCTURED)
                except ConnectionError:
                    self._history.lose(key, BROKEN)
                    return
                settle(self._history, key, answer.json)


class BatchPublisher(Publisher):
    """Some events a request, as lines."""

    async def run(self, go_on: Callable[[], bool]) -> None:
        """See Publisher."""
        async with HttpLink(self._port) as link:
            while go_on():
                if not await publish_lines(link, [self._source.take() for _ in range(BATCH_EVENTS)], self._history):
                    return


async def publish_lines(link: HttpLink, events: Sequence[tuple[Key, bytes]], history: History) -> bool:
    """Publish a batch; tell whether it was answered."""
    keys = [key for key, _ in events]
    try:
        answer = await link.request("POST", EVENTS_PATH, b"\n".join([body for _, body in events]), LINES)
    except ConnectionError:
        for key in keys:
            history.lose(key, BROKEN)
        return False
    settle_all(history, keys, answer.json)
    return True


class SocketPublisher(Publisher):
    """A WebSocket with several publishes under way, answered in any order."""

    async def run(self, go_on: Callable[[], bool]) -> None:
        """See Publisher."""
        waiting: dict[str, Key] = {}
        async with SocketLink(self._port) as link:
            try:
                await link.open()
                while go_on() or waiting:
                    while go_on() and len(waiting) < WINDOW_EVENTS:
                        key, body = self._source.take()
                        waiting[key.id] = key
                        operation = {"op": "publish", "id": key.id, "event": msgspec.Raw(body)}
                        await link.say(msgspec.json.encode(operation))
                    message = await link.message()
                    settle(self._history, waiting.pop(message["id"]), message.get("result") or message["error"])
            except ConnectionError:
                for key in waiting.values():
                    self._history.lose(key, BROKEN)


class PacedPublisher:
    """Publishes batches at a fixed rate, whatever the answers take: an open loop.

    A batch that the answer before it held up is sent at once and counts from when it was due. ``due`` gets that time
    (monotonic) for each event.
    """

    def __init__(
        self,
        port: int,
        source: Source,
        history: History,
        *,
        rate: float,
        batch_events: int,
        due: list[float] | None = None,
    ) -> None:
        self._port = port
        self._source = source
        self._history = history
        self._interval = batch_events / rate
        self._batch_events = batch_events
        self._due = due

    async def run(self, go_on: Callable[[], bool]) -> None:
        """Publish until told to end."""
        async with HttpLink(self._port) as link:
            due = time.monotonic()
            while go_on():
                await asyncio.sleep(due - time.monotonic())
                events = [self._source.take() for _ in range(self._batch_events)]
                if self._due is not None:
                    self._due += [due] * len(events)
                if not await publish_lines(link, events, self._history):
                    raise ConnectionResetError("the service closed a publisher's connection")
                due += self._interval
