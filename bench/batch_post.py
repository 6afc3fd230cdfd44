"""(b) Batches of a hundred events as ndjson over 8 connections: events stored and synced a second."""

from __future__ import annotations

import functools
from typing import Final

from bench.closed_loop import ClosedLoopPlan, closed_loop
from bench.events import batch
from bench.receipts import check_batch, compared_with_log
from bench.report import Context, Figure, Report, Target, ratio
from bench.rounds import core_shares, costs, in_turns

LETTER: Final = "b"
TITLE: Final = "batches of 100 events, ndjson"

_CONNECTIONS: Final = 8
_BATCH: Final = 100
_TARGET: Final = Target(comparison=">=", bound=40_000)


def run(context: Context) -> Report:
    """Measure the service, and beside it a server that only reads the same bodies."""
    plan = ClosedLoopPlan.of(context, connections=_CONNECTIONS)
    body, content_type = batch(_BATCH), "application/x-ndjson"
    check = functools.partial(check_batch, count=_BATCH)
    with context.launcher.service() as bus, context.launcher.baseline() as bare:
        windows = in_turns(
            context,
            {
                bus.name: lambda: closed_loop(bus, plan, content_type, body, check),
                bare.name: lambda: closed_loop(bare, plan, content_type, body),
            },
        )
        compared = compared_with_log(bus, _BATCH * sum(window.completed for window in windows[bus.name]))
    stored, empty = (
        Figure(
            name=name, unit="events/s", values=[_BATCH * window.per_second for window in windows[name]], target=target
        )
        for name, target in ((bus.name, _TARGET), (bare.name, None))
    )
    return Report(
        letter=LETTER,
        title=TITLE,
        figures=[
            stored,
            empty,
            ratio(stored, empty, "event bus / bare aiohttp"),
            costs(bus.name, windows[bus.name], "event", _BATCH),
            *core_shares(bus.name, windows[bus.name]),
        ],
        notes=[
            f"{_CONNECTIONS} keep-alive connections, one batch in flight on each; bare aiohttp reads the body, no more",
            "every batch was accepted whole at fsync",
            compared,
        ],
    )
