"""The servers that other tests run on: they do what their names say, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError

from tests.engine.redis.certificates import Authority
from tests.redis_servers import (
    PROGRAMS,
    Encryption,
    Login,
    Program,
    RedisCluster,
    RedisServer,
    SentinelGroup,
    Standalone,
)
from tests.redis_servers.shared import TopologyFactory, redis_topology  # noqa: F401 - a fixture
from tests.redis_servers.topology import until

ALWAYS = {"appendonly": "yes", "appendfsync": "always"}
KINDS = ("redis", "valkey", "sentinel", "cluster")


ARRANGED: Final = PROGRAMS if os.environ.get("FAULT") == "long" else PROGRAMS[:1]
"""What servers are made to do together takes seconds, and the tests of the engine do it with Valkey as well."""


@pytest.mark.parametrize("program", PROGRAMS)
async def test_server_keeps_its_port_and_data_through_a_kill(tmp_path: Path, program: Program) -> None:
    """What an append-only file holds is there after kill -9, on the same port, in another process."""
    async with RedisServer(tmp_path / "server", program, ALWAYS) as server:
        await server.cli("SET", "key", "value")
        before, port = server.process_id, server.port
        await server.restart()
        assert await server.cli("GET", "key") == "value"
        assert (server.process_id == before, server.port) == (False, port)
        assert server.url == f"redis://127.0.0.1:{port}/0"
        await server.stop()
        assert not server.is_running
        await server.start()
        assert await server.cli("GET", "key") == "value"
    with pytest.raises(ProcessLookupError):
        os.kill(server.process_id, 0)


async def test_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    """A start that fails ends at once with the server's own words, and leaves no process."""
    server = RedisServer(tmp_path / "server", settings={"appendfsync": "sometimes"})
    with pytest.raises(AssertionError, match=r"ended(?s:.*)appendfsync sometimes"):
        await server.start()
    assert not server.is_running


async def test_suspended_server_answers_nobody_until_it_is_resumed(tmp_path: Path) -> None:
    """A suspended server accepts connections and says nothing; afterwards it is the same process."""
    async with RedisServer(tmp_path / "server") as server:
        server.suspend()
        with pytest.raises(RedisError):
            await server.cli("PING", seconds=0.1)
        server.resume()
        assert await server.cli("PING") == "PONG"


async def test_settings_changed_by_a_test_are_put_back(tmp_path: Path) -> None:
    """What a test configures is as before after `restore_settings`, however often it was changed."""
    async with RedisServer(tmp_path / "server", settings={"maxmemory": "100mb"}) as server:
        await server.configure("maxmemory", "1")
        await server.configure("maxmemory", "2")
        with pytest.raises(OutOfMemoryError):
            await server.cli("SET", "key", "value")
        await server.restore_settings()
        assert await server.cli("CONFIG", "GET", "maxmemory") == ["maxmemory", "104857600"]


async def test_server_speaks_tls_to_clients_with_a_certificate_and_a_password(tmp_path: Path) -> None:
    """With encryption and a login a server serves who has both, and its URL says so."""
    authority = Authority(tmp_path, "authority")
    certificate = authority.signed("server", "IP:127.0.0.1")
    encryption = Encryption(certificate.file, certificate.key, authority.own.file, asks_clients=True)
    settings = {"user": "agent on >secret ~* &* +@all", "user default": "off"}
    login = Login("secret", "agent")
    async with RedisServer(tmp_path / "server", settings=settings, encryption=encryption, login=login) as server:
        assert await server.cli("ACL", "WHOAMI") == "agent"
        assert server.url == f"rediss://agent:secret@127.0.0.1:{server.port}/0"
        plain = RedisServer(tmp_path / "plain", port=server.port)
        with pytest.raises(RedisError):
            await plain.cli("PING")


@pytest.mark.parametrize("kind", KINDS)
async def test_shared_topology_is_as_new_for_each_test(redis_topology: TopologyFactory, kind: str) -> None:  # noqa: F811 - the fixture
    """Data, settings, stopped processes and lost ones of one test are unknown to the next."""
    topology = await redis_topology(kind)
    url = topology.url
    primary = await topology.primary_of("{default}")
    await primary.cli("SET", "{default}", "value")
    await primary.configure("maxmemory", "1")
    assert await redis_topology(kind) is topology
    assert await primary.cli("DBSIZE") == 0
    assert await primary.cli("CONFIG", "GET", "maxmemory") == ["maxmemory", "0"]
    primary.suspend()
    assert await redis_topology(kind) is topology
    killed = await topology.kill_primary("{default}")
    assert not killed.is_running
    assert await redis_topology(kind) is topology
    assert topology.url == url
    assert await topology.is_whole()
    await (await topology.primary_of("{default}")).cli("SET", "{default}", "value")


@pytest.mark.parametrize("program", ARRANGED)
async def test_sentinels_replace_a_primary_that_is_gone(program: Program) -> None:
    """On request and after a kill the replica is the primary, and what it held is there."""
    async with SentinelGroup(program) as group:
        first, second = group.data
        await first.cli("SET", "key", "value")
        await group.wait_in_sync()
        assert await group.kill_primary() is first
        assert await group.wait_promoted(first) is second
        assert await second.cli("GET", "key") == "value"
        await group.renew()
        assert await group.fail_over() is second
        assert await group.primary_of("key") is second


async def test_primary_without_its_replica_refuses_writes_where_that_was_asked() -> None:
    """``min_replicas_to_write`` makes a primary that lost its replica answer NOREPLICAS."""
    async with SentinelGroup(min_replicas_to_write=1) as group:
        primary, replica = group.data

        async def refuses() -> bool:
            try:
                await primary.cli("SET", "key", "value")
            except ResponseError as error:
                return str(error).startswith("NOREPLICAS")
            return False

        async def accepts() -> bool:
            return not await refuses()

        await until(accepts, "a replica that keeps up")
        replica.kill()

        await until(refuses, "refusal")


@pytest.mark.parametrize("program", ARRANGED)
async def test_cluster_hands_slots_over_and_moves_them(program: Program) -> None:
    """A replica takes over on request and after a kill; a moved slot is where it was moved to, with its keys."""
    async with RedisCluster(program) as cluster:
        primary = await cluster.primary_of("{default}")
        await primary.cli("SET", "{default}:key", "value")
        other = next(node for node in await cluster.primaries() if node is not primary)
        await cluster.move_slot("{default}", other)
        assert await cluster.primary_of("{default}") is other
        assert await other.cli("GET", "{default}:key") == "value"
        await cluster.wait_in_sync("{default}")
        promoted = await cluster.fail_over("{default}")
        assert await cluster.primary_of("{default}") is promoted
        assert await promoted.cli("GET", "{default}:key") == "value"
        await cluster.wait_in_sync("{default}")
        successor = await cluster.kill_and_wait("{default}")
        assert successor is other
        assert await other.cli("GET", "{default}:key") == "value"


async def test_closed_topology_leaves_no_process_and_no_file() -> None:
    """After its context each process is gone and the folder is removed, also where a test failed inside."""
    with pytest.raises(LookupError):
        async with RedisCluster() as cluster:
            raise LookupError
    assert [server.is_running for server in cluster.servers] == [False] * 6
    assert not cluster.folder.exists()


async def test_killed_test_run_leaves_no_server(tmp_path: Path) -> None:
    """A server dies with the process that started it, also by kill -9."""
    script = (
        "import asyncio, pathlib, signal, sys\n"
        "from tests.redis_servers import RedisServer\n"
        "async def main():\n"
        "    server = RedisServer(pathlib.Path(sys.argv[1]))\n"
        "    await server.start()\n"
        "    print(server.port, server.process_id, flush=True)\n"
        "    signal.pause()\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "server")], stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        port, process_id = map(int, run.stdout.readline().split())
        try:
            assert await RedisServer(tmp_path / "server", port=port).cli("PING") == "PONG"
        finally:
            run.kill()

    async def is_gone() -> bool:
        try:
            os.kill(process_id, 0)
        except ProcessLookupError:
            return True
        return Path(f"/proc/{process_id}/stat").read_text("ascii").rpartition(")")[2].split()[0] == "Z"

    if sys.platform == "linux":
        await until(is_gone, "end of the server")
    else:
        os.kill(process_id, signal.SIGKILL)


async def test_standalone_has_nobody_to_hand_over_to() -> None:
    """One server refuses a failover instead of pretending one."""
    async with Standalone() as topology:
        with pytest.raises(NotImplementedError):
            await topology.fail_over()
