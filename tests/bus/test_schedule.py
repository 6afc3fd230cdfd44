"""Events for later: stored beside the log, published once when due, listed and cancelled until then."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import pytest

from tests.bus.running import BUS, TestedEngine, turns, until
from tests.bus.subscribing import hold_jobs, received, replicas, wanting
from tests.conformance.engines import stored
from tests.event_samples import entries, entry
from waooaw.events.bus import schedule
from waooaw.events.bus.event_bus import BusOptions, EventBus
from waooaw.events.bus.schedule import AHEAD_SECONDS, DUE_MAX
from waooaw.events.engine.queue_contract import RouteSet
from waooaw.events.errors import IdReusedError, InvalidEventError, InvalidParameterError, NotFoundError, WowEventError
from waooaw.events.event import Entry
from waooaw.events.outages import DrainingError, EngineUnavailableError, OverloadedError, ScheduleFullError
from waooaw.events.receipt import Receipt, ScheduledReceipt
from waooaw.events.scheduled_event import ScheduledEvent
from waooaw.events.timestamp import format_timestamp


@pytest.fixture(autouse=True)
def _without_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    hold_jobs(monkeypatch)


def later(engine: TestedEngine, seconds: float, **members: object) -> Entry:
    """Return an entry that is due in so many seconds."""
    return entry(deliverat=format_timestamp(engine.clock.now_ms() + round(seconds * 1000)), **members)


async def put_off(bus: EventBus, *given: Entry) -> list[ScheduledReceipt]:
    """Submit entries that all go on the schedule."""
    receipts = [answer for answer in await bus.submit(given) if isinstance(answer, ScheduledReceipt)]
    assert len(receipts) == len(given)
    return receipts


async def data_of(engine: TestedEngine) -> list[object]:
    """Return the data of the events in the log."""
    return [event.event.data for event in await stored(engine)]


async def test_an_event_is_published_when_it_is_due() -> None:
    """Until then nobody meets it; then subscriptions and readers do, as any other event; it is published once."""
    engine = TestedEngine()
    async with replicas(engine) as (bus,):
        await bus.subscriptions.put("work", wanting("*"))
        (receipt,) = await put_off(bus, later(engine, 60, data="later"))
        engine.clock.advance(59.999)
        assert await bus.schedule.publish_due() == receipt.due_ms
        assert await received(bus, "work") == []
        await bus.subscriptions.put("since", wanting("*"))
        engine.clock.advance(0.001)

        assert await bus.schedule.publish_due() is None
        assert await bus.schedule.publish_due() is None
        (event,) = await stored(engine)
        assert await received(bus, "work") == await received(bus, "since") == [event.position]
        assert event.position >> 20 == receipt.due_ms
        assert bus.metrics.totals.publishes == 1


async def test_a_mixed_batch_is_answered_in_order() -> None:
    """What is due goes into the log at once, the rest on the schedule; each answer stands at the place of its event."""
    engine = TestedEngine()
    async with replicas(engine) as (bus,):
        answers = await bus.submit(
            [
                entry(data=0),
                later(engine, 5, data=1),
                InvalidParameterError("bad"),
                later(engine, -5, data=3),
                later(engine, AHEAD_SECONDS + 1),
                later(engine, 0, data=5),
            ]
        )

        kinds = [Receipt, ScheduledReceipt, InvalidParameterError, Receipt, InvalidEventError, Receipt]
        assert [type(answer) for answer in answers] == kinds
        too_far = answers[4]
        assert isinstance(too_far, WowEventError)
        assert [violation.pointer for violation in too_far.errors] == ["#/deliverat"]
        assert await data_of(engine) == [0, 3, 5]
        assert (bus.metrics.totals.publishes, bus.metrics.totals.errors) == (3, 2)


async def test_one_event_is_put_off_or_refused() -> None:
    """A single publish answers as a batch of one does, and raises what refused it."""
    engine = TestedEngine()
    async with replicas(engine) as (bus,):
        receipt = await bus.submit_one(later(engine, 5))
        assert isinstance(receipt, ScheduledReceipt)
        with pytest.raises(InvalidEventError):
            await bus.submit_one(later(engine, AHEAD_SECONDS + 1))


async def test_a_repeated_event_is_scheduled_once() -> None:
    """The same id again answers the first receipt; with other content it is refused."""
    engine = TestedEngine()
    async with replicas(engine) as (bus,):
        (first,) = await put_off(bus, later(engine, 5, id="x", data=1))
        (again,) = await put_off(bus, later(engine, 5, id="x", data=1))
        (other,) = await bus.submit([later(engine, 5, id="x", data=2)])

        assert (again.schedule_id, again.duplicate, first.duplicate) == (first.schedule_id, True, False)
        assert isinstance(other, IdReusedError)
        assert bus.metrics.duplicates == 1


async def test_the_schedule_is_bounded() -> None:
    """Beyond the count an event for later is refused, one for now is not."""
    engine = TestedEngine()
    async with replicas(engine, options=BusOptions(scheduled_events_max=2)) as (bus,):
        answers = await bus.submit([later(engine, 5, data=1), later(engine, 5, data=2), later(engine, 5), entry()])

        assert [type(answer) for answer in answers] == [ScheduledReceipt, ScheduledReceipt, ScheduleFullError, Receipt]


async def test_pages_go_by_time() -> None:
    """The next one first; ``next`` goes on after a page, also inside one millisecond, and is None at the end."""
    engine = TestedEngine()
    async with replicas(engine) as (bus,):
        seconds = [30, 10, 20, 20, 20]
        await put_off(bus, *[later(engine, second, data=number) for number, second in enumerate(seconds)])
        found: list[ScheduledEvent] = []
        after: str | None = ""
        while after is not None:
            page = await bus.schedule.page(after=after, limit=2)
            assert page.total == 5
            found += page.items
            after = page.next

        assert [event.due_ms for event in found] == sorted(event.due_ms for event in found)
        assert sorted(str(event.event.data) for event in found) == ["0", "1", "2", "3", "4"]
        assert await bus.schedule.get(found[0].id) == found[0]
        for wrong in ("x", "12", f"1-{found[0].id}x"):
            with pytest.raises(InvalidParameterError):
                await bus.schedule.page(after=wrong, limit=1)
        for limit in (0, 1001):
            with pytest.raises(InvalidParameterError):
                await bus.schedule.page(limit=limit)


async def test_a_cancelled_event_is_published_by_nobody() -> None:
    """It is off the schedule; cancelling it again, or what is not there, says so."""
    engine = TestedEngine()
    async with replicas(engine) as (bus,):
        first, second = await put_off(bus, later(engine, 5, data=1), later(engine, 5, data=2))
        await bus.schedule.cancel(first.schedule_id)
        for call in (bus.schedule.cancel, bus.schedule.get):
            with pytest.raises(NotFoundError):
                await call(first.schedule_id)
        engine.clock.advance(5)
        await bus.schedule.publish_due()

        assert await data_of(engine) == [2]
        with pytest.raises(NotFoundError):
            await bus.schedule.get(second.schedule_id)


class Hasty(TestedEngine):
    """An engine at which something happens between the look at what is due and the append of it."""

    def __init__(self) -> None:
        super().__init__()
        self.cancels: list[str] = []
        self.looks = 0
        self.found: list[int] = []
        self.holds = True

    async def due_events(self, bus: str, *, limit: int) -> tuple[tuple[ScheduledEvent, ...], int | None]:
        """Look, and let somebody cancel."""
        self.looks += 1
        found = await super().due_events(bus, limit=limit)
        self.found.append(len(found[0]))
        while self.cancels:
            await self.cancel_scheduled(bus, self.cancels.pop())
        return found

    async def hold_job(self, bus: str, job: str, seconds: float) -> bool:
        """Hold it, unless another replica does."""
        return self.holds and await super().hold_job(bus, job, seconds)


async def test_one_that_is_cancelled_at_the_last_moment_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    """Cancelled after it was found due: it is not published, the others are, and nobody is alarmed."""
    engine = Hasty()
    async with replicas(engine) as (bus,):
        receipts = await put_off(bus, *[later(engine, 5, data=number) for number in range(3)])
        engine.clock.advance(5)
        engine.cancels = [receipts[1].schedule_id]
        await bus.schedule.publish_due()

        assert sorted(str(data) for data in await data_of(engine)) == ["0", "2"]
        assert bus.metrics.totals.errors == 0
    assert [line for line in caplog.records if line.levelno >= logging.WARNING] == []


async def test_another_replica_has_the_job() -> None:
    """Who does not hold the job publishes nothing, and does not even look."""
    engine = Hasty()
    async with replicas(engine) as (bus,):
        await turns()
        engine.looks, engine.holds = 0, False
        await put_off(bus, later(engine, 5))
        engine.clock.advance(5)
        assert await bus.schedule.publish_due() is None

        assert engine.looks == 0
        assert await stored(engine) == []


async def test_two_replicas_at_once_publish_once() -> None:
    """Where both believe to have the job, each event is in the log once all the same."""
    engine = TestedEngine()
    async with replicas(engine, 2) as (here, there):
        await put_off(here, *[later(engine, 5, data=number) for number in range(50)])
        engine.clock.advance(5)
        await asyncio.gather(here.schedule.publish_due(), there.schedule.publish_due())

        assert sorted(int(str(data)) for data in await data_of(engine)) == [*range(50)]


async def test_many_are_published_in_steps() -> None:
    """More than one step are due: all are published, in the order of their times, a bounded number at a time."""
    engine = Hasty()
    async with replicas(engine) as (bus,):
        for start in range(0, 2 * DUE_MAX, 500):
            await put_off(bus, *[later(engine, 100 + number / 10, data=number) for number in range(start, start + 500)])
        await put_off(bus, later(engine, 100_000))
        engine.clock.advance(1000)
        due_ms = await bus.schedule.publish_due()

        assert await data_of(engine) == [*range(2 * DUE_MAX)]
        assert max(engine.found) == DUE_MAX
        assert due_ms is not None


async def test_what_was_published_meanwhile_is_no_second_event() -> None:
    """The same id was published directly: the due one is a duplicate, and off the schedule."""
    engine = TestedEngine()
    async with replicas(engine) as (bus,):
        (receipt,) = await put_off(bus, later(engine, 5, id="x", time="2026-01-01T00:00:00Z"))
        engine.clock.advance(4)
        same = later(engine, 1, id="x", time="2026-01-01T00:00:00Z")
        engine.clock.advance(1)
        await bus.submit([same])
        await bus.schedule.publish_due()

        assert len(await stored(engine)) == 1
        with pytest.raises(NotFoundError):
            await bus.schedule.get(receipt.schedule_id)


async def test_what_can_never_be_published_blocks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """An id that another event took meanwhile: the log says so, it leaves the schedule, and the rest is published."""
    engine = TestedEngine()
    async with replicas(engine) as (bus,):
        await put_off(bus, later(engine, 5, id="x", data="first"), later(engine, 6, data="second"))
        await bus.submit([entry(id="x", data="other")])
        engine.clock.advance(6)
        await bus.schedule.publish_due()
        page = await bus.schedule.page()

        assert await data_of(engine) == ["other", "second"]
        assert page.total == 0
    (line,) = [line for line in caplog.records if line.getMessage() == "schedule.refused"]
    assert line.__dict__["code"] == "id_reused"


async def test_an_outage_keeps_what_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the store is away nothing is lost; the job goes on by itself when it is back, and is woken for new ones."""
    monkeypatch.setattr(schedule, "WAIT_SECONDS", 0.001)
    engine = Failing()
    async with replicas(engine) as (bus,):
        await put_off(bus, later(engine, 5, data=1))
        engine.fails = 3
        engine.clock.advance(5)
        await until(lambda: engine.state(BUS).events == 1)

        assert engine.fails == 0
        assert await data_of(engine) == [1]


class Failing(TestedEngine):
    """An engine whose appends fail some times."""

    def __init__(self) -> None:
        super().__init__()
        self.fails = 0

    async def append(
        self,
        bus: str,
        writer: str,
        sequence: int,
        routes_version: str,
        entries: Sequence[Entry],
        *,
        references: Sequence[RouteSet] = (),
        patience_seconds: float = 2.0,
    ) -> tuple[Receipt | WowEventError, ...]:
        """Append, or fail."""
        if self.fails:
            self.fails -= 1
            self.clock.advance(patience_seconds)
            raise EngineUnavailableError("away")
        return await super().append(
            bus, writer, sequence, routes_version, entries, references=references, patience_seconds=patience_seconds
        )


async def test_a_new_event_wakes_the_job() -> None:
    """The job rests until the next one is due; an earlier one that comes meanwhile is not kept waiting."""
    engine = Hasty()
    async with replicas(engine) as (bus,):
        await turns()
        looks = engine.looks
        await put_off(bus, later(engine, 5))
        await turns()

        assert engine.looks == looks + 1


class Slow(TestedEngine):
    """An engine that puts nothing on the schedule before its gate is open."""

    async def schedule(
        self, bus: str, entries: Sequence[Entry], *, events_max: int, patience_seconds: float = 2.0
    ) -> tuple[ScheduledReceipt | WowEventError, ...]:
        """Wait for the gate."""
        await self.gate.wait()
        return await super().schedule(bus, entries, events_max=events_max, patience_seconds=patience_seconds)


async def test_what_waits_to_be_scheduled_is_bounded() -> None:
    """Beyond the bound an event for later is refused as overloaded; what was taken is answered."""
    engine = Slow()
    async with replicas(engine, options=BusOptions(waiting_bytes_max=100_000)) as (bus,):
        engine.gate.clear()
        first = asyncio.create_task(bus.submit([later(engine, 5, data="x" * 90_000)]))
        await turns()
        (refused,) = await bus.submit([later(engine, 5, data="y" * 20_000)])
        assert isinstance(refused, OverloadedError)
        engine.gate.set()
        (answer,) = await first
        assert isinstance(answer, ScheduledReceipt)


async def test_closing_finishes_what_was_taken() -> None:
    """A drain waits for what is being scheduled, and refuses what comes later."""
    engine = Slow()
    async with replicas(engine) as (bus,):
        engine.gate.clear()
        taken = asyncio.create_task(bus.submit([later(engine, 5)]))
        await turns()
        finishing = asyncio.create_task(bus.finish())
        await turns()
        waiting = asyncio.create_task(bus.submit([later(engine, 6)]))
        await turns()
        assert not finishing.done()
        engine.gate.set()
        await finishing
        (answer,), (refused,) = await taken, await waiting

        assert isinstance(answer, ScheduledReceipt)
        assert isinstance(refused, DrainingError)
        assert (await bus.schedule.page()).total == 1


async def test_large_batches_are_scheduled_in_steps() -> None:
    """An append's bounds hold for the schedule too: as many steps as it takes, all in order."""
    engine = Stepping()
    async with replicas(engine) as (bus,):
        await put_off(bus, *[later(engine, 5, data="x" * 400_000) for _ in range(5)])
        await put_off(bus, *entries(1500, deliverat=format_timestamp(engine.clock.now_ms() + 9000)))

        assert engine.steps == [2, 2, 1, 1000, 500]


class Stepping(TestedEngine):
    """An engine that notes how much is scheduled in one step."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[int] = []

    async def schedule(
        self, bus: str, entries: Sequence[Entry], *, events_max: int, patience_seconds: float = 2.0
    ) -> tuple[ScheduledReceipt | WowEventError, ...]:
        """Note it."""
        self.steps.append(len(entries))
        return await super().schedule(bus, entries, events_max=events_max, patience_seconds=patience_seconds)
