"""(e) A durable subscription taken and acked over one WebSocket, against nats-py (JetStream) and FastStream (Redis)."""

from __future__ import annotations

import contextlib
import itertools
import os
from typing import TYPE_CHECKING, Final

from bench.errors import BenchError
from bench.load import EVENTS_PATH, Window
from bench.nats_server import running_nats
from bench.peer import run_peer
from bench.real_events import real_events
from bench.receipts import post_once
from bench.redis.calls import call
from bench.redis.consume_socket import ACKS, CREDIT, consume
from bench.redis.redis_server import redis_costs, running_redis, windows_of
from bench.report import Context, Figure, Report, Target, ratio
from bench.rounds import core_shares, costs, in_turns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bench.server import Server

LETTER: Final = "e"
TITLE: Final = "on Redis: durable consume and ack over one WebSocket"

_EVENTS: Final = 100
_COUNT: Final = 40_000
"""Deliveries a round: about a second of the bus."""
_COUNT_SLOW: Final = 10_000
"""For the peer that is an order of magnitude slower."""
_NATS: Final = "nats-py, JetStream"
_FASTSTREAM: Final = "FastStream, Redis group"
_NATS_TARGET: Final = Target(comparison=">=", bound=2.0)
_FASTSTREAM_TARGET: Final = Target(comparison=">=", bound=5.0)


def run(context: Context) -> Report:
    """Measure the three in turns."""
    events = real_events(_EVENTS)
    lines = context.directory / "events.ndjson"
    lines.write_bytes(b"\n".join(events) + b"\n")
    names = (f"round{number}" for number in itertools.count())
    with (
        running_redis(context) as store,
        store.launcher(context).service() as bus,
        running_nats(context, context.cores.server) as nats,
    ):
        rounds = in_turns(
            context,
            {
                bus.name: lambda: store.watched(lambda: _of_the_bus(bus, next(names), events)),
                _NATS: lambda: store.watched(
                    lambda: _of_a_peer("bench.redis.nats_pull", nats.port, lines, _COUNT, context.cores.load)
                ),
                _FASTSTREAM: lambda: store.watched(
                    lambda: _of_a_peer(
                        "bench.redis.faststream_group", store.server.port, lines, _COUNT_SLOW, context.cores.server
                    )
                ),
            },
        )
    figures = {
        name: Figure(name=name, unit="events/s", values=[window.per_second for window in windows_of(rounds[name])])
        for name in rounds
    }
    return Report(
        letter=LETTER,
        title=TITLE,
        figures=[
            *figures.values(),
            ratio(figures[bus.name], figures[_NATS], f"event bus / {_NATS}", _NATS_TARGET),
            ratio(figures[bus.name], figures[_FASTSTREAM], f"event bus / {_FASTSTREAM}", _FASTSTREAM_TARGET),
            costs(bus.name, windows_of(rounds[bus.name]), "event"),
            redis_costs(bus.name, rounds[bus.name], "event"),
            *core_shares(bus.name, windows_of(rounds[bus.name])),
        ],
        notes=[
            f"{_EVENTS} real events in turn: {_COUNT:,} a round, {_COUNT_SLOW:,} for FastStream, published before",
            f"event bus: one WebSocket, credit {CREDIT}, acks in messages of {ACKS}, each answered ok",
            "event bus: after each round the subscription counts all events as matched and acked",
            "event bus: the member shares the service's core, so that Redis has one as nats-server has",
            "event bus: Redis' processor time includes publishing the round's events",
            f"{_NATS}: a durable pull consumer, {ACKS} a fetch, each message acked; the acks are not answered",
            f"{_FASTSTREAM}: a subscriber of a group, each event decoded, handled and acked",
            "nats-server keeps its stream in files; Redis with appendfsync everysec",
        ],
    )


def _of_the_bus(bus: Server, subscription: str, events: Sequence[bytes]) -> Window:
    """Make a subscription, publish a round's events, take and ack them; compare with what the service counted."""
    path = f"/v1/subscriptions/{subscription}"
    call(bus, "PUT", path, {"patterns": ["github.*"]})
    body = b"\n".join(events) + b"\n"
    for _ in range(_COUNT // _EVENTS):
        post_once(bus, EVENTS_PATH, "application/x-ndjson", body)
    with _on_core(bus.core):
        window = consume(bus, subscription, _COUNT)
    counts = call(bus, "GET", path)["counts"]
    if counts["acked"] != _COUNT or counts["matched"] != _COUNT:
        raise BenchError(f"{_COUNT} events were taken and acked, the subscription counts {counts}")
    call(bus, "DELETE", path)
    return window


@contextlib.contextmanager
def _on_core(core: int | None) -> Iterator[None]:
    """Have this process, the member, share a core with the service, so that Redis has its own, as nats-server has."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _of_a_peer(module: str, port: int, lines: Path, count: int, core: int | None) -> Window:
    """Run a peer's consumer for one round."""
    said = run_peer(module, ["--port", port, "--events", lines, "--count", count], core)
    return Window(
        per_second=said["per_second"],
        server_core_share=0.0,
        load_core_share=said["core_share"],
        other_core_share=0.0,
        completed=said["completed"],
    )
