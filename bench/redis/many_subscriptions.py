"""(g) What a thousand subscriptions cost a publish: none that matches, and how long Redis is busy where all match."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from bench.closed_loop import ClosedLoopPlan, closed_loop
from bench.load import EVENTS_PATH
from bench.real_events import real_events
from bench.receipts import DURABILITY_ON_REDIS, check_batch, post_once
from bench.redis.calls import call
from bench.redis.redis_server import redis_costs, running_redis, windows_of
from bench.report import Context, Figure, Report, Target, ratio
from bench.rounds import costs, in_turns

if TYPE_CHECKING:
    import redis

    from bench.server import Server

LETTER: Final = "g"
TITLE: Final = "on Redis: publishing beside 1,000 subscriptions"

_SUBSCRIPTIONS: Final = 1000
_BATCH: Final = 100
_CONNECTIONS: Final = 32
_NONE, _OTHERS = "no subscription", "1,000 that do not match"
_BUS_OTHERS, _BUS_ALL = "others", "all"
_COST_TARGET: Final = Target(comparison="<=", bound=1.1)
_BLOCK_TARGET: Final = Target(comparison="<=", bound=15.0)
_MAKING: Final = 16
_MATCHED_BATCHES: Final = 20


def run(context: Context) -> Report:
    """Measure publishes on a bus without subscriptions and on one with many, in turns; then one where all match."""
    events = real_events(_BATCH)
    body = b"\n".join(events) + b"\n"
    plan = ClosedLoopPlan.of(context, connections=_CONNECTIONS)
    check = functools.partial(check_batch, count=_BATCH, durability=DURABILITY_ON_REDIS)
    with running_redis(context) as store:
        launcher = store.launcher(context)
        buses = {"WOWEVENT_BUSES": f"default,{_BUS_OTHERS},{_BUS_ALL}", "WOWEVENT_SUBSCRIPTIONS_MAX": "1000"}
        launcher = replace(launcher, environment={**launcher.environment, **buses})
        with launcher.service() as bus, store.client() as client:
            _make(bus, _BUS_OTHERS, "nothing.like.it.*")
            _make(bus, _BUS_ALL, "github.*")
            paths = {_NONE: EVENTS_PATH, _OTHERS: f"/v1/buses/{_BUS_OTHERS}/events"}
            rounds = in_turns(
                context,
                {
                    name: functools.partial(
                        store.watched,
                        functools.partial(closed_loop, bus, plan, "application/x-ndjson", body, check, path=path),
                    )
                    for name, path in paths.items()
                },
            )
            blocked_ms = _blocked(bus, client, body)
    windows = {name: windows_of(rounds[name]) for name in rounds}
    rates = {
        name: Figure(name=name, unit="events/s", values=[_BATCH * window.per_second for window in windows[name]])
        for name in windows
    }
    service = {name: costs(name, windows[name], "event", _BATCH) for name in windows}
    redis_work = {name: redis_costs(name, rounds[name], "event", _BATCH) for name in windows}
    return Report(
        letter=LETTER,
        title=TITLE,
        figures=[
            *rates.values(),
            ratio(rates[_NONE], rates[_OTHERS], "time of a publish: 1,000 that do not match / none", _COST_TARGET),
            *service.values(),
            *redis_work.values(),
            Figure(
                name=f"a batch of {_BATCH} matched by {_SUBSCRIPTIONS:,}: longest script",
                unit="ms",
                values=blocked_ms,
                target=_BLOCK_TARGET,
            ),
        ],
        notes=[
            f"ndjson batches of {_BATCH} real events over {_CONNECTIONS} connections, two buses of one service ",
            f"longest script: by Redis' own slow log, over {_MATCHED_BATCHES} batches that all subscriptions match",
        ],
    )


def _make(bus: Server, name: str, pattern: str) -> None:
    """Make the subscriptions of a bus."""

    def make(number: int) -> None:
        call(bus, "PUT", f"/v1/buses/{name}/subscriptions/s{number}", {"patterns": [pattern]})

    with ThreadPoolExecutor(_MAKING) as making:
        list(making.map(make, range(_SUBSCRIPTIONS)))


def _blocked(bus: Server, client: redis.Redis, body: bytes) -> list[float]:
    """Return for each batch how long the longest script that it took kept Redis busy, in milliseconds."""
    longest = []
    client.config_set("slowlog-log-slower-than", 1000)
    client.config_set("slowlog-max-len", 1000)
    for _ in range(_MATCHED_BATCHES):
        client.slowlog_reset()
        post_once(bus, f"/v1/buses/{_BUS_ALL}/events", "application/x-ndjson", body)
        longest.append(max((entry["duration"] for entry in client.slowlog_get(1000)), default=0) / 1000)
    return longest
