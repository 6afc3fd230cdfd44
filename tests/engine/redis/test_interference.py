"""Keys, rights and settings that somebody changes by hand while the engine runs: told, survived, and mended."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.engine.redis.running import BUS, Publishing, running, until
from tests.event_samples import entries, entry
from tests.redis_servers import RedisCluster, RedisServer
from tests.redis_servers.shared import TopologyFactory
from waooaw.events.engine.redis import RedisEngine
from waooaw.events.errors import WowEventError
from waooaw.events.outages import (
    DurabilityUnavailableError,
    EngineDeniedError,
    EngineUnavailableError,
    ReshardingError,
    UnavailableError,
)
from waooaw.events.position import BEGINNING, END

META = "wowevent:{default}:meta"
LOG = "wowevent:{default}:log"
EPOCHS = "wowevent:{default}:epochs"
IDS = "wowevent:{default}:ids:0"
USER = "wowevent"


@pytest.fixture
async def server(redis_topology: TopologyFactory) -> RedisServer:
    (found,) = (await redis_topology("redis")).servers
    return found


@pytest.fixture
async def engine(server: RedisServer) -> AsyncIterator[RedisEngine]:
    async with running(server.url) as found:
        yield found


def _problem(engine: RedisEngine, bus: str = BUS) -> WowEventError | None:
    return engine.engine_state(bus).problem


async def test_a_key_of_another_type_is_named_and_told(engine: RedisEngine, server: RedisServer) -> None:
    """Publishes are refused, the state says so with the key's name, without a storm of connections; mended, it ends."""
    publishing = Publishing(engine)
    await publishing.publish()
    before = int((await server.information("stats"))["total_connections_received"])
    await server.cli("SET", IDS, "x")

    for _ in range(5):
        with pytest.raises(UnavailableError):
            await publishing.publish(entry(id="one"), patience_seconds=0.3)
    await until(lambda: IDS in str(_problem(engine)))

    connections = int((await server.information("stats"))["total_connections_received"]) - before
    assert connections < 15  # each question of this test is one
    await server.cli("DEL", IDS)
    await until(lambda: _problem(engine) is None)
    await publishing.publish(entry(id="one"))


async def test_a_right_that_is_taken_away_stores_an_id_once(server: RedisServer) -> None:
    """An append that its script's rights stop half-way is not tried again until they are back; health says so."""
    await server.cli("ACL", "SETUSER", USER, "reset", "on", ">secret", "~*", "&*", "+@all")
    url = server.url.replace("redis://", f"redis://{USER}:secret@")
    try:
        async with running(url) as engine:
            publishing = Publishing(engine)
            await publishing.publish()
            await server.cli("ACL", "SETUSER", USER, "-hset")
            for _ in range(3):
                with pytest.raises(UnavailableError):
                    await publishing.publish(entry(id="once"), patience_seconds=0.3)
            assert isinstance(_problem(engine), EngineDeniedError)
            length = await server.cli("XLEN", LOG)
            await server.cli("ACL", "SETUSER", USER, "+hset")

            await until(lambda: _problem(engine) is None)
    finally:
        await server.cli("ACL", "DELUSER", USER)

    assert length <= 2  # the first, and at most the one attempt that found out


async def test_a_right_that_is_missing_ends_the_start(server: RedisServer) -> None:
    """A user that may not do what appends do is found before anything is published."""
    await server.cli("ACL", "SETUSER", USER, "reset", "on", ">secret", "~*", "&*", "+@all", "-xtrim")
    url = server.url.replace("redis://", f"redis://{USER}:secret@")
    try:
        with pytest.raises(WowEventError, match="does not let our user"):
            async with running(url, start_seconds=60.0):
                pass
    finally:
        await server.cli("ACL", "DELUSER", USER)


async def test_a_log_that_is_shortened_by_hand_is_told(engine: RedisEngine, server: RedisServer) -> None:
    """Readers that stood in what is gone get a gap, and the counts are those of what is left."""
    publishing = Publishing(engine)
    (first,) = await publishing.publish()
    cursor = engine.state(BUS).history.cursor(first.position)
    await publishing.publish(*entries(5))

    await server.cli("XTRIM", LOG, "MAXLEN", "2")

    await until(lambda: engine.state(BUS).events == 2)
    position, gap = engine.state(BUS).history.resume(cursor)
    assert gap is not None
    assert gap.reason == "retention"
    page = await engine.read(BUS, position, through=END, limit=10)
    assert len(page.events) == 2
    assert engine.state(BUS).first == page.events[0].position


async def test_a_log_that_is_deleted_goes_on(engine: RedisEngine, server: RedisServer) -> None:
    """Positions go on growing, and the counts begin again."""
    publishing = Publishing(engine)
    (before,) = await publishing.publish()
    await server.cli("DEL", LOG)
    await until(lambda: engine.state(BUS).events == 0)

    (after,) = await publishing.publish()

    assert after.position > before.position
    page = await engine.read(BUS, BEGINNING, through=END, limit=10)
    assert [event.position for event in page.events] == [after.position]


async def test_epochs_that_are_deleted_do_not_end_the_start(engine: RedisEngine, server: RedisServer) -> None:
    """A bus without its list of epochs begins a new one, for replicas that start and by hand."""
    await Publishing(engine).publish()
    await server.cli("DEL", EPOCHS)

    async with running(server.url) as other:
        history = other.state(BUS).history
        assert history.epochs == (history.current,)
        await Publishing(other).publish()
        await other.begin_epoch(BUS)

        assert len(other.state(BUS).history.epochs) == 2


@pytest.mark.parametrize(("field", "value"), [("epoch", "zzzz"), ("ms", "99999999999999999999"), ("events", "many")])
async def test_a_record_that_cannot_be_read_is_told_and_mended(
    engine: RedisEngine, server: RedisServer, field: str, value: str
) -> None:
    """What no replica wrote makes the bus unavailable, by a sentence; put back, it goes on without a restart."""
    await Publishing(engine).publish()
    right = await server.cli("HGET", META, field)
    await server.cli("HSET", META, field, value)
    with pytest.raises(WowEventError):
        await engine.refresh(BUS)
    await server.cli("CLIENT", "KILL", "TYPE", "normal")
    await until(lambda: isinstance(_problem(engine), EngineUnavailableError))

    await server.cli("HSET", META, field, right)

    await until(lambda: _problem(engine) is None)
    await Publishing(engine).publish()


async def test_a_rule_of_replicas_that_is_lifted_ends_the_trouble(engine: RedisEngine, server: RedisServer) -> None:
    """What a publish was refused for is over when Redis takes writes again, whether anybody publishes or not."""
    publishing = Publishing(engine)
    await publishing.publish()
    await server.configure("min-replicas-to-write", "1")
    with pytest.raises(DurabilityUnavailableError):
        await publishing.publish(patience_seconds=0.1)
    assert isinstance(_problem(engine), DurabilityUnavailableError)

    await server.restore_settings()

    await until(lambda: _problem(engine) is None)


async def test_a_live_channel_that_is_not_permitted_is_told(server: RedisServer) -> None:
    """Events still come, by the comparison, and the warnings say why they are late."""
    await server.cli("ACL", "SETUSER", USER, "reset", "on", ">secret", "~*", "&*", "+@all")
    url = server.url.replace("redis://", f"redis://{USER}:secret@")
    try:
        async with running(url) as engine:
            await server.cli("ACL", "SETUSER", USER, "-subscribe")
            await server.cli("CLIENT", "KILL", "TYPE", "pubsub")

            await until(lambda: "live channel" in str(engine.details()["warnings"]))
    finally:
        await server.cli("ACL", "DELUSER", USER)


async def test_a_slot_whose_move_was_broken_off_is_told(redis_topology: TopologyFactory) -> None:
    """While a slot is between two nodes the state says so, and of this bus alone."""
    cluster = await redis_topology("cluster")
    assert isinstance(cluster, RedisCluster)
    async with running(cluster.url) as engine:
        publishing = Publishing(engine)
        await publishing.publish()
        home = await cluster.primary_of(LOG)
        target = next(node for node in await cluster.primaries() if node is not home)
        slot = await home.cli("CLUSTER", "KEYSLOT", LOG)
        ids = {node: await node.cli("CLUSTER", "MYID") for node in (home, target)}
        await target.cli("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[home])
        await home.cli("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
        await home.cli("MIGRATE", target.host, target.port, LOG, 0, 5000)

        with pytest.raises(ReshardingError):
            await publishing.publish(patience_seconds=0.3)

        assert isinstance(_problem(engine), ReshardingError)
        for key in await home.cli("CLUSTER", "GETKEYSINSLOT", slot, 100):
            await home.cli("MIGRATE", target.host, target.port, key, 0, 5000)
        for node in (target, home):
            await node.cli("CLUSTER", "SETSLOT", slot, "NODE", ids[target])
        await until(lambda: _problem(engine) is None)
        await publishing.publish()
