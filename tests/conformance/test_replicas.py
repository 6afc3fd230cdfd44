"""Replicas: who serves from a store, and what several of them see of one another."""

from __future__ import annotations

import asyncio

import pytest

from tests.conformance.engines import BUS, EngineUnderTest, Heard, Writer, stored, until
from tests.event_samples import entries, entry
from waooaw.events.engine.contract import Engine
from waooaw.events.position import position_milliseconds


async def test_replicas_are_listed_with_what_they_say(engine: Engine) -> None:
    """Every replica that beats is on the list, by name, with its latest words."""
    await engine.beat("b", b'{"load":1}')
    await engine.beat("a", b'{"load":2}')

    records = await engine.beat("b", b'{"load":3}')

    assert [(record.replica, record.members) for record in records] == [("a", b'{"load":2}'), ("b", b'{"load":3}')]


async def test_a_beat_has_the_time_of_the_store(under_test: EngineUnderTest, engine: Engine) -> None:
    """When a replica was seen is the store's time, the same for all who look."""
    (record,) = await engine.beat("a", b"{}")

    assert record.seen_ms == under_test.clock.now_ms()


async def test_a_replica_that_leaves_is_off_the_list(engine: Engine) -> None:
    """Leaving counts at once; leaving twice, or without having come, is harmless."""
    await engine.beat("a", b"{}")
    await engine.leave("a")
    await engine.leave("a")

    assert [record.replica for record in await engine.beat("b", b"{}")] == ["b"]


async def test_a_silent_replica_is_off_the_list(under_test: EngineUnderTest, engine: Engine) -> None:
    """Who has not beaten for ten seconds is gone; who beat a little later is not."""
    await engine.beat("silent", b"{}")
    under_test.clock.advance(1)
    await engine.beat("late", b"{}")
    under_test.clock.advance(9)

    assert [record.replica for record in await engine.beat("own", b"{}")] == ["late", "own"]


@pytest.fixture
async def both(under_test: EngineUnderTest) -> tuple[Engine, Engine]:
    if not under_test.is_shared:
        pytest.skip("one process at a time has this store open")
    return await under_test.open(), await under_test.open()


async def test_frames_of_one_replica_are_heard_by_the_other(both: tuple[Engine, Engine]) -> None:
    """Both hear the same frames, in the order of the log, without a hole, whoever appended."""
    one, other = both
    heard = [Heard(one), Heard(other)]
    writers = [await Writer.registered(engine) for engine in both]

    for _ in range(10):
        await asyncio.gather(*(writer.append(*entries(3)) for writer in writers))

    frames, same = await heard[0].wait(20), await heard[1].wait(20)
    assert frames == same
    assert [frame.previous for frame in frames[1:]] == [frame.last for frame in frames[:-1]]
    assert [event for frame in frames for event in frame.events] == await stored(one) == await stored(other)


async def test_an_id_is_known_to_every_replica(both: tuple[Engine, Engine]) -> None:
    """A publisher that tries again at another replica is recognised there."""
    one, other = both
    (first,) = await (await Writer.registered(one)).append(entry(id="one"))

    (again,) = await (await Writer.registered(other)).append(entry(id="one"))

    assert (again.position, again.duplicate) == (first.position, True)


async def test_what_one_appends_the_other_knows_of(both: tuple[Engine, Engine]) -> None:
    """The state of every replica follows the log, its counts and its trim too."""
    one, other = both
    await (await Writer.registered(one)).append(*entries(5))

    await until(lambda: other.state(BUS).events == 5)

    assert other.state(BUS) == one.state(BUS)


async def test_a_refresh_tells_at_once_what_others_know(both: tuple[Engine, Engine]) -> None:
    """A cursor that one replica gave is known to the other as soon as it asks, before any frame or tip has come."""
    one, other = both
    writer = await Writer.registered(one)
    for _ in range(20):
        (receipt,) = await writer.append(entry())
        cursor = one.state(BUS).history.cursor(receipt.position)

        await other.refresh(BUS)

        assert other.state(BUS).history.resume(cursor) == (receipt.position, None)


async def test_a_replica_that_joins_sees_what_was(both: tuple[Engine, Engine], under_test: EngineUnderTest) -> None:
    """A third replica has the history, the events and the positions of the two before it."""
    one, _ = both
    await (await Writer.registered(one)).append(*entries(5))

    third = await under_test.open()

    assert third.state(BUS) == one.state(BUS)
    assert await stored(third) == await stored(one)


async def test_an_epoch_by_hand_is_heard_by_all(both: tuple[Engine, Engine]) -> None:
    """The other replica learns of a new epoch within about a second, though nothing is appended."""
    one, other = both
    heard = Heard(other)

    await one.begin_epoch(BUS)

    epoch = one.state(BUS).history.current.id
    await until(lambda: any(tip.epoch == epoch for tip in heard.tips))
    assert other.state(BUS).history == one.state(BUS).history


async def test_positions_grow_over_replicas_with_different_clocks(
    both: tuple[Engine, Engine], under_test: EngineUnderTest
) -> None:
    """Positions are the log's: what is appended through a second replica comes after, whatever the clock says."""
    one, other = both
    (first,) = await (await Writer.registered(one)).append(entry())
    under_test.clock.set_wall(under_test.clock.now_ms() - 60_000)

    (second,) = await (await Writer.registered(other)).append(entry())

    assert second.position > first.position
    assert position_milliseconds(second.position) == position_milliseconds(first.position)
