"""Queues on a Redis that is full, whose connections break, and in which somebody writes by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from tests.conformance.queues import Feed, Queue, change, incarnation_of, put, request, route
from tests.engine.redis.running import BUS, running, until
from tests.event_samples import entries
from tests.redis_servers import RedisServer
from tests.redis_servers.shared import TopologyFactory
from waooaw.events.engine.queue_contract import KEY_CLAIMER, ClaimRequest, Lease
from waooaw.events.engine.redis import RedisEngine
from waooaw.events.errors import SupersededError
from waooaw.events.outages import StorageFullError, UnavailableError


@pytest.fixture
async def server(redis_topology: TopologyFactory) -> RedisServer:
    (found,) = (await redis_topology("redis")).servers
    return found


@pytest.fixture
async def engine(server: RedisServer) -> AsyncIterator[RedisEngine]:
    async with running(server.url) as found:
        yield found


async def test_answers_that_are_lost_are_asked_for_again(engine: RedisEngine, server: RedisServer) -> None:
    """While connections are cut again and again, no lease goes to nobody and no settle comes too late."""
    queue = await Queue.made(engine)
    feed = await Feed.begun(engine)
    for _ in range(4):
        await feed.append(*entries(250), to=[queue])
    acked = 0
    async with _cutting(server):
        while acked < 1000:
            queue.claims += 1
            requests = [ClaimRequest("m", 10)]
            claimed = await engine.claim(
                BUS, queue.incarnation, "claimer", queue.claims, requests, patience_seconds=20.0
            )
            settled = await _acked(queue, claimed.leases)
            assert all(settled)
            acked += len(settled)

    counts = await queue.counts()
    assert (counts.acked, counts.leased, counts.matched) == (1000, 0, 1000)


@asynccontextmanager
async def _cutting(server: RedisServer) -> AsyncIterator[None]:
    """Cut all connections again and again; at least once."""
    done = asyncio.Event()

    async def cut() -> int:
        cuts = 0
        while not done.is_set():
            cuts += int(await server.cli("CLIENT", "KILL", "TYPE", "normal")) > 0
            await asyncio.sleep(0.01)
        return cuts

    cutting = asyncio.create_task(cut())
    try:
        yield
    finally:
        done.set()
        cuts = await cutting
    assert cuts > 0


async def _acked(queue: Queue, leases: Sequence[Lease]) -> tuple[int, ...]:
    queue.settles += 1
    requests = [request(lease) for lease in leases]
    settled = await queue.engine.settle(
        BUS, queue.incarnation, "claimer", queue.settles, requests, patience_seconds=20.0
    )
    return settled.attempts


async def test_a_full_server_is_drained(engine: RedisEngine, server: RedisServer) -> None:
    """Where nothing more can be stored, what waits is worked off: acked, failed, dead."""
    queue = await Queue.made(engine)
    feed = await Feed.begun(engine)
    await feed.append(*entries(10), to=[queue])
    await server.cli("CONFIG", "SET", "maxmemory", "1")
    try:
        given = entries(1)
        with pytest.raises(StorageFullError):
            await engine.append(
                BUS,
                feed.writer.name,
                feed.writer.sequence + 1,
                feed.writer.routes_version,
                given,
                references=route(given, queue),
                patience_seconds=0.1,
            )
        acked, failed, rejected = await queue.claim(3)
        await queue.ack(acked)
        await queue.nack(failed)
        await queue.settle_as("reject", rejected)
        (letter,) = await queue.dead()
        assert await engine.purge(BUS, queue.incarnation, [letter.id]) == 1
        with pytest.raises(UnavailableError):
            await engine.redrive(BUS, queue.incarnation, [letter.id])
        await queue.sweep()
        assert (await engine.write_push_record(BUS, queue.incarnation, b"wait", expected=0)).version == 1
        await engine.add_push_attempts(BUS, queue.incarnation, [b"503"], kept=100)
        await queue.pause()
        await queue.delete()
    finally:
        await server.cli("CONFIG", "SET", "maxmemory", "0")


async def test_a_record_whose_answers_are_lost(engine: RedisEngine, server: RedisServer) -> None:
    """While connections are cut again and again each write is done once, whoever it is said to be of."""
    queue = await Queue.made(engine)
    async with _cutting(server):
        for version in range(200):
            value = b"%d" % version
            record = await engine.write_push_record(BUS, queue.incarnation, value, expected=version)
            assert (record.value, record.version) == (value, version + 1)
            await engine.add_push_attempts(BUS, queue.incarnation, [value], kept=50)

    attempts = await engine.push_attempts(BUS, queue.incarnation)
    record = await engine.push_record(BUS, queue.incarnation)
    assert (record.value, record.version) == (b"199", 200)
    numbers = [int(attempt) for attempt in attempts]
    assert (len(numbers), numbers) == (50, sorted(numbers, reverse=True))
    assert sorted(set(numbers)) == list(range(numbers[-1], 200))


async def test_nothing_of_a_deleted_queue_is_left(engine: RedisEngine, server: RedisServer) -> None:
    """All that a queue has goes with its subscription, but for answers, which go by themselves."""
    queue = await Queue.made(engine)
    await (await Feed.begun(engine)).append(*entries(5), to=[queue])
    _, rejected = await queue.claim(2)
    await queue.settle_as("reject", rejected)
    await engine.write_push_record(BUS, queue.incarnation, b"known", expected=0)
    await engine.add_push_attempts(BUS, queue.incarnation, [b"1"], kept=100)
    before = await server.cli("KEYS", f"*:q:{queue.incarnation}:*")

    await queue.delete()

    left = await server.cli("KEYS", f"*:q:{queue.incarnation}:*")
    assert {key.rpartition(":")[2] for key in before} >= {"counts", "f2", "leases", "dead", "push", "attempts"}
    assert all(":a:" in key for key in left), left


async def test_a_list_of_another_type_does_not_stop_the_log(engine: RedisEngine, server: RedisServer) -> None:
    """What cannot be put into a queue is counted overrun there; the event is stored, and other queues get it."""
    hurt, other = await Queue.made(engine, "hurt"), await Queue.made(engine, "other")
    feed = await Feed.begun(engine)
    await feed.append(to=[])
    key = f"wowevent:{{{BUS}}}:q:{hurt.incarnation}:f2"
    await server.cli("SET", key, "x")

    await feed.append(*entries(3), to=[hurt, other])

    counts = await hurt_counts(hurt, server, key)
    assert counts == (3, 3, 0)
    assert (await other.counts()).waiting == 3
    assert engine.state(BUS).events == 3


async def hurt_counts(queue: Queue, server: RedisServer, key: str) -> tuple[int, int, int]:
    """Mend the list, and return what the queue counted."""
    await server.cli("DEL", key)
    counts = await queue.counts()
    return counts.matched, counts.overrun, counts.waiting


async def test_only_what_changed_is_sent(engine: RedisEngine) -> None:
    """A replica that knows a version of the last thousand changes is told what changed since; an older one, all."""
    await change(engine, put("first"))
    known = (await engine.routes(BUS)).version
    await change(engine, put("second"))

    few = await engine.routes(BUS, known)
    assert ([record.name for record in few.subscriptions], few.gone, few.is_whole) == (["second"], (), False)
    assert (await engine.routes(BUS, few.version)).subscriptions == ()

    for number in range(11):
        await change(engine, *(put(f"s{part}", definition=b"%d" % number) for part in range(100)))
    assert (await engine.routes(BUS, few.version)).is_whole is not False
    whole = await engine.routes(BUS, known)
    assert (whole.is_whole, len(whole.subscriptions)) == (True, 102)


async def test_claimers_have_sequences_of_their_own(engine: RedisEngine) -> None:
    """An older sequence is refused, by queue and by kind of call; another claimer's is no matter."""
    queue = await Queue.made(engine)
    await queue.claimed(ClaimRequest("m", 1))
    await queue.claimed(ClaimRequest("m", 1))
    queue.claims = 0

    with pytest.raises(SupersededError):
        await queue.claimed(ClaimRequest("m", 1))
    await queue.settle()
    await queue.seen_by(engine, "another").claimed(ClaimRequest("m", 1))


async def test_a_queue_is_woken_where_it_was_full(engine: RedisEngine) -> None:
    """An ack that makes room for what waits wakes those who wait for room; one that makes none wakes nobody."""
    queue = await Queue.made(engine, max_in_flight=2)
    feed = await Feed.begun(engine)
    await feed.append(*entries(3), to=[queue])
    woken: list[str | None] = []
    stop = engine.listen_to_wakes(BUS, woken.append)
    leases = await queue.claim(2)

    await queue.ack(leases[0])
    await until(lambda: woken == [queue.incarnation])
    await queue.ack(leases[1])
    await change(engine, put("other", incarnation=incarnation_of("other")))
    await until(lambda: None in woken)
    stop()

    assert woken == [queue.incarnation, None]


async def test_answers_to_keys_of_clients_go_sooner(engine: RedisEngine, server: RedisServer) -> None:
    """What a member's replica was answered is kept for an hour; a client's key, one for each call, for ten minutes."""
    queue = await Queue.made(engine)
    feed = await Feed.begun(engine)
    await feed.append(*entries(2), to=[queue])
    for claimer in ("replica", f"{KEY_CLAIMER}1"):
        claimed = await engine.claim(BUS, queue.incarnation, claimer, 1, [ClaimRequest("m", 1)])
        await engine.settle(BUS, queue.incarnation, claimer, 1, [request(claimed.leases[0])])

    kept = {key: int(await server.cli("TTL", key)) for key in await server.cli("KEYS", "*:a:*")}
    assert sorted(seconds > 600 for seconds in kept.values()) == [False, False, True, True], kept
    assert all(590 < seconds <= 600 or 3590 < seconds <= 3600 for seconds in kept.values())
