"""What is kept for subscriptions that are pushed: a record of versions, and the newest attempts."""

from __future__ import annotations

import asyncio

import pytest

from tests.conformance.engines import BUS, OTHER_BUS, EngineUnderTest, until
from tests.conformance.queues import Queue, incarnation_of
from waooaw.events.engine.contract import Engine
from waooaw.events.engine.push_contract import PushRecord
from waooaw.events.errors import NotFoundError
from waooaw.events.position import BEGINNING

ALL_BYTES = bytes(range(256))
VALUE_BYTES_MAX = 64 * 1024
ATTEMPTS_MAX = 1000
UNKNOWN = incarnation_of("nobody")


async def record_of(queue: Queue) -> tuple[bytes, int]:
    """Return the value and the version."""
    record = await queue.engine.push_record(queue.bus, queue.incarnation)
    return record.value, record.version


async def written(queue: Queue, value: bytes, expected: int, *, tells: bool = False) -> tuple[bytes, int]:
    """Write, and return the value and the version as they are then."""
    record = await queue.engine.write_push_record(queue.bus, queue.incarnation, value, expected=expected, tells=tells)
    return record.value, record.version


async def add(queue: Queue, *attempts: bytes, kept: int = 100) -> None:
    """Add attempts."""
    await queue.engine.add_push_attempts(queue.bus, queue.incarnation, attempts, kept=kept)


async def attempts_of(queue: Queue) -> tuple[bytes, ...]:
    """Return the attempts."""
    return await queue.engine.push_attempts(queue.bus, queue.incarnation)


async def test_each_write_is_one_version(under_test: EngineUnderTest, engine: Engine) -> None:
    """A record begins empty at version 0; a write is seen at once, and all of it comes with the engine's time."""
    queue = await Queue.made(engine)
    assert await engine.push_record(BUS, queue.incarnation) == PushRecord(b"", 0, under_test.clock.now_ms())

    under_test.clock.advance(1.5)
    first = await engine.write_push_record(BUS, queue.incarnation, b"one", expected=0)
    assert first == PushRecord(b"one", 1, under_test.clock.now_ms())
    assert await written(queue, b"", 1) == (b"", 2)

    under_test.clock.advance(0.25)
    assert await engine.push_record(BUS, queue.incarnation) == PushRecord(b"", 2, under_test.clock.now_ms())


async def test_a_write_that_expects_another_version(engine: Engine) -> None:
    """It does nothing, be the version older or one to come, and is answered with the record as it is."""
    queue = await Queue.made(engine)
    assert await written(queue, b"early", 1) == (b"", 0)
    await written(queue, b"one", 0)
    await written(queue, b"two", 1)

    for expected in (0, 1, 3):
        assert await written(queue, b"other", expected) == (b"two", 2)
    assert await record_of(queue) == (b"two", 2)


async def test_of_writes_at_once_one_wins(under_test: EngineUnderTest, engine: Engine) -> None:
    """Of many that expect one version, also of several replicas, one is done, and all are answered with it."""
    queue = await Queue.made(engine)
    other = queue.seen_by(await under_test.open() if under_test.is_shared else engine, "other")
    values = [f"value {number}".encode() for number in range(12)]

    answers = await asyncio.gather(
        *(written(other if number % 2 else queue, value, 0) for number, value in enumerate(values))
    )

    assert len(set(answers)) == 1
    value, version = answers[0]
    assert (value in values, version) == (True, 1)
    assert await record_of(other) == answers[0]


async def test_the_largest_record(engine: Engine) -> None:
    """64 KiB of any bytes come back as they were."""
    queue = await Queue.made(engine)
    value = ALL_BYTES * (VALUE_BYTES_MAX // len(ALL_BYTES))

    assert await written(queue, value, 0) == (value, 1)
    assert await record_of(queue) == (value, 1)


async def test_the_newest_attempts_are_kept(engine: Engine) -> None:
    """They come newest first, those of one call in its order; the oldest beyond the bound go."""
    queue = await Queue.made(engine)
    assert await attempts_of(queue) == ()

    await add(queue, b"1", b"2", kept=5)
    await add(queue, kept=5)
    await add(queue, b"3", b"4", kept=5)
    assert await attempts_of(queue) == (b"4", b"3", b"2", b"1")

    await add(queue, b"5", b"6", b"7", kept=5)
    assert await attempts_of(queue) == (b"7", b"6", b"5", b"4", b"3")
    await add(queue, b"8", kept=2)
    assert await attempts_of(queue) == (b"8", b"7")


async def test_as_many_attempts_as_one_call_may_add(engine: Engine) -> None:
    """1,000 of any bytes, of which the bound leaves the newest; the record is not touched."""
    queue = await Queue.made(engine)
    given = [b"%d " % number + ALL_BYTES for number in range(ATTEMPTS_MAX)]

    await add(queue, *given, kept=100)

    assert await attempts_of(queue) == tuple(reversed(given[-100:]))
    assert await record_of(queue) == (b"", 0)


async def test_an_unknown_incarnation(engine: Engine) -> None:
    """Each call on a subscription that is not there is refused, and leaves nothing behind."""
    unknown = Queue(engine, UNKNOWN, (await Queue.made(engine)).rules)

    await refused(unknown)

    unknown = await Queue.made(engine, "later", incarnation=UNKNOWN)
    assert (await record_of(unknown), await attempts_of(unknown)) == ((b"", 0), ())


async def refused(queue: Queue) -> None:
    """See that each call on a queue raises `NotFoundError`."""
    for call in (
        record_of(queue),
        written(queue, b"x", 0, tells=True),
        add(queue, b"a"),
        add(queue),
        attempts_of(queue),
    ):
        with pytest.raises(NotFoundError, match="deleted"):
            await call


async def test_all_goes_with_the_subscription(engine: Engine) -> None:
    """After a deletion each call is refused; a new subscription of the name begins empty, others keep theirs."""
    queue, other = await Queue.made(engine), await Queue.made(engine, "other")
    for each in (queue, other):
        await written(each, b"known", 0)
        await add(each, *(b"%d" % number for number in range(ATTEMPTS_MAX)), kept=ATTEMPTS_MAX)

    await queue.delete()

    await refused(queue)
    again = await Queue.made(engine, incarnation=incarnation_of("again"))
    assert (await record_of(again), await attempts_of(again)) == ((b"", 0), ())
    assert await record_of(other) == (b"known", 1)
    assert len(await attempts_of(other)) == ATTEMPTS_MAX
    await other.delete()
    same = await Queue.made(engine, "other")
    assert (await record_of(same), await attempts_of(same)) == ((b"", 0), ())


async def test_a_change_leaves_the_record(engine: Engine) -> None:
    """Pausing a subscription, and moving it to another place in the log, are nothing to its receiver."""
    queue = await Queue.made(engine)
    await written(queue, b"known", 0)
    await add(queue, b"1")

    await queue.pause()
    await engine.seek(BUS, queue.incarnation, BEGINNING)

    assert (await record_of(queue), await attempts_of(queue)) == ((b"known", 1), (b"1",))


async def test_records_of_two_buses(engine: Engine) -> None:
    """Subscriptions of one name and incarnation on two buses share nothing."""
    queue, other = await Queue.made(engine), await Queue.made(engine, bus=OTHER_BUS)
    await written(queue, b"known", 0)
    await add(queue, b"1")

    assert (await record_of(other), await attempts_of(other)) == ((b"", 0), ())


async def test_a_write_tells_the_others(under_test: EngineUnderTest, engine: Engine) -> None:
    """With ``tells`` a wake with the incarnation follows what was written, and nothing follows any other call."""
    queue = await Queue.made(engine)
    listening = await under_test.open() if under_test.is_shared else engine
    woken: list[str | None] = []
    stop = listening.listen_to_wakes(BUS, woken.append)

    await written(queue, b"silent", 0)
    await written(queue, b"late", 0, tells=True)
    await add(queue, b"1")
    await written(queue, b"told", 1, tells=True)
    await until(lambda: queue.incarnation in woken)
    last = await Queue.made(engine, "last")
    await written(last, b"told", 0, tells=True)
    await until(lambda: last.incarnation in woken)
    stop()

    assert [incarnation for incarnation in woken if incarnation is not None] == [queue.incarnation, last.incarnation]


async def test_records_survive_a_reopen(under_test: EngineUnderTest, engine: Engine) -> None:
    """A store that lasts has the record, its version and the attempts again, and goes on with them."""
    queue = await Queue.made(engine)
    await written(queue, ALL_BYTES, 0)
    await written(queue, b"known", 1)
    await add(queue, b"1", b"2")
    if not under_test.survives_reopen:
        return

    queue = queue.seen_by(await under_test.reopen(), "again")

    assert (await record_of(queue), await attempts_of(queue)) == ((b"known", 2), (b"2", b"1"))
    assert await written(queue, b"more", 2) == (b"more", 3)
    await add(queue, b"3", kept=2)
    assert await attempts_of(queue) == (b"3", b"2")
