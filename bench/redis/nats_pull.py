"""nats-py on JetStream: `python -m bench.redis.nats_pull`, one line of JSON.

It publishes the events of a file into a stream kept in files, then pulls them through a durable consumer, two hundred
at a time, and acks each, as the library's documentation shows it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from pathlib import Path
from typing import Final

import nats

from bench.redis.consume_socket import ACKS
from bench.server import HOST

_STREAM, _SUBJECT, _DURABLE = "bench", "bench.event", "member"
_PUBLISHES: Final = 500
"""In flight at once; what it takes to publish is not measured."""


async def main() -> None:
    """Publish, pull and ack, and print the rate of the latter."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--events", type=Path, required=True, help="a file of events, one a line")
    parser.add_argument("--count", type=int, required=True)
    given = parser.parse_args()
    events = given.events.read_bytes().splitlines()
    client = await nats.connect(f"nats://{HOST}:{given.port}")
    stream = client.jetstream()
    await stream.add_stream(name=_STREAM, subjects=[_SUBJECT])
    for start in range(0, given.count, _PUBLISHES):
        batch = range(start, min(start + _PUBLISHES, given.count))
        await asyncio.gather(*[stream.publish(_SUBJECT, events[index % len(events)]) for index in batch])
    subscription = await stream.pull_subscribe(_SUBJECT, _DURABLE)
    began, cpu_began, taken = time.perf_counter(), time.process_time(), 0
    while taken < given.count:
        messages = await subscription.fetch(min(ACKS, given.count - taken))
        for message in messages:
            await message.ack()
        taken += len(messages)
    await client.flush()
    elapsed = time.perf_counter() - began
    left = (await subscription.consumer_info()).num_pending
    core_share = (time.process_time() - cpu_began) / elapsed
    print(json.dumps({"per_second": taken / elapsed, "core_share": core_share, "completed": taken, "left": left}))
    await stream.delete_stream(_STREAM)
    await client.close()


if __name__ == "__main__":
    asyncio.run(main())
