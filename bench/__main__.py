"""`python -m bench`: run an engine's scenarios, print their table, keep it in `bench/RESULTS.md` with `--write`."""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import bench.redis.batch_post
import bench.redis.consume
import bench.redis.fanout
import bench.redis.latency
import bench.redis.many_subscriptions
import bench.redis.queue_growth
import bench.redis.single_post
import bench.redis.webhooks
from bench import batch_post, fanout, idle, latency, results, single_post, webhooks
from bench.errors import BenchError
from bench.machine import Cores, FsyncTimes, describe, raise_open_files_limit
from bench.report import Context, Report, heading, section, verdict
from bench.server import SERVICE_COMMAND, Launcher, end_whole_on_sigterm

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_RESULTS: Final = Path(__file__).with_name("RESULTS.md")
_PEERS: Final = (
    "On Redis it needs redis-server, wrk, nats-server, and nginx with its nchan module; on Debian and Ubuntu: apt-get"
    " install redis-server wrk nats-server nginx-light libnginx-mod-nchan. A scenario whose peer is missing says so."
)
_SECONDS_MAX: Final = 60.0
_ROUNDS_MAX: Final = 21
_TARGET_MISSED, _NOT_MEASURED = 1, 2


class Scenario(Protocol):
    """A module that measures one thing. A new one is a new file and a line in `_ENGINES`."""

    LETTER: str
    TITLE: str

    def run(self, context: Context) -> Report:
        """Measure. Raises BenchError where what was seen cannot be trusted."""


_ENGINES: Final[Mapping[str, Sequence[Scenario]]] = {
    "sqlite": (single_post, batch_post, fanout, latency, idle, webhooks),
    "redis": (
        bench.redis.single_post,
        bench.redis.batch_post,
        bench.redis.fanout,
        bench.redis.latency,
        bench.redis.consume,
        bench.redis.queue_growth,
        bench.redis.many_subscriptions,
        bench.redis.webhooks,
    ),
}
_COMMANDS: Final = {"sqlite": "python -m bench", "redis": "python -m bench --engine redis"}
_TITLES: Final = {"sqlite": "Benchmark results", "redis": "Benchmark results on Redis"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for. Returns 0 when all targets are met, 1 when one is missed, 2 when one is not measured."""
    options = _parser().parse_args(arguments)
    try:
        scenarios = chosen(options.engine, options.only)
    except ValueError as error:
        sys.stderr.write(f"python -m bench: {error}\n")
        return _NOT_MEASURED
    end_whole_on_sigterm()
    cores = Cores.assigned()
    open_files_max = raise_open_files_limit()
    with tempfile.TemporaryDirectory(prefix="wowevent-bench-", dir=options.directory) as directory:
        context = Context(
            launcher=Launcher(
                directory=Path(directory), core=cores.server, service_command=shlex.split(options.service_command)
            ),
            cores=cores,
            directory=Path(directory),
            seconds=options.seconds,
            rounds=options.rounds,
            open_files_max=open_files_max,
            patience_seconds=options.patience,
        )
        parts = [
            heading(
                _TITLES[options.engine],
                describe(Path(directory), cores, FsyncTimes.measured(Path(directory))),
                f"{options.rounds} rounds of {options.seconds:g} s each, in turns: `{_COMMANDS[options.engine]}`.",
            )
        ]
        _show(parts[0])
        cores.pin_load()
        reports = []
        for scenario in scenarios:
            reports.append(_reported(scenario, context))
            parts.append(section(reports[-1]))
            _show(parts[-1])
    parts.append(verdict(reports))
    _show(parts[-1])
    if options.write:
        before = _RESULTS.read_text(encoding="utf-8") if _RESULTS.exists() else ""
        _RESULTS.write_text(results.with_part(before, "\n\n".join(parts)), encoding="utf-8")
    if any(report.failure is not None for report in reports):
        return _NOT_MEASURED
    return 0 if all(report.passed for report in reports) else _TARGET_MISSED


def _reported(scenario: Scenario, context: Context) -> Report:
    """Run one scenario; one that fails is reported with its reason and the others still run."""
    try:
        return scenario.run(context)
    except (BenchError, OSError) as error:
        reason = f"{type(error).__name__}: {error}"
        return Report(letter=scenario.LETTER, title=scenario.TITLE, failure=reason)


def _show(part: str) -> None:
    """Print one part at once: the whole takes minutes."""
    print(part, end="\n\n", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure the event bus from outside.", epilog=_PEERS
    )
    parser.add_argument("--engine", choices=_ENGINES, default="sqlite", help="what the bus runs on (default: sqlite)")
    parser.add_argument("--only", metavar="a,b,...", help="the scenarios to run (default: all)")
    parser.add_argument("--seconds", type=_seconds, default=5.0, help="measured seconds of one round (default: 5)")
    parser.add_argument("--rounds", type=_rounds, default=5, help="rounds whose median counts (default: 5)")
    parser.add_argument(
        "--patience",
        type=_patience,
        default=0.0,
        metavar="SECONDS",
        help="how long each run may wait for other work on the machine to end (default: 0)",
    )
    parser.add_argument("--write", action="store_true", help="keep the result in bench/RESULTS.md")
    parser.add_argument("--directory", type=Path, help="where the data goes; its disk is what fsync is measured on")
    parser.add_argument(
        "--service-command", default=shlex.join(SERVICE_COMMAND), help="what starts the service (default: this one)"
    )
    return parser


def chosen(engine: str, only: str | None) -> list[Scenario]:
    """Return the scenarios of an engine with the letters of `only`, all where it is None. Raises ValueError."""
    known = {scenario.LETTER: scenario for scenario in _ENGINES[engine]}
    letters = [letter.strip() for letter in only.split(",")] if only is not None else list(known)
    unknown = [letter for letter in letters if letter not in known]
    if unknown:
        raise ValueError(f"{engine} has no scenario {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[letter] for letter in letters]


def _seconds(text: str) -> float:
    return _between(float(text), 0.1, _SECONDS_MAX)


def _patience(text: str) -> float:
    return _between(float(text), 0, _SECONDS_MAX)


def _rounds(text: str) -> int:
    return int(_between(int(text), 1, _ROUNDS_MAX))


def _between(value: float, least: float, most: float) -> float:
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{value:g} is not between {least:g} and {most:g}")
    return value


if __name__ == "__main__":
    sys.exit(main())
