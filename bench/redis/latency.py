"""(d) From publish to receive at a thousand events a second, against the least handler that does the same on Redis."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Final

from bench.latency import delay_figure, delays
from bench.redis.redis_server import running_redis
from bench.report import Context, Figure, Report, Target, ratio
from bench.rounds import in_turns

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LETTER: Final = "d"
TITLE: Final = "on Redis: publish to receive at 1,000 events/s"

_BARE: Final = "bare handler"
_TARGET: Final = Target(comparison="<=", bound=1.5)


def run(context: Context) -> Report:
    """Measure both in turns on one Redis."""
    with (
        running_redis(context) as store,
        store.launcher(context).service() as bus,
        context.launcher.running(_BARE, _bare_command, {"REDIS_URL": store.url}) as bare,
    ):
        rounds = in_turns(
            context,
            {server.name: functools.partial(delays, context, server) for server in (bus, bare)},
        )
    figures = {
        (name, share): delay_figure(f"{name}: publish to receive", [one.receive for one in rounds[name]], share)
        for name in rounds
        for share in (0.5, 0.99, 1.0)
    }
    medians = figures[bus.name, 0.5], figures[_BARE, 0.5]
    return Report(
        letter=LETTER,
        title=TITLE,
        figures=[
            *figures.values(),
            ratio(*medians, f"event bus / {_BARE}, p50", _TARGET),
            *(delay_figure(f"{name}: publish to answer", [one.answer for one in rounds[name]], 0.5) for name in rounds),
            *(
                delay_figure(f"{name}: generator behind its deadline", [one.late for one in rounds[name]], 0.99)
                for name in rounds
            ),
            *(
                Figure(name=f"{name}: sent", unit="events/s", values=[one.sent_per_second for one in rounds[name]])
                for name in rounds
            ),
        ],
        notes=[
            "one event a POST over 64 connections, sent at absolute deadlines whatever is answered",
            "sender and reader are one process, so one clock; the send time travels in the event",
            f"{_BARE}: aiohttp on uvloop, redis-py as it comes; one script does XADD and PUBLISH",
            f"{_BARE}: each message of its own subscription is one WebSocket message; no check, no repair",
            "every event that was sent was received exactly once",
        ],
    )


def _bare_command(port: int, directory: Path) -> Sequence[str]:
    """Return what starts the handler, which takes its port from the environment."""
    del port, directory
    return [sys.executable, "-m", "bench.redis.bare_handler"]
