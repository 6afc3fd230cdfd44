"""Several buses of one service: each has its own log, readers and cursors; the service counts them all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.http_call import Answer, call
from tests.service.frames import opened
from tests.service.watched_service import event_bytes
from tests.service.wire import connected, request_bytes
from tests.service_process import ServiceProcess
from waooaw.events.service.routes import ROUTES, Route

VARIABLES: Final = {"WOWEVENT_BUSES": "default,orders,invoices"}
JSON: Final = {"Content-Type": "application/json"}
SHORT, NAMED = "/v1", "/v1/buses/orders"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with ServiceProcess(tmp_path_factory.mktemp("buses"), VARIABLES) as running:
        yield running


@pytest.fixture
def own(tmp_path: Path) -> Iterator[ServiceProcess]:
    with ServiceProcess(tmp_path, VARIABLES) as running:
        yield running


def publish(service: ServiceProcess, root: str, event_type: str, **members: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever JSON has
    answer = call(service.url, "POST", f"{root}/events", JSON, event_bytes(event_type, **members))
    assert answer.status == 200, answer.body
    receipt: dict[str, Any] = answer.json()
    return receipt


def get(service: ServiceProcess, path: str, **headers: str) -> Answer:
    answer = call(service.url, "GET", path, headers)
    assert answer.status == 200, answer.body
    return answer


def types(service: ServiceProcess, root: str) -> list[str]:
    return [item["event"]["type"] for item in get(service, f"{root}/events").json()["items"]]


def test_buses_are_listed(shared: ServiceProcess) -> None:
    """The buses come in the order of the setting, each with what its receipts promise."""
    assert get(shared, "/v1/buses").json() == {
        "items": [{"name": name, "durability": "fsync"} for name in ("default", "orders", "invoices")]
    }


def test_a_log_of_its_own(own: ServiceProcess) -> None:
    """What is published to one bus is read there and nowhere else; the short routes are the default bus."""
    publish(own, SHORT, "a.short")
    receipt = publish(own, NAMED, "a.named")
    publish(own, "/v1/buses/default", "a.default")

    assert types(own, SHORT) == types(own, "/v1/buses/default") == ["a.short", "a.default"]
    assert types(own, NAMED) == ["a.named"]
    assert types(own, "/v1/buses/invoices") == []
    assert get(own, f"{NAMED}/events/{receipt['position']}").json()["event"]["type"] == "a.named"
    assert [get(own, f"{root}/log").json()["events"] for root in (SHORT, NAMED)] == [2, 1]


def test_ids_are_of_their_bus(own: ServiceProcess) -> None:
    """The same source and id on two buses are two events; again on one of them it is a duplicate."""
    first, second, again = (publish(own, root, "a.b", id="1") for root in (SHORT, NAMED, NAMED))

    assert (first["duplicate"], second["duplicate"], again["duplicate"]) == (False, False, True)


def test_a_restart_keeps_all_buses(own: ServiceProcess) -> None:
    """What each bus has accepted is there after a kill."""
    publish(own, SHORT, "a.short")
    publish(own, NAMED, "a.named")

    own.restart()

    assert (types(own, SHORT), types(own, NAMED)) == (["a.short"], ["a.named"])


@pytest.mark.parametrize("route", [route for route in ROUTES if "{bus}" in route.path], ids=lambda route: route.name)
def test_an_unknown_bus_is_told(route: Route, shared: ServiceProcess) -> None:
    """A bus that is not served is 404, and the sentence names those that are."""
    path = route.path.format_map({"bus": "nobody", "position": "1-0", "name": "a", "id": "1-1"})

    answer = call(shared.url, route.method, path, JSON, event_bytes("a.b") if route.method == "POST" else None)

    assert (answer.status, answer.json()["code"]) == (404, "not_found")
    assert "'nobody'" in answer.json()["detail"]
    assert "default, orders, invoices" in answer.json()["detail"]


def test_routes_to_come_are_told_on_every_bus(shared: ServiceProcess) -> None:
    """A route that this release does not serve is not available under a bus's name either; nonsense is not found."""
    codes = [call(shared.url, "GET", f"{NAMED}/{rest}").json()["code"] for rest in ("schemas", "replays/1", "nonsense")]

    assert codes == ["not_available", "not_available", "not_found"]


def test_a_cursor_is_of_its_bus(shared: ServiceProcess) -> None:
    """A cursor of another bus is refused, in reads and in streams."""
    cursor = get(shared, f"{NAMED}/log").json()["cursor"]

    answers = [call(shared.url, "GET", f"{SHORT}/{name}?from={cursor}") for name in ("events", "stream")]

    assert [(answer.status, answer.json()["code"]) for answer in answers] == [(400, "invalid_cursor")] * 2
    assert get(shared, f"{NAMED}/events?from={cursor}").json()["items"] == []


def test_the_next_page_is_on_the_same_bus(own: ServiceProcess) -> None:
    """The link to the next page leads to the bus that was asked."""
    for number in (1, 2):
        publish(own, NAMED, f"a.{number}")

    page = get(own, f"{NAMED}/events?limit=1", Accept="application/x-ndjson")
    link = page.headers["link"].partition(">")[0].removeprefix("<")

    assert link.startswith(f"{NAMED}/events?")
    assert json.loads(get(own, link, Accept="application/x-ndjson").body)["type"] == "a.2"


async def test_streams_are_of_their_bus(own: ServiceProcess) -> None:
    """Server-sent events and both kinds of socket of a bus get its events, live and stored, and no others."""
    await asyncio.to_thread(publish, own, SHORT, "a.other")
    await asyncio.to_thread(publish, own, NAMED, "a.stored")
    async with (
        connected(own.port) as wire,
        opened(own.port, target=f"{NAMED}/ws") as socket,
        opened(own.port, target=f"{NAMED}/ws?from=earliest", protocol="cloudevents.json") as bare,
    ):
        await wire.send(request_bytes("GET", f"{NAMED}/stream?from=earliest"))
        assert (await wire.head()).status == 200
        await socket.ask(op="publish", id="1", event={"type": "a.live", "source": "/tests"})
        await socket.ask(op="stream", id="2", **{"from": "earliest"})
        await asyncio.to_thread(publish, own, SHORT, "a.other")
        await asyncio.to_thread(publish, own, NAMED, "a.last")
        text = b""
        while b"a.last" not in text:
            text += await wire.chunk()
        sent = [json.loads(line[6:])["type"] for line in text.decode().splitlines() if line.startswith("data: ")]
        streamed = [(await socket.receive_op("event"))["event"]["type"] for _ in range(3)]
        received = [(await bare.receive())["type"] for _ in range(3)]

    assert sent == streamed == received == ["a.stored", "a.live", "a.last"]


def test_metrics_sum_and_tell_apart(own: ServiceProcess) -> None:
    """The totals are over all buses; each bus has its own counts, by its label for Prometheus."""
    publish(own, SHORT, "a.b")
    publish(own, NAMED, "a.b")
    publish(own, NAMED, "a.c")
    call(own.url, "POST", f"{NAMED}/events", JSON, b"{}")

    members = get(own, "/metrics").json()
    lines = get(own, "/metrics?format=prometheus").body.decode().splitlines()

    assert (members["totals"]["publishes"], members["totals"]["errors"]) == (3, 1)
    assert members["throughput"]["publishes"]["count"] == 3
    assert {name: counts["publishes"] for name, counts in members["event_types"].items()} == {"a.b": 2, "a.c": 1}
    assert members["buses"] == {
        "default": {"publishes": 1, "deliveries": 0, "errors": 0},
        "orders": {"publishes": 2, "deliveries": 0, "errors": 1},
        "invoices": {"publishes": 0, "deliveries": 0, "errors": 0},
    }
    assert 'wowevent_publishes_total{bus="orders",type="a.b"} 1.0' in lines
    assert 'wowevent_log_events{bus="orders"} 2.0' in lines
    assert 'wowevent_publish_errors_total{bus="orders",code="invalid_event"} 1.0' in lines
    assert 'wowevent_bus_healthy{bus="invoices"} 1.0' in lines


def test_health_is_of_all_buses(shared: ServiceProcess) -> None:
    """When all are well the answer is the three members; the details have each bus."""
    assert get(shared, "/health").json() == {
        "status": "healthy",
        "redis": "not_configured",
        "event_bus": "running",
    }
    buses = get(shared, "/health?details=true").json()["buses"]
    assert list(buses) == ["default", "orders", "invoices"]
    assert all(bus["durability"] == "fsync" and bus["problem"] is None for bus in buses.values())


async def test_a_drain_finishes_all_buses(own: ServiceProcess) -> None:
    """Publishes that a drain meets on either bus are stored when they were answered, and told a reason otherwise."""
    calls = [
        asyncio.to_thread(
            call, own.url, "POST", f"{root}/events", JSON, event_bytes("a.b", id=f"{root} {number}", data="x" * 1000)
        )
        for number in range(25)
        for root in (SHORT, NAMED)
    ]
    draining = asyncio.create_task(asyncio.to_thread(own.terminate))
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert await draining == 0
    await asyncio.to_thread(own.start)

    stored = {root: await asyncio.to_thread(get, own, f"{root}/events?limit=1000") for root in (SHORT, NAMED)}
    accepted = {answer.json()["id"] for answer in outcomes if isinstance(answer, Answer) and answer.status == 200}
    others = [answer for answer in outcomes if isinstance(answer, Answer) and answer.status != 200]
    ids = {root: {item["event"]["id"] for item in answer.json()["items"]} for root, answer in stored.items()}
    assert accepted <= ids[SHORT] | ids[NAMED]
    assert all(event_id.startswith(f"{root} ") for root, found in ids.items() for event_id in found)
    assert all(answer.status == 503 for answer in others)
