"""Redis that goes away, refuses, or forgets: what publishers are told, and that all goes on without a restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.engine.redis.running import BUS, Publishing, running, until
from tests.event_samples import entries, entry
from tests.redis_servers import PROGRAMS, Program, RedisServer, SentinelGroup, Standalone
from tests.redis_servers.shared import TopologyFactory
from waooaw.events.engine.contract import Frame, Tip
from waooaw.events.engine.redis import RedisEngine
from waooaw.events.errors import EngineUnreachableError, EngineUnsuitableError
from waooaw.events.outages import (
    DurabilityUnavailableError,
    EngineReadOnlyError,
    EngineUnavailableError,
    StorageFullError,
    StorageRefusedError,
    UnsafeEngineError,
    WriterUnknownError,
)
from waooaw.events.position import BEGINNING, END


@pytest.fixture(params=["redis", "valkey"])
async def server(request: pytest.FixtureRequest, redis_topology: TopologyFactory) -> RedisServer:
    (found,) = (await redis_topology(request.param)).servers
    return found


@pytest.fixture
async def engine(server: RedisServer) -> AsyncIterator[RedisEngine]:
    async with running(server.url) as found:
        yield found


async def _stored(engine: RedisEngine) -> int:
    page = await engine.read(BUS, BEGINNING, through=END, limit=10_000)
    return len(page.events)


@pytest.mark.parametrize("program", PROGRAMS)
async def test_an_append_waits_for_a_restart(program: Program) -> None:
    """What is published while Redis starts anew is stored when it is back, once, and nobody is told of it."""
    async with Standalone(program, {"appendonly": "yes", "appendfsync": "always"}) as topology:
        (server,) = topology.servers
        async with running(server.url) as engine:
            publishing = Publishing(engine)
            await publishing.publish()
            server.kill()
            waiting = asyncio.create_task(publishing.publish(patience_seconds=20.0))
            await until(lambda: engine.engine_state(BUS).problem is not None)

            await server.start()

            (receipt,) = await waiting
            assert await _stored(engine) == 2
            assert receipt.position == engine.state(BUS).history.last
            assert engine.engine_state(BUS).problem is None


async def test_an_append_that_was_never_sent_says_so(engine: RedisEngine, server: RedisServer) -> None:
    """Once patience is over, a publisher is told that nothing was stored, when to come again, and what to look at."""
    publishing = Publishing(engine)
    await publishing.publish()
    server.kill()
    await until(lambda: "refused" in str(engine.engine_state(BUS).problem))

    with pytest.raises(EngineUnavailableError) as refused:
        await publishing.publish(patience_seconds=0.1)

    assert refused.value.outcome == "not_stored"
    assert refused.value.retry_after_seconds
    assert "refused the connection" in refused.value.detail


async def test_an_append_without_an_answer_is_unknown(engine: RedisEngine, server: RedisServer) -> None:
    """A server that takes a command and never answers leaves it open whether it was done."""
    publishing = Publishing(engine)
    await publishing.publish()
    server.suspend()

    with pytest.raises(EngineUnavailableError) as refused:
        await publishing.publish(patience_seconds=0.5)

    assert refused.value.outcome == "unknown"
    server.resume()


async def test_a_silent_server_is_noticed_while_nobody_publishes(engine: RedisEngine, server: RedisServer) -> None:
    """Within three seconds the state says that Redis is away, and since when; back within one when it answers again."""
    server.suspend()
    noticed_seconds = await until(lambda: engine.engine_state(BUS).problem is not None)
    assert engine.engine_state(BUS).since_ms is not None
    server.resume()
    back_seconds = await until(lambda: engine.engine_state(BUS).problem is None)

    assert noticed_seconds < 4.0
    assert back_seconds < 2.0


async def test_a_full_server_refuses_and_is_read_and_recovers(engine: RedisEngine, server: RedisServer) -> None:
    """At maxmemory publishes are refused before anything is stored, reading goes on, and room heals it."""
    publishing = Publishing(engine)
    await publishing.publish(*entries(3))
    await server.configure("maxmemory", "1")

    with pytest.raises(StorageFullError) as refused:
        await publishing.publish(patience_seconds=5.0)

    assert refused.value.outcome == "not_stored"
    assert await _stored(engine) == 3
    assert isinstance(engine.engine_state(BUS).problem, StorageFullError)
    await server.restore_settings()
    await publishing.publish()
    assert engine.engine_state(BUS).problem is None
    assert await _stored(engine) == 4


async def test_too_few_replicas_are_told(engine: RedisEngine, server: RedisServer) -> None:
    """A server that demands replicas refuses writes without them; it is read, and writes go on when the rule is off."""
    publishing = Publishing(engine)
    await publishing.publish()
    await server.configure("min-replicas-to-write", "1")

    with pytest.raises(DurabilityUnavailableError) as refused:
        await publishing.publish(patience_seconds=0.3)

    assert refused.value.outcome == "not_stored"
    assert await _stored(engine) == 1
    await server.restore_settings()
    await publishing.publish()


async def test_a_server_that_cannot_save_is_told(engine: RedisEngine, server: RedisServer) -> None:
    """Where Redis stops writes because its snapshots fail, publishers learn it; mended, it takes them again."""
    publishing = Publishing(engine)
    await publishing.publish()
    await server.configure("save", "3600 1")
    in_the_way = server.folder / "dump.rdb"
    in_the_way.mkdir()
    await server.cli("BGSAVE")
    await _until_persistence(server, rdb_last_bgsave_status="err", rdb_bgsave_in_progress="0")

    with pytest.raises(StorageRefusedError):
        await publishing.publish(patience_seconds=5.0)

    assert await _stored(engine) == 1
    in_the_way.rmdir()
    await server.cli("BGSAVE")
    await _until_persistence(server, rdb_last_bgsave_status="ok", rdb_bgsave_in_progress="0")
    await publishing.publish()


async def _until_persistence(server: RedisServer, **wanted: str) -> None:
    async with asyncio.timeout(20):
        while not wanted.items() <= (await server.information("persistence")).items():  # noqa: ASYNC110 - it is asked
            await asyncio.sleep(0.02)


async def test_scripts_that_were_flushed_are_loaded_again(engine: RedisEngine, server: RedisServer) -> None:
    """SCRIPT FLUSH between two appends is not noticed by anybody."""
    publishing = Publishing(engine)
    for _ in range(3):
        await publishing.publish()
        await server.cli("SCRIPT", "FLUSH")

    assert await _stored(engine) == 3


async def test_connections_that_are_killed_come_back(engine: RedisEngine, server: RedisServer) -> None:
    """CLIENT KILL on any kind of connection loses no event, doubles none, and leaves no hole for listeners."""
    publishing = Publishing(engine)
    told: list[Frame | Tip] = []
    engine.listen(BUS, told.append)
    receipts = []
    for number in range(60):
        receipts += await publishing.publish(entry(data=number))
        if number % 3 == 0:
            await server.cli("CLIENT", "KILL", "TYPE", "pubsub" if number % 2 else "normal")

    page = await engine.read(BUS, BEGINNING, through=END, limit=1000)

    assert [event.event.data for event in page.events] == list(range(60))
    await until(lambda: any(item.last == receipts[-1].position for item in told))


async def test_a_lost_frame_is_told_by_a_tip(engine: RedisEngine, server: RedisServer) -> None:
    """What was published while the live channel was cut is told within about a second, though nothing follows it."""
    publishing = Publishing(engine)
    await publishing.publish()
    told: list[Frame | Tip] = []
    engine.listen(BUS, told.append)
    await server.cli("CLIENT", "KILL", "TYPE", "pubsub")

    (receipt,) = await publishing.publish()

    assert await until(lambda: any(item.last == receipt.position for item in told)) < 3.0


async def test_everybody_is_told_when_redis_was_emptied(engine: RedisEngine, server: RedisServer) -> None:
    """After FLUSHALL a new epoch begins, old cursors have a gap, and positions go on growing."""
    publishing = Publishing(engine)
    (before,) = await publishing.publish()
    cursor = engine.state(BUS).history.cursor(before.position)
    told: list[Frame | Tip] = []
    engine.listen(BUS, told.append)
    await server.cli("FLUSHALL")

    await until(lambda: any(item.epoch != cursor.epoch for item in told))

    history = engine.state(BUS).history
    _, gap = history.resume(cursor)
    assert gap is not None
    assert gap.reason == "epoch"
    with pytest.raises(WriterUnknownError) as forgotten:
        await publishing.publish()
    assert forgotten.value.outcome == "not_stored"
    (after,) = await Publishing(engine).publish()
    assert after.position > before.position


async def test_an_evicting_server_is_refused_later_too(engine: RedisEngine, server: RedisServer) -> None:
    """A policy that becomes unsafe is found at the next connect: publishes are refused, reading goes on, and back."""
    publishing = Publishing(engine)
    await publishing.publish()
    await server.configure("maxmemory-policy", "allkeys-lru")
    await server.cli("CLIENT", "KILL", "TYPE", "normal")
    await until(lambda: isinstance(engine.engine_state(BUS).problem, UnsafeEngineError))

    with pytest.raises(UnsafeEngineError) as refused:
        await publishing.publish()

    assert "noeviction" in refused.value.detail
    assert await _stored(engine) == 1
    await server.restore_settings()
    await server.cli("CLIENT", "KILL", "TYPE", "normal")
    await until(lambda: engine.engine_state(BUS).problem is None)
    await publishing.publish()


async def test_an_evicting_server_refuses_the_start(server: RedisServer) -> None:
    """A start on a server that would throw events away ends at once, and says how to mend it."""
    await server.configure("maxmemory-policy", "volatile-ttl")

    with pytest.raises(EngineUnsuitableError, match="noeviction"):
        async with running(server.url):
            pass


async def test_fsync_is_refused_where_the_server_does_not_do_it(server: RedisServer) -> None:
    """The level ``fsync`` asks for an append-only file that is synced always; the sentence says what to set."""
    with pytest.raises(EngineUnsuitableError, match="append"):
        async with running(server.url, durability="fsync"):
            pass


async def test_a_start_waits_for_redis_and_ends_clearly(server: RedisServer) -> None:
    """A server that does not come ends the start after the time that it was given, with what to check."""
    server.kill()

    with pytest.raises(EngineUnreachableError, match="refused the connection"):
        async with running(server.url, start_seconds=0.5):
            pass


async def test_a_wrong_password_ends_the_start_at_once(server: RedisServer) -> None:
    """No waiting for a password to become right; and it is not shown."""
    url = server.url.replace("redis://", "redis://somebody:pa55word@")

    with pytest.raises(EngineUnreachableError) as refused:
        async with running(url, start_seconds=60.0):
            pass

    assert "pa55word" not in str(refused.value)
    assert "somebody" not in str(refused.value)


async def test_replicated_events_are_not_confirmed_by_nobody(redis_topology: TopologyFactory) -> None:
    """Without its replica a publish in ``replicated`` is answered unknown, however often it is repeated."""
    group = await redis_topology("valkey-sentinel")
    assert isinstance(group, SentinelGroup)
    async with running(group.url, durability="replicated") as engine:
        publishing = Publishing(engine)
        (receipt,) = await publishing.publish()
        assert receipt.durability == "replicated"
        group.data[1].suspend()

        with pytest.raises(DurabilityUnavailableError) as refused:
            await publishing.publish(entry(id="x"), patience_seconds=1.0)
        with pytest.raises(DurabilityUnavailableError) as again:
            await publishing.publish(entry(id="x"), patience_seconds=1.0)
        group.data[1].resume()
        (stored,) = await publishing.publish(entry(id="x"))

    assert (refused.value.outcome, again.value.outcome) == ("unknown", "unknown")
    assert stored.duplicate


async def test_a_failover_goes_on_at_the_new_primary(redis_topology: TopologyFactory) -> None:
    """Publishes go to the promoted replica within seconds; what was confirmed is there."""
    group = await redis_topology("sentinel")
    assert isinstance(group, SentinelGroup)
    async with running(group.url, durability="replicated") as engine:
        publishing = Publishing(engine)
        receipts = [receipt for _ in range(20) for receipt in await publishing.publish()]
        first = engine.state(BUS).history.current

        await group.fail_over()
        receipts += await publishing.publish(patience_seconds=20.0)

        page = await engine.read(BUS, BEGINNING, through=END, limit=1000)
        history = engine.state(BUS).history
    assert {receipt.position for receipt in receipts} <= {event.position for event in page.events}
    assert history.current.id != first.id
    assert first in history.epochs


async def test_buses_of_a_cluster_fail_alone(redis_topology: TopologyFactory) -> None:
    """A node that is away takes its own buses with it; a bus on another node goes on as if nothing were."""
    cluster = await redis_topology("cluster")
    for node in cluster.servers:
        await node.configure("cluster-require-full-coverage", "no")
    home = await cluster.primary_of("wowevent:{default}:log")
    names = ("a", "b", "c", "d")
    elsewhere = [name for name in names if await cluster.primary_of(f"wowevent:{{{name}}}:log") is not home]
    other = elsewhere[0]
    async with running(cluster.url, BUS, other) as engine:
        publishing, others = Publishing(engine), Publishing(engine, other)
        await publishing.publish()
        await others.publish()
        home.suspend()
        await until(lambda: engine.engine_state(BUS).problem is not None)

        for _ in range(20):
            await others.publish(patience_seconds=1.0)

        assert engine.engine_state(other).problem is None
        home.resume()


async def test_a_node_that_is_behind_is_not_followed(engine: RedisEngine, server: RedisServer) -> None:
    """A server that was put back to an earlier history is left alone until an operator begins an epoch."""
    publishing = Publishing(engine)
    await publishing.publish(entry(data="before"))
    backup = await server.cli("HGETALL", "wowevent:{default}:meta")
    await engine.begin_epoch(BUS)
    told: list[Frame | Tip] = []
    engine.listen(BUS, told.append)
    await publishing.publish(entry(data="after"))
    await until(lambda: any(isinstance(each, Frame) for each in told))
    told.clear()

    await server.cli("RPOP", "wowevent:{default}:epochs")
    await server.cli("HSET", "wowevent:{default}:meta", *backup)
    await until(lambda: isinstance(engine.engine_state(BUS).problem, EngineReadOnlyError))

    assert "epoch new" in str(engine.engine_state(BUS).problem)
    with pytest.raises(EngineUnavailableError):
        await publishing.publish(patience_seconds=0.2)
    assert told == []
    async with running(server.url) as other:
        await other.begin_epoch(BUS)
    await until(lambda: engine.engine_state(BUS).problem is None)
    assert engine.state(BUS).history.last < told[-1].last or told[-1].epoch == engine.state(BUS).history.current.id
