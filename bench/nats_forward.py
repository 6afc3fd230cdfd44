"""A forwarder on JetStream as one would write it: `python -m bench.nats_forward`, one line of JSON.

It publishes the events of a file into a stream kept in files, then pulls them through a durable consumer, posts each
with aiohttp's client and acks it when the receiver has taken it; 64 at a time.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Final

import nats
import uvloop

from bench.server import HOST
from bench.webhook_posts import CONCURRENCY, post_event, sender_arguments, session

if TYPE_CHECKING:
    import argparse

    from nats.aio.msg import Msg

_STREAM, _SUBJECT, _DURABLE = "forward", "forward.event", "forwarder"
_PUBLISHES: Final = 500
"""In flight at once; what it takes to publish is not measured."""
_FETCH: Final = 200


async def main(given: argparse.Namespace) -> None:
    """Publish, forward and ack, and print what the latter took."""
    events = given.events.read_bytes().splitlines()[: given.count]
    client = await nats.connect(f"nats://{HOST}:{given.port}")
    stream = client.jetstream()
    await stream.add_stream(name=_STREAM, subjects=[_SUBJECT])
    for start in range(0, len(events), _PUBLISHES):
        await asyncio.gather(*[stream.publish(_SUBJECT, event) for event in events[start : start + _PUBLISHES]])
    subscription = await stream.pull_subscribe(_SUBJECT, _DURABLE)
    free = asyncio.Semaphore(CONCURRENCY)

    async with session() as sending, asyncio.TaskGroup() as requests:

        async def forward(message: Msg) -> None:
            try:
                await post_event(sending, given.url, str(message.metadata.sequence.stream), message.data)
                await message.ack()
            finally:
                free.release()

        cpu_began, taken = time.process_time(), 0
        while taken < len(events):
            messages = await subscription.fetch(min(_FETCH, len(events) - taken))
            for message in messages:
                await free.acquire()
                requests.create_task(forward(message))
            taken += len(messages)
    await client.flush()
    cpu_seconds = time.process_time() - cpu_began
    state = await subscription.consumer_info()
    left = (state.num_pending or 0) + (state.num_ack_pending or 0)
    print(json.dumps({"cpu_seconds": cpu_seconds, "left": left}))
    await stream.delete_stream(_STREAM)
    await client.close()


if __name__ == "__main__":
    parser = sender_arguments(__doc__)
    parser.add_argument("--port", type=int, required=True)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(parser.parse_args()))
