"""Where the embedded engine's rows should be inserted: `python -m bench.group_commit`, the measurement behind ADR 2.

Three ways to run the same transaction, on uvloop, while the loop is busy as a service's is (each millisecond half a
millisecond of JSON decoding, besides the publishers' own): rows on the loop and the commit in a thread; all in the
thread; all on the loop. Closed loop: every publisher sends its next batch when the last one is answered.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import uvloop

from waooaw.events.bus.event_bus import BusOptions, EventBus
from waooaw.events.clock import SystemClock
from waooaw.events.engine.sqlite import SqliteEngine, SqliteOptions, statements
from waooaw.events.identifier import RandomIdentifiers
from waooaw.events.service.run import SWITCH_SECONDS

if TYPE_CHECKING:
    from waooaw.events.engine.contract import Frame
    from waooaw.events.engine.sqlite.bus_log import Append, BusLog

BODY: Final = msgspec.json.encode({"type": "bench.commit", "source": "/bench", "data": {"text": "x" * 320}})
WORK: Final = msgspec.json.encode([{"id": number, "text": "x" * 50} for number in range(100)])
BUSY_SECONDS: Final = 0.0005
SIZES: Final = ((1, 64), (100, 8), (1000, 4))
"""Events a batch, and publishers."""


class ThreadEngine(SqliteEngine):
    """Inserts and commits in the thread."""

    async def _store(self, log: BusLog, append: Append) -> Frame:
        await asyncio.get_running_loop().run_in_executor(self._committing, self._write, log, append)
        return log.committed(append)

    def _write(self, log: BusLog, append: Append) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(log.sql(statements.INSERT), append.rows)
        log.write_totals(append)
        self._connection.execute("COMMIT")


class LoopEngine(SqliteEngine):
    """Inserts and commits on the loop."""

    async def _commit(self) -> None:
        self._connection.execute("COMMIT")


PYTHON_SWITCH_SECONDS: Final = 0.005

WAYS: Final[tuple[tuple[str, type[SqliteEngine], float], ...]] = (
    ("rows on the loop, commit in a thread", SqliteEngine, SWITCH_SECONDS),
    ("the same, Python's switch interval", SqliteEngine, PYTHON_SWITCH_SECONDS),
    ("all in the thread", ThreadEngine, SWITCH_SECONDS),
    ("all on the loop", LoopEngine, PYTHON_SWITCH_SECONDS),
)


async def _be_busy() -> None:
    while True:
        until = time.perf_counter() + BUSY_SECONDS
        while time.perf_counter() < until:
            msgspec.json.decode(WORK)
        await asyncio.sleep(BUSY_SECONDS)


async def _publish(bus: EventBus, events: int, until: float, waits: list[float]) -> None:
    text = b"\n".join([BODY] * events)
    while (begin := time.perf_counter()) < until:
        await bus.submit(bus.acceptance.lines(text))
        waits.append(time.perf_counter() - begin)


async def _measure(kind: type[SqliteEngine], folder: Path, events: int, publishers: int, seconds: float) -> list[float]:
    """Return how long each batch took from its first byte to its receipt."""
    clock, identifiers = SystemClock(), RandomIdentifiers()
    waits: list[float] = []
    async with AsyncExitStack() as stack:
        path = folder / f"{kind.__name__}-{events}.db"
        engine = kind(path, ("default",), clock=clock, identifiers=identifiers, options=SqliteOptions())
        await engine.open(stack)
        bus = EventBus(engine, "default", clock=clock, identifiers=identifiers, options=BusOptions())
        await stack.enter_async_context(bus)
        busy = asyncio.create_task(_be_busy())
        until = time.perf_counter() + seconds
        async with asyncio.TaskGroup() as group:
            for _ in range(publishers):
                group.create_task(_publish(bus, events, until, waits))
        busy.cancel()
    path.unlink()
    return waits


def main() -> None:
    """Print one table, medians of rounds that take turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--directory", type=Path, default=Path())
    given = parser.parse_args()
    print("| events a batch | publishers | way | events/s | batch p50, ms | batch p99, ms |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=given.directory) as folder:
        for events, publishers in SIZES:
            rounds: dict[str, list[tuple[float, float, float]]] = {name: [] for name, *_ in WAYS}
            for _ in range(given.rounds):
                for name, kind, switch_seconds in WAYS:
                    sys.setswitchinterval(switch_seconds)
                    waits = uvloop.run(_measure(kind, Path(folder), events, publishers, given.seconds))
                    cuts = statistics.quantiles(waits, n=100)  # at least two batches: one a publisher
                    rounds[name].append((len(waits) * events / given.seconds, cuts[49] * 1000, cuts[98] * 1000))
            for name, found in rounds.items():
                rate, middle, high = (statistics.median(column) for column in zip(*found, strict=True))
                print(f"| {events} | {publishers} | {name} | {rate:,.0f} | {middle:.1f} | {high:.1f} |")


if __name__ == "__main__":
    main()
