"""Events for later: beside the log until they are due, and appended once."""

from __future__ import annotations

import msgspec
import pytest

from tests.conformance.engines import BUS, OTHER_BUS, EngineUnderTest, Writer, stored
from tests.event_samples import entry
from waooaw.events.engine.contract import Engine
from waooaw.events.errors import IdReusedError, NotFoundError, WowEventError
from waooaw.events.event import Entry
from waooaw.events.outages import ScheduleFullError
from waooaw.events.position import position_milliseconds
from waooaw.events.receipt import Receipt, ScheduledReceipt
from waooaw.events.scheduled_event import ScheduledEvent
from waooaw.events.timestamp import format_timestamp


def later(under_test: EngineUnderTest, seconds: float, **members: object) -> Entry:
    """Return an entry that is due so long from now."""
    return entry(**members, deliverat=format_timestamp(under_test.clock.now_ms() + round(seconds * 1000)))


async def schedule(
    engine: Engine, *entries: Entry, events_max: int = 1000
) -> tuple[ScheduledReceipt | WowEventError, ...]:
    """Put entries on the schedule."""
    return await engine.schedule(BUS, entries, events_max=events_max)


async def scheduled(engine: Engine, given: Entry) -> ScheduledReceipt:
    """Put one on the schedule, which must take it."""
    (answer,) = await schedule(engine, given)
    assert isinstance(answer, ScheduledReceipt), answer
    return answer


def due(given: Entry, receipt: ScheduledReceipt) -> Entry:
    """Return the entry that appends a scheduled one."""
    return msgspec.structs.replace(given, schedule_id=receipt.schedule_id)


async def test_a_scheduled_event_is_beside_the_log(under_test: EngineUnderTest, engine: Engine) -> None:
    """Its receipt says when it is due and what it is cancelled by; the log does not have it."""
    given = later(under_test, 60, id="one", data=1)

    receipt = await scheduled(engine, given)

    due_ms = under_test.clock.now_ms() + 60_000
    assert (receipt.id, receipt.due_ms, receipt.duplicate) == ("one", due_ms, False)
    assert position_milliseconds(receipt.position) == due_ms
    assert receipt.durability == engine.durability_of(BUS)
    assert len(receipt.schedule_id) == 32
    assert await stored(engine) == []
    event = ScheduledEvent(receipt.schedule_id, due_ms, given.body)
    assert await engine.scheduled_event(BUS, receipt.schedule_id) == event
    assert await engine.scheduled_events(BUS, after=None, limit=10) == ((event,), 1)


async def test_they_are_due_in_the_order_of_their_times(under_test: EngineUnderTest, engine: Engine) -> None:
    """Not before it, the earliest first, and when the next one is."""
    now_ms = under_test.clock.now_ms()
    await schedule(engine, *(later(under_test, seconds, data=seconds) for seconds in (30, 10, 20)))

    assert await engine.due_events(BUS, limit=10) == ((), now_ms + 10_000)
    under_test.clock.advance(9.999)
    assert await engine.due_events(BUS, limit=10) == ((), now_ms + 10_000)
    under_test.clock.advance(10.001)
    events, next_ms = await engine.due_events(BUS, limit=10)
    assert ([event.event.data for event in events], next_ms) == ([10, 20], now_ms + 30_000)
    events, next_ms = await engine.due_events(BUS, limit=1)
    assert ([event.event.data for event in events], next_ms) == ([10], now_ms + 20_000)
    under_test.clock.advance(100)
    events, next_ms = await engine.due_events(BUS, limit=10)
    assert (len(events), next_ms) == (3, None)


async def test_nothing_is_scheduled_at_first(engine: Engine) -> None:
    """No events, none due, none to come."""
    assert await engine.due_events(BUS, limit=10) == ((), None)
    assert await engine.scheduled_events(BUS, after=None, limit=10) == ((), 0)
    assert await engine.scheduled_event(BUS, "0" * 32) is None
    assert await engine.cancel_scheduled(BUS, "0" * 32) is False


async def test_an_append_takes_it_off(under_test: EngineUnderTest, engine: Engine, writer: Writer) -> None:
    """In one step it is in the log and on the schedule no more; a second append of it is not stored."""
    given = later(under_test, 1, id="one")
    entry_due = due(given, await scheduled(engine, given))
    under_test.clock.advance(1)

    (receipt,) = await writer.append(entry_due)
    (again,) = await writer.answers(entry_due)

    assert not receipt.duplicate
    assert isinstance(again, NotFoundError)
    assert [event.body for event in await stored(engine)] == [given.body]
    assert await engine.due_events(BUS, limit=10) == ((), None)
    assert (await engine.scheduled_events(BUS, after=None, limit=10))[1] == 0


async def test_an_append_of_a_duplicate_takes_it_off(
    under_test: EngineUnderTest, engine: Engine, writer: Writer
) -> None:
    """Where the event is in the log already, it is answered as a duplicate, and is on the schedule no more."""
    given = later(under_test, 1, id="one")
    receipt = await scheduled(engine, given)
    (first,) = await writer.append(given)

    (again,) = await writer.append(due(given, receipt))

    assert (again.position, again.duplicate) == (first.position, True)
    assert len(await stored(engine)) == 1
    assert await engine.scheduled_event(BUS, receipt.schedule_id) is None


async def test_a_cancelled_one_is_appended_by_nobody(
    under_test: EngineUnderTest, engine: Engine, writer: Writer
) -> None:
    """Also where a replica has it in hand: what is beside it is stored."""
    given = later(under_test, 1)
    receipt = await scheduled(engine, given)

    assert await engine.cancel_scheduled(BUS, receipt.schedule_id) is True
    assert await engine.cancel_scheduled(BUS, receipt.schedule_id) is False
    answers = await writer.answers(entry(data="before"), due(given, receipt), entry(data="after"))

    assert [type(answer) for answer in answers] == [Receipt, NotFoundError, Receipt]
    assert [event.event.data for event in await stored(engine)] == ["before", "after"]
    assert await engine.scheduled_event(BUS, receipt.schedule_id) is None


async def test_a_repeated_append_of_a_scheduled_one(
    under_test: EngineUnderTest, engine: Engine, writer: Writer
) -> None:
    """An append whose answer was lost is answered as before."""
    given = later(under_test, 1)
    entry_due = due(given, await scheduled(engine, given))
    first = await writer.answers(entry_due)

    assert await writer.again(entry_due) == first
    assert len(await stored(engine)) == 1


async def test_the_same_event_again_is_a_duplicate(under_test: EngineUnderTest, engine: Engine) -> None:
    """By source and given id: it is stored once, and its first time counts."""
    given = later(under_test, 60, id="one", data=1)
    receipt = await scheduled(engine, given)

    again = await scheduled(engine, given)

    assert again == msgspec.structs.replace(receipt, duplicate=True)
    assert (await engine.scheduled_events(BUS, after=None, limit=10))[1] == 1


async def test_the_same_id_with_other_content(under_test: EngineUnderTest, engine: Engine) -> None:
    """It is refused, and what was scheduled stays; another source may use the id."""
    first = later(under_test, 60, id="one", data=1)
    answers = await schedule(
        engine,
        first,
        later(under_test, 60, id="one", data=2),
        later(under_test, 61, id="one", data=1),
        later(under_test, 60, id="one", data=2, source="agent/b"),
    )

    assert [type(answer) for answer in answers] == [ScheduledReceipt, IdReusedError, IdReusedError, ScheduledReceipt]
    events, total = await engine.scheduled_events(BUS, after=None, limit=10)
    assert total == 2
    assert {event.event.source for event in events} == {"agent/a", "agent/b"}


async def test_a_full_schedule_refuses(under_test: EngineUnderTest, engine: Engine) -> None:
    """What is too many is refused; duplicates are not, and there is room again after one went."""
    first = later(under_test, 60, id="one")
    receipt = await scheduled(engine, first)

    answers = await schedule(engine, later(under_test, 60), first, later(under_test, 60), events_max=2)

    assert [type(answer) for answer in answers] == [ScheduledReceipt, ScheduledReceipt, ScheduleFullError]
    await engine.cancel_scheduled(BUS, receipt.schedule_id)
    (answer,) = await schedule(engine, later(under_test, 60), events_max=2)
    assert isinstance(answer, ScheduledReceipt)


async def test_pages_of_what_is_scheduled(under_test: EngineUnderTest, engine: Engine) -> None:
    """By time and id, each once; the total is of all."""
    await schedule(engine, *(later(under_test, 60 + number // 3, data=number) for number in range(8)))

    found: list[ScheduledEvent] = []
    after: tuple[int, str] | None = None
    for _ in range(3):
        page, total = await engine.scheduled_events(BUS, after=after, limit=3)
        assert total == 8
        found += page
        after = (page[-1].due_ms, page[-1].id)

    assert [(event.due_ms, event.id) for event in found] == sorted((event.due_ms, event.id) for event in found)
    assert sorted(event.event.data for event in found) == list(range(8))
    assert await engine.scheduled_events(BUS, after=after, limit=3) == ((), 8)


async def test_buses_have_schedules_of_their_own(under_test: EngineUnderTest, engine: Engine) -> None:
    """What one bus schedules another neither shows nor cancels."""
    receipt = await scheduled(engine, later(under_test, 1))
    under_test.clock.advance(1)

    assert await engine.due_events(OTHER_BUS, limit=10) == ((), None)
    assert await engine.scheduled_event(OTHER_BUS, receipt.schedule_id) is None
    assert await engine.cancel_scheduled(OTHER_BUS, receipt.schedule_id) is False
    assert len((await engine.due_events(BUS, limit=10))[0]) == 1


async def test_the_schedule_outlives_its_engine(under_test: EngineUnderTest) -> None:
    """After a reopen it is as before, where the store keeps anything."""
    if not under_test.survives_reopen:
        pytest.skip("nothing is kept")
    engine = await under_test.open()
    await scheduled(engine, later(under_test, 1))
    before = await engine.scheduled_events(BUS, after=None, limit=10)

    engine = await under_test.reopen()

    assert await engine.scheduled_events(BUS, after=None, limit=10) == before
    under_test.clock.advance(1)
    assert (await engine.due_events(BUS, limit=10))[0] == before[0]
