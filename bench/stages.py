"""What an event costs, stage by stage, on Redis: `python -m bench.stages`; `--write` keeps it in `bench/RESULTS.md`.

Each stage is the product's own code with real events, measured by itself in processor time. *Service, whole* is the
service's process while it does all of it, measured from outside: what the stages leave out is between the two.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvloop

from bench import results, stage_loops
from bench.closed_loop import ClosedLoopPlan, closed_loop
from bench.drain import drained_transports
from bench.errors import BenchError
from bench.machine import Cores, FsyncTimes, describe
from bench.real_events import real_events
from bench.redis.redis_server import running_redis
from bench.report import Context, heading, number
from bench.server import Launcher, end_whole_on_sigterm
from waooaw.events.bus.event_bus import BusOptions, EventBus
from waooaw.events.clock import SystemClock
from waooaw.events.engine.redis import RedisEngine, RedisOptions
from waooaw.events.identifier import RandomIdentifiers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.redis.redis_server import RedisServer
    from bench.server import Server
    from waooaw.events.event import Entry

_RESULTS: Final = Path(__file__).with_name("RESULTS.md")
_TITLE: Final = "Cost of an event by stage, on Redis"
_READERS: Final = 200
_MICROSECONDS: Final = 1e6
_WRITE_FRAMES: Final = 100
_LIVE: Final = "wowevent:{default}:live"
_LIVE_SECONDS_MAX: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How events come: as many a publish, as many publishes at once."""

    events: int
    at_once: int

    @property
    def name(self) -> str:
        """Return how it is printed."""
        return f"{self.events} a publish, {self.at_once} at once"


SHAPES: Final = (Shape(events=1, at_once=1), Shape(events=1, at_once=64), Shape(events=100, at_once=8))

STAGES: Final[Mapping[str, str]] = {
    "edge": "HTTP in and out: a request of the same size with no event in it, measured at the service",
    "decode": "read, check and complete the event",
    "append": "publisher and engine in our process: join, spell, send, read the reply, make receipts, count",
    "live": "read the frame of the live channel, once in each replica",
    "answer": "spell the receipt",
    "service, sum": "all of the above",
    "service, whole": "the service's process while it does that, measured from outside",
    "Redis": "Redis' process: sockets, script, append-only file, one listener",
    "Redis, script": "of that, EVALSHA by `INFO commandstats`, wall time: other work on its core is in it",
    "match": "find the routes of the event among four, where anybody streams",
    "frame": "spell the event for WebSocket, once for all readers",
    "write": f"one reader of {_READERS}: the joined frames to its socket, kernel included",
}
_SUMMED: Final = ("edge", "decode", "append", "live", "answer")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every stage in every shape, and print one table."""
    options = _parser().parse_args(arguments)
    end_whole_on_sigterm()
    cores = Cores.assigned()
    with tempfile.TemporaryDirectory(prefix="wowevent-bench-") as directory:
        context = Context(
            launcher=Launcher(directory=Path(directory), core=cores.server),
            cores=cores,
            directory=Path(directory),
            seconds=options.seconds,
            rounds=options.rounds,
            open_files_max=0,
        )
        machine = describe(Path(directory), cores, FsyncTimes.measured(Path(directory)))
        try:
            rounds = [_measured(context) for _ in range(options.rounds)]
        except BenchError as error:
            sys.stderr.write(f"python -m bench.stages: {error}\n")
            return 1
    medians = {
        shape: {stage: statistics.median(one[shape][stage] for one in rounds) for stage in STAGES} for shape in SHAPES
    }
    settings = f"Medians of {options.rounds} rounds: `python -m bench.stages`. Microseconds of processor time an event."
    part = f"{heading(_TITLE, machine, settings)}\n\n{table(medians)}\n\n{_legend()}"
    print(part)
    if options.write:
        before = _RESULTS.read_text(encoding="utf-8") if _RESULTS.exists() else ""
        _RESULTS.write_text(results.with_part(before, part), encoding="utf-8")
    return 0


def table(medians: Mapping[Shape, Mapping[str, float]]) -> str:
    """Return the table of seconds an event as microseconds, a line a stage."""
    rows = [["stage", *(shape.name for shape in medians)]]
    rows += [[stage, *(number(_MICROSECONDS * found[stage]) for found in medians.values())] for stage in STAGES]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _legend() -> str:
    lines = [f"- **{stage}**: {what}" for stage, what in STAGES.items()]
    lines.append(f"- events are the {SHAPES[-1].events} different ones of the other benchmarks on Redis")
    return "\n".join(lines)


def _measured(context: Context) -> dict[Shape, dict[str, float]]:
    """Measure one round of everything."""
    found: dict[Shape, dict[str, float]] = {shape: {} for shape in SHAPES}
    with running_redis(context) as store:
        with store.launcher(context).service() as bus:
            for shape in SHAPES:
                whole, redis_seconds, script_seconds = _whole(context, store, bus, shape)
                found[shape] |= {
                    "edge": _edge(context, bus, shape),
                    "service, whole": whole,
                    "Redis": redis_seconds,
                    "Redis, script": script_seconds,
                }
        for shape in SHAPES:
            found[shape] |= _in_process(store, shape, context.seconds)
    return {shape: _summed(stages) for shape, stages in found.items()}


def _body(shape: Shape) -> bytes:
    return b"\n".join(real_events(shape.events)) + b"\n"


def _edge(context: Context, bus: Server, shape: Shape) -> float:
    """Return what a request of the size of a publish costs the service when there is nothing in it."""
    blank = b" " * (len(_body(shape)) - 1) + b"\n"
    window = closed_loop(bus, _plan(context, shape), "application/x-ndjson", blank)
    return window.server_core_share / window.per_second / shape.events


def _whole(context: Context, store: RedisServer, bus: Server, shape: Shape) -> tuple[float, float, float]:
    """Return what a published event costs the service, Redis, and Redis' script."""
    content_type = "application/json" if shape.events == 1 else "application/x-ndjson"
    with store.client() as client:
        client.config_resetstat()
        one = store.watched(lambda: closed_loop(bus, _plan(context, shape), content_type, _body(shape)))
        script = client.info("commandstats")["cmdstat_evalsha"]["usec"] / _MICROSECONDS
    events = one.window.completed * shape.events
    service = one.window.server_core_share / one.window.per_second / shape.events
    return service, one.redis_cpu_seconds / events, script / events


def _plan(context: Context, shape: Shape) -> ClosedLoopPlan:
    return ClosedLoopPlan.of(context, connections=shape.at_once)


def _in_process(store: RedisServer, shape: Shape, seconds: float) -> dict[str, float]:
    """Return the stages that are measured in this process."""
    events = real_events(shape.events)
    appended, message = uvloop.run(_append(store, shape, seconds))
    count = len(stage_loops.frame_of(message).events)
    found = {
        "decode": stage_loops.decode_seconds(events),
        "live": stage_loops.live_seconds(message),
        "match": stage_loops.match_seconds(message),
        "frame": stage_loops.frame_seconds(message),
        "answer": stage_loops.answer_seconds(stage_loops.entries_of(events)),
        "write": uvloop.run(_write(stage_loops.websocket_frames(stage_loops.frame_of(message)))) / count,
    }
    found["append"] = appended - found["live"]
    return found


def _summed(found: dict[str, float]) -> dict[str, float]:
    """Return a shape's stages with the sum of those that the service does once an event."""
    return {**found, "service, sum": sum(found[stage] for stage in _SUMMED)}


async def _append(store: RedisServer, shape: Shape, seconds: float) -> tuple[float, bytes]:
    """Return what an event costs from the publisher to its receipt and back as a live frame, and a frame of them."""
    clock, identifiers = SystemClock(), RandomIdentifiers()
    entries = stage_loops.entries_of(real_events(shape.events))
    async with AsyncExitStack() as stack:
        engine = RedisEngine(store.url, ("default",), clock=clock, identifiers=identifiers, options=RedisOptions())
        await engine.open(stack)
        bus = EventBus(engine, "default", clock=clock, identifiers=identifiers, options=BusOptions())
        await stack.enter_async_context(bus)
        message = await _live_message(store, bus, entries, shape.at_once)
        published = 0

        async def publish() -> None:
            nonlocal published
            while time.monotonic() < until:
                await bus.submit(entries)
                published += len(entries)

        until = time.monotonic() + seconds
        began = time.thread_time()
        await asyncio.gather(*(publish() for _ in range(shape.at_once)))
        spent = time.thread_time() - began
    return spent / published, message


async def _live_message(store: RedisServer, bus: EventBus, entries: Sequence[Entry], at_once: int) -> bytes:
    """Return the largest of the frames that the live channel carries when entries are published, `at_once` times."""
    with store.client() as client:
        subscription = client.pubsub()  # type: ignore[no-untyped-call]  # redis-py's own
        try:
            subscription.subscribe(_LIVE)
            subscription.get_message(timeout=_LIVE_SECONDS_MAX)  # the confirmation
            await asyncio.gather(*(bus.submit(entries) for _ in range(at_once)))
            messages: list[bytes] = []
            while sum(len(stage_loops.frame_of(message).events) for message in messages) < at_once * len(entries):
                told = subscription.get_message(timeout=_LIVE_SECONDS_MAX)
                if told is None:
                    raise BenchError(f"the live channel carried {len(messages)} frames, not all events")
                messages.append(told["data"])
        finally:
            subscription.close()
    return max(messages, key=len)


async def _write(payload: bytes) -> float:
    """Return what writing `payload` to one of many readers costs, the kernel's part included."""
    async with drained_transports(_READERS) as transports:
        began = time.thread_time()
        for _ in range(_WRITE_FRAMES):
            for transport in transports:
                transport.write(payload)
            await asyncio.sleep(0)
            while any(transport.get_write_buffer_size() for transport in transports):  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0)
        spent = time.thread_time() - began
    return spent / (_WRITE_FRAMES * _READERS)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.stages", description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds of each measurement (default: 2)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds whose median counts (default: 3)")
    parser.add_argument("--write", action="store_true", help="keep the result in bench/RESULTS.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())
