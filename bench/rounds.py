"""Rounds in turns, A B A B, so that a machine that warms up or throttles does it to both sides."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, TypeVar

from bench.machine import busy_seconds
from bench.report import Figure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.load import Window
    from bench.report import Context

_Result = TypeVar("_Result")

_PAUSE_SECONDS: Final = 0.5
"""For what a server still does after a round, a checkpoint say, so that it is not done in the next one's time."""


_QUIET_SHARE: Final = 0.1
"""Of one core: what the servers that wait for their turn take, with room."""


def in_turns(context: Context, runs: Mapping[str, Callable[[], _Result]]) -> dict[str, list[_Result]]:
    """Run each of `runs` once a round and return the results of each by its name.

    Where the machine is not ours alone, each run waits for other work to end, as long as the context has patience.
    """
    results: dict[str, list[_Result]] = {name: [] for name in runs}
    for _ in range(context.rounds):
        for name, run in runs.items():
            _await_quiet(context.patience_seconds)
            results[name].append(run())
            time.sleep(_PAUSE_SECONDS)
    return results


def _await_quiet(patience_seconds: float) -> None:
    """Return when the machine has been quiet for a moment, or patience is over."""
    until = time.monotonic() + patience_seconds
    while time.monotonic() < until:
        before = busy_seconds()
        time.sleep(_PAUSE_SECONDS)
        if busy_seconds() - before < _QUIET_SHARE * _PAUSE_SECONDS:
            return


def core_shares(name: str, windows: Sequence[Window]) -> list[Figure]:
    """Return who used the cores: the load near 100 was the limit itself, much other work makes the rate doubtful."""
    shares = {
        "server": [window.server_core_share for window in windows],
        "load": [window.load_core_share for window in windows],
        "other work on the server's core": [window.other_core_share for window in windows],
    }
    return [
        Figure(name=f"{name}: {what}", unit="% of a core", values=[100 * value for value in values])
        for what, values in shares.items()
    ]


def costs(name: str, windows: Sequence[Window], unit: str, per_count: int = 1) -> Figure:
    """Return the server's processor time for each `unit` counted, which other work on the machine hardly changes."""
    values = [1e6 * window.server_core_share / (window.per_second * per_count) for window in windows]
    return Figure(name=f"{name}: processor time", unit=f"us/{unit}", values=values)
