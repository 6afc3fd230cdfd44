"""The least that stores an event in Redis and passes it on: `python -m bench.redis.bare_handler`.

aiohttp on uvloop and redis-py as it comes. `POST /v1/events` runs one script that does XADD and PUBLISH; `GET /v1/ws`
writes each message of its own pub/sub subscription as one WebSocket message. Settings as the service's own: `PORT`,
`WOWEVENT_HOST`, `REDIS_URL`. It checks nothing, and what a lost connection to Redis swallows is gone.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final

import redis.asyncio
import uvloop
from aiohttp import WSMsgType, web

from bench.websocket import PATH, SUBPROTOCOL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

STREAM, CHANNEL = "bench:bare", "bench:bare:live"
_SCRIPT: Final = """\
local position = redis.call('XADD', KEYS[1], '*', 'event', ARGV[1])
redis.call('PUBLISH', ARGV[2], '{"op":"event","position":"' .. position .. '","event":' .. ARGV[1] .. '}')
return position
"""
_OPENED: Final = '{"op":"result","id":"1","result":{}}'


def application(url: str) -> web.Application:
    """Return the application on the Redis at `url`."""
    client = redis.asyncio.Redis.from_url(url)
    store = client.register_script(_SCRIPT)

    async def publish(request: web.Request) -> web.Response:
        position = await store(keys=[STREAM], args=[await request.read(), CHANNEL])
        return web.Response(body=b'{"position":"%b"}' % position, content_type="application/json")

    async def stream(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=(SUBPROTOCOL,))
        await socket.prepare(request)
        await socket.receive()  # the request for the stream; there is one stream
        async with client.pubsub() as subscription:
            await subscription.subscribe(CHANNEL)
            await subscription.get_message(timeout=None)  # the confirmation
            await socket.send_str(_OPENED)
            forwarding = asyncio.create_task(_forward(subscription, socket))
            async for _ in socket:
                pass
            forwarding.cancel()
            await asyncio.wait((forwarding,))
        return socket

    async def ready(_: web.Request) -> web.Response:
        return web.json_response({"status": "ready"})

    async def closing(_: web.Application) -> AsyncIterator[None]:
        yield
        await client.aclose()

    bare = web.Application()
    bare.add_routes([web.post("/v1/events", publish), web.get(PATH, stream), web.get("/ready", ready)])
    bare.cleanup_ctx.append(closing)
    return bare


async def _forward(subscription: redis.asyncio.client.PubSub, socket: web.WebSocketResponse) -> None:
    """Write each message of the channel to the socket."""
    async for message in subscription.listen():
        if message["type"] == "message":
            await socket.send_frame(message["data"], WSMsgType.TEXT)


def main() -> None:
    """Serve until SIGTERM."""
    web.run_app(
        application(os.environ["REDIS_URL"]),
        host=os.environ["WOWEVENT_HOST"],
        port=int(os.environ["PORT"]),
        access_log=None,
        print=None,
        shutdown_timeout=0.1,
        loop=uvloop.new_event_loop(),
    )


if __name__ == "__main__":
    main()
