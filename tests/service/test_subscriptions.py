"""Durable subscriptions over HTTP: made, replaced, looked at, paused, moved, removed; on each bus its own."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from tests.service.subscribed import claim, counts, look, outcome, path, publish, put, send, settle
from tests.service.test_bad_input import Refusal, expect
from tests.service.watched_service import WatchedService
from waooaw.events.subscription_wire import read_subscription

VARIABLES: Final = {"WOWEVENT_BUSES": "default,orders"}

DEFAULTS: Final[dict[str, Any]] = {
    "filter": None,
    "ordering": "none",
    "max_in_flight": 1000,
    "max_waiting": 1_000_000,
    "lease_seconds": 30,
    "expires_after_seconds": None,
    "retry": {"max_attempts": 5, "first_seconds": 1, "factor": 2, "cap_seconds": 300, "max_age_seconds": None},
    "on_exhausted": "dead_letter",
    "push": None,
}


async def test_making_one(service: WatchedService) -> None:
    """A new one is 201 with its defaults, its place and from where on it receives; again it is 200, and the same."""
    position = (await publish(service, "made"))[0]
    answer = await send(service, "PUT", path("made"), {"patterns": ["made.*", "x"]})
    assert (answer.status, answer.header("Location")) == (201, "/v1/subscriptions/made")
    members = answer.json()
    assert members["name"] == "made"
    assert members["state"] == "active"
    assert members["patterns"] == ["made.*", "x"]
    assert {name: members[name] for name in DEFAULTS} == DEFAULTS
    assert members["receives"] == f"events accepted after {members['receives_after']}"
    assert members["receives_after"] == position
    assert set(members["counts"].values()) == {0}
    assert members["oldest_waiting_seconds"] is None

    again = await send(service, "PUT", path("made"), {"patterns": ["made.*", "x"]})
    assert (again.status, again.header("Location")) == (200, None)
    assert again.json() == members
    assert await look(service, "made") == members
    assert members in (await service.call("GET", "/v1/subscriptions")).json()["items"]
    assert (await service.call("HEAD", path("made"))).status == 200


async def test_a_definition_is_replaced_as_a_whole(service: WatchedService) -> None:
    """What is absent has its default again; what waits stays."""
    await put(service, "whole", lease_seconds=60.5, retry={"max_attempts": 2}, max_in_flight=3)
    await publish(service, "whole")
    members = await put(service, "whole", on_exhausted="drop")
    assert (members["lease_seconds"], members["max_in_flight"], members["on_exhausted"]) == (30, 1000, "drop")
    assert members["retry"] == DEFAULTS["retry"]
    assert await counts(service, "whole") == {"matched": 1, "waiting": 1}


async def test_what_is_answered_is_read_back(service: WatchedService) -> None:
    """The members of a subscription are what clients read as its value, numbers and times exact."""
    await put(service, "read", lease_seconds=1.25, expires_after_seconds=60, retry={"factor": 1.5})
    await publish(service, "read", 3)
    members = await look(service, "read")
    info = read_subscription(members)
    assert (info.name, info.definition.lease_seconds, info.definition.retry.factor) == ("read", 1.25, 1.5)
    assert (info.queue.counts.waiting, info.queue.counts.is_closed) == (3, True)
    assert members["oldest_waiting_seconds"] >= 0


async def test_the_start_counts_once(service: WatchedService) -> None:
    """History comes before what is new; on an existing one a start is 409, and now is as good as none."""
    await publish(service, "history", 3)
    await put(service, "history", **{"from": "earliest"})
    await publish(service, "history", 2)
    deliveries: list[dict[str, Any]] = []
    while len(deliveries) < 5:
        deliveries += await claim(service, "history", wait_seconds=5)
    assert [delivery["event"]["data"] for delivery in deliveries] == [0, 1, 2, 0, 1]
    definition = {"patterns": ["history.*"]}
    refused = await send(service, "PUT", path("history"), {**definition, "from": "earliest"})
    expect(refused, Refusal(409, "subscription_exists"))
    assert (await send(service, "PUT", path("history"), {**definition, "from": "now"})).status == 200


async def test_ordering_is_fixed(service: WatchedService) -> None:
    """What waits was queued by an ordering, which therefore cannot change."""
    await put(service, "ordered", ordering="key")
    refused = await send(service, "PUT", path("ordered"), {"patterns": ["ordered.*"]})
    expect(refused, Refusal(409, "ordering_fixed"))


async def test_pausing(service: WatchedService) -> None:
    """While it is paused nothing is handed out, and what matches waits; what is leased can be settled."""
    await put(service, "paused")
    refused = await send(service, "POST", path("paused", "/pause"), {"until": "morning"})
    problem = refused.json()
    assert (refused.status, problem["errors"][0]["pointer"]) == (400, "#/until")
    assert problem["detail"] == "unknown field 'until'; this call takes none"
    await publish(service, "paused", 2)
    (held,) = await claim(service, "paused", max=1)
    assert (await send(service, "POST", path("paused", "/pause"))).json()["state"] == "paused"
    await publish(service, "paused")
    assert await claim(service, "paused") == []
    assert await settle(service, "paused", outcome(held)) == [{"status": "ok"}]
    assert await counts(service, "paused") == {"matched": 3, "acked": 1, "waiting": 2}
    assert (await send(service, "POST", path("paused", "/resume"))).json()["state"] == "active"
    assert len(await claim(service, "paused")) == 2


async def test_seeking(service: WatchedService) -> None:
    """What waits is dropped and counted; history from the place on comes in its stead."""
    positions = await publish(service, "sought", 4)
    await put(service, "sought")
    await publish(service, "sought")
    answer = await send(service, "POST", path("sought", "/seek"), {"to": positions[2]})
    assert answer.status == 200
    assert answer.json()["counts"]["dropped"] == 1
    deliveries: list[dict[str, Any]] = []
    while len(deliveries) < 3:
        deliveries += await claim(service, "sought", wait_seconds=5)
    assert [delivery["event"]["data"] for delivery in deliveries] == [2, 3, 0]
    assert all(delivery["replay"] is True for delivery in deliveries)


async def test_removing(service: WatchedService) -> None:
    """A removed one is gone with all that waits; its name can be used again, and begins empty."""
    await put(service, "gone")
    await publish(service, "gone")
    (held,) = await claim(service, "gone")
    answer = await service.call("DELETE", path("gone"))
    assert (answer.status, answer.body) == (204, b"")
    for method, rest in [("GET", ""), ("DELETE", ""), ("POST", "/claim"), ("POST", "/pause"), ("GET", "/dead-letters")]:
        expect(await service.call(method, path("gone", rest)), Refusal(404, "not_found"))
    await put(service, "gone")
    assert await counts(service, "gone") == {}
    (result,) = await settle(service, "gone", outcome(held))
    assert (result["status"], result["code"]) == ("error", "stale_token")


async def test_details(service: WatchedService) -> None:
    """On request: who holds what, what fails and why, the members, and the event that is suspected to be poison."""
    await put(service, "shown", lease_seconds=600)
    first, second = await publish(service, "shown", 2)
    for number in range(2):
        (failing,) = await claim(service, "shown", max=1, member="w1", wait_seconds=5)
        assert failing["position"] == first
        await settle(service, "shown", outcome(failing, "nack", delay_seconds=0, reason=f"broken {number}"))
    held = await claim(service, "shown", member="w2", max=2)
    assert sorted(delivery["position"] for delivery in held) == [first, second]
    assert "leases" not in await look(service, "shown", "?details=false")
    members = await look(service, "shown", "?details=true")
    leases = {lease["position"]: (lease["member"], lease["state"], lease["failures"]) for lease in members["leases"]}
    assert leases == {first: ("w2", "leased", 2), second: ("w2", "leased", 0)}
    (failing,) = members["failing"]
    assert (failing["position"], failing["failures"], failing["last_error"]) == (first, 2, "broken 1")
    assert members["suspected_poison"] == failing
    assert members["oldest"]["position"] == first
    assert members["last_errors"] == ["broken 1"]
    assert members["members"] == []


async def test_each_bus_has_its_own(service: WatchedService) -> None:
    """The same name on another bus is another subscription, which gets what is published there."""
    await put(service, "shared")
    answer = await send(service, "PUT", path("shared", bus="orders"), {"patterns": ["*"]})
    assert (answer.status, answer.header("Location")) == (201, "/v1/buses/orders/subscriptions/shared")
    event = {"type": "shared.order", "source": "/tests"}
    headers = {"Content-Type": "application/json"}
    await service.call("POST", "/v1/buses/orders/events", headers, json.dumps(event).encode())
    service.accepted -= 1  # it is in the log of the other bus
    claimed = (await send(service, "POST", path("shared", "/claim", "orders"))).json()["deliveries"]
    assert [delivery["event"]["type"] for delivery in claimed] == ["shared.order"]
    assert await claim(service, "shared") == []
    results = await send(service, "POST", path("shared", "/settle", "orders"), {"outcomes": [outcome(claimed[0])]})
    assert results.json() == {"results": [{"status": "ok"}]}
    expect(await service.call("GET", path("shared", bus="nobody")), Refusal(404, "not_found"))


# Bad input ------------------------------------------------------------------------------------------------------------


def wrong(
    label: str,
    pointer: str,
    code: str = "invalid_parameter",
    /,
    **members: Any,  # noqa: ANN401 - whatever JSON has
) -> tuple[str, bytes, Refusal]:
    """A definition with members that are wrong."""
    return label, json.dumps({"patterns": ["a"], **members}).encode(), Refusal(400, code, pointer)


DEFINITIONS: Final[list[tuple[str, bytes, Refusal]]] = [
    ("empty", b"", Refusal(400, "malformed_json", "#")),
    ("not JSON", b"nonsense", Refusal(400, "malformed_json", "#")),
    ("cut short", b'{"patterns":["a"]', Refusal(400, "malformed_json", "#")),
    ("not UTF-8", b'{"patterns":["\xff"]}', Refusal(400, "malformed_json", "#")),
    ("lone surrogate", rb'{"patterns":["\ud800"]}', Refusal(400, "malformed_json", "#")),
    ("deep", b'{"patterns":' + b"[" * 100_000, Refusal(400, "too_deep", "#")),
    ("an array", b"[]", Refusal(400, "invalid_parameter", "#")),
    ("null", b"null", Refusal(400, "invalid_parameter", "#")),
    ("no patterns", b"{}", Refusal(400, "invalid_parameter", "#/patterns")),
    wrong("unknown field", "#/speed", "unknown_parameter", speed=1),
    wrong("unknown retry field", "#/retry/speed", "unknown_parameter", retry={"speed": 1}),
    wrong("what reading adds", "#/name", "unknown_parameter", name="a"),
    wrong("patterns a string", "#/patterns", patterns="a"),
    wrong("no pattern", "#/patterns", "invalid_pattern", patterns=[]),
    wrong("pattern a number", "#/patterns", patterns=["a", 1]),
    wrong("bad pattern", "#/patterns/1", "invalid_pattern", patterns=["a", "["]),
    wrong("filter", "#/filter", "not_available", filter="a"),
    wrong("push a URL", "#/push", push="https://agent.example.com/"),
    wrong("push nowhere", "#/push/url", push={}),
    ("from nonsense", b'{"patterns":["a"],"from":"x"}', Refusal(400, "invalid_parameter", "#/from")),
    ("from a number", b'{"patterns":["a"],"from":1}', Refusal(400, "invalid_parameter", "#/from")),
    (
        "from the future",
        b'{"patterns":["a"],"from":"2099-01-01T00:00:00Z"}',
        Refusal(400, "invalid_parameter", "#/from"),
    ),
    wrong("ordering", "#/ordering", ordering="source"),
    wrong("in flight 0", "#/max_in_flight", max_in_flight=0),
    wrong("in flight true", "#/max_in_flight", max_in_flight=True),
    wrong("waiting a fraction", "#/max_waiting", max_waiting=1.5),
    wrong("lease 0", "#/lease_seconds", lease_seconds=0),
    wrong("lease a day", "#/lease_seconds", lease_seconds=86_400),
    wrong("lease null", "#/lease_seconds", lease_seconds=None),
    wrong("expires too soon", "#/expires_after_seconds", expires_after_seconds=1),
    wrong("retry a list", "#/retry", retry=[]),
    wrong("attempts 0", "#/retry/max_attempts", retry={"max_attempts": 0}),
    wrong("factor below 1", "#/retry/factor", retry={"factor": 0.5}),
    wrong("exhausted", "#/on_exhausted", on_exhausted="explode"),
]


@pytest.mark.parametrize(("body", "refusal"), [row[1:] for row in DEFINITIONS], ids=[row[0] for row in DEFINITIONS])
async def test_bad_definitions(service: WatchedService, body: bytes, refusal: Refusal) -> None:
    """A definition that cannot be read or kept is refused with its code and its place, and nothing is made."""
    expect(await service.call("PUT", path("bad"), {"Content-Type": "application/json"}, body), refusal)
    expect(await service.call("GET", path("bad")), Refusal(404, "not_found"))


async def test_all_that_is_wrong_is_told(service: WatchedService) -> None:
    """Several wrong fields are told at once."""
    answer = await send(service, "PUT", path("bad"), {"patterns": ["a"], "lease_seconds": 0, "retry": {"factor": 0}})
    assert {item["pointer"] for item in answer.json()["errors"]} == {"#/lease_seconds", "#/retry/factor"}


REQUESTS: Final[list[tuple[str, str, dict[str, str], bytes | None, Refusal]]] = [
    ("PUT", "/v1/subscriptions/-a", {}, b"{}", Refusal(400, "invalid_parameter", "#/path/name")),
    ("GET", "/v1/subscriptions/a%20b", {}, None, Refusal(400, "invalid_parameter", "#/path/name")),
    ("GET", "/v1/subscriptions/" + "a" * 129, {}, None, Refusal(400, "invalid_parameter", "#/path/name")),
    ("GET", "/v1/subscriptions/%ff", {}, None, Refusal(400, "invalid_parameter", "#/path/name")),
    ("DELETE", "/v1/subscriptions/%0d%0a", {}, None, Refusal(400, "invalid_parameter", "#/path/name")),
    ("GET", "/v1/subscriptions/", {}, None, Refusal(404, "not_found")),
    ("GET", "/v1/subscriptions/a/b/c/d", {}, None, Refusal(404, "not_found")),
    ("GET", "/v1/subscriptions/a?x=1", {}, None, Refusal(400, "unknown_parameter", "#/query/x")),
    ("GET", "/v1/subscriptions/a?details=1", {}, None, Refusal(400, "invalid_parameter", "#/query/details")),
    ("GET", "/v1/subscriptions?limit=1", {}, None, Refusal(400, "unknown_parameter", "#/query/limit")),
    ("GET", "/v1/subscriptions", {"Accept": "text/html"}, None, Refusal(406, "not_acceptable")),
    ("POST", "/v1/subscriptions", {}, b"{}", Refusal(405, "method_not_allowed")),
    ("GET", "/v1/subscriptions/a/claim", {}, None, Refusal(405, "method_not_allowed")),
    ("PUT", "/v1/subscriptions/a", {"Content-Type": "text/plain"}, b"{}", Refusal(415, "unsupported_media_type")),
    ("PUT", "/v1/subscriptions/a", {"Content-Type": "x"}, b"{}", Refusal(415, "unsupported_media_type")),
    ("PUT", "/v1/subscriptions/a", {}, b" " * (8 * 1024 * 1024 + 1), Refusal(413, "too_large")),
    ("POST", "/v1/subscriptions/nobody/seek", {}, b'{"to":"now"}', Refusal(404, "not_found")),
    ("POST", "/v1/subscriptions/nobody/seek", {}, b"{}", Refusal(400, "invalid_parameter", "#/to")),
    ("POST", "/v1/subscriptions/nobody/seek", {}, b"", Refusal(400, "malformed_json", "#")),
    ("POST", "/v1/subscriptions/nobody/seek", {}, b'{"to":1}', Refusal(400, "invalid_parameter", "#/to")),
    ("POST", "/v1/subscriptions/nobody/seek", {}, b'{"to":"x"}', Refusal(400, "invalid_cursor", "#/to")),
    ("POST", "/v1/subscriptions/nobody/seek", {}, b'{"a":1}', Refusal(400, "unknown_parameter", "#/a")),
    ("POST", "/v1/subscriptions/nobody/resume", {}, None, Refusal(404, "not_found")),
]


@pytest.mark.parametrize(
    ("method", "target", "headers", "body", "refusal"), REQUESTS, ids=lambda value: str(value)[:60]
)
async def test_bad_requests(  # noqa: PLR0917 - the columns of the table
    service: WatchedService, method: str, target: str, headers: dict[str, str], body: bytes | None, refusal: Refusal
) -> None:
    """A request outside its rules is a problem with its code and its place."""
    answer = await service.call(method, target, headers, body)
    expect(answer, refusal)
