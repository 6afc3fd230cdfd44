"""A store, replicas of the service over it, subscriptions, and crews that work; and what the store says of it all."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from tests.fault.redis.modes import MODES
from tests.fault.redis.scene import replica
from tests.fault.sockets import get
from tests.fault.work.crew import Crew
from tests.redis_servers import RedisServer
from tests.service_process import ServiceProcess
from waooaw.events import Event, Receipt, RetryPolicy, SubscriptionDefinition, connect
from waooaw.events.interface import Bus
from waooaw.events.pattern import PatternSet
from waooaw.events.subscription_state import Counts

Store = Literal["redis", "sqlite"]

REDIS: Final = MODES["redis fsync"]
LEASE_SECONDS: Final = 2.0
MAX_ATTEMPTS: Final = 12
"""Far more than the failures decided by handlers and the lapses that kills cause."""

PATTERN: Final = "work.*"
BATCH: Final = 50
LOOK_SECONDS: Final = 0.05
PATIENCE_SECONDS: Final = 30.0


def definition(
    *, is_keyed: bool = False, lease_seconds: float = LEASE_SECONDS, max_attempts: int = MAX_ATTEMPTS
) -> SubscriptionDefinition:
    """Return a subscription to all work, which tries again soon."""
    return SubscriptionDefinition(
        patterns=PatternSet.parse([PATTERN]),
        ordering="key" if is_keyed else "none",
        lease_seconds=lease_seconds,
        retry=RetryPolicy(max_attempts=max_attempts, first_seconds=0.05, cap_seconds=0.2),
    )


@dataclass(slots=True)
class Workplace:
    """What runs. ``bus`` is a client of the first replica; ``server`` is None on sqlite."""

    services: list[ServiceProcess]
    bus: Bus
    server: RedisServer | None = None

    @property
    def urls(self) -> list[str]:
        """Where the replicas are."""
        return [service.url for service in self.services]

    def check_logs(self) -> None:
        """See that no replica met an error that nobody had thought of."""
        for service in self.services:
            assert "Traceback" not in service.log_text, service.log_text


@asynccontextmanager
async def workplace(
    folder: Path, store: Store, *, replicas: int = 2, settings: Mapping[str, str] | None = None
) -> AsyncIterator[Workplace]:
    """Start a store and replicas of the service: on sqlite one, with a file that each write is synced to."""
    async with AsyncExitStack() as stack:
        server = None
        if store == "redis":
            server, services = await _redis_services(stack, folder, replicas, settings)
        else:
            services = [ServiceProcess(folder, settings)]
        for service in services:
            stack.callback(service.kill)
        await asyncio.gather(*[asyncio.to_thread(service.start) for service in services])
        bus = await stack.enter_async_context(connect(services[0].url, patience_seconds=PATIENCE_SECONDS))
        yield Workplace(services, bus, server)


async def _redis_services(
    stack: AsyncExitStack, folder: Path, replicas: int, settings: Mapping[str, str] | None
) -> tuple[RedisServer, list[ServiceProcess]]:
    topology = await stack.enter_async_context(REDIS.make())
    (server,) = topology.servers
    return server, [replica(REDIS, folder / f"replica-{n}", topology.url, settings) for n in range(replicas)]


@dataclass(slots=True)
class Published:
    """What was published: ids in the order of the log, by key."""

    keys: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    count: int = 0

    @property
    def ids(self) -> Iterable[str]:
        """All of them."""
        return (event for each in self.keys.values() for event in each)


async def publish(bus: Bus, count: int, *, keys: int, rate: float, into: Published | None = None) -> Published:
    """Publish events in batches at a rate, each until it has its receipt. Events of one key keep their order."""
    published = Published() if into is None else into
    due = time.monotonic()
    for start in range(0, count, BATCH):
        await asyncio.sleep(due - time.monotonic())
        numbers = range(start, min(start + BATCH, count))
        names = {f"event-{number}": f"key-{number % keys}" for number in numbers}
        waiting = [
            Event(type="work.do", source="chief", id=name, extensions={"partitionkey": key})
            for name, key in names.items()
        ]
        while waiting:
            answers = await bus.publish_many(waiting)
            waiting = [event for event, answer in zip(waiting, answers, strict=True) if not isinstance(answer, Receipt)]
        for name, key in names.items():
            published.keys[key].append(name)
        published.count += len(names)
        due += BATCH / rate
    return published


async def counts_of(bus: Bus, name: str) -> Counts:
    """Return where the references of a subscription are."""
    return (await bus.subscription(name).info()).queue.counts


async def all_done(bus: Bus, names: Sequence[str], seconds_max: float) -> None:
    """Return once nothing waits, is leased or scheduled any more; the sum of promise 3 closes at each look."""
    deadline = time.monotonic() + seconds_max
    for name in names:
        while (left := await counts_of(bus, name)).waiting + left.leased + left.scheduled:
            assert left.is_closed, left
            assert time.monotonic() < deadline, (name, left)
            await asyncio.sleep(LOOK_SECONDS)
        assert left.is_closed, left


async def dead_of(bus: Bus, name: str) -> dict[str, tuple[str, int]]:
    """Return reason and attempts of each dead letter, by its event; none may be there twice."""
    found: dict[str, tuple[str, int]] = {}
    after: str | None = ""
    while after is not None:
        page = await bus.subscription(name).dead_letters(after=after, limit=1000)
        letters = {str(letter.stored.event.id): (letter.reason, letter.attempts) for letter in page.items}
        assert len(letters) == len(page.items)
        assert found.keys().isdisjoint(letters)
        found |= letters
        after = page.next
    return found


async def leases_of(service: ServiceProcess, name: str) -> list[dict[str, Any]]:
    """Return the leases of a subscription that lapse first."""
    answer = await get(service.port, f"/v1/subscriptions/{name}?details=true")
    assert answer.status == 200, answer
    found: list[dict[str, Any]] = answer.json["leases"]
    return found


async def moved_on(
    service: ServiceProcess, names: Sequence[str], crew: Crew, since: float, seconds_max: float
) -> float:
    """Return how long after ``since`` no killed member held a lease any more. The dead ones' leases lapse first."""
    while True:
        dead = set(crew.kills)
        leases = [lease for name in names for lease in await leases_of(service, name)]
        passed = time.monotonic() - since
        if not any(lease["member"].partition(".")[0] in dead for lease in leases):
            return passed
        assert passed < seconds_max, leases
        await asyncio.sleep(LOOK_SECONDS)
