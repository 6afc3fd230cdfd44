"""A Python loop that stores events by redis-py as it comes: `python -m bench.redis.pipeline_loop`, one line of JSON.

Each turn makes a `pipeline(transaction=False)` with one XADD an event, and waits for its answers. With `--asyncio` the
client is `redis.asyncio.Redis()`, as an asynchronous service would use it, else `redis.Redis()`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import redis
import redis.asyncio

from bench.server import HOST

KEY: Final = "bench:pipeline"


@dataclass(slots=True)
class Stretch:
    """Some seconds of the loop."""

    seconds: float
    began: float = field(default_factory=time.perf_counter)
    cpu_began: float = field(default_factory=time.process_time)
    pipelines: int = 0

    @property
    def elapsed_seconds(self) -> float:
        """How long it has been running."""
        return time.perf_counter() - self.began

    def goes_on(self) -> bool:
        """Tell whether there is time for another pipeline."""
        return self.elapsed_seconds < self.seconds

    def said(self, before: int) -> str:
        """Return what it reached as JSON; `before` pipelines went before it."""
        elapsed_seconds = self.elapsed_seconds
        return json.dumps(
            {
                "per_second": self.pipelines / elapsed_seconds,
                "core_share": (time.process_time() - self.cpu_began) / elapsed_seconds,
                "completed": before + self.pipelines,
            }
        )


def main() -> None:
    """Send pipelines of the lines of a file until the time is over, and print what was reached."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--events", type=Path, required=True, help="a file of events, one a line: one pipeline")
    parser.add_argument("--warm-up-seconds", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--asyncio", action="store_true")
    given = parser.parse_args()
    events = given.events.read_bytes().splitlines()
    if given.asyncio:
        said = asyncio.run(_asynchronous(given.port, events, given.warm_up_seconds, given.seconds))
    else:
        said = _synchronous(given.port, events, given.warm_up_seconds, given.seconds)
    print(said)


def _synchronous(port: int, events: list[bytes], warm_up_seconds: float, seconds: float) -> str:
    with redis.Redis(host=HOST, port=port) as client:

        def store(stretch: Stretch) -> Stretch:
            while stretch.goes_on():
                pipeline = client.pipeline(transaction=False)
                for event in events:
                    pipeline.xadd(KEY, {"event": event})
                pipeline.execute()
                stretch.pipelines += 1
            return stretch

        warm = store(Stretch(warm_up_seconds))
        return store(Stretch(seconds)).said(warm.pipelines)


async def _asynchronous(port: int, events: list[bytes], warm_up_seconds: float, seconds: float) -> str:
    async with redis.asyncio.Redis(host=HOST, port=port) as client:

        async def store(stretch: Stretch) -> Stretch:
            while stretch.goes_on():
                pipeline = client.pipeline(transaction=False)
                for event in events:
                    pipeline.xadd(KEY, {"event": event})
                await pipeline.execute()
                stretch.pipelines += 1
            return stretch

        warm = await store(Stretch(warm_up_seconds))
        return (await store(Stretch(seconds))).said(warm.pipelines)


if __name__ == "__main__":
    main()
