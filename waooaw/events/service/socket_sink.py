"""The end of a stream that is a socket: whole messages to the transport, and an honest count of what waits there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from aiohttp import web

    from waooaw.events.service.connection import Connection


class SocketSink:
    """Writes to one connection, past aiohttp's per-message writers: their work is done once for all readers."""

    __slots__ = ("_connection", "_request", "_transport")

    def __init__(self, request: web.Request, connection: Connection, transport: asyncio.Transport) -> None:
        self._request = request
        self._connection = connection
        self._transport = transport

    def write(self, payload: bytes) -> None:
        """Hand bytes to the transport; a connection that is closing takes them silently."""
        if payload and not self._transport.is_closing():
            self._connection.written_bytes += len(payload)
            self._transport.write(payload)

    def buffered_bytes(self) -> int:
        """Return how many bytes the peer has not taken."""
        return self._transport.get_write_buffer_size()

    async def drained(self) -> None:
        """Return when the transport has room again; raises `ConnectionError` when it is gone."""
        if self._transport.is_closing():
            message = "the connection is closed"
            raise ConnectionResetError(message)
        await self._request.writer.drain()
