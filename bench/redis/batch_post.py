"""(b) Batches of a hundred real events, against a Python loop that sends pipelines of a hundred XADDs to one Redis."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from bench.closed_loop import ClosedLoopPlan, closed_loop
from bench.errors import BenchError
from bench.load import Window
from bench.real_events import real_events
from bench.receipts import DURABILITY_ON_REDIS, check_batch, compared_with_log
from bench.redis.pipeline_loop import KEY
from bench.redis.redis_server import redis_costs, running_redis, windows_of
from bench.report import Context, Figure, Report, Target, ratio
from bench.rounds import core_shares, costs, in_turns

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.redis.redis_server import RedisServer

LETTER: Final = "b"
TITLE: Final = "on Redis: batches of 100 events, ndjson"

_CONNECTIONS: Final = 32
"""Enough that batches wait while one append is in flight, so that service and Redis work at the same time."""
_BATCH: Final = 100
_LOOP: Final = "redis.asyncio loop"
_SYNCHRONOUS: Final = "redis.Redis loop"
_TARGET: Final = Target(comparison=">=", bound=1.0)
_GRACE_SECONDS: Final = 30.0


def run(context: Context) -> Report:
    """Measure both in turns on one Redis."""
    events = real_events(_BATCH)
    body = b"\n".join(events) + b"\n"
    lines = context.directory / "events.ndjson"
    lines.write_bytes(body)
    plan = ClosedLoopPlan.of(context, connections=_CONNECTIONS)
    check = functools.partial(check_batch, count=_BATCH, durability=DURABILITY_ON_REDIS)
    with (
        running_redis(context) as store,
        store.launcher(context).service() as bus,
        store.client() as client,
    ):
        rounds = in_turns(
            context,
            {
                bus.name: lambda: store.watched(lambda: closed_loop(bus, plan, "application/x-ndjson", body, check)),
                _LOOP: lambda: store.watched(lambda: _pipelines(context, store, lines, ["--asyncio"])),
                _SYNCHRONOUS: lambda: store.watched(lambda: _pipelines(context, store, lines, [])),
            },
        )
        batches = {name: sum(window.completed for window in windows_of(rounds[name])) for name in rounds}
        compared = compared_with_log(bus, _BATCH * batches[bus.name])
        added = client.xlen(KEY)
        expected = _BATCH * (batches[_LOOP] + batches[_SYNCHRONOUS])
        if added != expected:
            raise BenchError(f"the loops had {expected} XADDs answered, Redis has {added}")
    figures = {
        name: Figure(
            name=name,
            unit="events/s",
            values=[_BATCH * window.per_second for window in windows_of(rounds[name])],
        )
        for name in rounds
    }
    return Report(
        letter=LETTER,
        title=TITLE,
        figures=[
            *figures.values(),
            ratio(figures[bus.name], figures[_LOOP], f"event bus / {_LOOP}", _TARGET),
            ratio(figures[bus.name], figures[_SYNCHRONOUS], f"event bus / {_SYNCHRONOUS}"),
            *(costs(name, windows_of(rounds[name]), "event", _BATCH) for name in figures),
            *(redis_costs(name, rounds[name], "event", _BATCH) for name in figures),
            *core_shares(bus.name, windows_of(rounds[bus.name])),
        ],
        notes=[
            f"the same {_BATCH} different events, {len(body) // _BATCH} bytes each on average",
            "one process each, on the same core; Redis with appendfsync everysec on the other",
            f"load of the event bus: a process of its own, {_CONNECTIONS} connections, one batch in flight on each",
            "event bus: each event is checked, completed, matched, stored, published and answered with a receipt",
            "loops: redis-py as it comes, with hiredis, and `pipeline(transaction=False)`",
            "loops: an XADD of the ready bytes for each event; no service, no check, nobody is told",
            compared,
            f"the loops' stream holds exactly their {added:,} entries",
        ],
    )


def _pipelines(context: Context, store: RedisServer, lines: Path, options: Sequence[str]) -> Window:
    """Run the loop for one round, in a process on the service's core."""
    command = [sys.executable, "-m", "bench.redis.pipeline_loop", "--port", str(store.server.port)]
    command += ["--events", str(lines), "--seconds", str(context.seconds)]
    command += ["--warm-up-seconds", str(context.warm_up_seconds), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        if context.cores.server is not None:
            os.sched_setaffinity(process.pid, {context.cores.server})
        output, _ = process.communicate(timeout=context.warm_up_seconds + context.seconds + _GRACE_SECONDS)
    finally:
        process.kill()  # harmless where it has ended
        process.wait()
    if process.returncode:
        raise BenchError(f"the redis-py loop ended with {process.returncode}")
    said = json.loads(output)
    return Window(
        per_second=said["per_second"],
        server_core_share=said["core_share"],
        load_core_share=0.0,
        other_core_share=0.0,
        completed=said["completed"],
    )
