"""A Python loop that stores events by redis-py's defaults: `python -m bench.redis.pipeline_loop`, one line of JSON."""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Final

import redis

from bench.server import HOST

KEY: Final = "bench:pipeline"


def main() -> None:
    """Send pipelines of the lines of a file, one XADD an event, until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--events", type=Path, required=True, help="a file of events, one a line: one pipeline")
    parser.add_argument("--warm-up-seconds", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    given = parser.parse_args()
    events = given.events.read_bytes().splitlines()
    with redis.Redis(host=HOST, port=given.port) as client:
        warm = _store(client, events, given.warm_up_seconds)
        began, cpu = time.perf_counter(), time.process_time()
        pipelines = _store(client, events, given.seconds)
        elapsed = time.perf_counter() - began
        cpu_seconds = time.process_time() - cpu
    print(
        json.dumps(
            {
                "per_second": pipelines / elapsed,
                "core_share": cpu_seconds / elapsed,
                "completed": warm + pipelines,
                "core": sorted(os.sched_getaffinity(0)),
            }
        )
    )


def _store(client: redis.Redis, events: list[bytes], seconds: float) -> int:
    """Return how many pipelines were answered."""
    pipelines = 0
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pipeline = client.pipeline(transaction=False)
        for event in events:
            pipeline.xadd(KEY, {"event": event})
        pipeline.execute()
        pipelines += 1
    return pipelines


if __name__ == "__main__":
    main()
