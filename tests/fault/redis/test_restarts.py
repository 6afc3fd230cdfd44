"""Everything restarted in turn under a stream of real events: Redis, each replica, the pub/sub links."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

from bench.real_events import real_events
from tests.fault.conftest import Report
from tests.fault.parameters import RESTART_RATE, RESTARTS
from tests.fault.redis.findings import Findings
from tests.fault.redis.modes import MODES
from tests.fault.redis.scene import TRACEBACK, replica
from tests.fault.redis.sequences import SequencePublisher, SequenceReader, SocketSequenceReader, SseSequenceReader
from tests.fault.waiting import until
from tests.redis_servers import RedisServer
from tests.redis_servers.topology import until as eventually
from tests.service_process import ServiceProcess

BODIES = 150
PUBLISHERS = ("a", "b")
SETTLED_SECONDS = 0.5
"""How much is published, in seconds at the full rate, between two restarts."""

SETTINGS = {"WOWEVENT_RETENTION_EVENTS": "400000"}
"""Some 20 s of the full rate: Redis has little to load, and nobody is away for as long."""

CATCH_UP_SECONDS_MAX = 60.0
DISTURBED_SHARE_MIN = 0.5


async def kill_listeners(server: RedisServer) -> None:
    """Kill the connections that carry live events."""

    async def killed() -> bool:
        return bool(await server.cli("CLIENT", "KILL", "TYPE", "pubsub"))

    await eventually(killed, "connection to kill")


async def test_restarts_of_everything_lose_nothing_and_repeat_nothing(
    tmp_path: Path, report: Report, findings: Findings
) -> None:
    """Published to one replica, streamed from the other, everything restarted: 0 missed, 0 twice, no gap."""
    mode = MODES["redis local, AOF always"]
    rate = RESTART_RATE.value
    async with AsyncExitStack() as stack:
        topology = await stack.enter_async_context(mode.make())
        (server,) = topology.servers
        services = [replica(mode, tmp_path / name, topology.url, SETTINGS) for name in ("first", "second")]
        for service in services:
            stack.callback(service.kill)
            await asyncio.to_thread(service.start)
        first, second = services
        bodies = real_events(BODIES)
        publishers = [SequencePublisher(first.port, name, bodies, rate / len(PUBLISHERS)) for name in PUBLISHERS]
        readers: list[SequenceReader] = [SocketSequenceReader(second.port), SseSequenceReader(second.port)]
        publishing = reading = True
        began = time.monotonic()

        def accepted() -> int:
            return sum(publisher.accepted for publisher in publishers)

        def slowest_reader() -> int:
            return min(reader.seen for reader in readers)

        async def more() -> None:
            goal = accepted() + rate * SETTLED_SECONDS
            await until(
                lambda: min(reader.seen for reader in readers) >= goal, "events delivered", CATCH_UP_SECONDS_MAX
            )

        strikes: list[Callable[[], Awaitable[None]]] = [
            server.restart,
            lambda: restarted(first),
            lambda: restarted(second),
            lambda: kill_listeners(server),
        ]
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(publisher.run(lambda: publishing)) for publisher in publishers]
            following = [group.create_task(reader.run(lambda: reading)) for reader in readers]
            await more()
            for _ in range(RESTARTS.count):
                for strike in strikes:
                    await strike()
                    await more()
            publishing = False
            await asyncio.gather(*running)
            seconds = time.monotonic() - began
            expected = {publisher.name: publisher.accepted for publisher in publishers}
            await until(
                lambda: all(reader.next_numbers == expected or reader.faults for reader in readers),
                "all that was accepted",
                CATCH_UP_SECONDS_MAX,
            )
            reading = False
            for task in following:
                task.cancel()
    faults = [reader.faults[:5] for reader in readers]
    silence_seconds = max(publisher.silence_seconds for publisher in publishers)
    missed = [accepted() - reader.seen for reader in readers]
    report(
        f"{RESTARTS.count} restarts each of Redis, both replicas and the pub/sub links in {seconds:.0f} s: "
        f"{accepted()} real events accepted, {accepted() / seconds:.0f}/s of {rate:g} asked for, "
        f"{sum(publisher.repeated for publisher in publishers)} batches sent again, readers connected "
        f"{[reader.connections for reader in readers]} times, missed {missed}, faults {faults}; "
        f"longest without success {silence_seconds:.2f} s"
    )
    findings.note_row(
        ("everything restarted in turn, two replicas", mode.name),
        (accepted(), max(missed), sum(map(len, faults)), silence_seconds, f"{RESTARTS.count} times each"),
    )
    assert faults == [[], []]
    assert missed == [0, 0]
    assert min(reader.connections for reader in readers) > RESTARTS.count
    assert sum(publisher.repeated for publisher in publishers) > RESTARTS.count * DISTURBED_SHARE_MIN
    for service in services:
        assert TRACEBACK not in service.log_text, service.log_text


async def restarted(service: ServiceProcess) -> None:
    """Kill a replica and start it again."""
    await asyncio.to_thread(service.restart)
