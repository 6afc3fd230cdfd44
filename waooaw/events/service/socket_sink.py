"""The end of a stream that is a socket: whole messages to the transport, and an honest count of what waits there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import web

    from waooaw.events.service.connection import Connection


class SocketSink:
    """Writes to one connection, past aiohttp's per-message writers: their work is done once for all readers."""

    __slots__ = ("_connection", "_pending", "_request", "_transport")

    def __init__(self, request: web.Request, connection: Connection, transport: asyncio.Transport) -> None:
        self._request = request
        self._connection = connection
        self._transport = transport
        self._pending: list[bytes] | None = None

    def write(self, payload: bytes) -> None:
        """Hand bytes to the transport; a connection that is closing takes them silently."""
        if self._pending is not None:
            self._pending.append(payload)
            payload, self._pending = b"".join(self._pending), None
        if payload and not self._transport.is_closing():
            self._connection.written_bytes += len(payload)
            self._transport.write(payload)

    def write_soon(self, payload: bytes) -> None:
        """Write in this turn of the loop, together with all else that is: short messages cost a call of the kernel."""
        if self._pending is None:
            self._pending = [payload]
            asyncio.get_running_loop().call_soon(self._write_pending)
        else:
            self._pending.append(payload)

    def _write_pending(self) -> None:
        if self._pending is not None:
            self.write(b"")

    def buffered_bytes(self) -> int:
        """Return how many bytes the peer has not taken."""
        return self._transport.get_write_buffer_size()

    async def drained(self) -> None:
        """Return when the transport has room again; raises `ConnectionError` when it is gone."""
        if self._transport.is_closing():
            message = "the connection is closed"
            raise ConnectionResetError(message)
        await self._request.writer.drain()
