"""FastStream's consumer group on a Redis stream: `python -m bench.redis.faststream_group`, one line of JSON.

It publishes the events of a file through its own broker, then handles each in a subscriber of a group, which acks it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import time
from pathlib import Path
from typing import Any, Final

import redis.asyncio
from faststream.redis import RedisBroker, StreamSub

from bench.server import HOST

_STREAM, _GROUP = "bench:faststream", "group"
_PUBLISHES: Final = 50
"""In flight at once; what it takes to publish is not measured."""


async def main() -> None:
    """Publish, handle and ack, and print the rate of the latter."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--events", type=Path, required=True, help="a file of events, one a line")
    parser.add_argument("--count", type=int, required=True)
    given = parser.parse_args()
    events = [json.loads(line) for line in given.events.read_bytes().splitlines()]
    quiet = logging.getLogger(__name__)
    quiet.setLevel(logging.WARNING)
    broker = RedisBroker(f"redis://{HOST}:{given.port}/0", logger=quiet)
    handled, done = 0, asyncio.Event()

    @broker.subscriber(stream=StreamSub(_STREAM, group=_GROUP, consumer="member"))
    async def handle(body: dict[str, Any]) -> None:
        del body
        nonlocal handled
        handled += 1
        if handled == given.count:
            done.set()

    async with redis.asyncio.Redis(host=HOST, port=given.port) as client:
        await client.delete(_STREAM)
        await client.xgroup_create(_STREAM, _GROUP, id="0", mkstream=True)
        await broker.connect()
        for start in range(0, given.count, _PUBLISHES):
            batch = range(start, min(start + _PUBLISHES, given.count))
            await asyncio.gather(*[broker.publish(events[index % len(events)], stream=_STREAM) for index in batch])
        began, cpu_began = time.perf_counter(), time.process_time()
        await broker.start()
        await done.wait()
        elapsed = time.perf_counter() - began
        core_share = (time.process_time() - cpu_began) / elapsed
        await broker.stop()
        left = (await client.xpending(_STREAM, _GROUP))["pending"]
        await client.delete(_STREAM)
    said = {"per_second": given.count / elapsed, "core_share": core_share, "completed": given.count, "left": left}
    print(json.dumps(said))


if __name__ == "__main__":
    asyncio.run(main())
