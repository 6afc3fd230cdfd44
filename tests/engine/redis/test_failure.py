"""What real servers answer, and what it becomes: the kind, what to do, and never what was sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
from redis import exceptions

from tests.engine.redis.single_server import call, connected, serving
from tests.redis_servers.port import unused_port
from tests.redis_servers.program import PROGRAMS, Program
from waooaw.events.engine.redis.address import Credentials
from waooaw.events.engine.redis.connecting import NodeConnection
from waooaw.events.engine.redis.failure import is_not_executed, is_reply, reply_failure
from waooaw.events.outages import (
    ClusterDownError,
    DurabilityUnavailableError,
    EngineBusyError,
    EngineDeniedError,
    EngineLoadingError,
    EngineMasterDownError,
    EngineReadOnlyError,
    EngineUnavailableError,
    ReshardingError,
    StorageFullError,
    StorageRefusedError,
    UnavailableError,
)

SECRET: Final = "p4yload"
LOOKS_MAX: Final = 4000
LOOK_SECONDS: Final = 0.005

pytestmark = pytest.mark.parametrize("program", PROGRAMS)


async def refusal(connection: NodeConnection, *arguments: str | int) -> UnavailableError:
    """Send what is refused, and return what the refusal becomes; it shows nothing of what was sent."""
    with pytest.raises(exceptions.RedisError) as caught:
        await call(connection, *arguments)
    assert is_reply(caught.value)
    failure = reply_failure(caught.value, "node:1")
    assert str(failure).startswith("Redis at node:1 ")
    assert SECRET not in str(failure)
    assert failure.retry_after_seconds
    return failure


async def test_out_of_memory(tmp_path: Path, program: Program) -> None:
    """At maxmemory publishes are refused before anything ran, also by a script with a header."""
    with serving(tmp_path, "--maxmemory", "1", program=program) as port:
        async with connected(port) as connection:
            for arguments in (
                ("SET", "key", SECRET),
                ("EVAL", "#!lua\nreturn redis.call('SET', KEYS[1], ARGV[1])", 1, "key", SECRET),
            ):
                failure = await refusal(connection, *arguments)
                assert type(failure) is StorageFullError
                assert "raise maxmemory, or lower the retention" in str(failure)
                assert is_not_executed(failure)


async def test_an_error_inside_a_script(tmp_path: Path, program: Program) -> None:
    """An error from inside a script does not say that nothing was stored, for scripts do not roll back."""
    body = "redis.call('SET', KEYS[1], 'x'); return redis.call('LPUSH', KEYS[1], ARGV[1])"
    with serving(tmp_path, program=program) as port:
        async with connected(port) as connection:
            failure = await refusal(connection, "EVAL", body, 1, "key", SECRET)
            assert await call(connection, "GET", "key") == b"x"
            assert type(failure) is EngineUnavailableError
            assert "another program writes keys that begin with wowevent:" in str(failure)
            assert not is_not_executed(failure)
            broken = await refusal(connection, "EVAL", f"error('{SECRET}')", 0)
            assert not is_not_executed(broken)


async def test_a_replica_that_is_cut_off(tmp_path: Path, program: Program) -> None:
    """A replica takes no writes; one without its primary may serve nothing at all."""
    with serving(tmp_path, "--replicaof", "127.0.0.1", str(unused_port()), program=program) as port:
        async with connected(port) as connection:
            failure = await refusal(connection, "SET", "key", SECRET)
            assert type(failure) is EngineReadOnlyError
            assert "redis+sentinel://" in str(failure)
            assert is_not_executed(failure)
            await call(connection, "CONFIG", "SET", "replica-serve-stale-data", "no")
            failure = await refusal(connection, "GET", "key")
            assert type(failure) is EngineMasterDownError
            assert "promote a replica" in str(failure)
            assert is_not_executed(failure)


async def test_loading(tmp_path: Path, program: Program) -> None:
    """A server that reads its data says so."""
    with serving(tmp_path, "--rdbcompression", "no", program=program) as port:
        async with connected(port) as connection:
            for number in range(64):
                await call(connection, "SET", f"key-{number}", "x" * 2048)
            await call(connection, "SAVE")
    slowly = ("--key-load-delay", "50000", "--loading-process-events-interval-bytes", "1024")
    with serving(tmp_path, *slowly, program=program) as port:
        async with connected(port) as connection:
            failure = await refusal(connection, "SET", "key", SECRET)
            assert type(failure) is EngineLoadingError
            assert is_not_executed(failure)


async def test_a_password_is_wanted(tmp_path: Path, program: Program) -> None:
    """Without a log-in, and with a wrong one, the connection is not made and nobody learns what was tried."""
    with serving(tmp_path, "--requirepass", "right", program=program) as port:
        for given, told in (
            (Credentials(), "wants a password and none was given"),
            (Credentials(password=SECRET), "refused the user or the password"),
            (Credentials(username=SECRET, password=SECRET), "refused the user or the password"),
        ):
            with pytest.raises(EngineDeniedError, match=told) as caught:
                async with connected(port, given=given):
                    pass
            assert SECRET not in str(caught.value)
            assert is_not_executed(caught.value)
        async with connected(port, given=Credentials(password="right")) as connection:
            assert await call(connection, "PING") == b"PONG"


async def test_a_password_that_nobody_asked_for(tmp_path: Path, program: Program) -> None:
    """A password given to a server without one is a mistake of the settings, and said to be one."""
    with (
        serving(tmp_path, program=program) as port,
        pytest.raises(EngineDeniedError, match="has no password for the user default while one was given"),
    ):
        async with connected(port, given=Credentials(password=SECRET)):
            pass


async def test_not_permitted(tmp_path: Path, program: Program) -> None:
    """What the user lacks is named: the command, the keys or the channels; and where the rights are written down."""
    body = "return redis.call('SET', KEYS[1], ARGV[1])"
    user = ("on", f">{SECRET}", "~wowevent:*", "&wowevent:*", "+@all", "-config|set", "-flushall", "-set", "-client")
    with serving(tmp_path, program=program) as port:
        async with connected(port) as connection:
            await call(connection, "ACL", "SETUSER", "bus", *user)
        async with connected(port, given=Credentials(username="bus", password=SECRET)) as connection:
            for arguments, lacks, executed in (
                (("FLUSHALL",), "the command FLUSHALL", False),
                (("CONFIG", "SET", "maxmemory", SECRET), "the command CONFIG SET", False),
                (("GET", SECRET), "the keys ~wowevent:*", False),
                (("PUBLISH", SECRET, SECRET), "the channels &wowevent:*", False),
                (
                    ("EVAL", body, 1, "wowevent:x", SECRET),
                    "the command SET" if program == "valkey" else "a command that a script of ours uses",
                    True,
                ),
                (("EVAL", body.replace("SET", "GET"), 1, SECRET, SECRET), "the keys ~wowevent:*", False),
                (
                    ("EVAL", body.replace("KEYS[1]", f"'{SECRET}'").replace("SET", "APPEND"), 0, SECRET),
                    "the keys ~wowevent:*",
                    True,
                ),
                (("EVAL", f"return redis.call('PUBLISH', '{SECRET}', '')", 0), "the channels &wowevent:*", True),
            ):
                failure = await refusal(connection, *arguments)
                assert type(failure) is EngineDeniedError
                assert f"does not let our user at {lacks}; give it the rights" in str(failure)
                assert "docs/runbooks/redis-access.md" in str(failure)
                assert is_not_executed(failure) is not executed


async def test_busy(tmp_path: Path, program: Program) -> None:
    """While one script does not end, the others are told so."""
    with serving(tmp_path, "--lua-time-limit", "1", program=program) as port:
        async with connected(port) as one, connected(port) as other:
            await one.send_command("EVAL", "while true do end", 0)
            for _ in range(LOOKS_MAX):
                try:
                    await call(other, "GET", SECRET)
                except exceptions.ResponseError:
                    break
            failure = await refusal(other, "GET", SECRET)
            assert type(failure) is EngineBusyError
            assert "SCRIPT KILL" in str(failure)
            assert is_not_executed(failure)
            await call(other, "SCRIPT", "KILL")
            with pytest.raises(exceptions.ResponseError):
                await one.read_response()


async def test_a_snapshot_that_failed(tmp_path: Path, program: Program) -> None:
    """A server that cannot save refuses writes, and the sentence names the disk."""
    gone = tmp_path / "gone"
    gone.mkdir()
    with serving(tmp_path, "--enable-protected-configs", "yes", program=program) as port:
        async with connected(port) as connection:
            await call(connection, "CONFIG", "SET", "save", "3600 1")
            await call(connection, "CONFIG", "SET", "dir", str(gone))
            gone.rmdir()
            await call(connection, "BGSAVE")
            for _ in range(LOOKS_MAX):
                if b"rdb_last_bgsave_status:err" in await call(connection, "INFO", "persistence"):
                    break
                await asyncio.sleep(LOOK_SECONDS)
            failure = await refusal(connection, "SET", "key", SECRET)
            assert type(failure) is StorageRefusedError
            assert "free space on its disk" in str(failure)
            assert is_not_executed(failure)


async def test_too_few_replicas(tmp_path: Path, program: Program) -> None:
    """A primary without the replicas that it must have takes no writes."""
    with serving(tmp_path, "--min-replicas-to-write", "1", program=program) as port:
        async with connected(port) as connection:
            failure = await refusal(connection, "SET", "key", SECRET)
            assert type(failure) is DurabilityUnavailableError
            assert "min-replicas-to-write" in str(failure)
            assert is_not_executed(failure)


async def test_too_many_clients(tmp_path: Path, program: Program) -> None:
    """A server that is full of clients says so to the next."""
    with serving(tmp_path, "--maxclients", "1", program=program) as port:
        async with connected(port):
            with pytest.raises(EngineUnavailableError, match=r"maxclients|closed the connection|broke"):
                async with connected(port):
                    pass


async def test_commands_that_it_does_not_know(tmp_path: Path, program: Program) -> None:
    """An unknown command is named; what was sent with it is not. A script that is not loaded is."""
    with serving(tmp_path, program=program) as port:
        async with connected(port) as connection:
            failure = await refusal(connection, "XWOW", SECRET, SECRET)
            assert "does not know the command XWOW; check that the address names a Redis 7.0" in str(failure)
            failure = await refusal(connection, "SELECT", 99)
            assert "no database of this number" in str(failure)
            failure = await refusal(connection, "CLUSTER", "SLOTS")
            assert "is no node of a Redis Cluster" in str(failure)
            failure = await refusal(connection, "EVALSHA", "0" * 40, 0)
            assert "they are loaded again" in str(failure)
            assert is_not_executed(failure)
            failure = await refusal(connection, "XADD", "key", "x", SECRET, SECRET)
            assert type(failure) is EngineUnavailableError
            assert "answered with an error (ERR); look at its log" in str(failure)
            assert not is_not_executed(failure)


@pytest.fixture
async def cluster(tmp_path: Path, program: Program) -> AsyncIterator[tuple[NodeConnection, NodeConnection]]:
    """Two nodes that know each other: the first holds slots 0 to 8191, the second the rest."""
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    with (
        serving(folders[0], "--cluster-enabled", "yes", "--cluster-port", str(unused_port()), program=program) as one,
        serving(folders[1], "--cluster-enabled", "yes", "--cluster-port", str(unused_port()), program=program) as two,
    ):
        async with connected(one) as first, connected(two) as second:
            yield first, second


async def test_cluster(cluster: tuple[NodeConnection, NodeConnection], program: Program) -> None:  # noqa: ARG001 - the fixture's
    """Slots that nobody serves, that another serves, that are on their way, and keys in several, are told apart."""
    first, second = cluster
    failure = await refusal(first, "SET", "key", SECRET)
    assert type(failure) is ClusterDownError
    assert "CLUSTER INFO" in str(failure)
    assert is_not_executed(failure)
    await _join(first, second)
    slot = await call(first, "CLUSTER", "KEYSLOT", "a")
    holder, other = (first, second) if slot < 8192 else (second, first)
    failure = await refusal(other, "SET", "a", SECRET)
    assert type(failure) is ReshardingError
    assert "redis+cluster://" in str(failure)
    assert is_not_executed(failure)
    failure = await refusal(holder, "MSET", "a", SECRET, "b", SECRET)
    assert "keys lie in several slots" in str(failure)
    await call(holder, "SET", "{a}1", "x")
    await call(holder, "CLUSTER", "SETSLOT", slot, "MIGRATING", (await call(other, "CLUSTER", "MYID")).decode())
    for arguments in (("GET", "{a}2"), ("MGET", "{a}1", "{a}2")):  # ASK and TRYAGAIN
        failure = await refusal(holder, *arguments)
        assert type(failure) is ReshardingError
        assert "once the slot has moved" in str(failure)
        assert is_not_executed(failure)


async def _join(first: NodeConnection, second: NodeConnection) -> None:
    await call(first, "CLUSTER", "ADDSLOTSRANGE", 0, 8191)
    await call(second, "CLUSTER", "ADDSLOTSRANGE", 8192, 16383)
    bus = (await call(second, "CONFIG", "GET", "cluster-port"))[1]
    await call(first, "CLUSTER", "MEET", "127.0.0.1", second.port, bus)
    for _ in range(LOOKS_MAX):
        states = [await call(node, "CLUSTER", "INFO") for node in (first, second)]
        if all(b"cluster_state:ok" in state and b"cluster_slots_assigned:16384" in state for state in states):
            return
        await asyncio.sleep(LOOK_SECONDS)
    message = "the two nodes did not become a cluster"
    raise AssertionError(message)
