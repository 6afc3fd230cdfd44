"""(c) 200 WebSocket readers of one stream of real events, against nginx's nchan module on the same Redis."""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, Final

from bench.fanout import READERS, Feed, deliveries
from bench.load import EVENTS_PATH, post
from bench.real_events import real_events
from bench.redis import nchan
from bench.redis.redis_server import redis_costs, running_redis, windows_of
from bench.report import Context, Figure, Report, Target, ratio
from bench.rounds import core_shares, costs, in_turns
from bench.websocket import Opening

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.load import Window
    from bench.server import Server

LETTER: Final = "c"
TITLE: Final = "on Redis: one pattern, 200 WebSocket readers"

_EVENTS: Final = 100
_BATCH: Final = 50
_PATTERN: Final = "github.*"
_AHEAD_EVENTS_MAX: Final = 200
"""How far publishers may be ahead of the average reader, whether they send batches or not."""
_SINGLE_CONNECTIONS: Final = 64
_BATCH_CONNECTIONS: Final = 4
_TARGET: Final = Target(comparison=">=", bound=4.0)
_BATCHES, _SINGLES = f"event bus, batches of {_BATCH}", "event bus, one event a request"
_NCHAN_SUCCESS: Final = b"HTTP/1.1 20"
"""201 where someone listens, 202 where nobody does yet."""


def run(context: Context) -> Report:
    """Measure the bus with batches and with single events, and nchan, which has no batches, in turns on one Redis."""
    events = real_events(_EVENTS)
    channels = (f"round{number}" for number in itertools.count())
    with (
        running_redis(context) as store,
        store.launcher(context).service() as bus,
        nchan.running(context.launcher, store) as peer,
        store.client() as client,
    ):

        def to_peer() -> Window:
            channel = next(channels)
            window = deliveries(context, peer, _of_nchan(peer, events, channel))
            nchan.check_stored(client, channel, events, window.completed)
            return window

        runs: dict[str, Callable[[], Window]] = {
            _BATCHES: functools.partial(deliveries, context, bus, _in_batches(bus, events)),
            _SINGLES: functools.partial(deliveries, context, bus, _one_by_one(bus, events)),
            peer.name: to_peer,
        }
        rounds = in_turns(context, {name: functools.partial(store.watched, one) for name, one in runs.items()})
    figures = {
        name: Figure(name=name, unit="deliveries/s", values=[window.per_second for window in windows_of(rounds[name])])
        for name in runs
    }
    return Report(
        letter=LETTER,
        title=TITLE,
        figures=[
            *figures.values(),
            ratio(figures[_BATCHES], figures[peer.name], f"{_BATCHES} / {peer.name}", _TARGET),
            ratio(figures[_SINGLES], figures[peer.name], f"{_SINGLES} / {peer.name}", _TARGET),
            *(costs(name, windows_of(rounds[name]), "delivery") for name in runs),
            *(redis_costs(name, rounds[name], "event") for name in runs),
            *(figure for name in runs for figure in core_shares(name, windows_of(rounds[name]))),
        ],
        notes=[
            f"the same {_EVENTS} events in turn to the same {READERS} readers; one worker process each",
            f"publishers stay at most {_AHEAD_EVENTS_MAX} events ahead of the average reader",
            "each reader received each accepted event exactly once, in the same order, compared byte for byte",
            f"single events over {_SINGLE_CONNECTIONS} connections; nchan has no batches",
            "event bus: live over pub/sub, gaps repaired from the log; one write a connection and turn of the loop",
            "nchan: live over pub/sub, buffer unbounded, kept in Redis for 1 h; one write a message",
        ],
    )


def _in_batches(bus: Server, events: Sequence[bytes]) -> Feed:
    bodies = [b"\n".join(events[at : at + _BATCH]) + b"\n" for at in range(0, len(events), _BATCH)]
    return Feed(
        requests=[post(bus, EVENTS_PATH, "application/x-ndjson", body) for body in bodies],
        batch_events=_BATCH,
        opening=Opening.of(_PATTERN),
        ahead_batches_max=_AHEAD_EVENTS_MAX // _BATCH,
        connections=_BATCH_CONNECTIONS,
    )


def _one_by_one(bus: Server, events: Sequence[bytes]) -> Feed:
    return Feed(
        requests=[post(bus, EVENTS_PATH, "application/json", event) for event in events],
        batch_events=1,
        opening=Opening.of(_PATTERN),
        ahead_batches_max=_AHEAD_EVENTS_MAX,
        connections=_SINGLE_CONNECTIONS,
    )


def _of_nchan(peer: Server, events: Sequence[bytes], channel: str) -> Feed:
    return Feed(
        requests=[post(peer, nchan.publish_path(channel), "application/json", event) for event in events],
        batch_events=1,
        opening=Opening(path=nchan.stream_path(channel), subprotocol=None, request=None),
        ahead_batches_max=_AHEAD_EVENTS_MAX,
        connections=_SINGLE_CONNECTIONS,
        success=_NCHAN_SUCCESS,
        event_prefix=b"{",
        positions=False,
    )
