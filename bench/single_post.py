"""(a) One event a request over 64 keep-alive connections, against the same aiohttp with an empty handler."""

from __future__ import annotations

from typing import Final

from bench.closed_loop import ClosedLoopPlan, closed_loop
from bench.events import event
from bench.receipts import check_single, compared_with_log
from bench.report import Context, Figure, Report, Target, ratio
from bench.rounds import core_shares, costs, in_turns

LETTER: Final = "a"
TITLE: Final = "one event a request"

_CONNECTIONS: Final = 64
_TARGET: Final = Target(comparison=">=", bound=0.45)


def run(context: Context) -> Report:
    """Measure both servers in turns."""
    plan = ClosedLoopPlan.of(context, connections=_CONNECTIONS)
    with context.launcher.service() as bus, context.launcher.baseline() as bare:
        windows = in_turns(
            context,
            {
                bus.name: lambda: closed_loop(bus, plan, "application/json", event(), check_single),
                bare.name: lambda: closed_loop(bare, plan, "application/json", event()),
            },
        )
        compared = compared_with_log(bus, sum(window.completed for window in windows[bus.name]))
    stored, empty = (
        Figure(name=name, unit="requests/s", values=[window.per_second for window in windows[name]])
        for name in (bus.name, bare.name)
    )
    spent = [costs(name, windows[name], "request") for name in (bus.name, bare.name)]
    return Report(
        letter=LETTER,
        title=TITLE,
        figures=[
            stored,
            empty,
            ratio(stored, empty, "event bus / bare aiohttp", _TARGET),
            *spent,
            ratio(spent[1], spent[0], "bare aiohttp / event bus, by processor time"),
            *core_shares(bus.name, windows[bus.name]),
            *core_shares(bare.name, windows[bare.name]),
        ],
        notes=[
            f"{_CONNECTIONS} keep-alive connections, each sends its next request when the last one is answered",
            "every answer was 200",
            compared,
        ],
    )
