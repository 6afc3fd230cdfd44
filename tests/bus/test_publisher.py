"""Publishing: what arrives together is appended together, within bounds, and everybody is answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from tests.bus.running import BUS, TestedEngine, made, running, turns, until
from tests.conformance.engines import stored
from tests.event_samples import entries, entry
from waooaw.events.bus.event_bus import EventBus
from waooaw.events.bus.publisher import ROUTES_TRIES_MAX
from waooaw.events.engine.queue_contract import RouteSet
from waooaw.events.errors import WowEventError
from waooaw.events.event import Entry
from waooaw.events.outages import (
    DrainingError,
    OverloadedError,
    StorageFailedError,
    StorageFullError,
    UnavailableError,
    WriterUnknownError,
)
from waooaw.events.receipt import Receipt

KIB = 1024


@pytest.fixture
async def engine() -> TestedEngine:
    return TestedEngine()


@pytest.fixture
async def bus(engine: TestedEngine) -> AsyncIterator[EventBus]:
    async with running(engine, engine.clock, waiting_bytes_max=8 * 1024 * KIB) as bus:
        yield bus


Answering = asyncio.Task[list[Receipt | WowEventError]]


def submit(bus: EventBus, *given: Entry) -> Answering:
    """Begin to publish."""
    return asyncio.create_task(bus.submit(given))


async def test_an_idle_bus_appends_at_once(engine: TestedEngine, bus: EventBus) -> None:
    """Nothing waits for company: one event after another, each in an append of its own."""
    for number in range(3):
        await bus.submit([entry(data=number)])

    assert engine.appended == [1, 1, 1]


async def test_what_arrives_during_an_append_forms_the_next(engine: TestedEngine, bus: EventBus) -> None:
    """Fifty publishers that come while an append runs share one append after it."""
    engine.gate.clear()
    first = submit(bus, entry(data="first"))
    await turns()
    others = [submit(bus, entry(data=number)) for number in range(50)]
    await turns()
    engine.gate.set()
    answers = await asyncio.gather(first, *others)

    assert engine.appended == [1, 50]
    events = await stored(engine)
    assert [event.event.data for event in events] == ["first", *range(50)]
    assert [receipt.position for (receipt,) in answers if isinstance(receipt, Receipt)] == [e.position for e in events]


async def test_an_append_carries_a_thousand_entries(engine: TestedEngine, bus: EventBus) -> None:
    """More is split; a submission that is split over appends is answered whole, in its order."""
    answers = await submit(bus, *entries(2500))

    assert engine.appended == [1000, 1000, 500]
    events = await stored(engine)
    assert [receipt.position for receipt in answers if isinstance(receipt, Receipt)] == [e.position for e in events]
    assert [event.event.data for event in events] == [*range(2500)]


async def test_an_append_carries_a_mebibyte(engine: TestedEngine, bus: EventBus) -> None:
    """Bytes split an append as well: as many entries as fit, and at least one."""
    sizes = [300, 300, 300, 300, 1500, 10, 1000, 20, 20]

    await submit(bus, *(entry(data="x" * size * KIB) for size in sizes))

    assert engine.appended == [3, 1, 1, 2, 2]


async def test_parts_of_submissions_share_an_append(engine: TestedEngine, bus: EventBus) -> None:
    """The end of one submission and the beginning of the next are appended together; each gets its own answers."""
    engine.gate.clear()
    waiting = [submit(bus, *entries(count, subject=str(count))) for count in (1, 700, 700, 700)]
    await turns()
    engine.gate.set()
    answers = await asyncio.gather(*waiting)

    assert engine.appended == [1000, 1000, 101]
    assert [len(answer) for answer in answers] == [1, 700, 700, 700]
    positions = [receipt.position for answer in answers for receipt in answer if isinstance(receipt, Receipt)]
    assert positions == [event.position for event in await stored(engine)]


async def test_nothing_to_publish_is_nothing(engine: TestedEngine, bus: EventBus) -> None:
    """An empty batch is answered without an append."""
    assert await bus.submit([]) == []
    assert engine.appended == []


async def test_what_waits_is_bounded(engine: TestedEngine, bus: EventBus) -> None:
    """Beyond the bound a publish is refused, and nothing of it is taken; when there is room again it is accepted."""
    engine.gate.clear()
    waiting = [submit(bus, entry(data="x" * 1000 * KIB)) for _ in range(8)]
    await turns()

    with pytest.raises(OverloadedError):
        await bus.submit(entries(3, subject="y" * 100 * KIB))
    await bus_refuses_one(bus)

    engine.gate.set()
    await asyncio.gather(*waiting)
    await bus.submit([entry(data="at last")])
    assert len(await stored(engine)) == 9


async def bus_refuses_one(bus: EventBus) -> None:
    """Check that one event of some size is refused as a batch is."""
    with pytest.raises(OverloadedError):
        await bus.submit_one(entry(data="z" * 300 * KIB))


async def test_a_submission_above_the_bound_is_taken_by_an_idle_bus(engine: TestedEngine, bus: EventBus) -> None:
    """The bound is for what waits: what is larger alone can never fit, so it is taken where nothing waits."""
    await bus.submit([entry(data="x" * 1000 * KIB) for _ in range(10)])

    assert len(await stored(engine)) == 10


async def test_who_goes_away_does_not_make_room(engine: TestedEngine, bus: EventBus) -> None:
    """Callers that are cancelled leave their events waiting, and counted, until they are stored."""
    engine.gate.clear()
    waiting = [submit(bus, entry(data="x" * 1000 * KIB)) for _ in range(8)]
    await turns()
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)

    await bus_refuses_one(bus)
    engine.gate.set()
    await until(lambda: bus.details()["waiting_bytes"] == 0)
    assert len(await stored(engine)) == 8


async def test_a_cancelled_caller_disturbs_nobody(engine: TestedEngine, bus: EventBus) -> None:
    """One of three callers goes away: the others are answered, and all three events are stored."""
    engine.gate.clear()
    waiting = [submit(bus, entry(data=number)) for number in range(3)]
    await turns()
    waiting[1].cancel()
    await turns()
    engine.gate.set()
    answers = await asyncio.gather(*waiting, return_exceptions=True)

    assert [isinstance(answer, list) for answer in answers] == [True, False, True]
    assert [event.event.data for event in await stored(engine)] == [0, 1, 2]


async def test_everybody_is_answered_when_the_engine_refuses(engine: TestedEngine, bus: EventBus) -> None:
    """An append that is refused answers all whom it carried with the reason; the next one is tried."""
    engine.gate.clear()
    first = submit(bus, entry(data="first"))
    await turns()
    others = [submit(bus, entry(data=number)) for number in range(3)]
    await turns()
    engine.fails_before = StorageFullError("full")
    engine.gate.set()
    answers = await asyncio.gather(first, *others)

    assert [type(answer) for (answer,) in answers] == [StorageFullError, Receipt, Receipt, Receipt]
    assert bus.metrics.totals.errors == 1


async def test_a_refusal_of_one_event_is_raised(engine: TestedEngine, bus: EventBus) -> None:
    """Publishing one event raises what refused it."""
    engine.fails_before = StorageFullError("full")

    with pytest.raises(StorageFullError):
        await bus.submit_one(entry())


async def test_a_defect_is_an_unknown_outcome(engine: TestedEngine, bus: EventBus) -> None:
    """An exception that no engine should raise is answered, as unknown; the bus goes on."""
    engine.fails_before = RuntimeError("a defect")

    (answer,) = await bus.submit([entry(data=1)])
    (after,) = await bus.submit([entry(data=2)])

    assert isinstance(answer, UnavailableError)
    assert answer.outcome == "unknown"
    assert isinstance(after, Receipt)


@pytest.mark.parametrize("error", [RuntimeError("a defect"), StorageFailedError("gone", outcome="unknown")])
async def test_a_lost_answer_is_not_given_to_the_next(engine: TestedEngine, bus: EventBus, error: Exception) -> None:
    """After an append that was stored and not answered, the next events get receipts of their own, and are stored."""
    engine.fails_after = error
    await bus.submit([entry(data="lost")])

    (receipt,) = await bus.submit([entry(data="next")])

    assert isinstance(receipt, Receipt)
    events = await stored(engine)
    assert [event.event.data for event in events] == ["lost", "next"]
    assert receipt.position == events[1].position


async def test_an_unknown_writer_registers_again(engine: TestedEngine, bus: EventBus) -> None:
    """A writer that the engine has forgotten answers what was in flight as unknown, and goes on as a new one."""
    await bus.submit([entry()])
    for _ in range(100):
        await engine.register(BUS)
    registrations = engine.registrations

    (answer,) = await bus.submit([entry()])
    (after,) = await bus.submit([entry()])

    assert isinstance(answer, WriterUnknownError)
    assert answer.outcome == "unknown"
    assert isinstance(after, Receipt)
    assert engine.registrations == registrations + 1


class RestlessEngine(TestedEngine):
    """An engine whose routes another replica changes just before each append."""

    def __init__(self) -> None:
        super().__init__()
        self.tries = 0

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
        """Change the routes, so that the append is refused."""
        self.tries += 1
        await made(self, f"made-{self.tries}", "nothing")
        return await super().append(
            bus, writer, sequence, routes_version, entries, references=references, patience_seconds=patience_seconds
        )


async def test_routes_that_never_settle_are_given_up() -> None:
    """A publish does not try for ever: after some tries it is answered that it is not stored."""
    engine = RestlessEngine()
    async with running(engine, engine.clock) as bus:
        (answer,) = await bus.submit([entry()])

    assert isinstance(answer, UnavailableError)
    assert answer.outcome == "not_stored"
    assert engine.tries == ROUTES_TRIES_MAX


class CurtEngine(TestedEngine):
    """An engine with a defect: it answers for one entry less than it got."""

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
        """Store, and answer too little."""
        answers = await super().append(
            bus, writer, sequence, routes_version, entries, references=references, patience_seconds=patience_seconds
        )
        return answers[:-1]


async def test_too_few_answers_leave_nobody_waiting() -> None:
    """A defect in how an engine answers is told to all whom it touches, and the bus goes on."""
    engine = CurtEngine()
    async with running(engine, engine.clock) as bus:
        answers = await asyncio.wait_for(bus.submit(entries(3)), 5)
        again = await asyncio.wait_for(bus.submit(entries(2)), 5)

    assert [getattr(answer, "outcome", "") for answer in answers + again] == ["unknown"] * 5


async def test_closing_finishes_what_was_accepted(engine: TestedEngine, bus: EventBus) -> None:
    """What was taken is stored and answered; what comes later is refused as draining; closing twice is harmless."""
    engine.gate.clear()
    accepted = [submit(bus, *entries(800)) for _ in range(3)]
    await turns()
    finishing = asyncio.create_task(bus.finish())
    await turns()
    with pytest.raises(DrainingError):
        await bus.submit([entry()])
    assert not finishing.done()
    engine.gate.set()

    await finishing
    await bus.finish()

    answers = await asyncio.gather(*accepted)
    assert [len(answer) for answer in answers] == [800, 800, 800]
    assert len(await stored(engine)) == 2400


async def test_an_append_that_hangs_is_seen(engine: TestedEngine, bus: EventBus) -> None:
    """How long the append in flight has been running is known while it runs, and 0 else."""
    engine.gate.clear()
    waiting = submit(bus, entry())
    await turns()
    engine.clock.advance(12.5)

    assert bus.append_seconds == 12.5
    engine.gate.set()
    await waiting
    assert bus.append_seconds == 0
