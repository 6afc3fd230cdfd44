"""Events for later over HTTP: stored beside the log, listed, cancelled, and delivered when they are due."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from tests.service.frames import opened
from tests.service.subscribed import claim, publish, put
from tests.service.test_bad_input import Refusal, expect
from tests.service.watched_service import WatchedService, event_bytes
from waooaw.events.dead_letter_wire import read_scheduled_page

LATER_DAY: Final = datetime.now(UTC).date() + timedelta(days=2)
LATER: Final = f"{LATER_DAY}T12:00:00.000Z"


async def schedule(service: WatchedService, **members: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever JSON has
    """Publish an event for later; return its receipt."""
    answer = await service.publish(event_bytes("scheduled.made", **{"deliverat": LATER, **members}))
    assert answer.status == 200, answer
    receipt: dict[str, Any] = answer.json()
    return receipt


async def page(service: WatchedService, query: str = "") -> dict[str, Any]:
    """A page of the schedule."""
    answer = await service.call("GET", f"/v1/scheduled{query}")
    assert answer.status == 200, answer
    found: dict[str, Any] = answer.json()
    return found


async def test_a_scheduled_event(service: WatchedService) -> None:
    """Its receipt has no position, but when it is due and what it is cancelled by; it is in no page of the log."""
    receipt = await schedule(service, id="later-1", data={"a": 1})
    assert receipt["position"] is None
    assert receipt["scheduled"]["deliverat"] == LATER
    schedule_id = receipt["scheduled"]["id"]
    found = (await service.call("GET", f"/v1/scheduled/{schedule_id}")).json()
    assert (found["id"], found["deliverat"]) == (schedule_id, LATER)
    assert (found["event"]["id"], found["event"]["data"]) == ("later-1", {"a": 1})
    assert found in (await page(service))["items"]
    assert (await service.call("GET", "/v1/events?pattern=scheduled.made")).json()["items"] == []
    again = await schedule(service, id="later-1", data={"a": 1})
    assert (again["duplicate"], again["scheduled"]) == (True, receipt["scheduled"])
    refused = await service.publish(event_bytes("scheduled.made", deliverat=LATER, id="later-1", data={"a": 2}))
    expect(refused, Refusal(409, "id_reused"))


async def test_cancelling(service: WatchedService) -> None:
    """Once cancelled it is gone, and nobody gets it."""
    schedule_id = (await schedule(service))["scheduled"]["id"]
    answer = await service.call("DELETE", f"/v1/scheduled/{schedule_id}")
    assert (answer.status, answer.body) == (204, b"")
    for method in ("GET", "DELETE"):
        expect(await service.call(method, f"/v1/scheduled/{schedule_id}"), Refusal(404, "not_found"))


async def test_pages(service: WatchedService) -> None:
    """The next one comes first; pages go on after one another, and tell how many there are."""
    times = [f"{LATER_DAY}T00:00:0{number}.000Z" for number in range(5)]
    ids = [(await schedule(service, deliverat=time))["scheduled"]["id"] for time in reversed(times)]
    first = await page(service, "?limit=2")
    assert [item["deliverat"] for item in first["items"]] == times[:2]
    assert first["end"] is False
    second = await page(service, f"?limit=2&after={first['next']}")
    assert [item["id"] for item in second["items"]] == [ids[2], ids[1]]
    assert first["total"] == second["total"] >= 5
    read = read_scheduled_page((await service.call("GET", "/v1/scheduled?limit=1")).body)
    assert read.items[0].event.type == "scheduled.made"


async def test_a_due_event(service: WatchedService) -> None:
    """When it is due it is an ordinary event, once: subscriptions and the log have it."""
    await put(service, "due")
    await publish(service, "due")
    (before,) = await claim(service, "due")
    due = before["first_delivery"]  # now, by the service's clock
    answer = await service.publish(event_bytes("due.later", deliverat=due.replace("Z", "+00:00")))
    assert answer.status == 200
    (delivery,) = await claim(service, "due", wait_seconds=20)
    assert delivery["event"]["type"] == "due.later"
    if answer.json()["position"] is None:
        service.accepted += 1
    stored = await service.call("GET", f"/v1/events/{delivery['position']}")
    assert stored.json()["event"] == delivery["event"]


async def test_scheduling_over_a_socket(service: WatchedService) -> None:
    """A publish of a socket schedules, too, alone and in a batch with events for now."""
    event = {"type": "scheduled.socket", "source": "/tests", "deliverat": LATER}
    async with opened(service.port) as socket:
        receipt = (await service.ask(socket, op="publish", id="1", event=event))["result"]
        assert receipt["scheduled"]["deliverat"] == LATER
        both = (await service.ask(socket, op="publish", id="2", events=[event, {**event, "deliverat": None}]))["result"]
    assert [result["position"] is None for result in both["results"]] == [True, False]


BAD: Final[list[tuple[str, str, Refusal]]] = [
    ("GET", "?x=1", Refusal(400, "unknown_parameter", "#/query/x")),
    ("GET", "?limit=0", Refusal(400, "invalid_parameter", "#/query/limit")),
    ("GET", "?limit=1001", Refusal(400, "invalid_parameter", "#/query/limit")),
    ("GET", "?after=nonsense", Refusal(400, "invalid_parameter", "#/query/after")),
    ("GET", "/nonsense", Refusal(404, "not_found")),
    ("GET", "/" + "0" * 32, Refusal(404, "not_found")),
    ("DELETE", "/" + "0" * 32, Refusal(404, "not_found")),
    ("DELETE", "/%ff?x=1", Refusal(400, "unknown_parameter", "#/query/x")),
    ("DELETE", "", Refusal(405, "method_not_allowed")),
]


@pytest.mark.parametrize(("method", "rest", "refusal"), BAD)
async def test_bad_requests(service: WatchedService, method: str, rest: str, refusal: Refusal) -> None:
    """A request outside its rules is a problem with its code and its place."""
    expect(await service.call(method, f"/v1/scheduled{rest}"), refusal)


async def test_a_time_that_is_none(service: WatchedService) -> None:
    """An event for a time that is none is refused."""
    body = json.dumps({"type": "a", "source": "/a", "deliverat": "tomorrow"}).encode()
    expect(await service.publish(body), Refusal(400, "invalid_event", "#/deliverat"))
