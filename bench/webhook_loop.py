"""The least that posts events with aiohttp's client: `python -m bench.webhook_loop`, one line of JSON.

As many workers as connections; each takes the next event of a file and posts it when its last one is answered. It keeps
nothing, signs nothing and tries nothing again: its rate is the ceiling of the library.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

import uvloop

from bench.errors import BenchError
from bench.webhook_posts import CONCURRENCY, post_event, sender_arguments, session

if TYPE_CHECKING:
    import argparse

    import aiohttp


async def main(given: argparse.Namespace) -> None:
    """Post the events, and print what it took."""
    events = given.events.read_bytes().splitlines()[: given.count]
    if len(events) < given.count:
        raise BenchError(f"{given.events} has {len(events)} events, not {given.count}")
    numbered = enumerate(events)

    async def work(sending: aiohttp.ClientSession) -> None:
        for number, event in numbered:
            await post_event(sending, given.url, str(number), event)

    async with session() as sending:
        cpu_began = time.process_time()
        await asyncio.gather(*[work(sending) for _ in range(CONCURRENCY)])
        cpu_seconds = time.process_time() - cpu_began
    print(json.dumps({"cpu_seconds": cpu_seconds, "left": 0}))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sender_arguments(__doc__).parse_args()))
