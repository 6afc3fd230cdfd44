"""One socket of the subprotocol ``cloudevents.json``: events both ways, no more (CloudEvents WebSocket binding)."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from aiohttp import WSCloseCode

from waooaw.events.errors import WowEventError
from waooaw.events.service.framings import WEBSOCKET_PING

if TYPE_CHECKING:
    from aiohttp import web

    from waooaw.events.bound import Bound
    from waooaw.events.bus.event_bus import EventBus
    from waooaw.events.bus.stream import Stream
    from waooaw.events.pattern import PatternSet
    from waooaw.events.service.framings import CloudEventsFraming
    from waooaw.events.service.socket_sink import SocketSink

_log = logging.getLogger("wowevent.service")

CLOSE_REASON_BYTES_MAX = 123
"""RFC 6455 section 5.5: a control frame carries 125 bytes, two of them the code."""


class BareSocket:
    """Publishes what comes, sends what matches. There are no receipts, so a refused event ends the socket."""

    __slots__ = ("_closing", "_framing", "_response", "_sink", "bus", "stream")

    def __init__(
        self, bus: EventBus, sink: SocketSink, framing: CloudEventsFraming, response: web.WebSocketResponse
    ) -> None:
        self.bus = bus
        self._sink = sink
        self._framing = framing
        self._response = response
        self._closing: asyncio.Task[bool] | None = None
        self.stream: Stream[bytes] | None = None

    async def open(self, patterns: PatternSet, start: Bound) -> None:
        """Begin the stream that the address of the socket asked for."""
        await self.bus.store.learn(start)
        self.stream = self.bus.open_stream(patterns, self._framing, self._sink, start=start, ended=self._ended)

    def _ended(self, error: BaseException) -> None:
        if not isinstance(error, ConnectionError):
            _log.error("stream.failed", exc_info=error)
        self._close_later(WSCloseCode.INTERNAL_ERROR, "")

    async def receive(self, message: str | bytes) -> None:
        """Publish one event; one that is refused closes the socket with its code."""
        text = message.encode() if isinstance(message, str) else message
        try:
            entry = self.bus.acceptance.one(text)
        except WowEventError as error:
            self.bus.metrics.refused(error)
            await self._refuse(error)
            return
        try:
            await self.bus.submit_one(entry)
        except WowEventError as error:
            await self._refuse(error)

    async def _refuse(self, error: WowEventError) -> None:
        self._end_stream()
        told = f"{error.code}: {error.detail}".encode(errors="replace")
        reason = told[:CLOSE_REASON_BYTES_MAX].decode(errors="ignore")
        code = WSCloseCode.TRY_AGAIN_LATER if error.retryable else WSCloseCode.POLICY_VIOLATION
        await self._response.close(code=code, message=reason.encode())

    def ping(self) -> None:
        """Write a ping, unless the client has something to take already."""
        if not self._sink.buffered_bytes():
            self._sink.write(WEBSOCKET_PING)

    def leave(self, _retry_after_seconds: float) -> None:
        """Close: this subprotocol can tell no more."""
        self._end_stream()
        self._close_later(WSCloseCode.SERVICE_RESTART, "the service goes; connect again")

    def break_off(self, code: WSCloseCode, reason: str) -> None:
        """Close for what the client did."""
        self._end_stream()
        self._close_later(code, reason)

    def _end_stream(self) -> None:
        if self.stream is not None:
            self.stream.close()

    def _close_later(self, code: WSCloseCode, reason: str) -> None:
        closing = self._response.close(code=code, message=reason.encode())
        self._closing = asyncio.get_running_loop().create_task(closing, name="close socket")

    async def close(self) -> None:
        """End the stream."""
        self._end_stream()
        if self._closing is not None:
            await asyncio.wait({self._closing})
