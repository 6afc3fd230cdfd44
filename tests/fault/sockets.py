"""The clients' own HTTP and WebSocket over asyncio streams: what breaks is seen as it breaks, nothing is retried."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
from typing import Any, Final, NamedTuple, Self

import msgspec

from bench.websocket import client_frame, next_frame

HOST: Final = "127.0.0.1"
SUBPROTOCOL: Final = "wowevent.v1"
TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
_HEAD_END: Final = b"\r\n\r\n"
READ_BYTES: Final = 256 * 1024


class Answer(NamedTuple):
    """A response: its status, its headers by lower-case name, and its JSON."""

    status: int
    headers: dict[str, str]
    json: Any


def _parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = (line.partition(":") for line in lines if line)
    return int(first.split(" ", 2)[1]), {name.lower(): value.strip() for name, _, value in fields}


class Link:
    """One TCP connection. What breaks it is raised as `ConnectionError`, also where the service closes it.

    ``receive_bytes`` narrows its receive buffer, for a reader that is to be slow.
    """

    def __init__(self, port: int, *, receive_bytes: int | None = None) -> None:
        self.port = port
        self._receive_bytes = receive_bytes

    async def __aenter__(self) -> Self:
        """Connect."""
        connected = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            connected.settimeout(0)  # asyncio takes no blocking socket
            if self._receive_bytes is not None:
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_bytes)
            await asyncio.get_running_loop().sock_connect(connected, (HOST, self.port))
            self._reader, self._writer = await asyncio.open_connection(sock=connected, limit=READ_BYTES)
        except BaseException:
            connected.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Cut the connection at once, with a reset where something is under way."""
        self.abort()

    def abort(self) -> None:
        """Cut the connection; harmless where it is cut."""
        self._writer.transport.abort()

    async def send(self, data: bytes) -> None:
        """Send bytes."""
        self._writer.write(data)
        await self._writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        """Read the head of a response."""
        try:
            return _parse_head((await self._reader.readuntil(_HEAD_END))[: -len(_HEAD_END)])
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError("the service closed the connection") from error

    async def exactly(self, size: int) -> bytes:
        """Read so many bytes."""
        try:
            return await self._reader.readexactly(size)
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError("the service closed the connection") from error

    async def line(self) -> bytes:
        """Read a line, without its end."""
        try:
            return (await self._reader.readuntil(b"\r\n"))[:-2]
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError("the service closed the connection") from error

    async def some(self) -> bytes:
        """Read what there is, at least a byte."""
        data = await self._reader.read(READ_BYTES)
        if not data:
            raise ConnectionResetError("the service closed the connection")
        return data


class HttpLink(Link):
    """A keep-alive connection for requests, one at a time."""

    async def request(self, method: str, path: str, body: bytes = b"", content_type: str | None = None) -> Answer:
        """Send a request and read its whole response."""
        head = f"{method} {path} HTTP/1.1\r\nHost: {HOST}:{self.port}\r\nContent-Length: {len(body)}\r\n"
        if content_type is not None:
            head += f"Content-Type: {content_type}\r\n"
        await self.send(head.encode() + b"\r\n" + body)
        status, headers = await self.head()
        text = await self.exactly(int(headers["content-length"]))
        is_json = "json" in headers.get("content-type", "")
        return Answer(status, headers, msgspec.json.decode(text) if is_json else text.decode())


async def get(port: int, path: str) -> Answer:
    """Make one GET on a connection of its own."""
    async with HttpLink(port) as link:
        return await link.request("GET", path)


class SocketLink(Link):
    """A WebSocket of the subprotocol ``wowevent.v1``. Enter it, then `open` it."""

    def __init__(self, port: int, *, receive_bytes: int | None = None) -> None:
        super().__init__(port, receive_bytes=receive_bytes)
        self._received = b""
        self._start = 0

    async def open(self) -> None:
        """Make the handshake."""
        key = base64.b64encode(os.urandom(16)).decode()
        await self.send(
            f"GET /v1/ws HTTP/1.1\r\nHost: {HOST}:{self.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n".encode()
        )
        status, headers = await self.head()
        assert (status, headers.get("sec-websocket-protocol")) == (101, SUBPROTOCOL)

    async def say(self, payload: bytes) -> None:
        """Send one text message."""
        await self.send(client_frame(TEXT, payload))

    def unread(self) -> bytes:
        """Give up what was received behind the last message: from now on the caller reads frames by itself."""
        rest, self._received, self._start = self._received[self._start :], b"", 0
        return rest

    async def message(self) -> dict[str, Any]:
        """Return the next message; pings are answered. A close by the service is a `ConnectionError`."""
        while True:
            frame = next_frame(self._received, self._start)
            if frame is None:
                self._received = self._received[self._start :] + await self.some()
                self._start = 0
                continue
            payload = self._received[frame.payload : frame.end]
            self._start = frame.end
            if frame.opcode == TEXT:
                message: dict[str, Any] = msgspec.json.decode(payload)
                return message
            if frame.opcode == PING:
                await self.send(client_frame(PONG, payload))
            elif frame.opcode == CLOSE:
                raise ConnectionResetError(f"closed with {int.from_bytes(payload[:2], 'big')}")
