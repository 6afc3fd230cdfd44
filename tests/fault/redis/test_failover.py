"""Primaries that die, and replicas that take over."""

from __future__ import annotations

import time
from pathlib import Path

from tests.fault.conftest import Report
from tests.fault.history import History
from tests.fault.parameters import FAILOVERS
from tests.fault.redis.findings import Findings
from tests.fault.redis.modes import Mode, on_modes
from tests.fault.redis.scene import playing
from tests.redis_servers import RedisCluster, SentinelGroup

BUS = "{default}"
SENTINEL_SECONDS_MAX = 5.0
CLUSTER_SECONDS_MAX = 8.0


@on_modes("sentinel replicated", also=("valkey sentinel replicated", "sentinel local"))
async def test_failover_by_sentinels_under_load(
    tmp_path: Path, history: History, report: Report, findings: Findings, mode: Mode
) -> None:
    """The primary dies: what replicas had confirmed is there, and publishes succeed within 5 s."""
    async with playing(mode, tmp_path, history) as scene:
        group = scene.topology
        assert isinstance(group, SentinelGroup)
        for _ in range(FAILOVERS.count):
            await scene.strike()
            await group.wait_in_sync()
            killed_at = time.monotonic()
            killed = await group.kill_primary()
            await scene.accepted()
            back_seconds = time.monotonic() - killed_at
            promoted = await group.primary_of(BUS)
            assert promoted is not killed
            await killed.start()
            if FAILOVERS.count > 1:
                await group.wait_whole()
        outcome = await scene.finish(may_lose=mode.durability == "local")
    report(f"{mode.name}: {FAILOVERS.count} primaries killed, the last: back in {back_seconds:.1f} s: {outcome}")
    findings.note("primary killed, Sentinel", mode, outcome, f"{FAILOVERS.count} failovers")
    assert outcome.silence_seconds < SENTINEL_SECONDS_MAX


@on_modes("cluster local", also=("cluster replicated", "valkey cluster replicated"))
async def test_cluster_primary_killed_with_its_replica_in_sync(
    tmp_path: Path, history: History, report: Report, findings: Findings, mode: Mode
) -> None:
    """The primary of the bus's slot dies: nothing accepted is lost in any mode, publishes succeed within 8 s."""
    async with playing(mode, tmp_path, history) as scene:
        cluster = scene.topology
        assert isinstance(cluster, RedisCluster)
        for _ in range(FAILOVERS.count):
            await scene.strike()
            # "Connected" is not enough: a primary sends nothing to a replica that it has copied itself to before the
            # first acknowledgement, up to a second later.
            await cluster.wait_in_sync(BUS)
            killed = await cluster.primary_of(BUS)
            promoted = await cluster.kill_and_wait(BUS)
            await killed.start()
            await scene.accepted()
            assert await cluster.primary_of(BUS) is promoted
            await cluster.wait_whole()
        outcome = await scene.finish()
    report(f"{mode.name}: {FAILOVERS.count} primaries killed: {outcome}")
    findings.note("primary killed, Cluster", mode, outcome, f"{FAILOVERS.count} failovers")
    assert outcome.silence_seconds < CLUSTER_SECONDS_MAX


@on_modes("cluster local", also=("cluster replicated", "valkey cluster replicated"))
async def test_cluster_hands_a_slot_to_a_replica_under_load(
    tmp_path: Path, history: History, report: Report, findings: Findings, mode: Mode
) -> None:
    """``CLUSTER FAILOVER``, as for an upgrade: nothing lost, and hardly a pause."""
    async with playing(mode, tmp_path, history) as scene:
        for _ in range(FAILOVERS.count):
            await scene.strike()
            before = await scene.topology.primary_of(BUS)
            assert await scene.topology.fail_over(BUS) is not before
            await scene.accepted()
        outcome = await scene.finish()
    report(f"{mode.name}: {FAILOVERS.count} handed over: {outcome}")
    findings.note("CLUSTER FAILOVER", mode, outcome, f"{FAILOVERS.count} times")
    assert outcome.silence_seconds < CLUSTER_SECONDS_MAX
