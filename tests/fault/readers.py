"""Readers of streams that keep all they got, connection by connection, for the checker."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import msgspec

from tests.fault.checker import Item, Reached, Received, Told
from tests.fault.sockets import HOST, Link, SocketLink
from tests.fault.traffic import key_of
from waooaw.events.cursor import decode_cursor
from waooaw.events.position import is_position, parse_position

BUS: Final = "default"
NAMES: Final = frozenset({"earliest", "now"})
STREAM_ID: Final = "s"
MESSAGE_SECONDS_MAX: Final = 20.0


def place_of(cursor: str) -> int:
    """Return the position in a cursor: everything at or before it was seen."""
    return decode_cursor(BUS, cursor).position


@dataclass(slots=True)
class Session:
    """One connection: after which position it had to begin, and what came, in order."""

    pattern: str
    start: int
    items: list[Item] = field(default_factory=list)
    delivered: int = 0
    cursors: list[str] = field(default_factory=list)
    """Every cursor that it heard: the last one is what its client resumes from."""

    @property
    def gaps(self) -> list[Told]:
        """The gaps that it was told."""
        return [item for item in self.items if isinstance(item, Told)]

    def note_gap(self, gap: dict[str, Any]) -> None:
        """Note a gap, which is a cursor too."""
        self.items.append(Told(place_of(gap["from"]), place_of(gap["to"]), gap["reason"]))
        self.cursors.append(gap["to"])

    def note_cursor(self, cursor: str) -> None:
        """Note that everything up to a cursor was delivered."""
        self.items.append(Reached(place_of(cursor)))
        self.cursors.append(cursor)


def opened(pattern: str, place: str, cursor: str) -> Session:
    """Return the session of a stream that was asked for a place and began with a cursor.

    Where the place itself says where that is, it counts, not what the service made of it.
    """
    if place in NAMES:
        start = place_of(cursor)
    elif is_position(place):
        start = parse_position(place) - 1
    else:
        start = place_of(place)
    return Session(pattern, start, [Reached(place_of(cursor))], cursors=[cursor])


class Reader(Link):
    """One connection of a stream. `begin` opens the stream, `step` takes what comes next."""

    session: Session

    @abstractmethod
    async def begin(self, pattern: str, place: str) -> None:
        """Open the stream from a place: ``earliest``, ``now``, a position, a cursor."""

    @abstractmethod
    async def step(self) -> None:
        """Wait for more and note it. Raises `ConnectionError` where the connection ends."""

    async def until_delivered(self, count: int) -> None:
        """Take until so many events were delivered over this connection."""
        while self.session.delivered < count:
            await self._step_in_time()

    async def until_position(self, position: int) -> None:
        """Take until an event or a cursor at or behind a position came."""
        while self.last_position < position:
            await self._step_in_time()

    async def until_gap(self) -> None:
        """Take until a gap was told."""
        while not self.session.gaps:
            await self._step_in_time()

    async def _step_in_time(self) -> None:
        async with asyncio.timeout(MESSAGE_SECONDS_MAX):
            await self.step()

    @property
    def last_position(self) -> int:
        """How far the connection has come."""
        for item in reversed(self.session.items):
            return item.end if isinstance(item, Told) else item.position
        return self.session.start


class SocketReader(SocketLink, Reader):
    """A stream over WebSocket. Its events carry positions; cursors come now and then, and when it is stopped."""

    async def begin(self, pattern: str, place: str) -> None:
        """See Reader."""
        await self.open()
        operation = {"op": "stream", "id": STREAM_ID, "patterns": [pattern], "from": place}
        await self.say(msgspec.json.encode(operation))
        answer = await self.message()
        assert answer["op"] == "result", answer
        self.session = opened(pattern, place, answer["result"]["cursor"])

    async def step(self) -> None:
        """See Reader."""
        message = await self.message()
        match message["op"]:
            case "event":
                self.session.items.append(Received(parse_position(message["position"]), key_of(message["event"])))
                self.session.delivered += 1
            case "cursor":
                self.session.note_cursor(message["cursor"])
            case "gap":
                self.session.note_gap(message)
            case "result":
                self.session.note_cursor(message["result"]["cursor"])
            case other:
                raise ConnectionResetError(f"{other}: {message}")

    async def stop(self) -> None:
        """Stop the stream, and take what was under way: the last cursor is exactly where it ended."""
        await self.say(msgspec.json.encode({"op": "stop", "id": STREAM_ID}))
        told = len(self.session.cursors)
        while len(self.session.cursors) == told or not isinstance(self.session.items[-1], Reached):
            await self._step_in_time()


class SseReader(Reader):
    """A stream over server-sent events, in chunks of HTTP/1.1. Each event's id is a cursor."""

    async def begin(self, pattern: str, place: str) -> None:
        """See Reader; a cursor goes into ``Last-Event-ID``, as a browser sends it when it comes back."""
        self._text = b""
        is_cursor = place not in NAMES and not is_position(place)
        query, header = ("", f"Last-Event-ID: {place}\r\n") if is_cursor else (f"&from={place}", "")
        target = f"/v1/stream?pattern={quote(pattern)}{query}"
        await self.send(f"GET {target} HTTP/1.1\r\nHost: {HOST}:{self.port}\r\n{header}\r\n".encode())
        status, headers = await self.head()
        assert (status, headers.get("transfer-encoding")) == (200, "chunked"), (status, headers)
        lines = _fields(await self._block())
        assert {"retry", "id"} == set(lines), lines
        self.session = opened(pattern, place, lines["id"])

    async def step(self) -> None:
        """See Reader."""
        block = await self._block()
        lines = _fields(block)
        if lines.get("event") == "gap":
            gap = msgspec.json.decode(lines["data"])
            assert gap["to"] == lines["id"]
            self.session.note_gap(gap)
        elif "data" in lines:
            event = msgspec.json.decode(lines["data"])
            self.session.items.append(Received(place_of(lines["id"]), key_of(event)))
            self.session.cursors.append(lines["id"])
            self.session.delivered += 1
        elif block.startswith(b": ping"):
            self.session.note_cursor(lines["id"])
        else:
            raise ConnectionResetError(f"the stream ends: {block!r}")

    async def _block(self) -> bytes:
        """Return the text up to the next empty line."""
        while True:
            block, found, rest = self._text.partition(b"\n\n")
            if found:
                self._text = rest
                return block
            self._text += await self._chunk()

    async def _chunk(self) -> bytes:
        size = int(await self.line(), 16)
        if size == 0:
            raise ConnectionResetError("the response ends")
        return (await self.exactly(size + 2))[:-2]


def _fields(block: bytes) -> dict[str, str]:
    lines = (line.partition(": ") for line in block.decode().split("\n") if not line.startswith(":"))
    return {name: value for name, _, value in lines}
