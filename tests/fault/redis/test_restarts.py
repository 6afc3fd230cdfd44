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


class Course:
    """The publishers and the readers of a run, and how far they are."""

    def __init__(self, published_to: int, streamed_from: int, rate: float) -> None:
        bodies = real_events(BODIES)
        self.rate = rate
        self.publishers = [SequencePublisher(published_to, name, bodies, rate / len(PUBLISHERS)) for name in PUBLISHERS]
        self.readers: list[SequenceReader] = [SocketSequenceReader(streamed_from), SseSequenceReader(streamed_from)]
        self._is_publishing = self._is_reading = True

    @property
    def accepted(self) -> int:
        """Events with a receipt."""
        return sum(publisher.accepted for publisher in self.publishers)

    @property
    def repeated(self) -> int:
        """Batches that were sent more than once."""
        return sum(publisher.repeated for publisher in self.publishers)

    async def run(self, strikes: Callable[[], Awaitable[None]]) -> float:
        """Publish and read while ``strikes`` runs and until all is delivered; return how long the publishing took."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            publishing = [group.create_task(each.run(lambda: self._is_publishing)) for each in self.publishers]
            reading = [group.create_task(each.run(lambda: self._is_reading)) for each in self.readers]
            await self.more()
            await strikes()
            self._is_publishing = False
            await asyncio.gather(*publishing)
            seconds = time.monotonic() - began
            expected = {publisher.name: publisher.accepted for publisher in self.publishers}
            await until(
                lambda: all(reader.next_numbers == expected or reader.faults for reader in self.readers),
                "all that was accepted",
                CATCH_UP_SECONDS_MAX,
            )
            self._is_reading = False
            for task in reading:
                task.cancel()
        return seconds

    async def more(self) -> None:
        """Return once everybody has read some more than what is accepted now."""
        goal = self.accepted + self.rate * SETTLED_SECONDS
        await until(
            lambda: min(reader.seen for reader in self.readers) >= goal, "events delivered", CATCH_UP_SECONDS_MAX
        )


async def kill_listeners(server: RedisServer) -> None:
    """Kill the connections that carry live events."""

    async def killed() -> bool:
        return bool(await server.cli("CLIENT", "KILL", "TYPE", "pubsub"))

    await eventually(killed, "connection to kill")


async def restarted(service: ServiceProcess) -> None:
    """Kill a replica and start it again."""
    await asyncio.to_thread(service.restart)


async def test_restarts_of_everything_lose_nothing_and_repeat_nothing(
    tmp_path: Path, report: Report, findings: Findings
) -> None:
    """Published to one replica, streamed from the other, everything restarted: 0 missed, 0 twice, no gap."""
    mode = MODES["redis local, AOF always"]
    async with AsyncExitStack() as stack:
        topology = await stack.enter_async_context(mode.make())
        (server,) = topology.servers
        services = [replica(mode, tmp_path / name, topology.url, SETTINGS) for name in ("first", "second")]
        for service in services:
            stack.callback(service.kill)
            await asyncio.to_thread(service.start)
        first, second = services
        course = Course(first.port, second.port, RESTART_RATE.value)

        async def strike_all() -> None:
            for _ in range(RESTARTS.count):
                await server.restart()
                await course.more()
                await restarted(first)
                await course.more()
                await restarted(second)
                await course.more()
                await kill_listeners(server)
                await course.more()

        seconds = await course.run(strike_all)
    faults = [reader.faults[:5] for reader in course.readers]
    silence_seconds = max(publisher.silence_seconds for publisher in course.publishers)
    missed = [course.accepted - reader.seen for reader in course.readers]
    report(
        f"{RESTARTS.count} restarts each of Redis, both replicas and the pub/sub links in {seconds:.0f} s: "
        f"{course.accepted} real events accepted, {course.accepted / seconds:.0f}/s of {course.rate:g} asked for, "
        f"{course.repeated} batches sent again, readers connected "
        f"{[reader.connections for reader in course.readers]} times, missed {missed}, faults {faults}; "
        f"longest without success {silence_seconds:.2f} s"
    )
    findings.note_row(
        ("everything restarted in turn, two replicas", mode.name),
        (
            *(course.accepted, max(missed), sum(map(len, faults)), silence_seconds),
            f"{RESTARTS.count} times each; {course.accepted / seconds:,.0f} events/s",
        ),
    )
    assert faults == [[], []]
    assert missed == [0, 0]
    assert min(reader.connections for reader in course.readers) > RESTARTS.count
    assert course.repeated > RESTARTS.count * DISTURBED_SHARE_MIN
    for service in services:
        assert TRACEBACK not in service.log_text, service.log_text
