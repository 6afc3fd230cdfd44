"""Which servers are trusted with events, which are warned about, and what real ones say of themselves."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import pytest

from tests.engine.redis.single_server import call, connected, serving
from tests.redis_servers.program import PROGRAMS, Program
from waooaw.events.engine.redis.connecting import NodeConnection
from waooaw.events.engine.redis.safety import (
    CONFIG_NAMES,
    ServerReport,
    Verdict,
    judge,
    parse_config,
    parse_info,
    size_bytes_max,
)
from waooaw.events.receipt import Durability

LOCAL: Final = frozenset[Durability]({"local"})
FSYNC: Final = frozenset[Durability]({"local", "fsync"})
REPLICATED: Final = frozenset[Durability]({"replicated"})

GOOD_INFO: Final = {
    "redis_version": "7.0.15",
    "maxmemory": "1000",
    "maxmemory_policy": "noeviction",
    "aof_enabled": "1",
    "aof_last_write_status": "ok",
    "aof_last_bgrewrite_status": "ok",
    "rdb_last_bgsave_status": "ok",
    "role": "master",
    "connected_slaves": "1",
    "slave0": "ip=10.0.0.1,port=6379,state=online,offset=14,lag=0",
    "min_slaves_good_slaves": "1",
}
GOOD_CONFIG: Final = {
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "client-output-buffer-limit": "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
    "min-replicas-max-lag": "10",
}


def report(config: dict[str, str] | None = None, *, without: tuple[str, ...] = (), **info: str) -> ServerReport:
    """Make a report of a good server with a few things changed, or left out."""
    kept = {name: value for name, value in (GOOD_INFO | info).items() if name not in without}
    return ServerReport(kept, GOOD_CONFIG | (config or {}))


def test_a_good_server() -> None:
    """A server set up as it should be is trusted with every level, without a word."""
    assert judge(report(), FSYNC | REPLICATED) == Verdict(None, ())


@pytest.mark.parametrize(
    ("version", "old"),
    [
        ("6.2.14", True),
        ("2.8", True),
        ("6.9", True),
        ("7.0.0", False),
        ("7.2.4", False),
        ("8.0.6", False),
        ("10.0", False),
    ],
)
def test_versions(version: str, old: bool) -> None:  # noqa: FBT001 - a column of the table
    """Redis before 7.0 is refused, and the sentence has its version."""
    refusal = judge(report(redis_version=version), LOCAL).refusal
    assert (refusal is not None) is old
    if refusal is not None:
        assert refusal.startswith(f"Redis {version} is too old: Redis 7.0 or newer")


def test_no_version() -> None:
    """What does not tell its version is not trusted."""
    refusal = judge(report(without=("redis_version",)), LOCAL).refusal
    assert refusal is not None
    assert "does not tell its version" in refusal


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-ttl"])
def test_evicting(policy: str) -> None:
    """A policy that deletes is refused; the sentence has the command and the line that mend it."""
    refusal = judge(report(maxmemory_policy=policy), LOCAL).refusal
    assert refusal is not None
    assert f"maxmemory-policy is {policy}" in refusal
    assert "CONFIG SET maxmemory-policy noeviction" in refusal
    assert "'maxmemory-policy noeviction' in redis.conf" in refusal


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (None, "our user may not run CONFIG GET"),
        ({"appendonly": "no"}, "appendonly is 'no' and must be 'yes'"),
        ({"appendfsync": "everysec"}, "appendfsync is 'everysec' and must be 'always'"),
        ({"appendfsync": "no"}, "appendfsync is 'no' and must be 'always'"),
        ({"no-appendfsync-on-rewrite": "yes"}, "no-appendfsync-on-rewrite is 'yes' and must be 'no'"),
        ({}, None),
    ],
)
def test_fsync(config: dict[str, str] | None, told: str | None) -> None:
    """A promise of ``fsync`` is refused unless the server confirms that it keeps it; ``local`` needs none of it."""
    asked = ServerReport(GOOD_INFO, None if config is None else GOOD_CONFIG | config)
    refusal = judge(asked, FSYNC).refusal
    assert (refusal is None) is (told is None)
    assert (told or "") in (refusal or "")
    assert judge(asked, LOCAL) == Verdict(None, ())


def test_fsync_that_is_not_told() -> None:
    """A server that permits CONFIG GET and hides the answer confirms nothing."""
    refusal = judge(ServerReport(GOOD_INFO, {}), FSYNC).refusal
    assert refusal is not None
    assert "appendonly is not told by this server" in refusal


@pytest.mark.parametrize(
    ("changed", "levels", "told"),
    [
        (report(aof_enabled="0"), LOCAL, None),
        (report(without=("slave0",)), LOCAL, None),
        (report({"appendfsync": "everysec"}), LOCAL, None),
        (report(aof_enabled="0", without=("slave0",)), LOCAL, "has no append-only file and no replica"),
        (report(aof_enabled="0", slave0="ip=::1,port=1,state=wait_bgsave"), LOCAL, "has no append-only file and no"),
        (report(maxmemory="0"), LOCAL, "maxmemory is not set"),
        (report(without=("maxmemory_policy",)), LOCAL, "does not tell its maxmemory-policy"),
        (report(aof_last_write_status="err"), LOCAL, "the last write of the append-only file failed"),
        (report(aof_last_bgrewrite_status="err"), LOCAL, "the last rewrite of the append-only file failed"),
        (report(rdb_last_bgsave_status="err"), LOCAL, "the last snapshot failed"),
        (report(without=("min_slaves_good_slaves",)), LOCAL, None),
        (report(without=("min_slaves_good_slaves",)), REPLICATED, "min-replicas-to-write is off"),
        (report({"min-replicas-max-lag": "11"}), REPLICATED, "min-replicas-max-lag is 11"),
        (report({"min-replicas-max-lag": "11"}), LOCAL, None),
    ],
)
def test_warnings(changed: ServerReport, levels: frozenset[Durability], told: str | None) -> None:
    """What would lose events when something breaks is warned about, and nothing else is."""
    verdict = judge(changed, levels)
    assert verdict.refusal is None
    assert len(verdict.warnings) == (told is not None)
    assert (told or "") in "".join(verdict.warnings)


@pytest.mark.parametrize(
    ("limit", "small"),
    [
        ("pubsub 33554432 8388608 60", False),
        ("pubsub 0 0 0", False),
        ("pubsub 0 8388608 60", False),
        ("pubsub 33554431 8388608 60", True),
        ("pubsub 33554432 8388607 60", True),
        ("pubsub 33554432 1 0", False),
        ("normal 1 1 1 slave 1 1 1", False),
        ("", False),
    ],
)
def test_buffer_of_live_readers(limit: str, small: bool) -> None:  # noqa: FBT001 - a column of the table
    """A small buffer for pub/sub is warned about, with what to set; 0 is no limit at all."""
    warnings = judge(report({"client-output-buffer-limit": limit}), LOCAL).warnings
    assert len(warnings) == small
    assert not small or "CONFIG SET client-output-buffer-limit 'pubsub 32mb 8mb 60'" in warnings[0]


def test_replicated_without_a_replica() -> None:
    """Without a replica ``replicated`` is not to be had for now; that is no refusal, and no matter for ``local``."""
    alone = report(without=("slave0",))
    verdict = judge(alone, REPLICATED)
    assert verdict.refusal is None
    assert verdict.durability_problem is not None
    assert "no replica is attached to this Redis 7.0.15" in verdict.durability_problem
    assert judge(alone, LOCAL).durability_problem is None
    assert judge(report(), REPLICATED).durability_problem is None


@pytest.mark.parametrize(
    ("maxmemory", "buses", "size"),
    [("0", 1, None), ("1000", 1, 600), ("1000", 3, 200), ("1000", 0, 600), ("1", 1, None), ("odd", 1, None)],
)
def test_size(maxmemory: str, buses: int, size: int | None) -> None:
    """The logs of a server share 60 % of its memory; without a limit of the server there is none."""
    assert size_bytes_max(report(maxmemory=maxmemory), buses) == size


def test_parsing() -> None:
    """INFO is read as bytes and as text, with any line ends; values may hold colons; what is odd is passed over."""
    text = "# Server\r\nredis_version:7.0.15\r\n\r\nexecutable:/usr/bin:x\r\nodd\r\nempty:\r\n"
    known = {"redis_version": "7.0.15", "executable": "/usr/bin:x", "empty": ""}
    assert parse_info(text) == parse_info(text.encode()) == parse_info(text.replace("\r", "")) == known
    assert parse_info(b"a:\xff") == {"a": "\ufffd"}
    assert parse_config([b"appendonly", b"yes", "save", ""]) == {"appendonly": "yes", "save": ""}


async def asked(connection: NodeConnection) -> ServerReport:
    """Ask a real server as the engine does."""
    info = parse_info(await call(connection, "INFO"))
    return ServerReport(info, parse_config(await call(connection, "CONFIG", "GET", *CONFIG_NAMES)))


@pytest.mark.parametrize(("program", "product"), [("redis", "Redis "), ("valkey", "Valkey ")])
async def test_real_servers(tmp_path: Path, program: Program, product: str) -> None:
    """Real servers say what is judged: version, memory, file, replicas and limits; as set up here, all is well."""
    primary, replica = tmp_path / "primary", tmp_path / "replica"
    primary.mkdir()
    replica.mkdir()
    arguments = (
        "--appendonly",
        "yes",
        "--appendfsync",
        "always",
        "--maxmemory",
        "100mb",
        "--repl-diskless-sync-delay",
        "0",
    )
    with serving(primary, *arguments, "--min-replicas-to-write", "1", program=program) as port:
        async with connected(port) as connection:
            found = await asked(connection)
            assert found.product.startswith(product)
            assert set(found.config or ()) == set(CONFIG_NAMES)
            assert (found.memory_bytes_max, found.replicas, found.appends_to_file) == (100 * 2**20, 0, True)
            verdict = judge(found, FSYNC | REPLICATED)
            assert (verdict.refusal, verdict.warnings) == (None, ())
            assert verdict.durability_problem is not None
            with serving(replica, "--replicaof", "127.0.0.1", str(port), program=program):
                for _ in range(4000):
                    if (found := await asked(connection)).replicas:
                        break
                    await asyncio.sleep(0.005)
                assert judge(found, FSYNC | REPLICATED) == Verdict(None, ())


@pytest.mark.parametrize("program", PROGRAMS)
async def test_real_servers_as_they_come(tmp_path: Path, program: Program) -> None:
    """A server as it comes is trusted with ``local`` and warned about, and refused for ``fsync`` or once it evicts."""
    with serving(tmp_path, program=program) as port:
        async with connected(port) as connection:
            verdict = judge(await asked(connection), LOCAL)
            assert verdict.refusal is None
            assert [warning.split(":")[0] for warning in verdict.warnings] == [
                "Redis has no append-only file and no replica",
                "maxmemory is not set",
            ]
            assert judge(await asked(connection), FSYNC).refusal is not None
            await call(connection, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
            refusal = judge(await asked(connection), LOCAL).refusal
            assert refusal is not None
            assert "allkeys-lru" in refusal
            await call(connection, "CONFIG", "SET", "maxmemory-policy", "noeviction")
            assert judge(await asked(connection), LOCAL) == verdict


@pytest.mark.parametrize(
    ("enabled", "coverage", "warned"), [("1", "yes", True), ("1", "no", False), ("0", "yes", False)]
)
def test_a_cluster_whose_buses_fail_together(enabled: str, coverage: str, *, warned: bool) -> None:
    """One primary that is down takes the whole cluster with it unless it is told not to: the operator is warned."""
    config = {"cluster-require-full-coverage": coverage}

    verdict = judge(ServerReport({"redis_version": "7.0.15", "cluster_enabled": enabled}, config), {"local"})

    assert any("cluster-require-full-coverage" in text for text in verdict.warnings) is warned
