"""Replicas: who is on the list, what they have done together, and which streams move to another one."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from tests.http_call import call
from tests.service.watched_service import event_bytes
from tests.service_process import READY_SECONDS, ServiceProcess
from waooaw.events.bus.event_bus import BusOptions, EventBus
from waooaw.events.bus.stream import Stream
from waooaw.events.engine.contract import ReplicaRecord
from waooaw.events.engine.sqlite import SqliteEngine, SqliteOptions
from waooaw.events.event import Event
from waooaw.events.identifier import RandomIdentifiers
from waooaw.events.outages import EngineUnavailableError
from waooaw.events.service.cluster import cluster_members, replica_members
from waooaw.events.service.context import Context
from waooaw.events.service.open_streams import OpenStreams
from waooaw.events.service.rebalancing import STREAMS_MIN, streams_to_shed
from waooaw.events.service.replica import Replica
from waooaw.events.settings import Settings
from waooaw.events.testing import ManualClock


class Opened:
    """A stream that notes what it is told; it stays until the test takes it out."""

    stream: Stream[bytes] | None = None

    def __init__(self, bus: EventBus) -> None:
        self.bus = bus
        self.told: list[float] = []

    def ping(self) -> None:
        """See OpenStream."""

    def leave(self, retry_after_seconds: float) -> None:
        """See OpenStream."""
        self.told.append(retry_after_seconds)


class Store(SqliteEngine):
    """An engine in memory that a test takes away."""

    is_away = False

    async def beat(self, replica: str, members: bytes) -> tuple[ReplicaRecord, ...]:
        """See Replicas."""
        if self.is_away:
            raise EngineUnavailableError("away")
        return await super().beat(replica, members)


@asynccontextmanager
async def store(clock: ManualClock) -> AsyncIterator[tuple[Store, EventBus]]:
    """A store with its bus, for replicas of one process."""
    identifiers = RandomIdentifiers()
    async with AsyncExitStack() as stack:
        engine = Store(None, ("default",), clock=clock, identifiers=identifiers, options=SqliteOptions())
        await engine.open(stack)
        bus = EventBus(engine, "default", clock=clock, identifiers=identifiers, options=BusOptions())
        yield engine, await stack.enter_async_context(bus)


def replica(engine: Store, bus: EventBus, clock: ManualClock, name: str) -> tuple[Replica, Context]:
    streams = OpenStreams(Random(1), ping_seconds=15, age_seconds=0)
    context = Context(Settings(), clock, Random(1), streams, engine=engine, buses={"default": bus})
    return Replica(context, engine, name), context


# The decision ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "others", "seconds", "shed"),
    [
        (1000, [], 2, 0),
        (1000, [1000], 2, 0),
        (130, [70], 60, 0),
        (131, [69], 60, 31),
        (1000, [0], 60, 500),
        (1000, [0], 2, 17),
        (20, [0], 2, 1),
        (STREAMS_MIN - 1, [0], 2, 0),
        (0, [1000], 2, 0),
        (400, [100, 100], 60, 200),
        (100, [400, 100], 60, 0),
    ],
)
def test_what_moves(own: int, others: list[int], seconds: float, shed: int) -> None:
    """Above 1.3 times the mean the excess over the mean goes, spread over a minute; few streams are left alone."""
    assert streams_to_shed(own, others, seconds) == shed


@pytest.mark.parametrize(("own", "other"), [(100, 0), (5000, 100), (20, 10)])
def test_moving_comes_to_an_end(own: int, other: int) -> None:
    """Where what is shed arrives at the other replica, nothing moves any more after some minutes."""
    for _ in range(600):
        count = streams_to_shed(own, [other], 2)
        own, other = own - count, other + count

    assert streams_to_shed(own, [other], 2) == streams_to_shed(other, [own], 2) == 0
    assert own >= other


# The streams ----------------------------------------------------------------------------------------------------------


async def test_a_stream_is_asked_once() -> None:
    """Those that were asked to move are not asked again, also where they take their time."""
    clock = ManualClock()
    async with store(clock) as (_, bus):
        streams = OpenStreams(Random(1), ping_seconds=15, age_seconds=1800)
        opened = [Opened(bus) for _ in range(10)]
        for stream in opened:
            streams.add(stream)

        streams.shed(4)
        streams.shed(4)
        asked = [stream for stream in opened if stream.told]
        staying = streams.staying
        for stream in asked:
            streams.remove(stream)
        streams.leave_all()

    assert (len(asked), staying, len(streams)) == (8, 2, 2)
    assert all(len(stream.told) == 1 and 2 <= stream.told[0] <= 5 for stream in opened)


# The list -------------------------------------------------------------------------------------------------------------


async def test_replicas_know_each_other() -> None:
    """Each lists all, with what they said of themselves and when; the sums are over all of them."""
    clock = ManualClock()
    async with store(clock) as (engine, bus):
        (one, _), (two, two_context) = replica(engine, bus, clock, "one"), replica(engine, bus, clock, "two")
        two_context.streams.add(Opened(bus))
        await two.beat()
        await bus.publish_many([Event(type="a", source="/a") for _ in range(10)])
        clock.advance(2)
        await two.beat()
        await one.beat()
        items = [replica_members(item, is_self=item.id == one.id) for item in one.listed()]
        cluster = cluster_members(one.listed())

    assert [(item["id"], item["self"], item["streams"], item["load"]) for item in items] == [
        ("one", True, 0, 0.0),
        ("two", False, 1, 5.0),
    ]
    assert {item["seen"] for item in items} == {"2025-11-24T21:20:02.000Z"}
    assert (cluster["replicas"], cluster["streams"], cluster["totals"]["publishes"]) == (2, 1, 20)
    assert cluster["throughput"]["publishes"]["count"] == 20


async def test_a_list_grows_old_honestly() -> None:
    """While the store is away the last list stays, with the times at which the replicas were seen."""
    clock = ManualClock()
    async with store(clock) as (engine, bus):
        (one, _), (two, _) = replica(engine, bus, clock, "one"), replica(engine, bus, clock, "two")
        await two.beat()
        await one.beat()
        engine.is_away = True
        clock.advance(100)
        accepted = await one.beat()
        seen = {item.id: item.seen_ms for item in one.listed()}
        engine.is_away = False
        await one.beat()
        after = [item.id for item in one.listed()]

    assert accepted is False
    assert seen == {"one": 1_764_019_200_000, "two": 1_764_019_200_000}
    assert after == ["one"]


async def test_a_replica_leaves() -> None:
    """Closing takes it off the others' list at once."""
    clock = ManualClock()
    async with store(clock) as (engine, bus):
        (one, _), (two, _) = replica(engine, bus, clock, "one"), replica(engine, bus, clock, "two")
        async with AsyncExitStack() as stack:
            await two.open(stack)
            await one.beat()
            before = [item.id for item in one.listed()]
        await one.beat()

        assert (before, [item.id for item in one.listed()]) == (["one", "two"], ["one"])


@pytest.mark.parametrize("members", [b"{}", b"[]", b"no JSON", b'{"streams":"many","totals":7,"version":"9"}'])
async def test_other_releases_are_listed(members: bytes) -> None:
    """A replica that describes itself in another way is on the list, and no sum fails of it."""
    clock = ManualClock()
    async with store(clock) as (engine, bus):
        one, context = replica(engine, bus, clock, "one")
        for _ in range(STREAMS_MIN):
            context.streams.add(Opened(bus))
        await engine.beat("other", members)
        await one.beat()
        cluster = cluster_members(one.listed())

    assert (cluster["replicas"], cluster["streams"], cluster["totals"]["publishes"]) == (2, STREAMS_MIN, 0)


async def test_streams_move_to_a_replica_that_has_fewer() -> None:
    """Each beat asks some streams to move; a replica that drains gets none, and one that drains asks none."""
    clock = ManualClock()
    async with store(clock) as (engine, bus):
        (one, context), (two, two_context) = replica(engine, bus, clock, "one"), replica(engine, bus, clock, "two")
        opened = [Opened(bus) for _ in range(60)]
        for stream in opened:
            context.streams.add(stream)
        counts = []
        await one.step()
        counts.append(sum(bool(stream.told) for stream in opened))
        await two.beat()
        await one.step()
        counts.append(sum(bool(stream.told) for stream in opened))
        two_context.begin_drain()
        await two.beat()
        await one.step()
        counts.append(sum(bool(stream.told) for stream in opened))

    assert counts == [0, 1, 1]


# A real service -------------------------------------------------------------------------------------------------------


def test_services_share_a_port(tmp_path: Path) -> None:
    """Two services with ``reuse_port`` on one port both get connections; one without it is told that it is in use."""
    variables = {"WOWEVENT_REUSE_PORT": "true"}
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
    with ServiceProcess(tmp_path / "one", variables) as one:
        with ServiceProcess(tmp_path / "two", variables, port=one.port) as two:
            told: set[int] = set()
            deadline = time.monotonic() + READY_SECONDS
            while told != {one.process_id, two.process_id}:
                assert time.monotonic() < deadline, told
                told |= {item["pid"] for item in call(one.url, "GET", "/v1/cluster").json()["replicas"]}
            with ServiceProcess(tmp_path / "three", port=one.port) as three:
                assert three.wait() == 1
                assert f"port {one.port} of 127.0.0.1 is in use" in three.log_text
            assert two.terminate() == 0
        (left,) = call(one.url, "GET", "/v1/cluster").json()["replicas"]
        assert left["pid"] == one.process_id
        assert one.terminate() == 0


def test_a_shared_port_has_a_number(tmp_path: Path) -> None:
    """Port 0 is another one for each service: sharing it is refused."""
    service = ServiceProcess(tmp_path, {"WOWEVENT_REUSE_PORT": "true", "PORT": "0"})
    service.start(wait=False)

    assert service.wait() == 1
    assert "--reuse-port needs a --port" in service.log_text


def test_one_service_is_its_own_cluster(tmp_path: Path) -> None:
    """On the embedded engine the list has one replica, and the sums are its own; a start is a new replica."""
    with ServiceProcess(tmp_path) as service:
        call(service.url, "POST", "/v1/events", {"Content-Type": "application/json"}, event_bytes("a.b"))
        (item,) = call(service.url, "GET", "/v1/cluster").json()["replicas"]
        metrics = call(service.url, "GET", "/metrics").json()
        process_id = service.process_id
        service.restart()
        (again,) = call(service.url, "GET", "/v1/cluster").json()["replicas"]

    assert (item["self"], item["url"], item["pid"], item["draining"]) == (True, service.url, process_id, False)
    assert again["id"] != item["id"]
    assert metrics["cluster"]["replicas"] == 1
    assert metrics["cluster"]["totals"] == metrics["totals"]
    assert metrics["cluster"]["totals"]["publishes"] == 1
