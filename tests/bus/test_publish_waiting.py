"""A store that is away: accepted events wait for it as long as their time lasts, and are stored once and in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from tests.bus.running import TestedEngine, running, turns, until
from tests.conformance.engines import stored
from tests.event_samples import entries, entry
from waooaw.events.bus.event_bus import EventBus
from waooaw.events.engine.queue_contract import RouteSet
from waooaw.events.errors import WowEventError
from waooaw.events.event import Entry
from waooaw.events.outages import (
    EngineDeniedError,
    EngineLoadingError,
    EngineUnavailableError,
    OverloadedError,
    UnavailableError,
    WriterUnknownError,
)
from waooaw.events.receipt import Receipt

Answers = list[Receipt | WowEventError]


class AwayEngine(TestedEngine):
    """An engine whose store can be away: an append waits for it as long as its patience lasts."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = False
        self.leaves_after_events: int | None = None
        self.is_patient = True
        self.patience: list[float] = []

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
        """Wait for the store, by the test's clock."""
        self.patience.append(round(patience_seconds, 6))
        deadline = self.clock.monotonic() + patience_seconds
        while self.is_away and self.is_patient and self.clock.monotonic() < deadline:  # noqa: ASYNC110 - of a clock
            await asyncio.sleep(0)
        if self.is_away:
            raise EngineLoadingError("loading")
        answers = await super().append(
            bus, writer, sequence, routes_version, entries, references=references, patience_seconds=patience_seconds
        )
        self.is_away = sum(self.appended) == self.leaves_after_events
        return answers


@pytest.fixture
async def engine() -> AwayEngine:
    return AwayEngine()


@pytest.fixture
async def bus(engine: AwayEngine) -> AsyncIterator[EventBus]:
    async with running(engine, engine.clock, waiting_bytes_max=1024 * 1024) as bus:
        yield bus


async def submit(bus: EventBus, *given: Entry) -> asyncio.Task[Answers]:
    """Begin to publish, and let it arrive."""
    task = asyncio.create_task(bus.submit(given))
    await turns(5)
    return task


def kinds(answers: Answers) -> list[type]:
    """Return what each answer is."""
    return [type(answer) for answer in answers]


async def test_an_event_waits_for_the_store(engine: AwayEngine, bus: EventBus) -> None:
    """A store that comes back within the time costs its publisher a wait, and no error."""
    engine.is_away = True
    waiting = await submit(bus, entry(data=1))
    engine.clock.advance(1.9)
    await turns()
    assert not waiting.done()

    engine.is_away = False

    assert kinds(await waiting) == [Receipt]
    assert bus.metrics.totals.errors == 0


async def test_an_event_does_not_wait_for_ever(engine: AwayEngine, bus: EventBus) -> None:
    """After its time it is refused: certainly not stored, with the store's reason and when to try again."""
    engine.is_away = True
    waiting = await submit(bus, entry(data=1))
    engine.clock.advance(2)

    (answer,) = await waiting

    assert isinstance(answer, EngineLoadingError)
    assert (answer.outcome, answer.retry_after_seconds) == ("not_stored", 1)
    assert bus.details()["waiting_bytes"] == 0
    engine.is_away = False
    assert await stored(engine) == []


async def test_each_submission_has_its_own_time(engine: AwayEngine, bus: EventBus) -> None:
    """What came later goes on waiting when the first is refused: in its order, and counted once."""
    engine.is_away = True
    waiting = []
    for number in range(4):
        waiting.append(await submit(bus, entry(data=number)))
        engine.clock.advance(0.5)
    for _ in range(2):
        await until(waiting.pop(0).done)
        engine.clock.advance(0.5)
    engine.is_away = False

    answers = await asyncio.gather(*waiting)

    assert [kinds(answer) for answer in answers] == [[Receipt], [Receipt]]
    assert [event.event.data for event in await stored(engine)] == [2, 3]
    assert bus.metrics.totals.errors == 2
    assert bus.metrics.refusals == {"engine_loading": 2}
    assert bus.metrics.totals.publishes == 2


async def test_an_append_is_as_patient_as_its_oldest_submission(engine: AwayEngine, bus: EventBus) -> None:
    """What is left of the time of the first submission is what the engine may take."""
    engine.is_away = True
    first = await submit(bus, entry())
    engine.clock.advance(1.25)
    second = await submit(bus, entry())
    engine.clock.advance(0.75)
    await first
    engine.is_away = False
    await second

    assert engine.patience == [2.0, 1.25]


async def test_parts_that_were_put_back_are_answered_in_order(engine: AwayEngine, bus: EventBus) -> None:
    """A submission of which an append carried a part goes back whole; the one before it is refused."""
    engine.is_away = True
    refused = await submit(bus, *entries(700))
    engine.clock.advance(1)
    split = await submit(bus, *entries(1700))
    await submit(bus, entry(data="last"))
    engine.clock.advance(1)
    assert set(kinds(await refused)) == {EngineLoadingError}
    engine.is_away = False

    answers = await split

    positions = [answer.position for answer in answers if isinstance(answer, Receipt)]
    await until(lambda: engine.state("default").events == 1701)
    events = await stored(engine)
    assert positions == [event.position for event in events[:1700]]
    assert [event.event.data for event in events] == [*range(1700), "last"]
    assert engine.appended == [1000, 701]


async def test_parts_that_were_answered_stay_answered(engine: AwayEngine, bus: EventBus) -> None:
    """A store that goes away between two appends of one submission: the first part is stored, the rest is refused."""
    engine.leaves_after_events = 1000
    task = await submit(bus, *entries(2500))
    await until(lambda: engine.is_away)
    engine.clock.advance(2)

    answers = await task

    assert kinds(answers) == [Receipt] * 1000 + [EngineLoadingError] * 1500
    assert bus.metrics.totals.errors == 1500
    engine.is_away = False
    assert len(await stored(engine)) == 1000


async def test_what_waits_is_bounded_while_the_store_is_away(engine: AwayEngine, bus: EventBus) -> None:
    """Waiting costs memory, so there is a bound to it; what is refused by it is told at once."""
    engine.is_away = True
    waiting = [await submit(bus, entry(data="x" * 300_000)) for _ in range(3)]

    with pytest.raises(OverloadedError):
        await bus.submit([entry(data="x" * 300_000)])
    engine.is_away = False

    assert [kinds(answers) for answers in await asyncio.gather(*waiting)] == [[Receipt]] * 3


async def test_without_a_wait_an_event_is_tried_once() -> None:
    """A bus that is told not to wait asks the engine not to, and refuses at once."""
    engine = AwayEngine()
    engine.is_away = True
    async with running(engine, engine.clock, publish_wait_seconds=0) as bus:
        answers = await bus.submit([entry()])

    assert kinds(answers) == [EngineLoadingError]
    assert engine.patience == [0.0]


async def test_an_unknown_outcome_is_not_tried_again(engine: AwayEngine, bus: EventBus) -> None:
    """What may be stored is answered as that, though time is left: a second try could store it twice."""
    engine.fails_after = EngineUnavailableError("cut", outcome="unknown")

    (answer,) = await bus.submit([entry(data=1)])
    await bus.submit([entry(data=2)])

    assert isinstance(answer, EngineUnavailableError)
    assert answer.outcome == "unknown"
    assert [event.event.data for event in await stored(engine)] == [1, 2]


async def test_an_engine_that_does_not_wait_is_not_pressed(engine: AwayEngine, bus: EventBus) -> None:
    """Where an append fails at once, tries have pauses between them, and end with the submission's time."""
    engine.is_away, engine.is_patient = True, False
    waiting = await submit(bus, entry())
    await turns(2000)
    tries = len(engine.patience)
    engine.clock.advance(2)

    assert kinds(await waiting) == [EngineLoadingError]
    assert tries < 20


async def test_denied_access_is_not_waited_for(engine: AwayEngine, bus: EventBus) -> None:
    """A store that does not let us in needs an operator: its publishers are told at once."""
    engine.fails_before = EngineDeniedError("wrong password")

    assert kinds(await bus.submit([entry()])) == [EngineDeniedError]


async def test_a_store_that_has_lost_its_writers_costs_no_event(engine: AwayEngine, bus: EventBus) -> None:
    """Where the engine knows that nothing of an append can be stored, it is made again by a new writer."""
    await bus.submit([entry(data=1)])
    engine.fails_before = WriterUnknownError("all was lost")

    answers = await bus.submit([entry(data=2)])

    assert kinds(answers) == [Receipt]
    assert engine.registrations == 2
    assert [event.event.data for event in await stored(engine)] == [1, 2]


class ForgetfulEngine(AwayEngine):
    """An engine that forgets each writer at once."""

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
        """Refuse."""
        self.fails_before = WriterUnknownError("who?")
        return await super().append(
            bus, writer, sequence, routes_version, entries, references=references, patience_seconds=patience_seconds
        )


async def test_a_writer_that_is_forgotten_again_is_given_up() -> None:
    """Registering is not repeated for ever."""
    engine = ForgetfulEngine()
    async with running(engine, engine.clock) as bus:
        answers = await bus.submit([entry()])

    assert kinds(answers) == [WriterUnknownError]
    assert engine.registrations == 2


async def test_a_registration_that_was_lost_stores_nothing(engine: AwayEngine, bus: EventBus) -> None:
    """A cut while registering says nothing of the events: they are not stored, and are tried again in their time."""
    engine.fails_registration = EngineUnavailableError("cut", outcome="unknown")

    assert kinds(await bus.submit([entry()])) == [Receipt]


async def test_closing_waits_no_longer_than_the_events(engine: AwayEngine, bus: EventBus) -> None:
    """A bus that stops while its store is away ends when the time of what it accepted is over."""
    engine.is_away = True
    waiting = await submit(bus, entry())
    finishing = asyncio.create_task(bus.finish())
    await turns()
    assert not finishing.done()

    engine.clock.advance(2)
    await finishing

    (answer,) = await waiting
    assert isinstance(answer, UnavailableError)
