"""The slot of a bus moved to another node of the Cluster under load."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from tests.fault.checker import StoreVerdict, check_store
from tests.fault.conftest import Report
from tests.fault.history import History
from tests.fault.parameters import SLOT_MIB
from tests.fault.publishers import Source
from tests.fault.redis.findings import Findings
from tests.fault.redis.load import SteadyPublisher
from tests.fault.redis.modes import Mode, on_modes
from tests.fault.redis.scene import Scene, playing
from tests.fault.store_reading import read_store
from tests.redis_servers import RedisCluster

BUS = "{default}"
OTHER_BUS = "orders"
OTHER_ROOT = f"/v1/buses/{OTHER_BUS}"
MIB = 1024 * 1024
LARGE_BYTES = 64 * 1024
UNAVAILABLE_SECONDS_MAX = 5.0
UNAFFECTED_SECONDS_MAX = 0.5


async def fill(scene: Scene, history: History) -> None:
    """Bring the log to its size."""
    source = Source("large", history, LARGE_BYTES)
    goal = history.accepted + SLOT_MIB.count * MIB // LARGE_BYTES
    await SteadyPublisher(scene.service.port, source, history, 8).run(lambda: history.accepted < goal)


@on_modes("cluster local", also=("cluster replicated", "valkey cluster replicated"))
async def test_moved_slot_loses_nothing_and_troubles_no_other_bus(
    tmp_path: Path, history: History, report: Report, findings: Findings, mode: Mode
) -> None:
    """While a bus's slot moves it is unavailable for 5 s at most, and a bus on another node notices nothing."""
    settings = {"WOWEVENT_BUSES": f"default,{OTHER_BUS}"}
    other = History(tmp_path / "other.jsonl", time.monotonic)
    with other:
        async with playing(mode, tmp_path, history, settings=settings) as scene, asyncio.TaskGroup() as tasks:
            cluster = scene.topology
            assert isinstance(cluster, RedisCluster)
            goes_on = True
            publisher = SteadyPublisher(
                scene.service.port, Source("other", other), other, 4, path=f"{OTHER_ROOT}/events"
            )
            publishing = tasks.create_task(publisher.run(lambda: goes_on))
            await fill(scene, history)
            origin, elsewhere = await cluster.primary_of(BUS), await cluster.primary_of(f"{{{OTHER_BUS}}}")
            target = next(node for node in await cluster.primaries() if node not in {origin, elsewhere})
            await scene.strike()
            other.watch_silence()
            began = time.monotonic()
            await cluster.move_slot(BUS, target)
            moved_seconds = time.monotonic() - began
            assert await cluster.primary_of(BUS) is target
            await scene.accepted()
            other_silence_seconds = other.longest_silence_seconds
            goes_on = False
            await publishing
            outcome = await scene.finish()
            others, _ = await read_store(scene.service.port, root=OTHER_ROOT)
    report(
        f"{mode.name}: {SLOT_MIB.count} MiB moved in {moved_seconds:.2f} s: {outcome}; "
        f"the other bus {other.accepted} accepted, longest without success {other_silence_seconds:.2f} s"
    )
    findings.note("slot moved", mode, outcome, f"{SLOT_MIB.count} MiB; the other bus {other_silence_seconds:.1f} s")
    assert elsewhere is not origin
    assert check_store(other.operations.values(), others) == StoreVerdict()
    assert outcome.silence_seconds < UNAVAILABLE_SECONDS_MAX
    assert other_silence_seconds < UNAFFECTED_SECONDS_MAX
