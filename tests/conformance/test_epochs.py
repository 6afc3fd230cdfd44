"""Epochs: each open begins one, and a cursor of an older one goes on where nothing was lost."""

from __future__ import annotations

from tests.conformance.engines import BUS, OTHER_BUS, EngineUnderTest, Writer
from tests.event_samples import entry
from waooaw.events.cursor import Cursor
from waooaw.events.engine.contract import Frame
from waooaw.events.position import BEGINNING
from waooaw.events.retention import TrimPlan


async def test_each_open_begins_an_epoch(under_test: EngineUnderTest) -> None:
    """Every open adds an epoch that begins after the last position of the log."""
    engine = await under_test.open()
    first = engine.state(BUS).history
    (receipt,) = await (await Writer.registered(engine)).append(entry())

    second = (await under_test.reopen()).state(BUS).history

    assert [epoch.after for epoch in first.epochs] == [BEGINNING]
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
    frames: list[Frame] = []
    engine.listen(BUS, frames.append)
    await (await Writer.registered(engine)).append(entry())

    assert [frame.epoch for frame in frames] == [engine.state(BUS).history.current.id]


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

    resumed = [engine.state(BUS).history.resume(cursor) for cursor in cursors]

    if under_test.survives_reopen:
        assert resumed == [(cursor.position, None) for cursor in cursors]
    else:
        assert all(gap is not None and gap.reason == "epoch" for _, gap in resumed)
