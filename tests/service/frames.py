"""WebSocket by hand (RFC 6455): frames out as a test wants them, broken ones too, and frames in as they come."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from tests.service.wire import PATIENCE_SECONDS, Answer, Wire, connected, request_bytes

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

KEY: Final = b64encode(b"0123456789abcdef").decode()
MASK: Final = b"\x37\xfa\x21\x3d"


class Frame(NamedTuple):
    """One frame of the service."""

    opcode: int
    payload: bytes


class Closed(NamedTuple):
    """How a socket ended: the code and the reason of the close frame; 1006 where the connection just ended."""

    code: int
    reason: str


def frame(payload: bytes, opcode: int = TEXT, *, final: bool = True, reserved: int = 0, mask: bytes = MASK) -> bytes:
    """One frame as a client sends it; an empty ``mask`` leaves it unmasked."""
    first = (0x80 if final else 0) | reserved << 4 | opcode
    bit = 0x80 if mask else 0
    length = len(payload)
    if length < 126:
        head = struct.pack("!BB", first, bit | length)
    elif length < 65_536:
        head = struct.pack("!BBH", first, bit | 126, length)
    else:
        head = struct.pack("!BBQ", first, bit | 127, length)
    return head + mask + (masked(payload) if mask else payload)


def masked(payload: bytes) -> bytes:
    """The payload under `MASK`."""
    length = len(payload)
    repeated = (MASK * (length // 4 + 1))[:length]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(length, "big")


class Socket:
    """One WebSocket."""

    def __init__(self, wire: Wire, handshake: Answer) -> None:
        self.wire = wire
        self.handshake = handshake

    async def send(self, *messages: Mapping[str, Any] | bytes) -> None:
        """Send text messages, all in one write."""
        texts = [message if isinstance(message, bytes) else json.dumps(message).encode() for message in messages]
        await self.wire.send(*(frame(text) for text in texts))

    async def receive_frame(self) -> Frame:
        """Read one frame; it is whole and not masked, as a server's must be."""
        reader = self.wire.reader
        async with asyncio.timeout(PATIENCE_SECONDS):
            first, second = await reader.readexactly(2)
            assert first & 0x80, "the service sends no fragments"
            assert not first & 0x70, "reserved bits"
            assert not second & 0x80, "a server does not mask"
            length = second
            if length == 126:
                length = int.from_bytes(await reader.readexactly(2), "big")
            elif length == 127:
                length = int.from_bytes(await reader.readexactly(8), "big")
            return Frame(first & 0x0F, await reader.readexactly(length))

    async def receive(self) -> dict[str, Any]:
        """Read the next text message, past pings and pongs."""
        while True:
            received = await self.receive_frame()
            if received.opcode == TEXT:
                message: dict[str, Any] = json.loads(received.payload)
                return message
            assert received.opcode in {PING, PONG}, received

    async def receive_op(self, *names: str) -> dict[str, Any]:
        """Read the next message of one of some operations, past all others."""
        while (message := await self.receive())["op"] not in names:
            pass
        return message

    async def ask(self, **operation: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever JSON has
        """Send an operation and read its result or error, past everything else."""
        await self.send(operation)
        while (message := await self.receive_op("result", "error"))["id"] != operation.get("id"):
            pass
        return message

    async def closed(self) -> Closed:
        """Read to the end, past everything; return how it ended, answering the close as a client must."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                received = await self.receive_frame()
                if received.opcode == CLOSE:
                    await self.wire.send(frame(received.payload[:2], CLOSE))
                    code = int.from_bytes(received.payload[:2], "big") if received.payload else 1005
                    return Closed(code, received.payload[2:].decode())
        return Closed(1006, "")


def upgrade_headers(*more: tuple[str, str]) -> Sequence[tuple[str, str]]:
    """The headers that ask for a WebSocket."""
    return (
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", KEY),
        *more,
    )


@contextlib.asynccontextmanager
async def opened(
    port: int,
    *headers: tuple[str, str],
    target: str = "/v1/ws",
    protocol: str | None = "wowevent.v1",
    receive_bytes: int | None = None,
) -> AsyncIterator[Socket]:
    """A WebSocket whose handshake was answered 101."""
    offered = () if protocol is None else (("Sec-WebSocket-Protocol", protocol),)
    async with connected(port, receive_bytes=receive_bytes) as wire:
        await wire.send(request_bytes("GET", target, upgrade_headers(*offered, *headers)))
        handshake = await wire.answer()
        assert handshake.status == 101, handshake
        assert handshake.header("Server") is None
        yield Socket(wire, handshake)
