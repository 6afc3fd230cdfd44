"""Epochs: each open begins one, and a cursor of an older one goes on where nothing was lost."""

from __future__ import annotations

from tests.conformance.engines import BUS, OTHER_BUS, EngineUnderTest, Heard, Writer, stored, until
from tests.event_samples import entry
from waooaw.events.cursor import Cursor
from waooaw.events.engine.contract import Engine
from waooaw.events.errors import RoutesChangedError
from waooaw.events.position import BEGINNING
from waooaw.events.retention import TrimPlan


async def test_an_open_begins_an_epoch_where_it_may_have_lost_something(under_test: EngineUnderTest) -> None:
    """Opening a store of one's own adds an epoch after the last position; joining one that others use does not."""
    engine = await under_test.open()
    first = engine.state(BUS).history
    (receipt,) = await (await Writer.registered(engine)).append(entry())

    second = (await under_test.reopen()).state(BUS).history

    assert [epoch.after for epoch in first.epochs] == [BEGINNING]
    if not under_test.begins_epoch_at_open:
        assert second.epochs == first.epochs
        return
    assert second.current.id != first.current.id
    if under_test.survives_reopen:
        assert second.epochs[:-1] == first.epochs
        assert second.current.after == receipt.position
    else:
        assert len(second.epochs) == 1


async def test_buses_have_epochs_of_their_own(under_test: EngineUnderTest) -> None:
    """No two buses of a store are in one epoch: a cursor of one says nothing of the other."""
    engine = await under_test.open()

    assert engine.state(BUS).history.current.id != engine.state(OTHER_BUS).history.current.id


async def test_a_frame_names_the_current_epoch(under_test: EngineUnderTest) -> None:
    """Live events carry the epoch that their cursors will."""
    engine = await under_test.open()
    heard = Heard(engine)
    await (await Writer.registered(engine)).append(entry())

    assert [frame.epoch for frame in await heard.wait(1)] == [engine.state(BUS).history.current.id]


async def test_a_cursor_of_an_older_epoch_goes_on_silently(under_test: EngineUnderTest) -> None:
    """Where the store survived, so did all that a cursor stands on; where it did not, the reader is told."""
    engine = await under_test.open()
    one, _ = await (await Writer.registered(engine)).append(entry(), entry())
    cursor = engine.state(BUS).history.cursor(one.position)

    history = (await under_test.reopen()).state(BUS).history

    position, gap = history.resume(cursor)
    if under_test.survives_reopen:
        assert (position, gap) == (one.position, None)
    else:
        assert gap is not None
        assert (position, gap.reason) == (BEGINNING, "epoch")


async def test_a_cursor_beyond_the_end_of_its_epoch_has_a_gap(under_test: EngineUnderTest) -> None:
    """A reader that saw what the log has lost is told, and goes on where its epoch ends."""
    engine = await under_test.open()
    (receipt,) = await (await Writer.registered(engine)).append(entry())
    lost = Cursor(engine.state(BUS).history.current.id, type(receipt.position)(receipt.position + 7))
    engine = await under_test.reopen()
    await engine.begin_epoch(BUS)
    await (await Writer.registered(engine)).append(entry())

    position, gap = engine.state(BUS).history.resume(lost)

    assert gap is not None
    assert (gap.reason, gap.start) == ("epoch", lost)
    assert position == (receipt.position if under_test.survives_reopen else BEGINNING)


async def test_a_cursor_of_nobody_has_a_gap_over_all(under_test: EngineUnderTest) -> None:
    """Of an unknown epoch nothing is known: the reader gets all that the log still has."""
    engine = await under_test.open()
    writer = await Writer.registered(engine)
    (trimmed,) = await writer.append(entry())
    await writer.append(entry())
    await engine.trim(BUS, TrimPlan(excess_events=1), limit=1)

    position, gap = engine.state(BUS).history.resume(Cursor(2**63 + 5, trimmed.position))

    assert gap is not None
    assert (position, gap.reason) == (trimmed.position, "epoch")


async def test_many_reopens(under_test: EngineUnderTest) -> None:
    """Cursors of every one of many short epochs go on."""
    cursors = []
    engine = await under_test.open()
    for _ in range(5):
        (receipt,) = await (await Writer.registered(engine)).append(entry())
        cursors.append(engine.state(BUS).history.cursor(receipt.position))
        engine = await under_test.reopen()
        await engine.begin_epoch(BUS)

    resumed = [engine.state(BUS).history.resume(cursor) for cursor in cursors]

    if under_test.survives_reopen:
        assert resumed == [(cursor.position, None) for cursor in cursors]
    else:
        assert all(gap is not None and gap.reason == "epoch" for _, gap in resumed)


async def test_an_epoch_by_hand(under_test: EngineUnderTest) -> None:
    """An epoch that an operator begins starts at the end of the log, is told to listeners, and survives."""
    engine = await under_test.open()
    (receipt,) = await (await Writer.registered(engine)).append(entry())
    before = engine.state(BUS).history
    heard = Heard(engine)

    await engine.begin_epoch(BUS)

    history = engine.state(BUS).history
    assert history.epochs[:-1] == before.epochs
    assert history.current.after == receipt.position
    assert history.current.id != before.current.id
    assert history.resume(before.cursor(receipt.position)) == (receipt.position, None)
    await until(lambda: any(tip.epoch == history.current.id for tip in heard.tips))
    if under_test.survives_reopen:
        assert history.current in (await under_test.reopen()).state(BUS).history.epochs


async def test_an_epoch_by_hand_leaves_other_buses_alone(engine: Engine) -> None:
    """A restore of one bus begins no epoch on another."""
    before = engine.state(OTHER_BUS).history

    await engine.begin_epoch(BUS)

    assert engine.state(OTHER_BUS).history == before


async def test_a_writer_goes_on_in_a_new_epoch(engine: Engine, writer: Writer) -> None:
    """After an epoch by hand a writer learns the new version of the routes, and appends under it."""
    await writer.append(entry(data=1))
    await engine.begin_epoch(BUS)

    try:
        await writer.answers(entry(data=2))
    except RoutesChangedError as changed:
        writer.routes_version = changed.routes_version
        await writer.again(entry(data=2))

    assert [event.event.data for event in await stored(engine)] == [1, 2]
