"""Publishing with subscriptions: who publishes where, and whoever comes and goes, each subscription gets its events."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tests.bus.running import BUS, TestedEngine, made, published, turns
from tests.bus.subscribing import hold_jobs, received, replicas, wanting
from waooaw.events.bus.event_bus import EventBus
from waooaw.events.bus.subscription_changes import CHANGES_MAX, JOIN_SECONDS, SubscriptionChanges
from waooaw.events.bus.subscription_routes import SubscriptionRoutes
from waooaw.events.engine.queue_contract import RouteSet
from waooaw.events.engine.subscription_contract import (
    Changed,
    DeleteSubscription,
    SubscriptionChange,
)
from waooaw.events.errors import (
    NotFoundError,
    WowEventError,
)
from waooaw.events.event import Entry
from waooaw.events.outages import EngineUnavailableError
from waooaw.events.position import Position
from waooaw.events.receipt import Receipt


@pytest.fixture(autouse=True)
def _without_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    hold_jobs(monkeypatch)


class Noting(TestedEngine):
    """An engine that notes the steps of changes, and how many references appends carry."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[int] = []
        self.references: list[int] = []
        self.refused = 0
        self.fails_change: Exception | None = None

    async def change_subscriptions(
        self, bus: str, changes: Sequence[SubscriptionChange], *, subscriptions_max: int, patience_seconds: float = 2.0
    ) -> tuple[Changed | WowEventError, ...]:
        """Change, and note how many at a time."""
        error, self.fails_change = self.fails_change, None
        if error is not None:
            raise error
        self.steps.append(len(changes))
        return await super().change_subscriptions(
            bus, changes, subscriptions_max=subscriptions_max, patience_seconds=patience_seconds
        )

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
        """Append, and note the references."""
        self.refused += 1
        answers = await super().append(
            bus, writer, sequence, routes_version, entries, references=references, patience_seconds=patience_seconds
        )
        self.refused -= 1
        self.references.append(sum(len(part.queues) * len(part.items) for part in references))
        return answers


async def test_a_subscription_gets_what_is_accepted_after_it_was_answered() -> None:
    """What matches comes to the subscription in the order of the log; what came before or does not match, does not."""
    engine = TestedEngine()
    async with replicas(engine) as (bus,):
        await published(bus, "task.early")
        info, is_new = await bus.subscriptions.put("work", wanting("task.*"))
        positions = await published(bus, "task.a", "other", "task.b")

        assert is_new
        assert await received(bus, "work") == [positions[0], positions[2]]
        assert info.receives_after < positions[0]


async def test_another_replica_knows_a_new_subscription_at_once() -> None:
    """Whoever publishes next, anywhere, has matched with it: an append by older routes is refused and made again."""
    engine = Noting()
    async with replicas(engine, 3) as buses:
        for bus in buses:
            await published(bus, "warm")
        await buses[0].subscriptions.put("work", wanting("*"))
        positions = [(await published(bus, "a"))[0] for bus in buses]

        assert await received(buses[2], "work") == positions


async def test_fifty_subscriptions_a_second_refuse_no_publish() -> None:
    """Subscriptions come and go at two replicas while a third publishes: each publish is answered with its receipt."""
    engine = Noting()
    async with replicas(engine, 3) as (first, second, third):
        await first.subscriptions.put("stays", wanting("*"))

        async def come_and_go(bus: EventBus, label: str) -> None:
            for number in range(25):
                await bus.subscriptions.put(f"{label}-{number}", wanting("nothing"))
                await bus.subscriptions.delete(f"{label}-{number}")

        churn = asyncio.gather(come_and_go(first, "a"), come_and_go(second, "b"))
        positions: list[Position] = []
        while not churn.done():
            positions += await published(third, "x")
            await asyncio.sleep(0)
        await churn

        assert engine.refused > 0
        assert await received(second, "stays") == positions


async def test_changes_that_come_together_are_one_step() -> None:
    """The first change is made at once; what comes within 20 ms after it is joined, a hundred at a time."""
    engine = Noting()
    rests: list[float] = []
    gate = asyncio.Event()

    async def rest(seconds: float) -> None:
        rests.append(seconds)
        await gate.wait()
        engine.clock.advance(seconds)

    async with replicas(engine) as (_,):
        routes = SubscriptionRoutes(engine, BUS)
        changes = SubscriptionChanges(engine, BUS, routes, engine.clock, subscriptions_max=9, sleep=rest)

        async def remove() -> None:
            with pytest.raises(NotFoundError):
                await changes.make(DeleteSubscription(name="missing"))

        await remove()
        waiting = [asyncio.create_task(remove()) for _ in range(CHANGES_MAX + 50)]
        await turns()
        assert engine.steps == [1]
        gate.set()
        await asyncio.gather(*waiting)

    assert engine.steps == [1, CHANGES_MAX, 50]
    assert rests == [pytest.approx(JOIN_SECONDS)] * 2


async def test_everybody_is_answered_when_changes_fail() -> None:
    """What the store refused, or a defect, is told to each whose change it was; the next change is made."""
    engine = Noting()
    async with replicas(engine) as (bus,):
        for error in (EngineUnavailableError("away"), ValueError("a defect")):
            engine.fails_change = error
            answers = await asyncio.gather(*[bus.subscriptions.delete("x") for _ in range(3)], return_exceptions=True)
            assert all(isinstance(answer, WowEventError) for answer in answers), answers
        await bus.subscriptions.put("work", wanting("*"))

        assert list(bus.subscriptions.known) == ["work"]


async def test_an_append_takes_fifty_thousand_references() -> None:
    """A batch that too many subscriptions want is split, in order; every event reaches every one of them."""
    engine = Noting()
    async with replicas(engine) as (bus,):
        names = [f"s{number}" for number in range(200)]
        for name in names:
            await made(engine, name, "*")
        positions = await published(bus, *["a"] * 600)

        assert [count for count in engine.references if count] == [50_000, 50_000, 20_000]
        assert positions == sorted(positions)
        assert await received(bus, names[0]) == positions
        assert await received(bus, names[-1]) == positions
