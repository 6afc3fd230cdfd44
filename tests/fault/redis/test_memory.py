"""A Redis without memory left, and one whose data are removed."""

from __future__ import annotations

import time
from pathlib import Path

from tests.fault.conftest import Report
from tests.fault.history import History
from tests.fault.redis.findings import Findings
from tests.fault.redis.modes import Mode, every_mode
from tests.fault.redis.scene import playing
from tests.fault.store_reading import read_store
from tests.fault.waiting import until

REFUSED = 100
FULL_SECONDS = 1.0
EPOCH = "epoch"


@every_mode("redis fsync")
async def test_full_redis_refuses_publishes_and_nothing_else(
    tmp_path: Path, history: History, report: Report, findings: Findings, mode: Mode
) -> None:
    """At ``maxmemory`` publishes are refused as not stored and reading goes on; memory alone is the cure."""
    async with playing(mode, tmp_path, history) as scene:
        primary = await scene.topology.primary_of("{default}")
        process_id = scene.service.process_id
        await scene.strike()
        used = int((await primary.information("memory"))["used_memory"])
        await primary.configure("maxmemory", str(used))
        full_until = time.monotonic() + FULL_SECONDS
        await until(lambda: time.monotonic() > full_until and history.refused_attempts >= REFUSED, "refusals")
        health = await scene.health()
        stored, _ = await read_store(scene.service.port)
        await primary.restore_settings()
        await scene.accepted()
        outcome = await scene.finish()
        assert scene.service.process_id == process_id
    codes = {code for operation in history.operations.values() for code in operation.codes}
    report(f"{mode.name}: refused with {codes}: {outcome}")
    findings.note("maxmemory reached", mode, outcome, f"{outcome.refused} refused")
    assert codes == {"storage_full"}
    assert health["status"] == "degraded"
    assert str(health["reason"]).startswith("storage_full")
    assert stored == outcome.stored[: len(stored)]


@every_mode("redis fsync")
async def test_everybody_is_told_when_redis_is_emptied(
    tmp_path: Path, history: History, report: Report, findings: Findings, mode: Mode
) -> None:
    """``FLUSHALL``: each stream of each replica gets a gap, then all that is accepted from then on."""
    async with playing(mode, tmp_path, history, replicas=2) as scene:
        await scene.strike()
        await scene.topology.flush()
        begun_before = set(history.operations)
        await scene.accepted()
        outcome = await scene.finish(may_lose=True)
    report(f"{mode.name}: {outcome}; gaps {[follower.gaps for follower in scene.followers]}")
    findings.note("FLUSHALL", mode, outcome, "lost: all that Redis held; every stream was told")
    assert outcome.verdict.lost != []
    assert set(outcome.verdict.lost) <= begun_before
    assert (outcome.verdict.twice, outcome.verdict.unexpected) == ([], [])
    for follower in scene.followers:
        assert {gap.reason for gap in follower.gaps} == {EPOCH}
        assert follower.received[-len(outcome.stored) :] == outcome.received
