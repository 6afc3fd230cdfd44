"""``GET /v1/ws``: choosing the subprotocol, and reading a socket until it ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from aiohttp import WSCloseCode, WSMsgType, web

from waooaw.events.errors import ForbiddenOriginError, InvalidRequestError
from waooaw.events.service.bare_socket import BareSocket
from waooaw.events.service.context import CONTEXT
from waooaw.events.service.framings import CloudEventsFraming, WebSocketFraming
from waooaw.events.service.operation_socket import OperationSocket
from waooaw.events.service.parameters import Parameters
from waooaw.events.service.socket_sink import SocketSink
from waooaw.events.service.sse import STREAM_PARAMETERS

if TYPE_CHECKING:
    from waooaw.events.service.connection import Connection
    from waooaw.events.service.context import Context

OPERATIONS: Final = "wowevent.v1"
CLOUDEVENTS: Final = "cloudevents.json"

FRAMINGS: Final = web.AppKey("websocket_framings", dict[str, tuple[WebSocketFraming, CloudEventsFraming]])
"""One of each for each bus, so that readers share what they make."""

TURN_MESSAGES: Final = 32
"""Messages of one socket in a row, about a millisecond, before others get their turn."""


def check_origin(request: web.Request, context: Context) -> None:
    """Refuse a page of a foreign origin: browsers connect across origins without asking (RFC 6455 section 10.2)."""
    origin = request.headers.get("Origin")
    if origin is None or origin in context.settings.allowed_origins:
        return
    host = request.headers.get("Host", "").lower()
    if not host or origin.lower() not in {f"http://{host}", f"https://{host}"}:
        message = f"pages of {origin[:200]} may not connect; allow their origin by WOWEVENT_ALLOWED_ORIGINS"
        raise ForbiddenOriginError(message)


def choose_protocol(request: web.Request) -> str:
    """Return the subprotocol: the first one offered that is served, ours where none is offered."""
    offered = [
        item.strip() for value in request.headers.getall("Sec-WebSocket-Protocol", []) for item in value.split(",")
    ]
    if not offered:
        return OPERATIONS
    for protocol in offered:
        if protocol in {OPERATIONS, CLOUDEVENTS}:
            return protocol
    message = f"none of the subprotocols {', '.join(offered)[:200]} is served; offer {OPERATIONS} or {CLOUDEVENTS}"
    raise InvalidRequestError(message)


class LingeringResponse(web.WebSocketResponse):
    """aiohttp's, but that a client which is still sending gets to see why the socket closes."""

    def _close_transport(self) -> None:
        if self._req is not None:
            cast("Connection", self._req.protocol).linger()


async def websocket(request: web.Request) -> web.StreamResponse:
    """Serve one socket until it ends."""
    context = request.app[CONTEXT]
    bus = context.bus_for(request)
    check_origin(request, context)
    protocol = choose_protocol(request)
    parameters = Parameters(request.query, STREAM_PARAMETERS if protocol == CLOUDEVENTS else ())
    patterns = parameters.patterns()
    start = parameters.bound("from", bus.name, "now")
    response = LingeringResponse(
        protocols=(protocol,), compress=False, max_msg_size=context.settings.body_bytes_max, timeout=1.0
    )
    if not request.headers.get("Sec-WebSocket-Key", "").isascii() or not response.can_prepare(request):
        message = "this is a WebSocket address: connect with a WebSocket client (Upgrade: websocket)"
        raise InvalidRequestError(message)
    await response.prepare(request)
    connection = cast("Connection", request.protocol)
    transport = request.transport
    if transport is None:
        return response
    sink = SocketSink(request, connection, transport)
    operations, cloudevents = request.app[FRAMINGS][bus.name]
    socket: OperationSocket | BareSocket
    if protocol == OPERATIONS:
        socket = OperationSocket(context, bus, sink, operations, response)
    else:
        socket = BareSocket(bus, sink, cloudevents, response)
    connection.when_broken(socket.break_off)
    try:
        if isinstance(socket, BareSocket):
            await socket.open(patterns, start)
        with context.streaming(socket, connection):
            await _read(response, socket)
    finally:
        await socket.close()
    return response


async def _read(response: web.WebSocketResponse, socket: OperationSocket | BareSocket) -> None:
    received = 0
    async for message in response:
        received += 1
        if received % TURN_MESSAGES == 0:  # messages that came together are given without a pause
            await asyncio.sleep(0)
        if message.type is WSMsgType.TEXT or message.type is WSMsgType.BINARY:
            await socket.receive(message.data)
            if response.closed:
                break
    if not response.closed:
        await response.close(code=WSCloseCode.OK)
