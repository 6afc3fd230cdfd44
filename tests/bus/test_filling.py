"""History that is put into queues: whole, once, in order, while publishing goes on and whatever fails meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tests.bus.running import BUS, TestedEngine, published, until
from tests.bus.subscribing import claimed, hold_jobs, received, replicas, settle, wanting
from waooaw.events.bus import filling
from waooaw.events.bus.event_bus import EventBus
from waooaw.events.bus.filling import PAGE_EVENTS, WAITING_MAX, Filling
from waooaw.events.engine.queue_contract import FillItem
from waooaw.events.outages import EngineUnavailableError
from waooaw.events.position import Position
from waooaw.events.retention import TrimPlan
from waooaw.events.subscription_state import QueueState

FROM_EARLIEST = {"from": "earliest"}


@pytest.fixture(autouse=True)
def _without_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    hold_jobs(monkeypatch)
    monkeypatch.setattr(Filling, "run", _rest)


RUN = Filling.run


async def _rest(_: Filling) -> None:
    """Leave all steps to the test."""
    await asyncio.Event().wait()


class Counting(TestedEngine):
    """An engine that notes the steps of fills, and can refuse them or the job."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[str, int]] = []
        self.fails_fill = 0
        self.is_held_elsewhere = False

    async def fill(
        self, bus: str, incarnation: str, items: Sequence[FillItem], *, expected: Position, reached: Position
    ) -> QueueState:
        """Fill, and note it."""
        if self.fails_fill:
            self.fails_fill -= 1
            raise EngineUnavailableError("away")
        self.steps.append((incarnation, len(items)))
        return await super().fill(bus, incarnation, items, expected=expected, reached=reached)

    async def hold_job(self, bus: str, job: str, seconds: float) -> bool:
        """Hold it, unless another replica does."""
        return not (job.startswith("fill") and self.is_held_elsewhere) and await super().hold_job(bus, job, seconds)


async def fill_all(bus: EventBus) -> None:
    """Run the fills of a bus as far as they go."""
    while await bus.filling.step():
        pass


async def published_many(bus: EventBus, count: int, *types: str) -> list[Position]:
    """Publish events of types in turn; return their positions."""
    return await published(bus, *[types[number % len(types)] for number in range(count)])


async def test_history_comes_before_what_is_new() -> None:
    """A subscription from the earliest on, while publishing goes on: no gap, no duplicate, in the order of the log."""
    engine = TestedEngine()
    async with replicas(engine, 2) as (here, there):
        positions = await published_many(here, 2500, "a", "b")
        got: list[Position] = []

        async def publish() -> None:
            for _ in range(20):
                positions.extend(await published_many(there, 10, "a", "b"))
                await asyncio.sleep(0)

        async def fill() -> None:
            while (await here.subscriptions.info("work")).state == "filling":
                await here.filling.step()
                got.extend(await received(here, "work"))

        publishing = asyncio.create_task(publish())
        await here.subscriptions.put("work", wanting("*", **FROM_EARLIEST))
        await asyncio.gather(publishing, fill())
        got += await received(here, "work")

        assert got == positions
        assert (await here.subscriptions.info("work")).queue.counts.acked == len(positions)


async def test_only_what_matches_is_put_into_the_queue() -> None:
    """A fill looks at pages of the log; what does not match is passed over; each page is a step of the engine."""
    engine = Counting()
    async with replicas(engine) as (bus,):
        positions = await published_many(bus, 3000, "a", "b", "c")
        info, _ = await bus.subscriptions.put("work", wanting("b", **FROM_EARLIEST))
        await fill_all(bus)

        assert await received(bus, "work") == positions[1::3]
        assert [incarnation for incarnation, _ in engine.steps] == [info.incarnation] * len(engine.steps)
        assert sum(count for _, count in engine.steps) == 1000
        assert len(engine.steps) == 3000 // PAGE_EVENTS


async def test_a_fill_waits_for_its_members() -> None:
    """What nobody claims is bounded; after claims the fill goes on by itself."""
    engine = Counting()
    async with replicas(engine) as (bus,):
        positions = await published_many(bus, 1000, "a")
        for _ in range(7):
            positions += await published_many(bus, 1000, "a")
        await bus.subscriptions.put("work", wanting("*", **FROM_EARLIEST))
        await fill_all(bus)
        state = (await bus.subscriptions.info("work")).queue

        assert state.fill is not None
        assert WAITING_MAX <= state.counts.waiting < WAITING_MAX + PAGE_EVENTS
        got: list[Position] = []
        while deliveries := await claimed(bus, "work"):
            got += [delivery.stored.position for delivery in deliveries]
            await settle(bus, "work", "ack", deliveries)
            await fill_all(bus)
        assert got == positions


async def test_fills_take_turns() -> None:
    """A short fill is not kept waiting by a long one: each gets a page in turn."""
    engine = Counting()
    async with replicas(engine) as (bus,):
        for _ in range(3):
            await published_many(bus, 1000, "a")
        first, _ = await bus.subscriptions.put("one", wanting("*", **FROM_EARLIEST))
        second, _ = await bus.subscriptions.put("two", wanting("*", **FROM_EARLIEST))
        await fill_all(bus)

        turns = [incarnation for incarnation, _ in engine.steps]
        assert turns[:6] == [first.incarnation, second.incarnation] * 3


async def test_two_replicas_at_one_fill_repeat_nothing() -> None:
    """Where both work at it by mistake, each reference is made once."""
    engine = TestedEngine()
    async with replicas(engine, 2) as (here, there):
        positions = await published_many(here, 1000, "a")
        for _ in range(3):
            positions += await published_many(here, 1000, "a")
        await here.subscriptions.put("work", wanting("*", **FROM_EARLIEST))
        await there.subscriptions.refresh()
        await there.filling.discover()
        await asyncio.gather(fill_all(here), fill_all(there))

        assert await received(here, "work") == positions


async def test_a_fill_that_was_begun_elsewhere_is_taken_up() -> None:
    """The replica that began it is gone: another one finds it, and ends it; while somebody has it, nobody else does."""
    engine = Counting()
    async with replicas(engine, 2) as (_, there):
        positions = await published_many(there, 10, "a")
        engine.is_held_elsewhere = True
        await there.subscriptions.put("work", wanting("*", **FROM_EARLIEST))
        await there.filling.discover()
        assert not await there.filling.step()
        assert engine.steps == []

        engine.is_held_elsewhere = False
        await there.filling.discover()
        await fill_all(there)
        assert await received(there, "work") == positions


async def test_the_store_may_be_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """The job goes on where it was once the store is back."""
    monkeypatch.setattr(filling, "IDLE_SECONDS", 0.001)
    monkeypatch.setattr(Filling, "run", RUN)
    engine = Counting()
    async with replicas(engine) as (bus,):
        positions = await published_many(bus, 10, "a")
        engine.fails_fill = 3
        await bus.subscriptions.put("work", wanting("*", **FROM_EARLIEST))
        await until(lambda: bool(engine.steps))

        assert engine.fails_fill == 0
        assert await received(bus, "work") == positions


async def test_a_fill_ends_with_its_subscription() -> None:
    """One that is deleted while it is being filled is forgotten, and the others go on."""
    engine = Counting()
    async with replicas(engine) as (bus,):
        positions = await published_many(bus, 10, "a")
        await bus.subscriptions.put("gone", wanting("*", **FROM_EARLIEST))
        await bus.subscriptions.put("stays", wanting("*", **FROM_EARLIEST))
        await bus.subscriptions.delete("gone")
        await fill_all(bus)

        assert await received(bus, "stays") == positions
        assert not await bus.filling.step()


async def test_what_retention_removed_is_passed_over() -> None:
    """The log lost its beginning before the fill came to it: the fill goes on with what there is."""
    engine = TestedEngine()
    async with replicas(engine) as (bus,):
        positions = await published_many(bus, 10, "a")
        await bus.subscriptions.put("work", wanting("*", **FROM_EARLIEST))
        await engine.trim(BUS, TrimPlan(excess_bytes=1), limit=4)
        await fill_all(bus)

        assert await received(bus, "work") == [event for event in positions if event > positions[0]]


async def test_history_that_is_lost_does_not_hold_a_fill_up() -> None:
    """The store lost the end of its log after the fill began: the fill ends, with what is left."""
    engine = TestedEngine()
    async with replicas(engine) as (bus,):
        positions = await published_many(bus, 10, "a")
        await bus.subscriptions.put("work", wanting("*", **FROM_EARLIEST))
        await engine.fail_over(lost=10)
        positions = await published_many(bus, 2, "a")
        await fill_all(bus)

        assert (await bus.subscriptions.info("work")).state == "active"
        assert await received(bus, "work") == positions


@pytest.mark.parametrize("ordering", ["none", "key"])
async def test_a_fill_says_key_and_expiry(ordering: str) -> None:
    """What expired is not handed out; keyed ones keep one at a time of a key also in history."""
    engine = TestedEngine()
    async with replicas(engine) as (bus,):
        await published(bus, "a", expirytime="2020-01-01T00:00:00Z")
        positions = await published(bus, "a", "a", partitionkey="k")
        await bus.subscriptions.put("work", wanting("*", ordering=ordering, **FROM_EARLIEST))
        await fill_all(bus)
        first = await claimed(bus, "work")

        assert [delivery.stored.position for delivery in first] == (positions[:1] if ordering == "key" else positions)
        assert all(delivery.replay for delivery in first)
        assert (await bus.subscriptions.info("work")).queue.counts.expired == 1
