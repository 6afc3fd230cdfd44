"""A proxy in front of a real service that fails on demand: what networks and balancers do to clients."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

READ_BYTES = 64 * 1024


@dataclass
class FaultyProxy:
    """Passes TCP on, but for the next connections, each of which takes one fault of ``faults``.

    ``lose_reply`` lets the request through and cuts the connection at the first byte of the answer; bytes are an answer
    that the client gets instead of the service's, which never sees the request; ``pass`` passes on.
    """

    service_url: str
    faults: deque[str | bytes] = field(default_factory=deque)
    connections: int = 0

    async def __aenter__(self) -> Self:
        """Listen on a free port."""
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Future[None]] = set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop, and cut what is connected."""
        self._server.close()
        self.cut()
        await asyncio.gather(*self._serving)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        """Cut every connection, as a lost network does."""
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        served = asyncio.get_running_loop().create_future()
        self._serving.add(served)
        fault = self.faults.popleft() if self.faults else "pass"
        self._writers.add(writer)
        try:
            if isinstance(fault, bytes):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(fault)
                await writer.drain()
            else:
                await self._pass_on(reader, writer, lose_reply=fault == "lose_reply")
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            self._writers.discard(writer)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            self._serving.discard(served)
            served.set_result(None)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, lose_reply: bool) -> None:
        parts = urlsplit(self.service_url)
        service_reader, service_writer = await asyncio.open_connection(parts.hostname, parts.port)
        self._writers.add(service_writer)
        asking = asyncio.create_task(_copy(reader, service_writer))
        try:
            if lose_reply:
                await service_reader.read(1)
            else:
                await _copy(service_reader, writer)
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            self._writers.discard(service_writer)
            service_writer.close()
            with suppress(ConnectionError):
                await service_writer.wait_closed()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(READ_BYTES):
        writer.write(chunk)
        await writer.drain()


def http_answer(status: str, body: bytes = b"", **headers: str) -> bytes:
    """Return a whole HTTP answer that closes its connection."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
