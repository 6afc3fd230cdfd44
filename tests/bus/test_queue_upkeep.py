"""The upkeep of queues: what no claim moves is moved, what nobody uses expires, what is needed stays in the log."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest

from tests.bus.running import BUS, TestedEngine, made, published, turns, until
from tests.bus.subscribing import claimed, hold_jobs, received, replicas, settle, wanting
from waooaw.events.bus import queue_upkeep
from waooaw.events.bus.event_bus import BusOptions, EventBus
from waooaw.events.bus.queue_moves import OVERRUN_SECONDS, QueueMoves
from waooaw.events.bus.queue_upkeep import LOOK_SECONDS, DeadLetterLimits
from waooaw.events.bus.retention_floor import RetentionFloor
from waooaw.events.bus.retention_job import RetentionJob
from waooaw.events.engine.queue_contract import Burial, Moves
from waooaw.events.outages import EngineUnavailableError
from waooaw.events.position import Position, format_position, make_position
from waooaw.events.retention import RetentionLimits
from waooaw.events.subscription_state import Counts


@pytest.fixture(autouse=True)
def _without_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    hold_jobs(monkeypatch)


class Noting(TestedEngine):
    """An engine that notes what is swept and asked for, and can refuse it or the job."""

    def __init__(self) -> None:
        super().__init__()
        self.swept: list[int] = []
        self.asked: list[int] = []
        self.fails_sweep = 0
        self.is_held_elsewhere = False

    async def sweep(
        self, bus: str, incarnations: Sequence[str], *, limit: int, dead_seconds: int, dead_max: int
    ) -> tuple[Moves, ...]:
        """Sweep, and note how many queues."""
        if self.fails_sweep:
            self.fails_sweep -= 1
            raise EngineUnavailableError("away")
        self.swept.append(len(incarnations))
        return await super().sweep(bus, incarnations, limit=limit, dead_seconds=dead_seconds, dead_max=dead_max)

    async def oldest_needed(self, bus: str, incarnations: Sequence[str]) -> Position | None:
        """Ask, and note how many queues."""
        self.asked.append(len(incarnations))
        return await super().oldest_needed(bus, incarnations)

    async def hold_job(self, bus: str, job: str, seconds: float) -> bool:
        """Hold it, unless another replica does."""
        return not self.is_held_elsewhere and await super().hold_job(bus, job, seconds)


async def counts_of(bus: EventBus, name: str) -> Counts:
    """Return where the references of a subscription are."""
    return (await bus.subscriptions.info(name)).queue.counts


# Sweeping -------------------------------------------------------------------------------------------------------------


async def test_a_lease_that_lapsed_is_noticed_where_nobody_claims(caplog: pytest.LogCaptureFixture) -> None:
    """A lost member costs a failure; the last one buries the event: logged with DLQ, and counted."""
    engine = Noting()
    async with replicas(engine) as (bus,):
        retry = {"max_attempts": 2, "first_seconds": 0}
        await bus.subscriptions.put("work", wanting("*", lease_seconds=10, retry=retry))
        (position,) = await published(bus, "a")
        await claimed(bus, "work")
        engine.clock.advance(10.001)
        await bus.queue_upkeep.step()
        assert await counts_of(bus, "work") == Counts(matched=1, scheduled=1)
        assert (bus.metrics.totals.retries, bus.metrics.totals.dlq, bus.metrics.totals.errors) == (1, 0, 1)

        await claimed(bus, "work")
        engine.clock.advance(10.001)
        await bus.queue_upkeep.step()
        assert await counts_of(bus, "work") == Counts(matched=1, dead=1)
        assert (bus.metrics.totals.retries, bus.metrics.totals.dlq, bus.metrics.totals.errors) == (1, 1, 2)

    (line,) = [line for line in caplog.records if "DLQ" in line.getMessage()]
    assert line.getMessage().startswith("dead_letter.buried")
    told = {name: line.__dict__[name] for name in ("bus", "subscription", "position", "reason", "attempts", "member")}
    assert told == {
        "bus": BUS,
        "subscription": "work",
        "position": format_position(position),
        "reason": "max_attempts",
        "attempts": 2,
        "member": "m",
    }
    assert line.__dict__["last_error"]


async def test_all_queues_are_swept_a_hundred_at_a_time() -> None:
    """More subscriptions than one step takes: as many steps as it needs; none without subscriptions."""
    engine = Noting()
    async with replicas(engine) as (bus,):
        await turns()
        await bus.queue_upkeep.step()
        assert engine.swept == []
        for number in range(250):
            await made(engine, f"s{number}", "*")
        await bus.queue_upkeep.step()

        assert engine.swept == [100, 100, 50]


async def test_where_there_is_more_the_sweep_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step moves a bounded number; the same queue is swept again until nothing is left, the others are not."""
    monkeypatch.setattr(queue_upkeep, "REFERENCES_MAX", 10)
    engine = Noting()
    async with replicas(engine) as (bus,):
        for name in ("work", "idle"):
            await bus.subscriptions.put(name, wanting("*" if name == "work" else "nothing", lease_seconds=10))
        await published(bus, *["a"] * 35)
        await claimed(bus, "work")
        engine.clock.advance(11)
        await bus.queue_upkeep.step()

        assert await counts_of(bus, "work") == Counts(matched=35, scheduled=35)
        assert engine.swept == [2, 1, 1, 1]


async def test_another_replica_sweeps() -> None:
    """Who does not have the job does nothing but hear of changes."""
    engine = Noting()
    async with replicas(engine) as (bus,):
        await turns()
        engine.is_held_elsewhere = True
        await made(engine, "work", "*")
        await bus.queue_upkeep.step()

        assert engine.swept == []
        assert list(bus.subscriptions.known) == ["work"]


async def test_the_upkeep_goes_on_after_an_outage(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A store that is away is tried again, and the log tells."""
    monkeypatch.setattr(queue_upkeep, "INTERVAL_SECONDS", 0)
    engine = Noting()
    engine.fails_sweep = 2
    async with replicas(engine) as (bus,):
        await bus.subscriptions.put("work", wanting("*"))
        await until(lambda: bool(engine.swept))
    lines = [line.getMessage() for line in caplog.records if line.levelno >= logging.WARNING]
    assert lines == ["subscription.upkeep_failed"] * 2


async def test_dead_letters_are_kept_for_their_time() -> None:
    """Those that are too old, and the oldest of too many, are dropped."""
    engine = Noting()
    options = BusOptions(dead_letters=DeadLetterLimits(seconds=100, count_max=2))
    async with replicas(engine, options=options) as (bus,):
        await bus.subscriptions.put("work", wanting("*"))
        await published(bus, "a", "b", "c")
        await settle(bus, "work", "reject", await claimed(bus, "work"))
        await bus.queue_upkeep.step()
        assert await counts_of(bus, "work") == Counts(matched=3, dead=2, dropped=1)
        engine.clock.advance(101)
        await bus.queue_upkeep.step()
        assert await counts_of(bus, "work") == Counts(matched=3, dropped=3)


# Expiry ---------------------------------------------------------------------------------------------------------------


async def test_a_subscription_that_nobody_uses_expires(caplog: pytest.LogCaptureFixture) -> None:
    """After so long without a claim it is gone; one that is used, and one without expiry, stay."""
    engine = Noting()
    async with replicas(engine) as (bus,):
        for name in ("used", "unused"):
            await bus.subscriptions.put(name, wanting("*", expires_after_seconds=100))
        await bus.subscriptions.put("kept", wanting("*"))
        engine.clock.advance(60)
        await claimed(bus, "used")
        engine.clock.advance(40)
        await bus.queue_upkeep.step()
        assert sorted(bus.subscriptions.known) == ["kept", "unused", "used"]
        engine.clock.advance(LOOK_SECONDS)
        with caplog.at_level(logging.INFO, "wowevent.subscription"):
            await bus.queue_upkeep.step()

        assert sorted(bus.subscriptions.known) == ["kept", "used"]
    (line,) = [line for line in caplog.records if line.getMessage() == "subscription.expired"]
    assert line.__dict__["subscription"] == "unused"


# Retention ------------------------------------------------------------------------------------------------------------


async def test_retention_keeps_what_is_needed() -> None:
    """An event that somebody has still to process stays, whatever its age; once it is acked it goes."""
    engine = Noting()
    async with replicas(engine) as (bus,):
        await published(bus, "a", "b")
        await bus.subscriptions.put("work", wanting("*"))
        await published(bus, "c", "d")
        floor = RetentionFloor(engine, BUS, bus.subscriptions, engine.clock)
        job = RetentionJob(engine, BUS, RetentionLimits(max_events=1), engine.clock, floor)
        assert await job.trim() == 2
        assert engine.state(BUS).events == 2

        assert len(await received(bus, "work")) == 2
        assert await job.trim() == 1


async def test_a_fill_keeps_its_history() -> None:
    """What a fill has still to read is needed."""
    engine = Noting()
    async with replicas(engine) as (bus,):
        await published(bus, "a", "b")
        await bus.subscriptions.put("work", wanting("*", **{"from": "earliest"}))
        floor = RetentionFloor(engine, BUS, bus.subscriptions, engine.clock)
        job = RetentionJob(engine, BUS, RetentionLimits(max_events=1), engine.clock, floor)

        assert await job.trim() == 0


async def test_the_cap_of_bytes_wins() -> None:
    """A log that is too large loses what is needed all the same."""
    engine = Noting()
    async with replicas(engine) as (bus,):
        await bus.subscriptions.put("work", wanting("*"))
        await published(bus, "a", "b", data="x" * 1000)
        floor = RetentionFloor(engine, BUS, bus.subscriptions, engine.clock)
        limits = RetentionLimits(max_bytes=engine.state(BUS).size_bytes - 1)
        await RetentionJob(engine, BUS, limits, engine.clock, floor).trim()

        assert engine.state(BUS).events == 1
        assert len(await received(bus, "work")) == 1
        assert (await counts_of(bus, "work")).overrun == 1


async def test_an_unused_subscription_pins_nothing() -> None:
    """Once nobody has claimed for as long as it is kept unused, retention does not wait for it any more."""
    engine = Noting()
    async with replicas(engine) as (bus,):
        await bus.subscriptions.put("unused", wanting("*", expires_after_seconds=100))
        await published(bus, "a", "b")
        floor = RetentionFloor(engine, BUS, bus.subscriptions, engine.clock)
        job = RetentionJob(engine, BUS, RetentionLimits(max_events=1), engine.clock, floor)
        assert await job.trim() == 0
        engine.clock.advance(101)
        assert await job.trim() == 1


async def test_what_is_needed_is_asked_a_hundred_at_a_time() -> None:
    """The oldest of all queues counts; without subscriptions nothing is asked."""
    engine = Noting()
    async with replicas(engine) as (bus,):
        floor = RetentionFloor(engine, BUS, bus.subscriptions, engine.clock)
        assert await floor.position() is None
        for number in range(150):
            await made(engine, f"s{number}", "a" if number < 149 else "*")
        positions = await published(bus, "b", "a")

        assert await floor.position() == positions[0]
        assert engine.asked == [100, 50]


# Telling --------------------------------------------------------------------------------------------------------------


async def test_overruns_are_told_with_their_number(caplog: pytest.LogCaptureFixture) -> None:
    """At once, then at most once in ten seconds for each subscription, and none is left out."""
    engine = TestedEngine()
    async with replicas(engine) as (bus,):
        moves = QueueMoves(BUS, bus.metrics, engine.clock)
        for _ in range(5):
            moves.take("work", Moves(overrun=3))
        moves.take("other", Moves(overrun=1))
        engine.clock.advance(OVERRUN_SECONDS)
        moves.tell_overruns()
        moves.tell_overruns()

    lines = [line.__dict__ for line in caplog.records if line.getMessage() == "subscription.overrun"]
    assert [(line["subscription"], line["overrun"]) for line in lines] == [("work", 3), ("other", 1), ("work", 12)]


async def test_what_was_counted_as_failed_is_not_counted_twice(caplog: pytest.LogCaptureFixture) -> None:
    """Burials of a settle are failures that the settle has counted, under their types; what is dropped is no DLQ."""
    engine = TestedEngine()
    async with replicas(engine) as (bus,):
        known, dropped, lapsed = (make_position(number) for number in (1, 2, 3))
        buried = (
            Burial(known, "rejected", 1, "no", "m", is_dropped=False),
            Burial(dropped, "max_age", 2, "no", "m", is_dropped=True),
            Burial(lapsed, "max_attempts", 5, "no", "m", is_dropped=False),
        )
        bus.queue_moves.take("work", Moves(buried=buried), types={known: "a", dropped: "b"})

        totals = bus.metrics.totals
        assert (totals.dlq, totals.errors, totals.retries) == (2, 1, 0)
        assert bus.metrics.types["a"].dlq == 1
    assert ["DLQ" in line.getMessage() for line in caplog.records] == [True, False, True]
