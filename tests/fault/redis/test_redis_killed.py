"""Redis killed under load, again and again, on one file."""

from __future__ import annotations

from pathlib import Path

from tests.fault.conftest import Report
from tests.fault.history import History
from tests.fault.parameters import REDIS_KILLS
from tests.fault.redis.findings import Findings
from tests.fault.redis.modes import Mode, on_modes
from tests.fault.redis.scene import playing

BACK_SECONDS_MAX = 2.0


@on_modes("redis fsync", also=("redis local, AOF always", "valkey fsync"))
async def test_killed_redis_loses_nothing_that_was_accepted(
    tmp_path: Path, history: History, report: Report, findings: Findings, mode: Mode
) -> None:
    """With each write in its file, kill -9 of Redis loses nothing; 2 s after it is back publishes succeed."""
    async with playing(mode, tmp_path, history) as scene:
        (server,) = scene.topology.servers
        for _ in range(REDIS_KILLS.count):
            before = server.process_id
            await scene.strike()
            server.kill()
            await server.start()
            await scene.accepted()
            assert server.process_id != before
            assert history.longest_silence_seconds < BACK_SECONDS_MAX
        outcome = await scene.finish()
    report(f"{mode.name}: {REDIS_KILLS.count} kills of Redis: {outcome}")
    findings.note("kill -9 of Redis", mode, outcome, f"{REDIS_KILLS.count} kills")


@on_modes("redis local, AOF everysec", also=("valkey local, AOF everysec",))
async def test_killed_redis_that_writes_its_file_each_second_is_measured(
    tmp_path: Path, history: History, report: Report, findings: Findings, mode: Mode
) -> None:
    """With ``appendfsync everysec`` what a kill loses is measured, and told to its readers; nothing comes twice."""
    async with playing(mode, tmp_path, history) as scene:
        (server,) = scene.topology.servers
        for _ in range(REDIS_KILLS.count):
            await scene.strike()
            await server.restart()
            await scene.accepted()
        outcome = await scene.finish(may_lose=True)
    report(f"{mode.name}: {REDIS_KILLS.count} kills of Redis: {outcome}")
    findings.note("kill -9 of Redis", mode, outcome, f"{REDIS_KILLS.count} kills; measured")
    scene.check_told(outcome)
    assert outcome.verdict.twice == []
    assert outcome.silence_seconds < BACK_SECONDS_MAX
