"""A WebSocket client that does only what a measurement needs: open, stream one pattern, cut frames (RFC 6455)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from bench.errors import BenchError
from bench.server import HOST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.load import Watch
    from bench.server import Server

PATH: Final = "/v1/ws"
SUBPROTOCOL: Final = "wowevent.v1"
EVENT_PREFIX: Final = b'{"op":"event"'
_RESULT_PREFIX: Final = b'{"op":"result"'
_CURSOR_PREFIX: Final = b'{"op":"cursor"'

_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA
_FINAL: Final = 0x80
_MASKED: Final = 0x80
_LENGTH_16, _LENGTH_64 = 126, 127
_ACCEPT_SUFFIX: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455, section 1.3."""
_KEY: Final = base64.b64encode(os.urandom(16))
_ACCEPT: Final = base64.b64encode(hashlib.sha1(_KEY + _ACCEPT_SUFFIX, usedforsecurity=False).digest())
_HEAD_END: Final = b"\r\n\r\n"
_OPENING_AT_ONCE: Final = 100
"""Below the accept backlog of 128 that aiohttp listens with, so that no connection waits for a SYN to be sent again."""
_OPEN_SECONDS_MAX: Final = 30.0
_SHOWN_BYTES: Final = 600
_CONTROL: Final = 8
"""Opcodes from here on are control frames (RFC 6455 section 5.5)."""


class Frame(NamedTuple):
    """Where one whole frame lies in a buffer: from `start` to `end`, its payload from `payload` on."""

    opcode: int
    start: int
    payload: int
    end: int


def next_frame(data: bytes, start: int) -> Frame | None:
    """Return the frame that begins at `start`, or None while it is not complete. Raises BenchError for a fragment."""
    size = len(data) - start
    if size < 2:  # noqa: PLR2004 - the shortest header, RFC 6455 section 5.2
        return None
    first, length, payload = data[start], data[start + 1], start + 2
    if not first & _FINAL or length & _MASKED:
        raise BenchError(f"a fragmented or masked frame: {data[start : start + 16]!r}")
    if length >= _LENGTH_16:
        width = 2 if length == _LENGTH_16 else 8
        payload += width
        length = int.from_bytes(data[start + 2 : payload], "big")
    end = payload + length
    return Frame(first & 0x0F, start, payload, end) if end <= len(data) and payload <= len(data) else None


def client_frame(opcode: int, payload: bytes) -> bytes:
    """Return a frame as a client must send it: masked, here with zeros, which leave the payload as it is."""
    length = len(payload)
    if length < _LENGTH_16:
        head = bytes((_FINAL | opcode, _MASKED | length))
    else:
        head = bytes((_FINAL | opcode, _MASKED | _LENGTH_16)) + length.to_bytes(2, "big")
    return head + bytes(4) + payload


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """How a server is asked for a stream."""

    path: str = PATH
    subprotocol: str | None = SUBPROTOCOL
    request: bytes | None
    """The message that asks for it once the socket is open, answered by a result; None where opening is asking."""

    @classmethod
    def of(cls, pattern: str, path: str = PATH) -> Opening:
        """Return how the event bus is asked for what matches `pattern` from now on."""
        request = {"op": "stream", "id": "1", "patterns": [pattern], "from": "now"}
        return cls(path=path, request=json.dumps(request).encode())

    def handshake(self, server: Server) -> bytes:
        """Return the request that opens the socket."""
        subprotocol = "" if self.subprotocol is None else f"Sec-WebSocket-Protocol: {self.subprotocol}\r\n"
        text = (
            f"GET {self.path} HTTP/1.1\r\nHost: {server.host_header}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {_KEY.decode()}\r\nSec-WebSocket-Version: 13\r\n"
            f"{subprotocol}\r\n"
        )
        return text.encode()

    def check(self, head: bytes) -> None:
        """Raise BenchError unless the server accepted this key and the subprotocol."""
        fields = (line.partition(b":") for line in head.split(b"\r\n")[1:])
        lowered = {name.lower(): value.strip() for name, _, value in fields}
        subprotocol = None if self.subprotocol is None else self.subprotocol.encode()
        if lowered.get(b"sec-websocket-accept") != _ACCEPT or lowered.get(b"sec-websocket-protocol") != subprotocol:
            raise BenchError(f"a handshake of another key or subprotocol: {head!r}")


class Sink(Protocol):
    """What reads a socket once its stream is open."""

    def feed(self, socket: StreamSocket, data: bytes) -> None:
        """Take bytes as they came. Hands what is no event to `socket.other`. Raises BenchError for what is wrong."""


class StreamSocket(asyncio.Protocol):
    """One WebSocket that asks for a stream once the server has switched to it, then feeds a sink.

    `opened` is done when the stream runs, with BenchError where it was refused. What goes wrong later fails the watch.
    """

    def __init__(self, watch: Watch, sink: Sink, opening: Opening, handshake: bytes) -> None:
        """Store; `open_streams` connects. Needs a running loop."""
        self.opened: asyncio.Future[None] | None = asyncio.get_running_loop().create_future()
        self._watch = watch
        self._sink = sink
        self._opening = opening
        self._handshake = handshake
        self._received = b""
        self._closing = False
        self._transport: asyncio.WriteTransport | None = None
        self._on_data = self._switch

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the handshake."""
        self._transport = transport  # type: ignore[assignment]  # a TCP transport can be written to
        self._write(self._handshake)

    def data_received(self, data: bytes) -> None:
        """Go on with the handshake, the request or the stream, whichever it is at."""
        try:
            self._on_data(data)
        except BenchError as error:
            self._fail(str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the run unless it was closed from here."""
        if not self._closing:
            self._fail(f"a WebSocket ended: {exc!r}")

    def other(self, opcode: int, payload: bytes) -> None:
        """Take a frame that is no event: answer pings, pass cursors over. Raises BenchError for anything else."""
        if opcode == _PING:
            self._write(client_frame(_PONG, payload))
        elif opcode == _CLOSE:
            raise BenchError(f"the server closed a WebSocket with {int.from_bytes(payload[:2], 'big')} {payload[2:]!r}")
        elif opcode not in {_TEXT, _PONG} or (opcode == _TEXT and not payload.startswith(_CURSOR_PREFIX)):
            raise BenchError(f"an unexpected message on a stream: {payload[:_SHOWN_BYTES]!r}")

    def close(self) -> None:
        """Close the connection without a closing handshake; closing twice is harmless."""
        self._closing = True
        if self._transport is not None:
            self._transport.abort()

    def _switch(self, data: bytes) -> None:
        """Wait for the end of the server's handshake, then ask for the stream."""
        self._received += data
        head, found, rest = self._received.partition(_HEAD_END)
        if not found:
            return
        if not head.startswith(b"HTTP/1.1 101 "):
            raise BenchError(f"a WebSocket was refused: {self._received[:_SHOWN_BYTES]!r}")
        self._opening.check(head)
        self._received = b""
        if self._opening.request is None:
            self._stream_from(rest)
            return
        self._on_data = self._begin
        self._write(client_frame(_TEXT, self._opening.request))
        if rest:
            self._begin(rest)

    def _begin(self, data: bytes) -> None:
        """Wait for the answer to the request, then stream."""
        self._received += data
        frame = next_frame(self._received, 0)
        while frame is not None and frame.opcode >= _CONTROL:  # a ping may come before the answer
            frame = next_frame(self._received, frame.end)
        if frame is None:
            return
        answer, rest = self._received[frame.payload : frame.end], self._received[frame.end :]
        if not answer.startswith(_RESULT_PREFIX):
            raise BenchError(f"a stream was refused: {answer[:_SHOWN_BYTES]!r}")
        self._received = b""
        self._stream_from(rest)

    def _stream_from(self, data: bytes) -> None:
        """Say that the stream runs, and feed what came with the answer."""
        self._on_data = self._stream
        if self.opened is not None and not self.opened.done():
            self.opened.set_result(None)
        self.opened = None
        if data:
            self._stream(data)

    def _stream(self, data: bytes) -> None:
        self._sink.feed(self, data)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _fail(self, reason: str) -> None:
        """Tell whoever waits for the opening, or the run."""
        if self.opened is not None and not self.opened.done():
            self.opened.set_exception(BenchError(reason))
        else:
            self._watch.fail(reason)


async def open_streams(server: Server, watch: Watch, opening: Opening, sinks: Sequence[Sink]) -> list[StreamSocket]:
    """Open a stream for each sink, a hundred at a time. Raises BenchError where one is refused."""
    loop = asyncio.get_running_loop()
    handshake = opening.handshake(server)
    slots = asyncio.Semaphore(_OPENING_AT_ONCE)

    async def open_one(sink: Sink) -> StreamSocket:
        async with slots:
            _, socket = await loop.create_connection(
                lambda: StreamSocket(watch, sink, opening, handshake), HOST, server.port
            )
            if socket.opened is not None:
                await asyncio.wait_for(socket.opened, _OPEN_SECONDS_MAX)
            return socket

    return list(await asyncio.gather(*(open_one(sink) for sink in sinks)))
