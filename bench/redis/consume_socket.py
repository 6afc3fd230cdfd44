"""A lean member of a durable subscription: one WebSocket, deliveries taken and acked in messages of two hundred."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Final

from bench.errors import BenchError
from bench.load import Watch, Window, run_load
from bench.server import HOST
from bench.websocket import PATH, Opening, client_frame, next_frame

if TYPE_CHECKING:
    from bench.server import Server

CREDIT: Final = 1000
ACKS: Final = 200
"""Deliveries settled by one message, as the peer acks what one fetch brought."""

_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA
_DELIVERY: Final = b'{"op":"delivery"'
_TOKEN: Final = b'"token":"'
_RESULT: Final = b'{"op":"result"'
_OK: Final = b'"status":"ok"'
_HEAD_END: Final = b"\r\n\r\n"
_SECONDS_MAX: Final = 120.0
_SHOWN_BYTES: Final = 600


def consume(server: Server, subscription: str, count: int) -> Window:
    """Take and ack `count` deliveries; return the rate. Raises BenchError for a refusal or what does not come."""
    return run_load(lambda: _consume(server, subscription, count))


async def _consume(server: Server, subscription: str, count: int) -> Window:
    watch = Watch()
    member = Member(watch, server, subscription, count)
    transport, _ = await asyncio.get_running_loop().create_connection(lambda: member, HOST, server.port)
    try:
        await watch.until(lambda: member.is_open, "the WebSocket")
        server_cpu, load_cpu, other = server.cpu_seconds(), time.process_time(), server.other_work_seconds()
        began = time.perf_counter()
        member.begin()
        await watch.until(lambda: member.acked == count, "the last ack", _SECONDS_MAX)
        elapsed = member.ended - began
        return Window(
            per_second=count / elapsed,
            server_core_share=(server.cpu_seconds() - server_cpu) / elapsed,
            load_core_share=(time.process_time() - load_cpu) / elapsed,
            other_core_share=(server.other_work_seconds() - other) / elapsed,
            completed=count,
        )
    finally:
        transport.abort()


class Member(asyncio.Protocol):
    """The socket. It keeps tokens only: what an event says is the business of other scenarios."""

    def __init__(self, watch: Watch, server: Server, subscription: str, count: int) -> None:
        """Store; connecting sends the handshake."""
        self.is_open = False
        self.acked = 0
        self.ended = 0.0
        self._watch = watch
        self._server = server
        self._subscription = subscription
        self._count = count
        self._received = b""
        self._tokens: list[bytes] = []
        self._taken = 0
        self._sent = 0
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the handshake."""
        self._transport = transport  # type: ignore[assignment]  # a TCP transport can be written to
        self._write(Opening(path=PATH, request=None).handshake(self._server))

    def data_received(self, data: bytes) -> None:
        """Take the end of the handshake, then frames."""
        self._received += data
        try:
            if not self.is_open:
                self._open()
            if self.is_open:
                self._take_frames()
        except BenchError as error:
            self._watch.fail(str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the run unless everything is acked."""
        if self.acked < self._count:
            self._watch.fail(f"the WebSocket ended: {exc!r}")

    def begin(self) -> None:
        """Ask for deliveries."""
        operation = {"op": "consume", "id": "1", "subscription": self._subscription, "credit": CREDIT, "member": "b"}
        self._write(client_frame(_TEXT, json.dumps(operation).encode()))

    def _open(self) -> None:
        head, found, rest = self._received.partition(_HEAD_END)
        if not found:
            return
        if not head.startswith(b"HTTP/1.1 101 "):
            raise BenchError(f"a WebSocket was refused: {head[:_SHOWN_BYTES]!r}")
        self._received = rest
        self.is_open = True

    def _take_frames(self) -> None:
        data, at = self._received, 0
        tokens = self._tokens
        while (frame := next_frame(data, at)) is not None:
            at = frame.end
            if data.startswith(_DELIVERY, frame.payload):
                begins = data.index(_TOKEN, frame.payload) + len(_TOKEN)
                tokens.append(data[begins : data.index(b'"', begins)])
                self._taken += 1
                if len(tokens) == ACKS or self._taken == self._count:
                    self._ack()
            else:
                self._other(frame.opcode, data[frame.payload : frame.end])
        self._received = data[at:]

    def _ack(self) -> None:
        outcomes = b",".join([b'{"token":"%b","outcome":"ack"}' % token for token in self._tokens])
        self._tokens.clear()
        self._sent += 1
        message = b'{"op":"settle","id":"s%d","subscription":"%b","outcomes":[%b]}' % (
            self._sent,
            self._subscription.encode(),
            outcomes,
        )
        self._write(client_frame(_TEXT, message))

    def _other(self, opcode: int, payload: bytes) -> None:
        if opcode == _PING:
            self._write(client_frame(_PONG, payload))
        elif opcode == _TEXT and payload.startswith(_RESULT):
            self.acked += payload.count(_OK)
            if self.acked == self._count:
                self.ended = time.perf_counter()
        elif opcode not in {_TEXT, _PONG} or payload.startswith(b'{"op":"error"'):
            raise BenchError(f"an unexpected message: {payload[:_SHOWN_BYTES]!r}")

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)
