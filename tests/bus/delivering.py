"""A bus with durable subscriptions over the engine in memory, by a clock that moves by hand, and members that note."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

from tests.bus.running import BUS, turns, until
from tests.event_samples import entries, entry
from waooaw.events.bus.consumption import Consumption
from waooaw.events.bus.event_bus import BusOptions, EventBus
from waooaw.events.delivery import ClaimedDeliveries, Delivery, Settlement
from waooaw.events.engine.contract import Frame, Tip
from waooaw.events.engine.queue_contract import Claimed, ClaimRequest, Settled, SettleRequest
from waooaw.events.engine.sqlite import SqliteEngine, SqliteOptions
from waooaw.events.errors import WowEventError
from waooaw.events.receipt import Receipt
from waooaw.events.subscription import parse_subscription
from waooaw.events.subscription_state import Counts
from waooaw.events.testing import ManualClock, SequentialIdentifiers

NAME = "work"

Result = TypeVar("Result")


class QueueEngine(SqliteEngine):
    """The engine in memory; claims and settles can be held back, noted, and made to fail before or after."""

    def __init__(self, clock: ManualClock, identifiers: SequentialIdentifiers) -> None:
        super().__init__(None, (BUS,), clock=clock, identifiers=identifiers, options=SqliteOptions(reserve_bytes=0))
        self.claims: list[tuple[ClaimRequest, ...]] = []
        self.settles: list[tuple[SettleRequest, ...]] = []
        self.in_flight = {"claim": 0, "settle": 0}
        self.in_flight_max = {"claim": 0, "settle": 0}
        self.claim_gate = asyncio.Event()
        self.claim_gate.set()
        self.settle_gate = asyncio.Event()
        self.settle_gate.set()
        self.fails_before: list[WowEventError | Exception] = []
        self.fails_after: list[WowEventError | Exception] = []
        self.loses_frames = self.loses_wakes = False

    def listen(self, bus: str, listener: Callable[[Frame | Tip], None]) -> Callable[[], None]:
        """Carry frames, unless they get lost."""
        return super().listen(bus, lambda told: None if self.loses_frames else listener(told))

    def listen_to_wakes(self, bus: str, listener: Callable[[str | None], None]) -> Callable[[], None]:
        """Carry wakes, unless they get lost."""
        return super().listen_to_wakes(bus, lambda woken: None if self.loses_wakes else listener(woken))

    async def claim(
        self,
        bus: str,
        incarnation: str,
        claimer: str,
        sequence: int,
        requests: Sequence[ClaimRequest],
        *,
        patience_seconds: float = 2.0,
    ) -> Claimed:
        """Claim when the gate is open, and note it."""
        self.claims.append(tuple(requests))
        async with self._counted("claim", self.claim_gate):
            return await super().claim(bus, incarnation, claimer, sequence, requests, patience_seconds=patience_seconds)

    async def settle(
        self,
        bus: str,
        incarnation: str,
        claimer: str,
        sequence: int,
        requests: Sequence[SettleRequest],
        *,
        patience_seconds: float = 2.0,
    ) -> Settled:
        """Settle when the gate is open, and note it."""
        self.settles.append(tuple(requests))
        async with self._counted("settle", self.settle_gate):
            return await super().settle(
                bus, incarnation, claimer, sequence, requests, patience_seconds=patience_seconds
            )

    @asynccontextmanager
    async def _counted(self, kind: str, gate: asyncio.Event) -> AsyncIterator[None]:
        self.in_flight[kind] += 1
        self.in_flight_max[kind] = max(self.in_flight_max[kind], self.in_flight[kind])
        try:
            await gate.wait()
            if self.fails_before:
                raise self.fails_before.pop(0)
            yield
            if self.fails_after:
                raise self.fails_after.pop(0)
        finally:
            self.in_flight[kind] -= 1


class Member:
    """A member that notes what it gets."""

    def __init__(self, desk: Desk, name: str = "m", *, credit: int = 100, subscription: str = NAME) -> None:
        self.deliveries: list[Delivery] = []
        self.batches = 0
        self.ended: list[WowEventError] = []
        self.consumption: Consumption = desk.bus.deliveries.consume(
            subscription, member=name, credit=credit, deliver=self._deliver, ended=self.ended.append
        )

    def _deliver(self, deliveries: Sequence[Delivery]) -> None:
        self.deliveries += deliveries
        self.batches += 1

    @property
    def numbers(self) -> list[object]:
        """The data of what it got."""
        return [delivery.event.data for delivery in self.deliveries]

    async def ack(self, *deliveries: Delivery) -> list[WowEventError | None]:
        """Ack deliveries."""
        return await self.consumption.settle(outcomes("ack", *deliveries))


class Desk:
    """A bus that a test works at."""

    def __init__(
        self, engine: QueueEngine, bus: EventBus, clock: ManualClock, identifiers: SequentialIdentifiers
    ) -> None:
        self.engine = engine
        self.bus = bus
        self.clock = clock
        self.identifiers = identifiers

    async def subscribe(self, name: str = NAME, **members: object) -> None:
        """Make or change a subscription to everything, or as said."""
        await self.finish(self.bus.subscriptions.put(name, parse_subscription({"patterns": ["*"]} | members)))

    async def finish(self, call: Coroutine[None, None, Result]) -> Result:
        """Finish a call that waits for time to pass, such as a change of subscriptions, by passing milliseconds."""
        task = asyncio.create_task(call)
        for _ in range(100):
            await turns(10)
            if task.done():
                break
            self.clock.advance(0.005)
        return await task

    @asynccontextmanager
    async def replica(self) -> AsyncIterator[EventBus]:
        """Open another bus over the same engine, as another replica does over the same store."""
        async with EventBus(
            self.engine, BUS, clock=self.clock, identifiers=self.identifiers, options=BusOptions()
        ) as bus:
            yield bus

    async def publish(self, count: int = 1, **members: object) -> None:
        """Publish events whose data count from 0."""
        answers = await self.bus.submit(entries(count, **members))
        assert all(isinstance(answer, Receipt) for answer in answers), answers

    async def publish_number(self, number: int, **members: object) -> None:
        """Publish one event with a number as its data."""
        await self.bus.submit_one(entry(data=number, **members))

    async def counts(self, name: str = NAME) -> Counts:
        """Return where the references of a subscription are."""
        counts = (await self.bus.subscriptions.info(name)).queue.counts
        assert counts.is_closed, counts
        return counts

    async def pass_time(self, seconds: float, step_seconds: float = 0.25) -> None:
        """Let time pass in steps, and what it makes due happen."""
        for _ in range(round(seconds / step_seconds)):
            self.clock.advance(step_seconds)
            await settled()


def outcomes(outcome: str, *deliveries: Delivery, **members: object) -> list[Settlement]:
    """Return the same outcome for deliveries."""
    return [Settlement(token=one.token, outcome=outcome, **members) for one in deliveries]  # type: ignore[arg-type]  # spelled by tests


async def claim(
    desk: Desk, limit: int = 10, *, wait_seconds: float = 0.0, member: str = "w", key: str | None = None
) -> ClaimedDeliveries:
    """Claim from the subscription of the tests."""
    return await desk.bus.deliveries.claim(NAME, limit, wait_seconds=wait_seconds, member=member, idempotency_key=key)


def waiting(desk: Desk, limit: int = 10, **given: object) -> asyncio.Task[ClaimedDeliveries]:
    """Begin a claim that waits ten seconds."""
    return asyncio.create_task(claim(desk, limit, **{"wait_seconds": 10.0, **given}))  # type: ignore[arg-type]  # as given


async def settled() -> None:
    """Let the loop turn until what is under way has come to its rest."""
    await turns(60)


@asynccontextmanager
async def working(**options: float) -> AsyncIterator[Desk]:
    """Open a bus. The loop's timers go by the clock of the test from now on."""
    clock, identifiers = ManualClock(), SequentialIdentifiers()
    loop = asyncio.get_running_loop()
    loop.time = clock.monotonic  # type: ignore[method-assign]  # so that time-outs and timers need no waiting
    engine = QueueEngine(clock, identifiers)
    try:
        async with AsyncExitStack() as stack:
            await engine.open(stack)
            bus = EventBus(
                engine,
                BUS,
                clock=clock,
                identifiers=identifiers,
                options=BusOptions(**options),  # type: ignore[arg-type]  # limits, which are numbers
            )
            bus = await stack.enter_async_context(bus)
            stack.callback(engine.claim_gate.set)  # what is held back has to come to its end
            stack.callback(engine.settle_gate.set)
            yield Desk(engine, bus, clock, identifiers)
    finally:
        del loop.time


__all__ = [
    "NAME",
    "Desk",
    "Member",
    "QueueEngine",
    "claim",
    "outcomes",
    "settled",
    "turns",
    "until",
    "waiting",
    "working",
]
