"""The webhook scenario of both engines: the bus in two modes, aiohttp's bare client, a forwarder as people write it."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, get_args

from bench.latency import delay_figure
from bench.report import Figure, Report, Target, ratio
from bench.rounds import in_turns
from bench.webhook_posts import CONCURRENCY
from bench.webhook_rounds import (
    PER_SECOND_TARGET,
    Mode,
    count_of,
    events_file,
    posted_by_bus,
    posted_by_peer,
    posted_delays,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.report import Context
    from bench.server import Server
    from bench.webhook_rounds import Posted

_MODES: Final[Sequence[Mode]] = get_args(Mode)
_BARE_LOOP: Final = "aiohttp client loop"
_RATE_TARGET: Final = Target(comparison=">=", bound=PER_SECOND_TARGET)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarder:
    """What people put between a store and a receiver today: a module of peers, its store, and how it works."""

    name: str
    module: str
    store: Server
    note: str


def measured(
    context: Context, *, letter: str, title: str, bus: Server, receiver: Server, forwarder: Forwarder
) -> Report:
    """Measure all in turns, then the delays of the bus."""
    events = events_file(context)
    modes = {f"{bus.name}, {mode}": mode for mode in _MODES}
    rounds = in_turns(
        context,
        {
            **{name: functools.partial(posted_by_bus, context, bus, receiver, mode) for name, mode in modes.items()},
            _BARE_LOOP: functools.partial(posted_by_peer, context, "bench.webhook_loop", receiver, events),
            forwarder.name: functools.partial(
                posted_by_peer, context, forwarder.module, receiver, events, forwarder.store
            ),
        },
    )
    delays = in_turns(
        context,
        {name: functools.partial(posted_delays, context, bus, receiver, mode) for name, mode in modes.items()},
    )
    return Report(
        letter=letter,
        title=title,
        figures=[
            *_rate_figures(rounds, modes),
            *(
                delay_figure(f"{name}: publish to receipt", [one.receipt for one in delays[name]], share)
                for name in modes
                for share in (0.5, 0.99)
            ),
            delay_figure("generator behind its deadline", [one.late for name in modes for one in delays[name]], 0.99),
            *(figure for name in rounds for figure in _work_figures(name, rounds[name])),
        ],
        notes=[
            f"{count_of(context):,} real events a round, {CONCURRENCY} requests at a time",
            "rate: from the first request to arrive to the last",
            "receiver: a raw protocol in a process of its own, answers 204; each event arrived in one request",
            "event bus: one replica; the events wait in a paused subscription, which is resumed; then all are acked",
            "event bus: receiver verified by OPTIONS, each request signed with one secret, each try noted",
            f"{_BARE_LOOP}: keeps nothing, signs nothing, tries nothing again: the ceiling of the library",
            forwarder.note,
            "publish to receipt: 1,000 events/s, one a POST, sent at absolute deadlines beside the deliveries",
            "publish to receipt: from the sending, so acceptance and its sync are in it; one clock for both processes",
        ],
    )


def _rate_figures(rounds: Mapping[str, Sequence[Posted]], modes: Mapping[str, Mode]) -> list[Figure]:
    """Return the rates, those of the bus held to the target, and the ratios of each mode to each peer."""
    rates = {
        name: Figure(
            name=name,
            unit="deliveries/s",
            values=[one.count / one.seconds for one in posted],
            target=_RATE_TARGET if name in modes else None,
        )
        for name, posted in rounds.items()
    }
    costs = {name: _cost_figure(name, posted) for name, posted in rounds.items()}
    pairs = [(name, peer) for peer in rounds if peer not in modes for name in modes]
    return [
        *rates.values(),
        *(ratio(rates[name], rates[peer], f"{name} / {peer}") for name, peer in pairs),
        *(ratio(costs[peer], costs[name], f"{peer} / {name}, by processor time") for name, peer in pairs),
    ]


def _cost_figure(name: str, rounds: Sequence[Posted]) -> Figure:
    """Return what a delivery costs the sender, which other work on the machine hardly changes."""
    values = [1e6 * one.sender_cpu_seconds / one.count for one in rounds]
    return Figure(name=f"{name}: processor time", unit="us/delivery", values=values)


def _work_figures(name: str, rounds: Sequence[Posted]) -> list[Figure]:
    """Return what a delivery costs the sender, and who was busy: a receiver near 100 was the limit itself."""
    return [
        _cost_figure(name, rounds),
        Figure(
            name=f"{name}: sender",
            unit="% of a core",
            values=[100 * one.sender_cpu_seconds / one.seconds for one in rounds],
        ),
        Figure(
            name=f"{name}: receiver",
            unit="% of a core",
            values=[100 * one.receiver_cpu_seconds / one.seconds for one in rounds],
        ),
    ]
