"""A retry is not a second event: what counts as the same, and for how long."""

from __future__ import annotations

import pytest

from tests.conformance.engines import BUS, OTHER_BUS, EngineUnderTest, Writer, stored
from tests.event_samples import acceptance, entry, event_json
from waooaw.events.engine.contract import Engine
from waooaw.events.errors import IdReusedError
from waooaw.events.event import Entry
from waooaw.events.receipt import Receipt
from waooaw.events.retention import TrimPlan
from waooaw.events.timestamp import format_timestamp


async def test_the_same_event_again_answers_the_first_receipt(engine: Engine, writer: Writer) -> None:
    """The same source, id and content is not stored again: the first position, marked as a duplicate."""
    (first,) = await writer.append(entry(id="one", data=1))

    (again,) = await writer.append(entry(id="one", data=1))

    assert (again.id, again.position, again.durability, again.duplicate) == (
        "one",
        first.position,
        first.durability,
        True,
    )
    assert len(await stored(engine)) == 1


async def test_a_repeat_within_one_append(engine: Engine, writer: Writer) -> None:
    """Twice in one append is once in the log."""
    first, again = await writer.append(entry(id="one"), entry(id="one"))

    assert (first.position, first.duplicate, again.duplicate) == (again.position, False, True)
    assert len(await stored(engine)) == 1


async def test_the_same_id_with_other_content_is_refused(engine: Engine, writer: Writer) -> None:
    """An id that is used again for something else is an error of its publisher, within an append and across."""
    await writer.append(entry(id="one", data=1))

    answers = await writer.answers(entry(id="one", data=2), entry(id="two", data=1), entry(id="two", data=2))

    assert [type(answer) for answer in answers] == [IdReusedError, Receipt, IdReusedError]
    assert len(await stored(engine)) == 2


@pytest.mark.parametrize("members", [{"type": "task.done"}, {"subject": "s"}, {"time": "2026-01-01T00:00:00Z"}])
async def test_every_attribute_is_content(writer: Writer, members: dict[str, object]) -> None:
    """An event that differs in an attribute is another event."""
    await writer.append(entry(id="one"))

    (answer,) = await writer.answers(entry(id="one", **members))

    assert isinstance(answer, IdReusedError)


async def test_the_same_id_of_another_source_is_another_event(engine: Engine, writer: Writer) -> None:
    """Ids are unique within their source (CloudEvents 1.0.2, section ``id``)."""
    await writer.append(entry(id="one", source="agent/a"), entry(id="one", source="agent/b"))

    assert len(await stored(engine)) == 2


async def test_source_and_id_are_not_run_together(engine: Engine, writer: Writer) -> None:
    """``a`` + ``bc`` and ``ab`` + ``c`` are two identities."""
    await writer.append(entry(source="a", id="bc"), entry(source="ab", id="c"))

    assert len(await stored(engine)) == 2


async def test_buses_do_not_share_ids(engine: Engine, writer: Writer) -> None:
    """An id is known to the bus it was published on."""
    await writer.append(entry(id="one", data=1))

    (receipt,) = await (await Writer.registered(engine, OTHER_BUS)).append(entry(id="one", data=2))

    assert not receipt.duplicate


async def test_ids_that_the_bus_filled_in_are_not_looked_at(engine: Engine, writer: Writer) -> None:
    """An event without an id is always new, also when the filled-in ids happen to be equal."""
    one, two = (acceptance().one(event_json(data=number)) for number in (1, 2))
    assert one.id == two.id

    await writer.append(one, two)
    await writer.append(one)

    assert [event.event.data for event in await stored(engine)] == [1, 2, 1]


async def test_the_order_of_attributes_does_not_matter(writer: Writer) -> None:
    """JSON objects have no order: the same members otherwise arranged are the same event."""
    accept = acceptance().one
    await writer.append(accept(b'{"type":"t","source":"s","id":"one","subject":"x","data":{"a":1,"b":2}}'))

    (again,) = await writer.append(accept(b'{"data":{"a":1,"b":2},"subject":"x","id":"one","source":"s","type":"t"}'))

    assert again.duplicate


async def test_white_space_does_not_matter(writer: Writer) -> None:
    """The same text with other white space between its tokens is the same event."""
    accept = acceptance().one
    await writer.append(accept(b'{"type":"t","source":"s","id":"one","data":{"a":[1,2]}}'))

    (again,) = await writer.append(accept(b'{ "type":"t",\n"source":"s", "id":"one","data":{ "a": [1, 2] } }'))

    assert again.duplicate


def _now(under_test: EngineUnderTest, **members: object) -> Entry:
    return acceptance(clock=under_test.clock).one(event_json(id="one", **members))


async def test_a_time_that_the_bus_filled_in_does_not_matter(under_test: EngineUnderTest, writer: Writer) -> None:
    """A publisher that gives no time and repeats a second later repeats the same event."""
    await writer.append(_now(under_test))
    under_test.clock.advance(1)

    (again,) = await writer.append(_now(under_test))

    assert again.duplicate


async def test_a_given_time_and_a_filled_in_one_are_two(under_test: EngineUnderTest, writer: Writer) -> None:
    """With a time and without one are not the same content, even where the times are equal."""
    await writer.append(_now(under_test))

    (answer,) = await writer.answers(_now(under_test, time=format_timestamp(under_test.clock.now_ms())))

    assert isinstance(answer, IdReusedError)


async def test_the_window_ends_by_time(under_test: EngineUnderTest) -> None:
    """Up to its seconds a repeat is recognised; after them it is a new event."""
    writer = await Writer.registered(await under_test.open(deduplication_seconds=10))
    (first,) = await writer.append(entry(id="one"))
    under_test.clock.advance(9.999)
    (within,) = await writer.append(entry(id="one"))
    under_test.clock.advance(0.001)
    (beyond,) = await writer.append(entry(id="one"))
    (again,) = await writer.append(entry(id="one"))

    assert [answer.duplicate for answer in (first, within, beyond, again)] == [False, True, False, True]
    assert again.position == beyond.position


async def test_the_window_ends_by_count(under_test: EngineUnderTest) -> None:
    """Only the last so many ids are recognised."""
    writer = await Writer.registered(await under_test.open(deduplication_ids=3))
    await writer.append(*(entry(id=str(number)) for number in range(4)))

    receipts = await writer.append(entry(id="1"), entry(id="2"), entry(id="3"))
    (oldest,) = await writer.append(entry(id="0"))

    assert [receipt.duplicate for receipt in receipts] == [True, True, True]
    assert not oldest.duplicate


async def test_filled_in_ids_do_not_take_the_places_of_given_ones(under_test: EngineUnderTest) -> None:
    """Events without an id of their own do not push ids out of the window."""
    writer = await Writer.registered(await under_test.open(deduplication_ids=1))
    await writer.append(entry(id="one"), *(entry() for _ in range(5)))

    (again,) = await writer.append(entry(id="one"))

    assert again.duplicate


async def test_ids_survive_a_reopen(under_test: EngineUnderTest) -> None:
    """Where the log survives, so do its ids: also those with other content."""
    writer = await Writer.registered(await under_test.open())
    (first,) = await writer.append(entry(id="one", data=1))
    writer = await Writer.registered(await under_test.reopen())

    (again,) = await writer.append(entry(id="one", data=1))
    (other,) = await writer.answers(entry(id="one", data=2))

    assert again.duplicate is under_test.survives_reopen
    assert (again.position == first.position) or not under_test.survives_reopen
    assert isinstance(other, IdReusedError)


async def test_the_window_holds_over_a_reopen(under_test: EngineUnderTest) -> None:
    """A reopen makes the window neither longer by time nor by count."""
    writer = await Writer.registered(await under_test.open(deduplication_seconds=10))
    await writer.append(entry(id="old"))
    under_test.clock.advance(10)
    await writer.append(entry(id="a"), entry(id="b"), entry(id="c"))
    writer = await Writer.registered(await under_test.reopen(deduplication_seconds=10, deduplication_ids=2))

    receipts = await writer.append(entry(id="b"), entry(id="c"))
    rest = await writer.append(entry(id="a"), entry(id="old"))

    assert [receipt.duplicate for receipt in receipts] == [under_test.survives_reopen] * 2
    assert [receipt.duplicate for receipt in rest] == [False, False]


async def test_an_id_that_was_trimmed_is_new(engine: Engine, writer: Writer) -> None:
    """What the log no longer has cannot be compared, so it is accepted as new."""
    await writer.append(entry(id="one"), entry(id="two"))
    await engine.trim(BUS, TrimPlan(excess_events=1), limit=10)

    one, two = await writer.append(entry(id="one"), entry(id="two"))

    assert (one.duplicate, two.duplicate) == (False, True)


async def test_the_effective_window_is_the_whole_one_at_first(under_test: EngineUnderTest) -> None:
    """Where nothing cuts it short, the window is what was asked for."""
    engine = await under_test.open(deduplication_seconds=10)
    await (await Writer.registered(engine)).append(entry(id="one"))

    assert engine.state(BUS).deduplication_seconds == 10


async def test_the_effective_window_tells_what_the_count_cut(under_test: EngineUnderTest) -> None:
    """The window reaches back to the newest id that was pushed out; a reopen does not forget that."""
    engine = await under_test.open(deduplication_seconds=100, deduplication_ids=2)
    writer = await Writer.registered(engine)
    for name in "abc":
        await writer.append(entry(id=name))
        under_test.clock.advance(10)
    assert engine.state(BUS).deduplication_seconds == 30

    engine = await under_test.reopen(deduplication_seconds=100, deduplication_ids=2)

    assert engine.state(BUS).deduplication_seconds == (30 if under_test.survives_reopen else 100)
    under_test.clock.advance(500)
    assert engine.state(BUS).deduplication_seconds == 100


async def test_the_effective_window_tells_what_retention_cut(under_test: EngineUnderTest) -> None:
    """Ids of trimmed events are gone: the window reaches back to the newest of them, over a reopen too."""
    engine = await under_test.open(deduplication_seconds=100)
    writer = await Writer.registered(engine)
    await writer.append(entry(id="one"))
    under_test.clock.advance(5)
    await writer.append(entry(id="two"))
    under_test.clock.advance(15)
    await engine.trim(BUS, TrimPlan(excess_events=1), limit=10)
    assert engine.state(BUS).deduplication_seconds == 20

    engine = await under_test.reopen(deduplication_seconds=100)

    assert engine.state(BUS).deduplication_seconds == (20 if under_test.survives_reopen else 100)
