"""(a) One real event a request by wrk, against nginx's nchan module that publishes to the same Redis."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from bench.load import EVENTS_PATH
from bench.real_events import real_events
from bench.receipts import DURABILITY_ON_REDIS, check_single, compared_with_log, post_once
from bench.redis import nchan
from bench.redis.redis_server import redis_costs, running_redis, windows_of
from bench.redis.wrk import Wrk
from bench.report import Context, Figure, Report, Target, ratio
from bench.rounds import core_shares, costs, in_turns

if TYPE_CHECKING:
    from bench.load import Window

LETTER: Final = "a"
TITLE: Final = "on Redis: one event a request"

_CONNECTIONS: Final = 256
"""Enough that both sides are busy: with 64 a fifth of the service's core waits for the answers of Redis."""
_TARGET: Final = Target(comparison=">=", bound=1.0)


def run(context: Context) -> Report:
    """Measure both in turns on one Redis, each time with a channel of nchan's that is new."""
    (body,) = real_events(1)
    wrk = Wrk.posting(body, context, connections=_CONNECTIONS)
    channels = (f"round{number}" for number in itertools.count())
    with (
        running_redis(context) as store,
        store.launcher(context).service() as bus,
        nchan.running(context.launcher, store) as peer,
        store.client() as client,
    ):
        check_single(post_once(bus, EVENTS_PATH, "application/json", body), DURABILITY_ON_REDIS)
        kept = 0

        def post_to_peer() -> Window:
            nonlocal kept
            channel = next(channels)
            window = wrk.drive(peer, nchan.publish_path(channel))
            kept += nchan.check_stored(client, channel, [body], window.completed)
            return window

        rounds = in_turns(
            context,
            {
                bus.name: lambda: store.watched(lambda: wrk.drive(bus, EVENTS_PATH)),
                peer.name: lambda: store.watched(post_to_peer),
            },
        )
        answered = 1 + sum(window.completed for window in windows_of(rounds[bus.name]))
        compared = compared_with_log(bus, answered, unanswered_max=2 * _CONNECTIONS * context.rounds)
    figures = {
        server.name: Figure(
            name=server.name,
            unit="requests/s",
            values=[window.per_second for window in windows_of(rounds[server.name])],
        )
        for server in (bus, peer)
    }
    return Report(
        letter=LETTER,
        title=TITLE,
        figures=[
            *figures.values(),
            ratio(figures[bus.name], figures[peer.name], "event bus / nchan", _TARGET),
            *(costs(name, windows_of(rounds[name]), "request") for name in figures),
            *(redis_costs(name, rounds[name], "request") for name in figures),
            *(figure for name in figures for figure in core_shares(name, windows_of(rounds[name]))),
        ],
        notes=[
            f"wrk, 1 thread, {_CONNECTIONS} connections, the same body of {len(body)} bytes; no request failed",
            "one worker process each, on the same core; Redis with appendfsync everysec on the other",
            "event bus: each event is checked, completed, matched; its receipt (`local`) says that Redis stored it",
            "nchan: 202 says that Redis stored the message (buffer unbounded, kept 1 h); no check, no id",
            compared,
            f"nchan keeps {kept:,} messages in Redis",
        ],
    )
