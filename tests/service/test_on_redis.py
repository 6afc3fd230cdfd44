"""The service on a real Redis: several replicas, several buses, and what they say while Redis is away."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cli.command_process import run
from tests.redis_servers.server import Login, RedisServer
from tests.service.frames import Socket, opened
from tests.service.watched_service import event_bytes
from tests.service.wire import PATIENCE_SECONDS, Answer, call, connected, request_bytes
from tests.service_process import ServiceProcess
from waooaw.events import Event, connect

JSON: Final = {"Content-Type": "application/json"}
WELL: Final = {"status": "healthy", "redis": "connected", "event_bus": "running"}
AOF: Final = {"appendonly": "yes", "appendfsync": "always"}
LOOK_SECONDS: Final = 0.02


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[RedisServer]:
    async with RedisServer(tmp_path / "redis", settings=AOF) as server:
        yield server


@asynccontextmanager
async def services(
    folder: Path, server: RedisServer, count: int = 1, variables: Mapping[str, str] | None = None
) -> AsyncIterator[list[ServiceProcess]]:
    """Replicas over one Redis."""
    async with AsyncExitStack() as stack:
        started = []
        for number in range(count):
            (folder / f"service{number}").mkdir()
            service = ServiceProcess(folder / f"service{number}", {"REDIS_URL": server.url, **(variables or {})})
            stack.callback(service.kill)
            await asyncio.to_thread(service.start)
            started.append(service)
        yield started


async def get(service: ServiceProcess, path: str) -> Any:  # noqa: ANN401 - whatever JSON has
    return (await call(service.port, "GET", path)).json()


async def publish(service: ServiceProcess, root: str = "/v1", event_type: str = "a.b") -> Answer:
    return await call(service.port, "POST", f"{root}/events", JSON, event_bytes(event_type))


async def eventually(holds: Callable[[], Awaitable[bool]], seconds: float = PATIENCE_SECONDS) -> float:
    """Look until something holds; return how long it took, AssertionError where it does not come."""
    began = time.monotonic()
    while not await holds():
        assert time.monotonic() - began < seconds, f"it did not come in {seconds} s"
        await asyncio.sleep(LOOK_SECONDS)
    return time.monotonic() - began


async def test_replicas_are_one_service(redis: RedisServer, tmp_path: Path) -> None:
    """What one accepts the other streams and reads; both know each other, and sum up the same."""
    async with services(tmp_path, redis, 2) as (one, two), connected(two.port) as wire:
        await wire.send(request_bytes("GET", "/v1/stream"))
        assert (await wire.head()).status == 200
        receipts = [(await publish(one, event_type=f"a.{number}")).json() for number in range(3)]
        text = b""
        while b"a.2" not in text:
            text += await wire.chunk()
        streamed = [json.loads(line[6:])["type"] for line in text.decode().splitlines() if line.startswith("data: ")]
        read = [item["position"] for item in (await get(two, "/v1/events"))["items"]]

        async def is_known() -> bool:
            cluster = (await get(two, "/metrics"))["cluster"]
            return (cluster["replicas"], cluster["totals"]["publishes"], cluster["streams"]) == (2, 3, 1)

        await eventually(is_known)
        replicas = (await get(one, "/v1/cluster"))["replicas"]
        health = [await get(service, "/health") for service in (one, two)]
        channels = await redis.cli("PUBSUB", "CHANNELS")
        assert await asyncio.to_thread(two.terminate) == 0

        async def is_alone() -> bool:
            return len((await get(one, "/v1/cluster"))["replicas"]) == 1

        await eventually(is_alone, 4.0)

    assert streamed == ["a.0", "a.1", "a.2"]
    assert read == [receipt["position"] for receipt in receipts]
    assert {item["pid"] for item in replicas} == {one.process_id, two.process_id}
    assert [item["self"] for item in replicas].count(True) == 1
    assert health == [WELL, WELL]
    assert channels == ["wowevent:{default}:live"]


async def test_redis_away_and_back(redis: RedisServer, tmp_path: Path) -> None:
    """Not ready within 3 s, degraded with the reason, publishes told when to come back; then all goes on, no gap."""
    variables = {"WOWEVENT_PUBLISH_WAIT_SECONDS": "0.5"}
    async with services(tmp_path, redis, variables=variables) as (service,), opened(service.port) as socket:
        await socket.ask(op="stream", id="1")
        assert (await publish(service, event_type="a.before")).status == 200

        async def is_ready() -> bool:
            return (await call(service.port, "GET", "/ready")).status == 200

        async def is_away() -> bool:
            return not await is_ready()

        redis.kill()
        noticed_seconds = await eventually(is_away)
        began = time.monotonic()
        health = await get(service, "/health")
        health_seconds = time.monotonic() - began
        began = time.monotonic()
        refused = await publish(service)
        refused_seconds = time.monotonic() - began
        ready = (await call(service.port, "GET", "/ready")).json()
        cluster = await get(service, "/v1/cluster")
        await redis.start()
        back_seconds = await eventually(is_ready)
        assert (await publish(service, event_type="a.after")).status == 200
        messages: list[dict[str, Any]] = []
        while not messages or messages[-1].get("event", {}).get("type") != "a.after":
            messages.append(await socket.receive_op("event", "gap"))
        well = await get(service, "/health")

    assert noticed_seconds < 3
    assert back_seconds < 3
    assert health_seconds < 0.5
    assert 0.4 < refused_seconds < 1.9
    assert (health["status"], health["redis"], health["event_bus"]) == ("degraded", "disconnected", "running")
    assert health["reason"].startswith("engine_")
    assert "since" in health
    assert ready["reason"].startswith("engine_")
    assert (refused.status, refused.code, refused.json()["outcome"]) == (503, "engine_unavailable", "not_stored")
    assert int(refused.header("Retry-After") or 0) >= 1
    assert len(cluster["replicas"]) == 1
    assert [message["event"]["type"] for message in messages] == ["a.before", "a.after"]
    assert well == WELL


async def test_each_bus_has_its_level(redis: RedisServer, tmp_path: Path) -> None:
    """Receipts, the list of buses and the details of the health name the level that the setting gives each bus."""
    variables = {"WOWEVENT_BUSES": "default,orders", "WOWEVENT_DURABILITY": "default=local,orders=fsync"}
    async with services(tmp_path, redis, variables=variables) as (service,):
        levels = [(await publish(service, root)).json()["durability"] for root in ("/v1", "/v1/buses/orders")]
        buses = await get(service, "/v1/buses")
        details = await get(service, "/health?details=true")

    assert levels == ["local", "fsync"]
    assert buses["items"] == [
        {"name": "default", "durability": "local"},
        {"name": "orders", "durability": "fsync"},
    ]
    assert {name: bus["durability"] for name, bus in details["buses"].items()} == {
        "default": "local",
        "orders": "fsync",
    }


async def test_a_password_by_its_setting(tmp_path: Path) -> None:
    """The password of the setting beats the one in the URL; neither is in a log line or an answer."""
    login = Login("right-word")
    async with RedisServer(tmp_path / "redis", settings={"requirepass": login.password}, login=login) as server:
        variables = {
            "REDIS_URL": server.url.replace(login.password, "wrong-word"),
            "WOWEVENT_REDIS_PASSWORD": login.password,
        }
        async with services(tmp_path, server, variables=variables) as (service,):
            assert (await publish(service)).status == 200
            told = json.dumps(await get(service, "/health?details=true")) + service.log_text

    assert "-word" not in told


async def test_an_epoch_by_hand(redis: RedisServer, tmp_path: Path) -> None:
    """A running service learns of an epoch that was begun by hand, and goes on in it."""
    async with services(tmp_path, redis) as (service,):
        receipt = (await publish(service)).json()
        before = await get(service, "/v1/log")
        done = await asyncio.to_thread(run, "epoch", "new", variables={"REDIS_URL": redis.url})

        async def is_known() -> bool:
            return bool((await get(service, "/v1/log"))["epoch"] != before["epoch"])

        await eventually(is_known)
        after = await get(service, "/v1/log")
        published = await publish(service)

    assert done.stdout == f"default: epoch {after['epoch']} begins after {receipt['position']}\n"
    assert (done.returncode, done.stderr, published.status) == (0, "", 200)


async def test_connect_without_a_service(redis: RedisServer, tmp_path: Path) -> None:
    """``connect`` with the address of Redis is the same bus that a service serves: published here, read there."""
    async with services(tmp_path, redis) as (service,), connect(redis.url) as bus:
        receipt = await bus.publish(Event(type="a.direct", source="/tests"))
        health = await bus.health()
        async with bus.stream("a.served") as stream:
            await publish(service, event_type="a.served")
            message = await anext(stream)
        items = (await get(service, "/v1/events"))["items"]

    assert [item["event"]["type"] for item in items] == ["a.direct", "a.served"]
    assert message.type == "a.served"  # type: ignore[union-attr]  # a gap has none, and fails here
    assert (health, receipt.durability) == (WELL, "local")


async def test_streams_move_to_a_new_replica(redis: RedisServer, tmp_path: Path) -> None:
    """Where another replica has no streams, some are told to move, with the cursor that they have reached."""
    async with services(tmp_path, redis, 2) as (one, _), AsyncExitStack() as stack:
        sockets: list[Socket] = []
        for _ in range(30):
            socket = await stack.enter_async_context(opened(one.port))
            await socket.ask(op="stream", id="1")
            sockets.append(socket)
        receipt = await publish(one)
        leaving = [asyncio.create_task(socket.receive_op("closing")) for socket in sockets]
        done, rest = await asyncio.wait(leaving, return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE_SECONDS)
        assert done
        closing = done.pop().result()
        for task in rest:
            task.cancel()
        page = await get(one, f"/v1/events?from={closing['cursor']}")

    assert receipt.status == 200
    assert 2 <= closing["retry_after_seconds"] <= 5
    assert page["items"] == []
    assert "gap" not in page
