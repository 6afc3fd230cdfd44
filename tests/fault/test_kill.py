"""The service killed under load, again and again, on one store."""

from __future__ import annotations

import asyncio
import random
import signal
import threading
import time
from pathlib import Path

from tests.fault.checker import Stored, StoreVerdict, check_store
from tests.fault.conftest import Report
from tests.fault.history import History
from tests.fault.parameters import ROUND_EVENTS, ROUNDS
from tests.fault.publishers import BatchPublisher, Publisher, SinglePublisher, SocketPublisher, Source
from tests.fault.store_reading import read_store
from tests.service_process import ServiceProcess

KINDS: tuple[type[Publisher], ...] = (
    *(SinglePublisher, SinglePublisher, SinglePublisher),
    *(BatchPublisher, BatchPublisher, BatchPublisher),
    *(SocketPublisher, SocketPublisher),
)
STRIKE_SECONDS_MAX = 0.03
"""After the last event that a round needs: several appends, so that the kill meets every stage of one."""

ROUND_SECONDS_MAX = 60.0
MISSES_MAX = 0.2
"""Share of the kills that may fall where nothing was under way; those rounds do not count."""


class Strike:
    """A kill at a moment of its own: a thread, so that no turn of the clients' loop decides it."""

    def __init__(self, service: ServiceProcess, history: History) -> None:
        self._service = service
        self._history = history
        self._done = threading.Event()
        self.in_flight = 0

    def aim(self, delay_seconds: float) -> None:
        """Kill after a delay."""
        timer = threading.Timer(delay_seconds, self._kill)
        timer.daemon = True
        timer.start()

    def _kill(self) -> None:
        self.in_flight = self._history.in_flight
        self._service.signal(signal.SIGKILL)
        self._done.set()

    @property
    def has_fallen(self) -> bool:
        """Whether the signal is sent."""
        return self._done.is_set()


async def kill_round(
    service: ServiceProcess, sources: list[Source], history: History, chance: random.Random, events: int
) -> bool:
    """Publish until enough is accepted and kill; tell whether the kill bit. The service is started again."""
    goal = history.accepted + events
    unknown_before = history.unknown_attempts
    strike = Strike(service, history)
    aimed = False

    def go_on() -> bool:
        nonlocal aimed
        if history.accepted >= goal and not aimed:
            aimed = True
            strike.aim(chance.uniform(0, STRIKE_SECONDS_MAX))
        return not strike.has_fallen

    for source in sources:
        source.resume()
    publishers = [kind(service.port, source, history) for kind, source in zip(KINDS, sources, strict=True)]
    async with asyncio.timeout(ROUND_SECONDS_MAX):
        await asyncio.gather(*(publisher.run(go_on) for publisher in publishers))
    assert await asyncio.to_thread(service.wait) == -signal.SIGKILL, service.log_text
    assert history.in_flight == 0
    await asyncio.to_thread(service.start)
    return strike.in_flight > 0 and history.unknown_attempts > unknown_before


async def resolve(service: ServiceProcess, sources: list[Source], history: History) -> None:
    """Send again what is unknown, until nothing is."""
    for kind, source in zip(KINDS, sources, strict=True):
        source.resume()
        async with asyncio.timeout(ROUND_SECONDS_MAX):
            await kind(service.port, source, history).run(source.has_repeats)
        assert not history.unresolved(source.name)


async def test_killed_service_loses_nothing_and_stores_nothing_twice(
    tmp_path: Path, history: History, chance: random.Random, report: Report
) -> None:
    """What was accepted survives kill -9 at any moment, and what was unknown and sent again is there once."""
    rounds, events = ROUNDS.count, ROUND_EVENTS.count
    sources = [Source(f"{kind.__name__}-{index}", history) for index, kind in enumerate(KINDS)]
    bitten = missed = 0
    seen: list[Stored] = []
    cursor = "earliest"
    began = time.monotonic()
    with ServiceProcess(tmp_path) as service:
        while bitten < rounds:
            if await kill_round(service, sources, history, chance, events):
                bitten += 1
            else:
                missed += 1
                assert missed <= max(2, MISSES_MAX * rounds), "most kills met nothing under way: raise the load"
            fresh, cursor = await read_store(service.port, cursor)
            seen += fresh
        await resolve(service, sources, history)
        stored, _ = await read_store(service.port)
    verdict = check_store(history.operations.values(), stored)
    repeats = sum(operation.repeats for operation in history.operations.values())
    report(
        f"{bitten} kills that bit, {missed} that did not, {time.monotonic() - began:.0f} s: "
        f"{history.accepted} events accepted, {history.unknown_attempts} attempts of unknown outcome, "
        f"of which {repeats} were stored; lost {len(verdict.lost)}, twice {len(verdict.twice)}"
    )
    assert stored[: len(seen)] == seen
    assert history.refused_attempts == 0
    assert verdict == StoreVerdict()
    assert '"level": "ERROR"' not in service.log_text
