"""One bus on a Redis, published to and read from while a test breaks something, and judged in the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.fault.checker import Received, Stored, StoreVerdict, StreamVerdict, check_store, check_stream
from tests.fault.history import History
from tests.fault.publishers import Source
from tests.fault.readers import SocketReader, SseReader
from tests.fault.redis.load import Follower, SteadyPublisher
from tests.fault.redis.modes import Mode
from tests.fault.sockets import get
from tests.fault.store_reading import read_store
from tests.fault.waiting import until
from tests.redis_servers import Side, Topology
from tests.service_process import ServiceProcess

BATCHES: Final = (1, 1, 20, 20)
"""Events a request of each publisher of a service."""

FIRST_EVENTS: Final = 200
"""Accepted before anything is broken."""

END_SECONDS_MAX: Final = 40.0
SETTINGS: Final = {"WOWEVENT_STREAM_PING_SECONDS": "0.1"}
TRACEBACK: Final = "Traceback"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to."""

    accepted: int
    silence_seconds: float
    """The longest time without a successful publish."""
    unknown: int
    refused: int
    verdict: StoreVerdict
    stored: list[Stored]

    @property
    def received(self) -> list[Received]:
        """What a stream of the whole log delivers."""
        return [Received(event.position, event.key) for event in self.stored]

    def __str__(self) -> str:
        return (
            f"{self.accepted} accepted, {self.unknown} attempts of unknown outcome, {self.refused} refused; "
            f"lost {len(self.verdict.lost)}, twice {len(self.verdict.twice)}; "
            f"longest without success {self.silence_seconds:.2f} s"
        )


class Scene:
    """See `playing`, which makes it."""

    def __init__(
        self, topology: Topology, services: Sequence[ServiceProcess], history: History, ports: Sequence[int]
    ) -> None:
        self.topology = topology
        self.services = services
        self.history = history
        self.followers = [Follower(port, kind) for port in ports for kind in (SocketReader, SseReader)]
        self._ports = ports
        self._sources: list[Source] = []
        self._publishers: list[asyncio.Task[None]] = []
        self._readers: list[asyncio.Task[None]] = []
        self._is_publishing = True

    @property
    def service(self) -> ServiceProcess:
        """The first replica."""
        return self.services[0]

    def begin(self, group: asyncio.TaskGroup) -> None:
        """Start to publish and to read."""
        for port in self._ports:
            for batch_events in BATCHES:
                source = Source(f"source-{len(self._sources)}", self.history)
                self._sources.append(source)
                publisher = SteadyPublisher(port, source, self.history, batch_events)
                self._publishers.append(group.create_task(publisher.run(lambda: self._is_publishing)))
        self._readers += [group.create_task(follower.run()) for follower in self.followers]

    async def accepted(self, events: int = FIRST_EVENTS) -> None:
        """Return once so many more events were accepted."""
        goal = self.history.accepted + events
        await until(lambda: self.history.accepted >= goal, f"{events} more events accepted")

    async def strike(self) -> None:
        """Call it before something is broken: from here on silence is measured."""
        await self.accepted()
        self.history.watch_silence()

    async def health(self) -> dict[str, object]:
        """Return what the first replica says of itself."""
        found: dict[str, object] = (await get(self._ports[0], "/health")).json
        return found

    async def finish(self, *, may_lose: bool = False) -> Outcome:
        """End the load, settle what is unknown, and judge the store and what the readers saw.

        With ``may_lose`` lost events, and readers who saw them, are no failure; they are counted.
        """
        await self.accepted()
        silence_seconds = self.history.longest_silence_seconds
        self._is_publishing = False
        async with asyncio.timeout(END_SECONDS_MAX):
            await asyncio.gather(*self._publishers)
            last = await self._publish_last()
            for follower in self.followers:
                follower.end_at(last)
            await asyncio.gather(*self._readers)
        stored, _ = await read_store(self._ports[0])
        verdict = check_store(self.history.operations.values(), stored)
        outcome = Outcome(
            accepted=self.history.accepted,
            silence_seconds=silence_seconds,
            unknown=self.history.unknown_attempts,
            refused=self.history.refused_attempts,
            verdict=verdict,
            stored=stored,
        )
        if not may_lose:
            assert verdict == StoreVerdict(), outcome
            if len(self.topology.data_servers) == 1:
                self.check_streams(outcome)
            else:
                self.check_told(outcome)
        for service in self.services:
            assert TRACEBACK not in service.log_text, service.log_text
        return outcome

    def check_streams(self, outcome: Outcome) -> None:
        """See that each connection of each reader got every event once and in order, without a gap."""
        for follower in self.followers:
            verdicts = [check_stream(outcome.stored, each.start, each.items) for each in follower.sessions]
            assert [verdict for verdict in verdicts if not verdict.is_whole] == [], summary(verdicts)
            assert follower.gaps == []
            if follower.kind is SseReader:  # each event is a cursor there: nothing comes twice over all connections
                assert follower.received == outcome.received

    def check_told(self, outcome: Outcome) -> None:
        """See that a reader who saw what a failover took back was told, and got all that came after.

        Others must have got everything, and no gap.
        """
        kept = set(outcome.received)
        for follower in self.followers:
            if not follower.gaps and kept.issuperset(follower.received):
                assert set(follower.received) == kept
                continue
            assert {gap.reason for gap in follower.gaps} == {"epoch"}, follower.gaps
            told = follower.gaps[-1]
            items = list(follower.items)
            after = [item for item in items[items.index(told) :] if isinstance(item, Received)]
            expected = [item for item in outcome.received if item.position > told.end]
            assert list(dict.fromkeys(after)) == expected

    async def _publish_last(self) -> int:
        """Publish one more event, until it is accepted; return its position."""
        source = Source("last", self.history)
        positions: list[int] = []

        def is_missing() -> bool:
            for key in reversed(self.history.operations):
                if key.source == source.name:
                    positions.extend(self.history.operations[key].positions)
                break
            return not positions

        await SteadyPublisher(self._ports[0], source, self.history, 1).run(is_missing)
        return positions[-1]


def summary(verdicts: Sequence[StreamVerdict]) -> str:
    """Count what is wrong with connections, for a message that can be read."""
    return "; ".join(
        f"connection {number}: {verdict.delivered} delivered, missed {len(verdict.missed)}, twice "
        f"{len(verdict.twice)}, "
        f"unexpected {len(verdict.unexpected)}, out of order {len(verdict.out_of_order)}"
        for number, verdict in enumerate(verdicts)
        if not verdict.is_whole
    )


@asynccontextmanager
async def playing(
    mode: Mode,
    folder: Path,
    history: History,
    *,
    replicas: int = 1,
    topology: Topology | None = None,
    settings: Mapping[str, str] | None = None,
) -> AsyncIterator[Scene]:
    """Start the servers of a mode (or take a ``topology`` that runs) and replicas of the service, and load them."""
    async with AsyncExitStack() as stack:
        if topology is None:
            topology = await stack.enter_async_context(mode.make())
        services = []
        for number in range(replicas):
            service = replica(mode, folder / f"replica-{number}", topology.url, settings)
            stack.callback(service.kill)
            await asyncio.to_thread(service.start)
            services.append(service)
        scene = Scene(topology, services, history, [service.port for service in services])
        await stack.enter_async_context(loaded(scene))
        yield scene


def replica(
    mode: Mode, folder: Path, url: str, settings: Mapping[str, str] | None = None, side: Side | None = None
) -> ServiceProcess:
    """Return a service on Redis, not started; on a ``side`` of a partition, where one is given."""
    folder.mkdir()
    variables = {"REDIS_URL": url, "WOWEVENT_DURABILITY": mode.durability, **SETTINGS, **(settings or {})}
    if side is None:
        return ServiceProcess(folder, variables)
    return ServiceProcess(folder, variables, host=side.test_address, prefix=side.prefix)


@asynccontextmanager
async def loaded(scene: Scene) -> AsyncIterator[None]:
    """Publish to a scene's services and read from them."""
    async with asyncio.TaskGroup() as group:
        scene.begin(group)
        await scene.accepted()
        yield
