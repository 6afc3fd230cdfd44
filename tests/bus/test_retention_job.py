"""The retention job: the log is brought within its limits in steps, and stays there."""

from __future__ import annotations

import logging

import pytest

from tests.bus.running import BUS, TestedEngine, published, running, until
from waooaw.events.bus import retention_job
from waooaw.events.bus.event_bus import BusOptions, EventBus
from waooaw.events.bus.retention_job import STEP_EVENTS, RetentionJob
from waooaw.events.errors import StorageFullError
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
