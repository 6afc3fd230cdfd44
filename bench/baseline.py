"""The same aiohttp and uvloop with nothing behind them: what the figures of the bus are held against.

`POST /v1/events` reads the body and answers a receipt-sized JSON; where WebSocket readers are open, it also sends them
each event of the body, one `send_bytes` a message, as a service without joined writes does. `GET /idle` is the
smallest WebSocket handler there is. Settings as the service's own: `PORT`, `WOWEVENT_HOST`.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Final

import uvloop
from aiohttp import web

from bench.websocket import PATH, SUBPROTOCOL

_RECEIPT: Final = (
    b'{"id":"019aa7e2-5d1f-7c3e-8a51-0f6c2b9d4e10","position":"1764019200123-0","durability":"none","duplicate":false} '
)
"""As long as the service's answer to one event."""
_OPENED: Final = '{"op":"result","id":"1","result":{}}'
_BODY_BYTES_MAX: Final = 8 * 2**20


class Fanout:
    """Sends every event to every reader, in one order for all of them."""

    def __init__(self) -> None:
        """Start without readers."""
        self.readers: set[web.WebSocketResponse] = set()
        self._order = asyncio.Lock()
        self._sequence = 0

    async def publish(self, body: bytes) -> None:
        """Send each line of `body` as one message to each reader."""
        async with self._order:
            position_milliseconds = time.time_ns() // 1_000_000
            for line in body.splitlines():
                self._sequence += 1
                message = b'{"op":"event","position":"%d-%d","event":%b}' % (
                    position_milliseconds,
                    self._sequence,
                    line,
                )
                for reader in tuple(self.readers):
                    if not reader.closed:
                        await reader.send_bytes(message)


def application() -> web.Application:
    """Return the bare application."""
    fanout = Fanout()

    async def publish(request: web.Request) -> web.Response:
        body = await request.read()
        if fanout.readers:
            await fanout.publish(body)
        return web.Response(body=_RECEIPT, content_type="application/json")

    async def stream(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=(SUBPROTOCOL,))
        await socket.prepare(request)
        try:
            async for _ in socket:
                fanout.readers.add(socket)
                await socket.send_str(_OPENED)
        finally:
            fanout.readers.discard(socket)
        return socket

    async def idle(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=(SUBPROTOCOL,))
        await socket.prepare(request)
        async for _ in socket:
            await socket.send_str(_OPENED)
        return socket

    async def ready(_: web.Request) -> web.Response:
        return web.json_response({"status": "ready"})

    bare = web.Application(client_max_size=_BODY_BYTES_MAX)
    bare.add_routes(
        [web.post("/v1/events", publish), web.get(PATH, stream), web.get("/idle", idle), web.get("/ready", ready)]
    )
    return bare


def main() -> None:
    """Serve until SIGTERM."""
    web.run_app(
        application(),
        host=os.environ["WOWEVENT_HOST"],
        port=int(os.environ["PORT"]),
        access_log=None,
        print=None,
        shutdown_timeout=0.1,
        loop=uvloop.new_event_loop(),
    )


if __name__ == "__main__":
    main()
