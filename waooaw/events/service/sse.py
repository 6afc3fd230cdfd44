"""``GET /v1/stream``: server-sent events."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, cast

from aiohttp import HttpVersion11, web

from waooaw.events.service.context import CONTEXT
from waooaw.events.service.framings import SseFraming
from waooaw.events.service.parameters import Parameters, bound_at
from waooaw.events.service.representations import negotiated
from waooaw.events.service.socket_sink import SocketSink

if TYPE_CHECKING:
    from waooaw.events.bus.event_bus import EventBus
    from waooaw.events.bus.stream import Stream
    from waooaw.events.service.connection import Connection

_log = logging.getLogger("wowevent.service")

SSE: Final = "text/event-stream"
STREAM_PARAMETERS: Final = ("pattern", "filter", "from")

FRAMINGS: Final = web.AppKey("sse_framings", dict[str, dict[bool, SseFraming]])
"""The two framings of each bus, chunked and not: one of each, so that readers share what they make."""


class SseStream:
    """One SSE connection."""

    def __init__(self, bus: EventBus, sink: SocketSink, framing: SseFraming) -> None:
        self.bus = bus
        self._sink = sink
        self._framing = framing
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.stream: Stream[bytes] | None = None

    def end(self, error: BaseException | None = None) -> None:
        """Let the handler go on to close the response."""
        if error is not None and not isinstance(error, ConnectionError):
            _log.error("stream.failed", exc_info=error)
        if not self.ended.done():
            self.ended.set_result(None)

    def ping(self) -> None:
        """Write a comment and the cursor reached, unless the reader has something to take already."""
        if self.stream is not None and not self._sink.buffered_bytes():
            self._sink.write(self._framing.cursor(self.stream.cursor))

    def leave(self, retry_after_seconds: float) -> None:
        """Tell the cursor and when to come back, and end the response."""
        if self.stream is not None:
            self.stream.close()
            self._sink.write(self._framing.opening(self.stream.cursor, int(retry_after_seconds * 1000)))
        self.end()


async def stream(request: web.Request) -> web.StreamResponse:
    """Stream events until the client goes, or the service does."""
    context = request.app[CONTEXT]
    bus = context.bus_for(request)
    parameters = Parameters(request.query, STREAM_PARAMETERS)
    patterns = parameters.patterns()
    start = parameters.bound("from", bus.name, "now")
    if last_event_id := request.headers.get("Last-Event-ID"):
        start = bound_at("#/headers/Last-Event-ID", bus.name, last_event_id)
    negotiated(request, SSE)
    await bus.store.learn(start)
    response = web.StreamResponse(headers={"Content-Type": SSE, "Cache-Control": "no-store", "X-Accel-Buffering": "no"})
    await response.prepare(request)
    connection = cast("Connection", request.protocol)
    transport = request.transport
    if transport is None:
        return response
    framing = request.app[FRAMINGS][bus.name][request.version >= HttpVersion11]
    sink = SocketSink(request, connection, transport)
    opened = SseStream(bus, sink, framing)
    connection.lost = opened.end
    sink.write(framing.opening(bus.cursor_of(start), int(context.streams.retry_seconds() * 1000)))
    opened.stream = bus.open_stream(patterns, framing, sink, start=start, ended=opened.end)
    try:
        with context.streaming(opened, connection):
            await opened.ended
    finally:
        opened.stream.close()
        connection.lost = None
    response.force_close()
    return response
