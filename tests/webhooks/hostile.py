"""Receivers that mean harm, or are broken, each in its way, on raw sockets.

Each consents in the handshake as a good one would, so that deliveries reach it; what it does to those is its own.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import cache
from typing import Final

import trustme

from tests.webhooks.receivers import HOST

METADATA_URL: Final = "http://169.254.169.254/latest/meta-data"
"""Where clouds tell secrets to whoever asks from inside."""

CHUNK: Final = b"x" * 16_384
BOMB_BYTES: Final = 1_000_000_000
HEAD_END: Final = b"\r\n\r\n"
CONSENT: Final = b"HTTP/1.1 200 OK\r\nAllow: OPTIONS, POST\r\nWebHook-Allowed-Origin: *\r\nContent-Length: 0\r\n\r\n"


class HostileReceiver:
    """See `hostile`, which runs it. ``posts`` counts deliveries, ``sent_bytes`` what was sent in answer to them."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.port = 0
        self.scheme = "http"
        self.connections = 0
        self.posts = 0
        self.sent_bytes = 0
        self._behaviour = behaviour
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where events are posted to."""
        return f"{self.scheme}://{HOST}:{self.port}/events"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        self.connections += 1
        try:
            await self._behaviour(Visit(self, reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            return  # the other side had enough of it
        except asyncio.CancelledError:
            return  # `leave` did that; asyncio's streams report a task that ends so as an error
        finally:
            self._serving.discard(task)
            writer.transport.abort()

    async def leave(self) -> None:
        """Cut all connections."""
        for task in tuple(self._serving):
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)


class Visit:
    """One connection to a hostile receiver."""

    def __init__(self, receiver: HostileReceiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self._receiver = receiver
        self._reader = reader

    async def post(self) -> None:
        """Return when a whole delivery was received; questions for consent are answered on the way."""
        while True:
            head = await self._reader.readuntil(HEAD_END)
            lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            if lengths:
                await self._reader.readexactly(int(lengths[0].partition(b":")[2]))
            if not head.startswith(b"OPTIONS "):
                self._receiver.posts += 1
                return
            self.writer.write(CONSENT)
            await self.writer.drain()

    async def say(self, data: bytes) -> None:
        """Send bytes; returns when they are on their way."""
        self.writer.write(data)
        await self.writer.drain()
        self._receiver.sent_bytes += len(data)

    async def some(self) -> bytes:
        """Return bytes as they come, none at the end."""
        return await self._reader.read(65_536)

    async def read_until_closed(self) -> None:
        """Say nothing more; return when the other side has enough of it."""
        while await self._reader.read(65_536):
            pass


Behaviour = Callable[[Visit], Awaitable[None]]


async def hang(visit: Visit) -> None:
    """Take the request, and never answer."""
    await visit.post()
    await visit.read_until_closed()


async def drip(visit: Visit) -> None:
    """Answer one byte a second: each comes in time, the answer never does."""
    await visit.post()
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Slow: " + bytes(100_000).replace(b"\0", b"z"):
        await visit.say(bytes([byte]))
        await asyncio.sleep(1.0)


async def endless_body(visit: Visit) -> None:
    """Answer 200 with a body that never ends."""
    await visit.post()
    await visit.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await visit.say(b"%x\r\n%b\r\n" % (len(CHUNK), CHUNK))


async def endless_headers(visit: Visit) -> None:
    """Answer 200 with headers that never end."""
    await visit.post()
    await visit.say(b"HTTP/1.1 200 OK\r\n")
    number = 0
    while True:
        lines = b"".join([b"X-%d: %b\r\n" % (number + each, b"y" * 1000) for each in range(16)])
        number += 16
        await visit.say(lines)


@cache
def bomb() -> bytes:
    """Return a billion zeros, packed into a megabyte (RFC 1952): one part that is packed once, a hundred times."""
    part = bytes(BOMB_BYTES // 100)
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    packed = packer.compress(part) + packer.flush(zlib.Z_FULL_FLUSH)
    check = 0
    for _ in range(100):
        check = zlib.crc32(part, check)
    return b"\x1f\x8b\x08" + bytes(7) + packed * 100 + packer.flush() + struct.pack("<II", check, BOMB_BYTES)


async def gzip_bomb(visit: Visit) -> None:
    """Answer 200 with a megabyte that becomes a gigabyte where it is unpacked."""
    packed = bomb()
    while True:
        await visit.post()
        await visit.say(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed))
        for start in range(0, len(packed), len(CHUNK)):
            await visit.say(packed[start : start + len(CHUNK)])


def _always(answer: bytes) -> Behaviour:
    async def behave(visit: Visit) -> None:
        while True:
            await visit.post()
            await visit.say(answer)

    return behave


redirect: Final = _always(
    b"HTTP/1.1 307 Temporary Redirect\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % METADATA_URL.encode()
)
retry_in_a_lifetime: Final = _always(
    b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1000000000\r\nContent-Length: 0\r\n\r\n"
)
no_http: Final = _always(b"220 mail.example.com ESMTP\r\n")


async def reset(visit: Visit) -> None:
    """Cut the connection with a RST in the middle of the answer."""
    await visit.post()
    await visit.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    connected = visit.writer.get_extra_info("socket")
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    visit.writer.transport.abort()


async def too_early(visit: Visit) -> None:
    """Answer before anything was asked, and then every time again."""
    await visit.say(CONSENT)
    await visit.read_until_closed()


async def close_when_idle(visit: Visit) -> None:
    """Take one delivery, promise to keep the connection, and close it."""
    await visit.post()
    await visit.say(b"HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n")


BEHAVIOURS: Final[Mapping[str, Behaviour]] = {
    "hang": hang,
    "drip": drip,
    "endless_body": endless_body,
    "endless_headers": endless_headers,
    "gzip_bomb": gzip_bomb,
    "redirect": redirect,
    "retry_in_a_lifetime": retry_in_a_lifetime,
    "no_http": no_http,
    "reset": reset,
    "too_early": too_early,
    "close_when_idle": close_when_idle,
}
"""Over plain HTTP; bad TLS is `self_signed` and `expired`, as ``tls`` of `hostile` or of a good receiver."""


def self_signed() -> ssl.SSLContext:
    """Return the TLS of a server whose certificate nobody vouches for."""
    return _served(trustme.CA().issue_cert(HOST))


def expired(authority: trustme.CA) -> ssl.SSLContext:
    """Return the TLS of a server whose certificate was good until 2021."""
    then = datetime(2020, 1, 1, tzinfo=UTC)
    return _served(authority.issue_cert(HOST, not_before=then, not_after=then.replace(year=2021)))


def _served(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@asynccontextmanager
async def hostile(behaviour: Behaviour, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[HostileReceiver]:
    """Run a hostile receiver in this loop; leaving cuts the connections to it."""
    receiver = HostileReceiver(behaviour)
    server = await asyncio.start_server(receiver.serve, HOST, 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    receiver.scheme = "http" if tls is None else "https"
    try:
        yield receiver
    finally:
        server.close()
        await receiver.leave()
