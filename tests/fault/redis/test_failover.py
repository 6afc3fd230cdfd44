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
OWN_SECONDS_MAX = 2.0
"""What the service may add, where the Sentinels take their time: each may vote for itself, and then they wait."""

CLUSTER_SECONDS_MAX = 8.0


@on_modes("sentinel replicated", also=("valkey sentinel replicated", "sentinel local"))
async def test_failover_by_sentinels_under_load(
    tmp_path: Path, history: History, report: Report, findings: Findings, mode: Mode
) -> None:
    """The primary dies: what replicas had confirmed is there, and publishes succeed within 5 s."""
    async with playing(mode, tmp_path, history) as scene:
        group = scene.topology
        assert isinstance(group, SentinelGroup)
        promoted_seconds = 0.0
        for _ in range(FAILOVERS.count):
            await scene.strike()
            await group.wait_in_sync()
            killed = await group.kill_primary()
            killed_at = time.monotonic()
            await group.wait_promoted(killed)
            promoted_seconds = max(promoted_seconds, time.monotonic() - killed_at)
            await scene.accepted()
            back_seconds = time.monotonic() - killed_at
            promoted = await group.primary_of(BUS)
            assert promoted is not killed
            await killed.start()
            if FAILOVERS.count > 1:
                await group.wait_whole()
        outcome = await scene.finish(may_lose=mode.durability == "local")
        scene.check_told(outcome)
    report(f"{mode.name}: {FAILOVERS.count} primaries killed, the last: back in {back_seconds:.1f} s: {outcome}")
    findings.note("primary killed, Sentinel", mode, outcome, f"{FAILOVERS.count} failovers")
    assert outcome.silence_seconds < max(SENTINEL_SECONDS_MAX, promoted_seconds + OWN_SECONDS_MAX)


@on_modes("cluster local", also=("cluster replicated", "valkey cluster replicated"))
async def test_cluster_primary_hands_over_and_is_killed_with_its_replica_in_sync(
    tmp_path: Path, history: History, report: Report, findings: Findings, mode: Mode
) -> None:
    """The primary of the bus's slot hands over, and dies: nothing is lost in any mode, publishes succeed within 8 s."""
    async with playing(mode, tmp_path, history) as scene:
        cluster = scene.topology
        assert isinstance(cluster, RedisCluster)
        for _ in range(FAILOVERS.count):
            await scene.strike()
            handed_over = await cluster.fail_over(BUS)
            await scene.accepted()
            # "Connected" is not enough: a primary sends nothing to a replica that it has copied itself to before the
            # first acknowledgement, up to a second later.
            await cluster.wait_whole()
            await cluster.wait_in_sync(BUS)
            assert await cluster.kill_primary(BUS) is handed_over
            await cluster.wait_promoted(await cluster.replica_of(handed_over), BUS)
            await handed_over.start()
            await scene.accepted()
            assert await cluster.primary_of(BUS) is not handed_over
        outcome = await scene.finish()
    report(f"{mode.name}: {FAILOVERS.count} primaries handed over and killed: {outcome}")
    findings.note("primary hands over, then is killed, Cluster", mode, outcome, f"{FAILOVERS.count} times each")
    assert outcome.silence_seconds < CLUSTER_SECONDS_MAX
