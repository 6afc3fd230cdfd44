"""A forwarder on FastStream as one would write it: `python -m bench.redis.faststream_forward`, one line of JSON.

It publishes the events of a file through its own broker, then posts each from a subscriber of a Redis group, 64 at a
time, with aiohttp's client; FastStream acks what the handler has returned from.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import TYPE_CHECKING, Any, Final

import redis.asyncio
import uvloop
from faststream.redis import RedisBroker, StreamSub

from bench.server import HOST
from bench.webhook_posts import CONCURRENCY, post_event, sender_arguments, session

if TYPE_CHECKING:
    import argparse

_STREAM, _GROUP = "bench:forward", "forwarders"
_PUBLISHES: Final = 50
"""In flight at once; what it takes to publish is not measured."""
_RECORDS: Final = 200
"""Entries that one XREADGROUP asks for."""


async def main(given: argparse.Namespace) -> None:
    """Publish, forward and ack, and print what the latter took."""
    events = [json.loads(line) for line in given.events.read_bytes().splitlines()[: given.count]]
    quiet = logging.getLogger(__name__)
    quiet.setLevel(logging.WARNING)
    broker = RedisBroker(f"redis://{HOST}:{given.port}/0", logger=quiet)
    handled, done = 0, asyncio.Event()
    sending = session()

    @broker.subscriber(
        stream=StreamSub(_STREAM, group=_GROUP, consumer="member", max_records=_RECORDS), max_workers=CONCURRENCY
    )
    async def handle(body: dict[str, Any]) -> None:
        await post_event(sending, given.url, body["id"], json.dumps(body).encode())
        nonlocal handled
        handled += 1
        if handled == len(events):
            done.set()

    async with sending, redis.asyncio.Redis(host=HOST, port=given.port) as client:
        await client.delete(_STREAM)
        await client.xgroup_create(_STREAM, _GROUP, id="0", mkstream=True)
        await broker.connect()
        for start in range(0, len(events), _PUBLISHES):
            await asyncio.gather(
                *[broker.publish(event, stream=_STREAM) for event in events[start : start + _PUBLISHES]]
            )
        cpu_began = time.process_time()
        await broker.start()
        await done.wait()
        cpu_seconds = time.process_time() - cpu_began
        await broker.stop()
        left = (await client.xpending(_STREAM, _GROUP))["pending"]
        await client.delete(_STREAM)
    print(json.dumps({"cpu_seconds": cpu_seconds, "left": left}))


if __name__ == "__main__":
    parser = sender_arguments(__doc__)
    parser.add_argument("--port", type=int, required=True)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(parser.parse_args()))
