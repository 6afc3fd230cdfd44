"""The service on Redis killed under load, again and again."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from pathlib import Path

from tests.fault.conftest import Report
from tests.fault.history import History
from tests.fault.parameters import SERVICE_KILLS
from tests.fault.redis.findings import Findings
from tests.fault.redis.modes import Mode, every_mode
from tests.fault.redis.scene import playing
from tests.fault.waiting import until

AIM_SECONDS_MAX = 0.05
"""Several appends long, so that the kill meets every stage of one."""


@every_mode("redis fsync")
async def test_killed_service_loses_nothing_on_redis(
    tmp_path: Path, history: History, report: Report, findings: Findings, *, mode: Mode, chance: random.Random
) -> None:
    """What was accepted survives kill -9 of a replica, what was unknown and sent again is there once."""
    bitten = 0
    async with playing(mode, tmp_path, history) as scene:
        service = scene.service
        for _ in range(SERVICE_KILLS.count):
            await scene.strike()
            strike_at = time.monotonic() + chance.uniform(0, AIM_SECONDS_MAX)
            await until(
                lambda: time.monotonic() >= strike_at and history.in_flight > 0,  # noqa: B023 - awaited at once
                "moment with something under way",
            )
            unknown_before = history.unknown_attempts
            service.signal(signal.SIGKILL)
            assert await asyncio.to_thread(service.wait) == -signal.SIGKILL
            await asyncio.to_thread(service.start)
            await scene.accepted()
            bitten += history.unknown_attempts > unknown_before
        outcome = await scene.finish()
    report(f"{mode.name}: {bitten} kills of the service that bit: {outcome}")
    findings.note("kill -9 of the service", mode, outcome, f"{bitten} kills")
    assert bitten > SERVICE_KILLS.count / 2
