"""A network partition with one replica of the service on the side of the old primary, one on the other."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path

from tests.fault.checker import StoreVerdict
from tests.fault.conftest import Report
from tests.fault.history import History
from tests.fault.parameters import CABLE_SECONDS
from tests.fault.redis.findings import Findings
from tests.fault.redis.modes import EVERY_SECOND, Mode, on_modes
from tests.fault.redis.scene import Scene, loaded, replica
from tests.fault.waiting import until
from tests.fault_proxy import FaultProxy
from tests.redis_servers import Partition, SentinelGroup

SILENCE_SECONDS_MAX = 5.0
OWN_SECONDS_MAX = 2.0
"""What the service may add, where the Sentinels take their time: each may vote for itself, and then they wait."""


@on_modes("sentinel replicated", also=("sentinel local",))
async def test_partition_with_clients_on_both_sides(
    tmp_path: Path, history: History, report: Report, findings: Findings, mode: Mode
) -> None:
    """The minority's publishes are not promised, the majority's go on; healed, nothing promised is lost."""
    with Partition() as partition:
        async with AsyncExitStack() as stack:
            left, right = partition.left, partition.right
            is_replicated = mode.durability == "replicated"
            places = (left.place, right.place, right.place, left.place, right.place, right.place)
            group = SentinelGroup(
                settings=EVERY_SECOND, replicas=2, min_replicas_to_write=int(is_replicated), places=places
            )
            await stack.enter_async_context(group)
            services, ports = [], []
            for side in (left, right):
                service = replica(mode, tmp_path / side.namespace, group.url, side=side)
                stack.callback(service.kill)
                await asyncio.to_thread(service.start)
                way = await stack.enter_async_context(FaultProxy(service.port, side.test_address))
                services.append(service)
                ports.append(way.port)
            scene = Scene(group, services, history, ports)
            await stack.enter_async_context(loaded(scene))
            await scene.strike()
            old, *_ = group.data
            refused_before = history.refused_attempts + history.unknown_attempts
            partition.cut()
            ends_at = time.monotonic() + CABLE_SECONDS.value
            cut_at = time.monotonic()
            new = await group.wait_promoted(old)
            promoted_seconds = time.monotonic() - cut_at
            roles = [(await server.cli("ROLE"))[0] for server in (old, new)]
            await until(lambda: time.monotonic() > ends_at, "end of the partition")
            partition.heal()
            await scene.accepted()
            await group.wait_whole()
            outcome = await scene.finish(may_lose=True)
            assert (await old.cli("ROLE"))[0] == "slave"
    not_promised = history.refused_attempts + history.unknown_attempts - refused_before
    report(
        f"{mode.name}: partition of {CABLE_SECONDS.value:g} s, promoted after {promoted_seconds:.1f} s, "
        f"{not_promised} attempts not promised: {outcome}"
    )
    findings.note("network partition, clients on both sides", mode, outcome, f"{CABLE_SECONDS.value:g} s")
    assert roles == ["master", "master"]
    assert outcome.verdict.twice == []
    if is_replicated:
        assert not_promised > 0
        assert outcome.verdict == StoreVerdict()
    scene.check_told(outcome)
    assert outcome.silence_seconds < max(SILENCE_SECONDS_MAX, promoted_seconds + OWN_SECONDS_MAX)
