"""HTTP by hand: bytes out, bytes in, nothing tidied up by a client library."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

PATIENCE_SECONDS: Final = 20.0
"""How long a read waits on a loaded machine before the test fails."""

Headers: TypeAlias = Mapping[str, str] | Sequence[tuple[str, str]]

HEAD_END: Final = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """One response, as it came."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    version: str = "HTTP/1.1"

    def header(self, name: str) -> str | None:
        """The value of a header that may come once."""
        found = [value for known, value in self.headers if known.lower() == name.lower()]
        assert len(found) <= 1, f"{name} came {len(found)} times"
        return found[0] if found else None

    def json(self) -> Any:  # noqa: ANN401 - whatever JSON has
        """The body, decoded."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of a problem; its form is checked on the way."""
        members = self.json()
        assert self.header("Content-Type") == "application/problem+json", self
        assert members["type"] == f"urn:wowevent:problem:{members['code']}", members
        assert members["status"] == self.status, members
        assert members["title"], members
        assert members["detail"], members
        assert self.header("Server") is None, self.headers
        assert "Traceback" not in members["detail"], members
        return str(members["code"])


def parse_head(head: bytes) -> Answer:
    """Read a response's head (without the empty line after it)."""
    first, *lines = head.decode("latin-1").split("\r\n")
    version, status, _ = f"{first} ".split(" ", 2)
    headers = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
    return Answer(int(status), headers, b"", version)


class Wire:
    """One TCP connection to the service."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *parts: bytes) -> None:
        """Write bytes; a service that has closed already is no mistake of the test."""
        with contextlib.suppress(ConnectionError):
            self.writer.write(b"".join(parts))
            await self.writer.drain()

    async def head(self) -> Answer:
        """Read a response's head."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return parse_head((await self.reader.readuntil(HEAD_END)).removesuffix(HEAD_END))

    async def answer(self, *, bodiless: bool = False) -> Answer:
        """Read one response; ``bodiless`` for an answer to HEAD."""
        head = await self.head()
        async with asyncio.timeout(PATIENCE_SECONDS):
            body = b"" if bodiless or head.status in {101, 204, 304} else await self._body(head)
        return Answer(head.status, head.headers, body, head.version)

    async def _body(self, head: Answer) -> bytes:
        if head.header("Transfer-Encoding") == "chunked":
            chunks = []
            while chunk := await self.chunk():
                chunks.append(chunk)
            return b"".join(chunks)
        length = head.header("Content-Length")
        return await (self.reader.read() if length is None else self.reader.readexactly(int(length)))

    async def chunk(self) -> bytes:
        """Read one chunk of a chunked body; the last one is empty."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            size = int((await self.reader.readline()).strip(), 16)
            chunk = await self.reader.readexactly(size + 2)
        assert chunk.endswith(b"\r\n"), chunk
        return chunk[:-2]

    async def rest(self) -> bytes:
        """Read to the end of the connection, however it ends."""
        received = []
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                while block := await self.reader.read(65_536):
                    received.append(block)
        return b"".join(received)

    async def is_closed_now(self) -> bool:
        """Whether the service has ended the connection; waits until it does."""
        return await self.rest() == b""

    async def close(self) -> None:
        """End the connection."""
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    def reset(self) -> None:
        """End the connection as a crashed client does: RST, at once."""
        self.writer.transport.abort()


@contextlib.asynccontextmanager
async def connected(port: int, *, receive_bytes: int | None = None) -> AsyncIterator[Wire]:
    """A connection; ``receive_bytes`` makes its kernel buffer small, so that not reading is noticed early."""
    connecting = socket.socket()
    if receive_bytes is not None:
        connecting.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    connecting.settimeout(0)
    try:
        await asyncio.get_running_loop().sock_connect(connecting, ("127.0.0.1", port))
    except OSError:
        connecting.close()
        raise
    limit = 2**16 if receive_bytes is None else 2 * receive_bytes
    reader, writer = await asyncio.open_connection(sock=connecting, limit=max(limit, 2**20))
    wire = Wire(reader, writer)
    try:
        yield wire
    finally:
        wire.reset()


def request_bytes(
    method: str,
    target: str,
    headers: Headers = (),
    body: bytes | None = None,
    *,
    version: str = "HTTP/1.1",
) -> bytes:
    """One request as bytes; ``Host`` and ``Content-Length`` are added where they are not given."""
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
    names = {name.lower() for name, _ in pairs}
    if "host" not in names:
        pairs.insert(0, ("Host", "127.0.0.1"))
    if body is not None and not names & {"content-length", "transfer-encoding"}:
        pairs.append(("Content-Length", str(len(body))))
    lines = [f"{method} {target} {version}", *(f"{name}: {value}" for name, value in pairs)]
    return "\r\n".join(lines).encode("latin-1") + HEAD_END + (body or b"")


async def call(
    port: int,
    method: str,
    target: str,
    headers: Headers = (),
    body: bytes | None = None,
) -> Answer:
    """Send one request on a connection of its own, and return the answer."""
    async with connected(port) as wire:
        await wire.send(request_bytes(method, target, headers, body))
        return await wire.answer(bodiless=method == "HEAD")


async def exchange(port: int, sent: bytes) -> bytes:
    """Send bytes on a connection of their own, and return everything that comes until the service ends it."""
    async with connected(port) as wire:
        await wire.send(sent)
        return await wire.rest()
