"""Publishers and readers for rates at which nobody keeps events: whole numbers in order, checked as they come.

A publisher sends its next batch only when every event of the last one is accepted, so the log holds its numbers in
order and without a hole, and so must each reader see them: the next one is always the last one plus one.
"""

from __future__ import annotations

import asyncio
import re
import time
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from bench.websocket import client_frame, next_frame
from tests.fault.publishers import EVENTS_PATH, LINES
from tests.fault.redis.load import ANSWER_SECONDS_MAX, COME_BACK_SECONDS
from tests.fault.sockets import HOST, PING, PONG, TEXT, HttpLink, Link, SocketLink

BATCH_EVENTS: Final = 100
ID_DIGITS: Final = 9
_ID: Final = re.compile(rb'"id":"([a-z])(\d{%d})"' % ID_DIGITS)
_CURSOR: Final = re.compile(rb"^id: (\S+)$", re.MULTILINE)
_POSITION: Final = re.compile(rb'"position":"(\d+-\d+)"')
_GAP: Final = re.compile(rb'event: gap|"op":"gap"')


class SequencePublisher:
    """Publishes events, each with the next number as its id, at a rate and whatever is broken meanwhile.

    ``bodies`` are events without an id, taken in turn.
    """

    def __init__(self, port: int, name: str, bodies: Sequence[bytes], rate: float) -> None:
        self.name = name
        self.accepted = 0
        self.repeated = 0
        """Batches that had to be sent more than once."""
        self.silence_seconds = 0.0
        """The longest time between two batches that were accepted."""
        self._port = port
        self._bodies = [b"," + body[1:] for body in bodies]
        self._interval = BATCH_EVENTS / rate
        self._batch: bytes | None = None

    async def run(self, go_on: Callable[[], bool]) -> None:
        """Publish until told to end, and until the last batch is accepted."""
        due = last = time.monotonic()
        while go_on() or self._batch is not None:
            try:
                async with HttpLink(self._port) as link:
                    while go_on() or self._batch is not None:
                        await asyncio.sleep(due - time.monotonic())
                        if await self._publish(link):
                            due += self._interval
                            now = time.monotonic()
                            self.silence_seconds = max(self.silence_seconds, now - last)
                            last = now
            except ConnectionError:
                await asyncio.sleep(COME_BACK_SECONDS)

    async def _publish(self, link: HttpLink) -> bool:
        if self._batch is None:
            self._batch = self._next_batch()
        else:
            self.repeated += 1
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            answer = await link.request("POST", EVENTS_PATH, self._batch, LINES)
        if answer.status != 200:
            assert answer.status in {207, 503}, answer
            return False
        self._batch = None
        self.accepted += BATCH_EVENTS
        return True

    def _next_batch(self) -> bytes:
        numbers = range(self.accepted, self.accepted + BATCH_EVENTS)
        bodies, name = self._bodies, self.name.encode()
        return b"\n".join(
            [b'{"id":"%b%0*d"%b' % (name, ID_DIGITS, number, bodies[number % len(bodies)]) for number in numbers]
        )


class SequenceReader:
    """Reads a whole bus from its beginning, comes back where its connection ends, and checks each number."""

    def __init__(self, port: int) -> None:
        self.next_numbers: Counter[str] = Counter()
        """By publisher: how many of its events came, each once and in order."""
        self.faults: list[str] = []
        self.connections = 0
        self._port = port
        self._place = "earliest"

    @property
    def seen(self) -> int:
        """How many events came."""
        return self.next_numbers.total()

    async def run(self, go_on: Callable[[], bool]) -> None:
        """Read until told to end."""
        while go_on():
            try:
                await self._read(go_on)
            except ConnectionError:
                await asyncio.sleep(COME_BACK_SECONDS)

    @abstractmethod
    async def _read(self, go_on: Callable[[], bool]) -> None:
        """Read one connection from ``_place``; raises `ConnectionError` at its end."""

    def _take(self, text: bytes, *, is_again: bool = False) -> None:
        """Check the numbers in a text; with ``is_again`` the first one is the last one of the connection before."""
        if _GAP.search(text):
            self.faults.append(f"a gap after {dict(self.next_numbers)}: {_around(text, _GAP)!r}")
        for name, digits in _ID.findall(text)[is_again:]:
            publisher, number = name.decode(), int(digits)
            expected = self.next_numbers[publisher]
            if number != expected:
                self.faults.append(f"{publisher}: {number} came where {expected} was next")
            self.next_numbers[publisher] = number + 1


class SseSequenceReader(SequenceReader):
    """Over server-sent events: each event is a cursor to come back with."""

    async def _read(self, go_on: Callable[[], bool]) -> None:
        async with Link(self._port) as link:
            is_cursor = self._place != "earliest"
            query, header = ("", f"Last-Event-ID: {self._place}\r\n") if is_cursor else ("&from=earliest", "")
            target = f"/v1/stream?pattern=*{query}"
            await link.send(f"GET {target} HTTP/1.1\r\nHost: {HOST}:{self._port}\r\n{header}\r\n".encode())
            status, _ = await link.head()
            assert status == 200
            self.connections += 1
            text = b""
            while go_on():
                size = int(await link.line(), 16)
                if size == 0:
                    raise ConnectionResetError("the response ends")
                text += (await link.exactly(size + 2))[:-2]
                whole, _, text = text.rpartition(b"\n\n")
                self._take(whole)
                if cursors := _CURSOR.findall(whole):
                    self._place = cursors[-1].decode()


class SocketSequenceReader(SequenceReader):
    """Over WebSocket: events carry positions; it comes back to the last one, which then comes again."""

    async def _read(self, go_on: Callable[[], bool]) -> None:
        async with SocketLink(self._port) as link:
            await link.open()
            operation = {"op": "stream", "id": "s", "patterns": ["*"], "from": self._place}
            await link.say(msgspec.json.encode(operation))
            answer: dict[str, Any] = await link.message()
            if answer["op"] != "result":
                raise ConnectionResetError(str(answer))
            self.connections += 1
            is_again = self._place != "earliest"
            received = link.unread()
            while go_on():
                events, received = await _events(link, received)
                self._take(events, is_again=is_again and b'"op":"event"' in events)
                if positions := _POSITION.findall(events):
                    is_again = False
                    self._place = positions[-1].decode()
                received += await link.some()


async def _events(link: SocketLink, received: bytes) -> tuple[bytes, bytes]:
    """Return the texts of the frames that are whole, joined, and the rest; pings are answered."""
    texts, start = [], 0
    while (frame := next_frame(received, start)) is not None:
        payload = received[frame.payload : frame.end]
        start = frame.end
        if frame.opcode == TEXT:
            texts.append(payload)
        elif frame.opcode == PING:
            await link.send(client_frame(PONG, payload))
        else:
            raise ConnectionResetError(f"the service closes: {payload!r}")
    return b"\n".join(texts), received[start:]


def _around(text: bytes, pattern: re.Pattern[bytes]) -> bytes:
    found = pattern.search(text)
    assert found is not None
    return text[max(0, found.start() - 50) : found.end() + 200]
