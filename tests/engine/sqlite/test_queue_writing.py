"""Queues on a store that fails: what their callers are told, that nothing moved, and that draining goes on."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tests.conformance.queues import Feed, Queue, at, change, changed, incarnation_of, positions, put, request
from tests.engine.sqlite.stores import BUS, open_store
from tests.event_samples import entries, entry
from waooaw.events.engine.queue_contract import ClaimRequest
from waooaw.events.engine.sqlite import SqliteEngine
from waooaw.events.engine.subscription_contract import DeleteSubscription
from waooaw.events.event import Entry
from waooaw.events.outages import StorageFailedError, StorageFullError, UnavailableError
from waooaw.events.position import BEGINNING
from waooaw.events.testing import ManualClock
from waooaw.events.timestamp import format_timestamp

ALL = 2**63 - 1
"""A reserve that no disk has."""

Call = Callable[[SqliteEngine, Queue], Awaitable[object]]


async def _prepare(engine: SqliteEngine, incarnation: str | None = None) -> Queue:
    """Return a queue with one leased, one failed, one dead and one waiting."""
    queue = await Queue.made(engine, incarnation=incarnation)
    await (await Feed.begun(engine)).append(*entries(4), to=[queue])
    _, failed, rejected = await queue.claim(3)
    await queue.nack(failed, delay_seconds=1)
    await queue.settle_as("reject", rejected)
    return queue


async def _dead_ids(queue: Queue) -> list[str]:
    return [letter.id for letter in await queue.dead()]


def _later() -> Entry:
    return entry(deliverat=format_timestamp(ManualClock().now_ms() + 60_000))


async def _append(engine: SqliteEngine, queue: Queue) -> None:
    await (await Feed.begun(engine)).append(entry(), to=[queue])


async def _redrive(engine: SqliteEngine, queue: Queue) -> None:
    assert await engine.redrive(BUS, queue.incarnation, await _dead_ids(queue)) == 1


async def _purge(engine: SqliteEngine, queue: Queue) -> None:
    assert await engine.purge(BUS, queue.incarnation, await _dead_ids(queue)) == 1


async def _settle_all(queue: Queue) -> None:
    await queue.ack(*await queue.claim())


ADDING: dict[str, Call] = {
    "put": lambda engine, _: change(engine, put("other")),
    "append": _append,
    "schedule": lambda engine, _: engine.schedule(BUS, [_later()], events_max=10),
    "redrive": _redrive,
    "fill": lambda engine, queue: engine.fill(BUS, queue.incarnation, [], expected=BEGINNING, reached=BEGINNING),
}
DRAINING: dict[str, Call] = {
    "claim": lambda _, queue: queue.claim(),
    "settle": lambda _, queue: _settle_all(queue),
    "sweep": lambda _, queue: queue.sweep(dead_max=0),
    "purge": _purge,
    "pause": lambda _, queue: queue.pause(),
    "delete": lambda _, queue: queue.delete(),
    "seek": lambda engine, queue: engine.seek(BUS, queue.incarnation, BEGINNING),
}


@pytest.mark.parametrize("name", ADDING)
async def test_what_adds_is_refused_before_the_disk_is_full(tmp_path: Path, name: str) -> None:
    """Below the reserve it is refused, nothing moved, and the queue reads as before."""
    path = tmp_path / "events.db"
    async with open_store(path) as engine:
        queue = await _prepare(engine)
        before = await queue.state()
    async with open_store(path, reserve_bytes=ALL) as engine:
        queue = queue.seen_by(engine, "another")
        with pytest.raises(StorageFullError):
            await ADDING[name](engine, queue)
        assert await queue.state() == before
        assert len((await engine.routes(BUS)).subscriptions) == 1


@pytest.mark.parametrize("name", DRAINING)
async def test_draining_goes_on_below_the_reserve(tmp_path: Path, name: str) -> None:
    """What takes from the store, or moves what is there, is not refused for the lack of room."""
    path = tmp_path / "events.db"
    async with open_store(path) as engine:
        queue = await _prepare(engine)
    async with open_store(path, reserve_bytes=ALL) as engine:
        await DRAINING[name](engine, queue.seen_by(engine, "another"))


@pytest.mark.parametrize("name", [*ADDING, *DRAINING])
async def test_another_program_that_writes(tmp_path: Path, name: str) -> None:
    """While another program holds the write lock each call is refused at once and moved nothing; then it goes on."""
    path = tmp_path / "events.db"
    async with open_store(path) as engine:
        queue = await _prepare(engine)
        if name == "fill":
            queue = await Queue.made(engine, "filling", start=BEGINNING)
        before, routes = await queue.state(), await engine.routes(BUS)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            with pytest.raises(UnavailableError) as refused:
                await {**ADDING, **DRAINING}[name](engine, queue)
        finally:
            other.execute("ROLLBACK")
            other.close()

        assert refused.value.outcome == "not_stored"
        assert (await queue.state()).counts == before.counts
        assert await engine.routes(BUS) == routes
        await {**ADDING, **DRAINING}[name](engine, queue)


async def test_a_claim_that_could_not_be_written_is_not_remembered(tmp_path: Path) -> None:
    """Its leases are nobody's; asked again under its sequence it is made anew, and then remembered."""
    path = tmp_path / "events.db"
    async with open_store(path) as engine:
        queue = await Queue.made(engine)
        receipts = await (await Feed.begun(engine)).append(*entries(3), to=[queue])
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError):
            await queue.claimed(ClaimRequest("m", 2))
        other.execute("ROLLBACK")
        other.close()

        claimed = await queue.claimed_again(ClaimRequest("m", 2))

        assert positions(claimed.leases) == at(receipts)[:2]
        assert (await queue.claimed_again(ClaimRequest("m", 2))).leases == claimed.leases
        assert (await queue.counts()).leased == 2


@pytest.fixture
def file_size_limit() -> Iterator[Callable[[int], None]]:
    """Make writes beyond a size fail, as a broken disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size_bytes: resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_disk_that_fails_under_a_claim(tmp_path: Path, file_size_limit: Callable[[int], None]) -> None:
    """Nothing is handed out, nothing is written any more, and after a start the queue is whole."""
    path = tmp_path / "events.db"
    async with open_store(path) as engine:
        queue = await Queue.made(engine)
        await (await Feed.begun(engine)).append(*entries(100), to=[queue])
        file_size_limit(path.with_name("events.db-wal").stat().st_size)
        with pytest.raises(StorageFailedError) as failed:
            await queue.claim()
        file_size_limit(resource.RLIM_INFINITY)

        assert failed.value.outcome == "unknown"
        for call in (queue.claim(), queue.sweep(), queue.delete(), queue.pause()):
            with pytest.raises(StorageFailedError):
                await call
        assert (await queue.counts()).waiting == 100
    async with open_store(path) as engine:
        counts = await queue.seen_by(engine, "another").counts()
        assert counts.waiting + counts.leased == 100


async def test_calls_at_once_share_commits(tmp_path: Path) -> None:
    """An append and the claims of what it brings are one commit, the settles of all queues another one."""
    async with open_store(tmp_path / "events.db") as engine:
        queues = [await Queue.made(engine, f"s{number}") for number in range(20)]
        feed = await Feed.begun(engine)
        await feed.append(*entries(5), to=queues)
        said: list[str] = []
        engine._connection.set_trace_callback(said.append)  # noqa: SLF001 - how often it commits

        appending = asyncio.create_task(feed.append(entry(), to=queues))
        leases = await asyncio.gather(*(queue.claim() for queue in queues))
        await appending
        await asyncio.gather(*(queue.ack(*found) for queue, found in zip(queues, leases, strict=True)))

        engine._connection.set_trace_callback(None)  # noqa: SLF001 - as above
        assert said.count("COMMIT") == 2
        for queue in queues:
            counts = await queue.counts()
            assert (counts.matched, counts.acked, counts.waiting) == (6, 6, 0)


async def test_a_queue_that_is_deleted_leaves_no_rows(tmp_path: Path) -> None:
    """Whatever it held, nothing of it stays in the file, and the next one of its name begins with nothing."""
    path = tmp_path / "events.db"
    async with open_store(path) as engine:
        for number in range(3):
            queue = await _prepare(engine, incarnation_of(str(number)))
            if number == 1:
                await engine.redrive(BUS, queue.incarnation, await _dead_ids(queue))
            await changed(engine, DeleteSubscription(name="work"))
    other = sqlite3.connect(path)
    for table in ("subscriptions", "queues", "fresh", "held", "parked", "copies", "dead_letters"):
        assert other.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)  # noqa: S608 - names from above
    other.close()


async def test_nothing_of_a_settled_queue_stays(tmp_path: Path) -> None:
    """A queue whose references were all settled holds no row of them: no lease, no copy, none behind a key."""
    path = tmp_path / "events.db"
    clock = ManualClock()
    async with open_store(path, clock=clock) as engine:
        queue = await Queue.made(engine, is_keyed=True)
        given = [entry(partitionkey=f"k{number % 3}") for number in range(30)]
        await (await Feed.begun(engine)).append(*given, to=[queue])
        while leases := await queue.claim():
            await queue.settle(request(leases[0], "nack", delay_seconds=0), *(request(each) for each in leases[1:]))
        await engine.purge(BUS, queue.incarnation, await _dead_ids(queue))
        assert (await queue.counts()).waiting == 0
    other = sqlite3.connect(path)
    for table in ("fresh", "held", "parked", "copies", "dead_letters"):
        assert other.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table  # noqa: S608 - as above
    other.close()
