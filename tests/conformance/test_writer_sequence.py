"""The writer rule: a lost answer can be asked for again, and is never a second event."""

from __future__ import annotations

import pytest

from tests.conformance.engines import BUS, OTHER_BUS, EngineUnderTest, Heard, Writer, stored
from tests.event_samples import entries, entry
from waooaw.events.engine.contract import Engine
from waooaw.events.errors import RoutesChangedError, SupersededError
from waooaw.events.outages import WriterUnknownError


async def test_the_same_sequence_answers_the_same_receipts(engine: Engine, writer: Writer) -> None:
    """An append that is repeated under its sequence is answered as before, and stores nothing."""
    given = entries(3)
    first = await writer.answers(*given)

    again = await writer.again(*given)

    assert again == first
    assert len(await stored(engine)) == 3


async def test_a_repeat_is_told_to_nobody(engine: Engine, writer: Writer) -> None:
    """A repeated append sends no frame."""
    heard = Heard(engine)
    given = entry(data="once")
    await writer.append(given)

    await writer.again(given)
    await writer.append(entry(data="then"))

    assert [frame.events[0].event.data for frame in await heard.wait(2)] == ["once", "then"]


async def test_an_older_sequence_is_superseded(engine: Engine, writer: Writer) -> None:
    """A sequence below the last one is refused, and stores nothing: its answer is not known any more."""
    await writer.append(entry())
    await writer.append(entry())

    writer.sequence -= 1
    with pytest.raises(SupersededError):
        await writer.again(entry())

    assert len(await stored(engine)) == 2


async def test_an_unknown_writer_is_refused_with_an_unknown_outcome(engine: Engine) -> None:
    """Who is not registered cannot append, and is told that what it had in flight may be stored."""
    with pytest.raises(WriterUnknownError) as refused:
        await Writer(engine, BUS, "nobody", "0").answers(entry())

    assert refused.value.outcome == "unknown"
    assert await stored(engine) == []


async def test_a_writer_of_another_bus_is_unknown(writer: Writer) -> None:
    """A registration holds for the bus it was made for."""
    writer.bus = OTHER_BUS

    with pytest.raises(WriterUnknownError):
        await writer.answers(entry())


async def test_a_writer_does_not_outlive_its_engine(under_test: EngineUnderTest) -> None:
    """After a reopen the writers of before are unknown: their sequences mean nothing to it."""
    before = await Writer.registered(await under_test.open())
    await before.append(entry())
    before.engine = await under_test.reopen()

    with pytest.raises(WriterUnknownError):
        await before.again(entry())


async def test_other_routes_are_refused_with_the_current_version(engine: Engine, writer: Writer) -> None:
    """An append that was matched against other routes stores nothing, and learns which routes hold now."""
    current, writer.routes_version = writer.routes_version, "some other version"

    with pytest.raises(RoutesChangedError) as refused:
        await writer.answers(entry())

    assert refused.value.routes_version == current
    assert await stored(engine) == []


async def test_a_refused_append_does_not_use_its_sequence_up(engine: Engine, writer: Writer) -> None:
    """After a refusal for its routes, the same sequence is appended under the current version."""
    current, writer.routes_version = writer.routes_version, "some other version"
    with pytest.raises(RoutesChangedError):
        await writer.answers(entry())
    writer.routes_version = current

    await writer.again(entry(data="at last"))

    assert [event.event.data for event in await stored(engine)] == ["at last"]


async def test_writers_have_sequences_of_their_own(engine: Engine, writer: Writer) -> None:
    """Two writers of one bus use the same numbers without meeting."""
    other = await Writer.registered(engine)

    (first,) = await writer.append(entry())
    (second,) = await other.append(entry())

    assert writer.sequence == other.sequence
    assert first.position < second.position


async def test_writers_are_told_apart(engine: Engine) -> None:
    """Each registration is a new writer."""
    names = {(await engine.register(BUS)).writer for _ in range(5)}

    assert len(names) == 5
