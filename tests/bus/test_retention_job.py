"""The retention job: the log is brought within its limits in steps, and stays there."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest

from tests.bus.running import BUS, TestedEngine, published, running, until
from waooaw.events.bus import retention_job
from waooaw.events.bus.event_bus import BusOptions, EventBus
from waooaw.events.bus.retention_job import STALE_PAUSES_MAX, STEP_EVENTS, RetentionJob
from waooaw.events.engine.contract import LogState
from waooaw.events.outages import StorageFullError
from waooaw.events.retention import RetentionLimits, TrimPlan
from waooaw.events.testing import SequentialIdentifiers


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention_job, "PAUSE_SECONDS", 0)
    monkeypatch.setattr(retention_job, "INTERVAL_SECONDS", 0)


@pytest.mark.parametrize(
    ("limits", "remaining"),
    [
        (RetentionLimits(max_events=700), 700),
        (RetentionLimits(max_age_seconds=100), 1000),
        (RetentionLimits(max_age_seconds=10), 1000),
        (RetentionLimits(max_age_seconds=9), 0),
        (RetentionLimits(), 3000),
    ],
)
async def test_a_log_is_brought_within_its_limits(limits: RetentionLimits, remaining: int) -> None:
    """Everything over the limits goes, and nothing else."""
    engine = TestedEngine()
    async with running(engine, engine.clock) as bus:
        await published(bus, *("a" for _ in range(2000)))
        engine.clock.advance(100)
        await published(bus, *("b" for _ in range(1000)))
        engine.clock.advance(10)
        if limits.max_age_seconds == 100:
            engine.clock.advance(0.5)

        removed = await RetentionJob(engine, BUS, limits, engine.clock).trim()

        assert engine.state(BUS).events == remaining
        assert removed == 3000 - remaining


async def test_bytes_are_bounded() -> None:
    """A log over its bytes loses the oldest until it is not."""
    engine = TestedEngine()
    async with running(engine, engine.clock) as bus:
        await published(bus, *("a" for _ in range(1000)), data="x" * 1000)
        size_bytes = engine.state(BUS).size_bytes

        await RetentionJob(engine, BUS, RetentionLimits(max_bytes=size_bytes // 2), engine.clock).trim()

        assert engine.state(BUS).events == 500


class Counting(TestedEngine):
    """An engine that notes the steps of trims, and refuses some."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[int] = []
        self.refuses = 0

    async def trim(self, bus: str, plan: TrimPlan, *, limit: int) -> int:
        """Trim."""
        if self.refuses:
            self.refuses -= 1
            raise StorageFullError("full")
        removed = await super().trim(bus, plan, limit=limit)
        self.steps.append(removed)
        return removed


async def test_steps_are_bounded() -> None:
    """A log that is far over its limits is trimmed in steps, so that publishes get their turn."""
    engine = Counting()
    async with running(engine, engine.clock) as bus:
        await published(bus, *("a" for _ in range(1800)))

        await RetentionJob(engine, BUS, RetentionLimits(max_events=100), engine.clock).trim()

    assert engine.steps == [STEP_EVENTS, STEP_EVENTS, STEP_EVENTS, 200]


async def test_a_bus_keeps_itself_within_its_limits(caplog: pytest.LogCaptureFixture) -> None:
    """The bus runs the job; a store that refuses is tried again, and the refusal is logged."""
    engine = Counting()
    async with running(engine, engine.clock):
        pass
    engine = Counting()
    engine.refuses = 2
    options = BusOptions(retention=RetentionLimits(max_events=10))
    async with running(engine, engine.clock):
        bus = EventBus(engine, BUS, clock=engine.clock, identifiers=SequentialIdentifiers(), options=options)
        with caplog.at_level(logging.WARNING):
            async with bus:
                await published(bus, *("a" for _ in range(100)))
                await until(lambda: engine.state(BUS).events == 10)
                await published(bus, *("a" for _ in range(5)))
                await until(lambda: engine.state(BUS).events == 10)

    assert [record.getMessage() for record in caplog.records] == ["retention.failed"] * 2


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the bus's own job out of what a test's job does: it looks once, at an empty log."""
    monkeypatch.setattr(retention_job, "INTERVAL_SECONDS", 3600)


class Roomy(Counting):
    """An engine that knows how much it has room for."""

    def __init__(self, size_bytes_max: int | None) -> None:
        super().__init__()
        self.size_bytes_max = size_bytes_max

    def state(self, bus: str) -> LogState:
        """Return the state, with the room."""
        return replace(super().state(bus), size_bytes_max=self.size_bytes_max)


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(
    ("setting", "room", "remaining"),
    [(None, None, 100), (None, 0.5, 50), (0.3, 0.5, 30), (0.5, 0.3, 30), (0.3, None, 30), (None, 0.0, 0)],
)
async def test_a_log_stays_within_what_the_engine_has_room_for(
    setting: float | None, room: float | None, remaining: int
) -> None:
    """The smaller of the two bounds counts: what the operator wants, and what the store can hold."""
    engine = Roomy(None)
    async with running(engine, engine.clock) as bus:
        await published(bus, *("a" for _ in range(100)), data="x" * 1000)
        size_bytes = engine.state(BUS).size_bytes
        limits = RetentionLimits(max_bytes=None if setting is None else round(size_bytes * setting))
        engine.size_bytes_max = None if room is None else round(size_bytes * room)

        await RetentionJob(engine, BUS, limits, engine.clock).trim()

        assert engine.state(BUS).events == remaining


class Overtaken(Counting):
    """An engine of which another replica holds the lease of retention, until it gives it up."""

    def __init__(self) -> None:
        super().__init__()
        self.is_held = True

    async def trim(self, bus: str, plan: TrimPlan, *, limit: int) -> int:
        """Remove nothing while the lease is held."""
        if self.is_held:
            self.steps.append(0)
            return 0
        return await super().trim(bus, plan, limit=limit)


async def test_another_replica_trims(caplog: pytest.LogCaptureFixture) -> None:
    """A look that finds the lease taken asks once, is no failure, and is followed by the next one."""
    engine = Overtaken()
    async with running(engine, engine.clock) as bus:
        await published(bus, *("a" for _ in range(100)))
        job = RetentionJob(engine, BUS, RetentionLimits(max_events=10), engine.clock)

        with caplog.at_level(logging.WARNING):
            assert await job.trim() == 0
            assert engine.steps == [0]
            looking = asyncio.create_task(job.run())
            await until(lambda: len(engine.steps) >= 3)
            assert engine.state(BUS).events == 100
            engine.is_held = False
            await until(lambda: engine.state(BUS).events == 10)
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    assert caplog.records == []


class Belated(Counting):
    """An engine whose state is what it last heard: a trim is in it some looks later."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self._looks = looks
        self._heard: LogState | None = None
        self._looked = 0

    async def trim(self, bus: str, plan: TrimPlan, *, limit: int) -> int:
        """Trim, and go on with the state of before."""
        self._heard, self._looked = super().state(bus), 0
        return await super().trim(bus, plan, limit=limit)

    def state(self, bus: str) -> LogState:
        """Return what was last heard."""
        self._looked += 1
        if self._heard is None or self._looked > self._looks:
            return super().state(bus)
        return self._heard


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(("looks", "remaining"), [(0, 100), (STALE_PAUSES_MAX, 100), (STALE_PAUSES_MAX + 1, 1300)])
async def test_nothing_goes_twice_for_one_demand(looks: int, remaining: int) -> None:
    """A state that is behind the last step is waited for, and left to the next look where it stays behind."""
    engine = Belated(looks)
    async with running(engine, engine.clock) as bus:
        await published(bus, *("a" for _ in range(1800)))

        await RetentionJob(engine, BUS, RetentionLimits(max_events=100), engine.clock).trim()

        engine._heard = None  # noqa: SLF001 - from here on it has heard of everything
        assert engine.state(BUS).events == remaining
        assert sum(engine.steps) == 1800 - remaining
