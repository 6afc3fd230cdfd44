"""The API description is true: it names what is served, and what is served fits it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any

import jsonschema_rs
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from openapi_spec_validator import validate
from schemathesis.specs.openapi import checks

from tests.http_call import Answer, call
from tests.service_process import ServiceProcess
from tests.webhooks.receivers import ALLOWED_NETWORKS, receiving
from waooaw.events.service.openapi import DOCUMENT
from waooaw.events.service.openapi_head import name_of_head
from waooaw.events.service.routes import ROUTES, Route

JSON = "application/json"
EVENT = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
LINES = "application/x-ndjson"
SOCKET_HEADERS = {"Sec-WebSocket-Protocol": "cloudevents.json"}

GOOD = {
    "type": "task.created",
    "source": "/agents/planner",
    "correlationid": "c1",
    "attempts": 3,
    "data": {"a": [1, None]},
}
BAD = {"type": "task created", "source": "/agents/planner"}

OPERATIONS = {
    (method.upper(), path): operation
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    variables = {"WOWEVENT_EVENT_BYTES_MAX": "4096", "WOWEVENT_WEBHOOK_ALLOWED_NETWORKS": ALLOWED_NETWORKS}
    with ServiceProcess(tmp_path_factory.mktemp("openapi"), variables) as running:
        call(running.url, "POST", "/v1/events", {"Content-Type": JSON}, as_json({**GOOD, "id": "used"}))
        yield running


def filled(path: str) -> str:
    """A path with something for each of its parts."""
    parts = {"position": "1-0", "bus": "default", "name": "described", "id": "1-1"}
    return path.format_map(parts)


# The document itself --------------------------------------------------------------------------------------------------


def test_the_description_is_openapi() -> None:
    """The document is valid OpenAPI 3.1, of the version that is installed."""
    validate(DOCUMENT)

    assert DOCUMENT["info"]["version"] == version("wowevent")


def test_the_description_has_the_routes() -> None:
    """Paths, methods and operation ids are those of the route table; nothing more, nothing less."""
    described = [(method, path, operation["operationId"]) for (method, path), operation in OPERATIONS.items()]
    served = [
        (method, route.path, name_of_head(route.name) if method == "HEAD" else route.name)
        for route in ROUTES
        for method in route.methods
    ]

    assert sorted(described) == sorted(served)


def test_every_schema_is_used() -> None:
    """A schema that nothing refers to is a leftover."""
    text = json.dumps(DOCUMENT)

    unused = [name for name in DOCUMENT["components"]["schemas"] if f'"#/components/schemas/{name}"' not in text]

    assert not unused


@pytest.mark.parametrize("name", DOCUMENT["components"]["schemas"])
def test_examples_fit_their_schemas(name: str) -> None:
    """An example is one."""
    for example in DOCUMENT["components"]["schemas"][name].get("examples", []):
        validator({"$ref": f"#/components/schemas/{name}"}, strict=True).validate(example)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_parameters_are_those_that_the_call_knows(route: Route, service: ServiceProcess) -> None:
    """The query parameters described are those that the call knows: it says itself which it knows."""
    headers = SOCKET_HEADERS if route.name.startswith("openWebSocket") else {}

    answer = call(service.url, route.method, f"{filled(route.path)}?nonsense=1", headers)

    known = re.search(r"this call knows (.+)$", answer.json()["detail"])
    parameters = OPERATIONS[route.method, route.path].get("parameters", [])
    assert known is not None
    assert known[1] == (", ".join(sorted(item["name"] for item in parameters if item["in"] == "query")) or "none")


# What is answered fits ------------------------------------------------------------------------------------------------


def strictly(schema: Any) -> Any:  # noqa: ANN401 - any part of a schema
    """Close every object: what is answered and not described is found, though clients must take further members."""
    if isinstance(schema, list):
        return [strictly(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: strictly(value) for name, value in schema.items()}
    if isinstance(closed.get("properties"), dict) and "type" in closed:
        closed.setdefault("additionalProperties", False)
    return closed


def validator(schema: dict[str, Any], *, strict: bool) -> jsonschema_rs.Draft202012Validator:
    whole = {**schema, "components": {"schemas": DOCUMENT["components"]["schemas"]}}
    return jsonschema_rs.Draft202012Validator(strictly(whole) if strict else whole, validate_formats=True)


def resolved(response: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in response:
        return response
    found: dict[str, Any] = DOCUMENT["components"]["responses"][response["$ref"].rpartition("/")[2]]
    return found


def check(method: str, route: str, answer: Answer) -> None:
    """Hold an answer against its description."""
    responses = OPERATIONS[method, route]["responses"]
    assert str(answer.status) in responses, f"{answer.status} is not described: {answer.body[:300]!r}"
    if method == "HEAD":
        assert not answer.body
        return
    content = {
        name.partition(";")[0]: media
        for name, media in resolved(responses[str(answer.status)]).get("content", {}).items()
    }
    media = content.get(answer.media_type) or content.get("*/*")
    assert media is not None, f"{answer.media_type} is not described"
    if answer.media_type.endswith(("/json", "+json")):
        validator(media["schema"], strict=True).validate(answer.json())


@dataclass(frozen=True)
class Request:
    """One request, and how it is answered."""

    name: str
    status: int
    route: str
    path: str = ""
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    bus: str = "default"


def posted(name: str, status: int, media_type: str, body: bytes, **headers: str) -> Request:
    spelled = {"Content-Type": media_type} | {key.replace("_", "-"): value for key, value in headers.items()}
    return Request(name, status, "/v1/events", method="POST", headers=spelled, body=body)


def told(name: str, status: int, route: str, value: object = None, method: str = "POST") -> Request:
    headers = {} if value is None else {"Content-Type": JSON}
    return Request(name, status, route, "", method, headers, None if value is None else as_json(value))


SUBSCRIPTION = "/v1/subscriptions/{name}"
DEAD_LETTERS = f"{SUBSCRIPTION}/dead-letters"
LATER = {**GOOD, "deliverat": f"{datetime.now(UTC).date() + timedelta(days=2)}T00:00:00Z"}
TOKEN = "0123456789abcdef.1-0.0123456789abcdef"

SUBSCRIBING = [
    told("subscription made", 201, SUBSCRIPTION, {"patterns": ["*"], "retry": {"max_attempts": 1}}, "PUT"),
    told("subscription put", 200, SUBSCRIPTION, {"patterns": ["*"], "retry": {"max_attempts": 1}}, "PUT"),
    told("subscription refused", 409, SUBSCRIPTION, {"patterns": ["*"], "ordering": "key"}, "PUT"),
    told(
        "subscription pushed inside", 422, SUBSCRIPTION, {"patterns": ["*"], "push": {"url": "http://10.0.0.1/"}}, "PUT"
    ),
    told("push malformed", 400, SUBSCRIPTION, {"patterns": ["*"], "push": {"url": "/", "secret": "***"}}, "PUT"),
    told("verify without push", 409, f"{SUBSCRIPTION}/verify"),
    Request("attempts without push", 409, f"{SUBSCRIPTION}/attempts", "?limit=5"),
    told("test without push", 409, f"{SUBSCRIPTION}/test"),
    told("redelivery without push", 409, f"{SUBSCRIPTION}/redeliver", {"position": "1-0"}),
    told("redelivery malformed", 400, f"{SUBSCRIPTION}/redeliver", {"position": "x"}),
    told("subscription malformed", 400, SUBSCRIPTION, {"pattern": "*"}, "PUT"),
    Request("subscriptions", 200, "/v1/subscriptions"),
    Request("subscriptions of a bus", 200, "/v1/buses/{bus}/subscriptions"),
    Request("subscriptions of no bus", 404, "/v1/buses/{bus}/subscriptions", bus="nobody"),
    posted("to be claimed", 200, BATCH, as_json([GOOD, GOOD])),
    told("claim", 200, f"{SUBSCRIPTION}/claim", {"max": 1, "member": "w1"}),
    told("claim malformed", 400, f"{SUBSCRIPTION}/claim", {"max": 0}),
    told("settle", 200, f"{SUBSCRIPTION}/settle", {"outcomes": [{"token": TOKEN, "outcome": "ack"}]}),
    Request("subscription", 200, SUBSCRIPTION),
    Request("subscription in detail", 200, SUBSCRIPTION, "?details=true"),
    Request("HEAD of a subscription", 200, SUBSCRIPTION, method="HEAD"),
    told("pause", 200, f"{SUBSCRIPTION}/pause"),
    told("resume", 200, f"{SUBSCRIPTION}/resume"),
    told("seek", 200, f"{SUBSCRIPTION}/seek", {"to": "earliest"}),
    told("seek malformed", 400, f"{SUBSCRIPTION}/seek", {"to": "x"}),
    Request("dead letters", 200, DEAD_LETTERS, "?reason=rejected&type=a.*&type=b&id=1-1&limit=5"),
    Request("no dead letter", 404, f"{DEAD_LETTERS}/{{id}}"),
    Request("purge to be confirmed", 409, DEAD_LETTERS, "?from=2026-01-01T00:00:00Z", "DELETE"),
    told("redrive", 200, f"{DEAD_LETTERS}/redrive", {"dry_run": True}),
    told("redrive malformed", 400, f"{DEAD_LETTERS}/redrive", {"rate": 0}),
    posted("for later", 200, JSON, as_json(LATER)),
    posted("for now and for later", 200, BATCH, as_json([GOOD, LATER])),
    Request("schedule", 200, "/v1/scheduled", "?limit=1"),
    Request("nothing scheduled", 404, "/v1/scheduled/{id}"),
    Request("nothing to cancel", 404, "/v1/scheduled/{id}", method="DELETE"),
    Request("no deliveries", 404, "/v1/events/{position}/deliveries"),
]

REQUESTS = [
    posted("one", 200, JSON, as_json(GOOD)),
    posted("structured", 200, EVENT, as_json(GOOD)),
    posted("binary", 200, "text/plain", b"hello", ce_type="note", ce_source="/a", ce_id="b1", ce_specversion="1.0"),
    posted("batch", 200, BATCH, as_json([GOOD, GOOD])),
    posted("empty batch", 200, BATCH, b"[]"),
    posted("lines", 200, LINES, as_json(GOOD) + b"\n" + as_json(GOOD)),
    posted("batch in part", 207, BATCH, as_json([GOOD, BAD, {**GOOD, "id": "used", "data": 2}])),
    posted("batch refused", 422, BATCH, as_json([BAD, {}])),
    posted("malformed", 400, JSON, b"{"),
    posted("invalid", 400, JSON, as_json({"source": " ", "type": "", "Name": 1})),
    posted("id reused", 409, JSON, as_json({**GOOD, "id": "used", "data": 2})),
    posted("too large", 413, JSON, as_json({**GOOD, "data": "x" * 5000})),
    posted("unsupported", 415, "image/png", b"x"),
    posted("headers too large", 431, JSON, b"{}", X="y" * 9000),
    Request("page", 200, "/v1/events", "?pattern=task.*&pattern=x&limit=2"),
    Request(
        "page, newest first",
        200,
        "/v1/events",
        "?order=desc&to=now&from=earliest&correlationid=c1&source=/agents/planner",
    ),
    Request("page as batch", 200, "/v1/events", "?limit=2", headers={"Accept": BATCH}),
    Request("page as lines", 200, "/v1/events", "?limit=2", headers={"Accept": LINES}),
    Request("page, not acceptable", 406, "/v1/events", headers={"Accept": "image/png"}),
    Request("page, bad cursor", 400, "/v1/events", "?from=nonsense"),
    Request("event not found", 404, "/v1/events/{position}", "1-0"),
    Request("event, no position", 400, "/v1/events/{position}", "x"),
    Request("log", 200, "/v1/log"),
    Request("HEAD of the log", 200, "/v1/log", method="HEAD"),
    Request("HEAD of no bus", 404, "/v1/buses/{bus}/log", method="HEAD", bus="nobody"),
    Request("stream, not acceptable", 406, "/v1/stream", headers={"Accept": JSON}),
    Request("socket, plain request", 400, "/v1/ws"),
    Request("socket, foreign origin", 403, "/v1/ws", headers={"Origin": "http://elsewhere.example"}),
    Request("page of a bus", 200, "/v1/buses/{bus}/events", "?limit=2"),
    Request("page of no bus", 404, "/v1/buses/{bus}/events", bus="nobody"),
    Request("page of no name", 404, "/v1/buses/{bus}/events", bus="No-Name"),
    Request("event of a bus not found", 404, "/v1/buses/{bus}/events/{position}", "1-0"),
    Request("log of a bus", 200, "/v1/buses/{bus}/log"),
    Request("log of no bus", 404, "/v1/buses/{bus}/log", bus="nobody"),
    Request("stream of no bus", 404, "/v1/buses/{bus}/stream", bus="nobody"),
    Request("socket of no bus", 404, "/v1/buses/{bus}/ws", bus="nobody"),
    Request("publish to a bus", 200, "/v1/buses/{bus}/events", "", "POST", {"Content-Type": JSON}, as_json(GOOD)),
    Request("publish to no bus", 404, "/v1/buses/{bus}/events", "", "POST", {}, as_json(GOOD), bus="nobody"),
    *SUBSCRIBING,
    Request("buses", 200, "/v1/buses"),
    Request("replicas", 200, "/v1/cluster"),
    Request("description", 200, "/v1/openapi.json"),
    Request("health", 200, "/health"),
    Request("health in detail", 200, "/health", "?details=true"),
    Request("ready", 200, "/ready"),
    Request("metrics", 200, "/metrics"),
    Request("metrics for Prometheus", 200, "/metrics", "?format=prometheus"),
    Request("metrics for OpenMetrics", 200, "/metrics", headers={"Accept": "application/openmetrics-text"}),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: request.name)
def test_answers_fit_the_description(request_: Request, service: ServiceProcess) -> None:
    """What a real service answers has a described status, media type and shape, and no member that is not described."""
    path = request_.route
    path = path.replace("{position}", request_.path) if path.endswith("{position}") else path + request_.path
    path = filled(path.replace("{bus}", request_.bus))

    answer = call(service.url, request_.method, path, request_.headers, request_.body)

    assert answer.status == request_.status, answer.body
    check(request_.method, request_.route, answer)


def test_the_course_of_an_event_fits_the_description(service: ServiceProcess) -> None:
    """What is answered about one event from its claim to its burial fits: delivery, details, reports, dead letter."""
    name, json_type = "course", {"Content-Type": JSON}
    at = f"/v1/subscriptions/{name}"
    call(service.url, "PUT", at, json_type, as_json({"patterns": ["course.*"]}))
    event = {**GOOD, "type": "course.event"}
    position = call(service.url, "POST", "/v1/events", json_type, as_json(event)).json()["position"]

    def checked(method: str, route: str, rest: str = "", value: object = None) -> Any:  # noqa: ANN401 - whatever JSON has
        path = route.replace("{name}", name).replace("{position}", position) + rest
        answer = call(service.url, method, path, json_type, None if value is None else as_json(value))
        assert answer.status == 200, answer
        check(method, route, answer)
        return answer.json()

    def settled(word: str) -> None:
        (delivery,) = checked("POST", f"{SUBSCRIPTION}/claim", "", {"wait_seconds": 5})["deliveries"]
        outcomes = [{"token": delivery["token"], "outcome": word, "delay_seconds": 0, "reason": "r"}]
        checked("POST", f"{SUBSCRIPTION}/settle", "", {"outcomes": outcomes})

    settled("nack")
    settled("nack")
    assert checked("GET", SUBSCRIPTION, "?details=true")["suspected_poison"] is not None
    checked("GET", "/v1/events/{position}/deliveries")
    settled("reject")
    (letter,) = checked("GET", DEAD_LETTERS)["items"]
    answer = call(service.url, "GET", f"{at}/dead-letters/{letter['id']}")
    check("GET", f"{DEAD_LETTERS}/{{id}}", answer)
    assert checked("GET", "/v1/events/{position}/deliveries")["items"][0]["subscription"] == name
    checked("POST", f"{DEAD_LETTERS}/redrive", "", {"dry_run": True})
    confirm = call(service.url, "DELETE", f"{at}/dead-letters").json()["confirm"]
    assert checked("DELETE", DEAD_LETTERS, f"?confirm={confirm}") == {"purged": 1}
    assert call(service.url, "DELETE", at).status == 204


async def test_the_course_of_a_push_fits_the_description(service: ServiceProcess) -> None:
    """What is answered about a receiver fits: its push in each state, its attempts, what is sent to it by hand."""
    json_type = {"Content-Type": JSON}

    async def checked(method: str, route: str, value: object = None, statuses: tuple[int, ...] = (200,)) -> Any:  # noqa: ANN401 - whatever JSON has
        body = None if value is None else as_json(value)
        answer = await asyncio.to_thread(
            call, service.url, method, route.replace("{name}", "pushed"), json_type if body else {}, body
        )
        assert answer.status in statuses, answer
        check(method, route, answer)
        return answer.json()

    async with receiving(allowed_rate="600") as receiver:
        push = {"url": receiver.url, "headers": {"X-A": "1"}, "authorization": "Bearer a", "rate": 5}
        definition = {"patterns": ["pushed.*"], "push": push}
        await checked("PUT", SUBSCRIPTION, definition, (201,))
        assert (await checked("POST", f"{SUBSCRIPTION}/verify"))["push"]["state"] == "verified"
        event = {**GOOD, "type": "pushed.event"}
        position = (await asyncio.to_thread(call, service.url, "POST", "/v1/events", json_type, as_json(event))).json()[
            "position"
        ]
        await receiver.posted(1)
        assert (await checked("POST", f"{SUBSCRIPTION}/test"))["kind"] == "test"
        assert (await checked("POST", f"{SUBSCRIPTION}/redeliver", {"position": position}))["positions"] == [position]
        assert len((await checked("GET", f"{SUBSCRIPTION}/attempts"))["items"]) >= 3
        await checked("GET", SUBSCRIPTION)
        await checked("GET", "/v1/subscriptions")
        receiver.consents = False
        assert (await checked("POST", f"{SUBSCRIPTION}/verify"))["push"]["state"] == "refused"
        await checked("POST", f"{SUBSCRIPTION}/test", statuses=(409,))
    await asyncio.to_thread(call, service.url, "DELETE", "/v1/subscriptions/pushed")


def test_a_scheduled_event_fits_the_description(service: ServiceProcess) -> None:
    """So does what is answered about an event for later."""
    receipt = call(service.url, "POST", "/v1/events", {"Content-Type": JSON}, as_json(LATER)).json()
    target = f"/v1/scheduled/{receipt['scheduled']['id']}"
    check("GET", "/v1/scheduled/{id}", call(service.url, "GET", target))
    check("GET", "/v1/scheduled", call(service.url, "GET", "/v1/scheduled"))
    answer = call(service.url, "DELETE", target)
    assert answer.status == 204
    assert "204" in OPERATIONS["DELETE", "/v1/scheduled/{id}"]["responses"]


@pytest.mark.parametrize("accept", [JSON, EVENT])
def test_one_event_fits_the_description(accept: str, service: ServiceProcess) -> None:
    """An event read by its position fits, as item and alone."""
    receipt = call(service.url, "POST", "/v1/events", {"Content-Type": JSON}, as_json(GOOD)).json()

    answer = call(service.url, "GET", f"/v1/events/{receipt['position']}", {"Accept": accept})

    schema = {JSON: "StoredEvent", EVENT: "Event"}[accept]
    assert (answer.status, answer.media_type) == (200, accept)
    validator({"$ref": f"#/components/schemas/{schema}"}, strict=True).validate(answer.json())


def test_answers_of_a_disabled_bus_fit_the_description(tmp_path_factory: pytest.TempPathFactory) -> None:
    """With the bus switched off, every call still answers as described."""
    with ServiceProcess(tmp_path_factory.mktemp("disabled"), {"EVENT_BUS_ENABLED": "false"}) as disabled:
        for method, route in OPERATIONS:
            answer = call(disabled.url, method, filled(route), SOCKET_HEADERS)

            expected = 200 if route in {"/health", "/ready", "/metrics", "/v1/openapi.json"} else 503
            assert answer.status == expected, (route, answer.body)
            check(method, route, answer)


# Generated requests ---------------------------------------------------------------------------------------------------

GENERATED = {
    "publishEvents": 150,
    "listEvents": 100,
    "getEvent": 50,
    "getHealth": 20,
    "getMetrics": 20,
    "putSubscription": 40,
    "settleDeliveries": 20,
    "redriveDeadLetters": 30,
    "listDeadLetters": 20,
}
"""Requests generated for each call, valid ones and broken ones. Streams do not end and claims wait: not among them."""

USUAL = dict.fromkeys(("getEvent", "settleDeliveries", "redriveDeadLetters", "listDeadLetters"), 404) | {
    "putSubscription": 201
}
"""What valid requests are answered mostly, where that is not 200: they name what is not there."""

CHECKS = [
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.status_code_conformance,
]


@pytest.mark.parametrize("mode", schemathesis.GenerationMode)
@pytest.mark.parametrize("name", GENERATED)
def test_generated_requests_are_answered_as_described(
    name: str, mode: schemathesis.GenerationMode, service: ServiceProcess
) -> None:
    """Whatever request the description allows, or one that breaks it: the answer fits, and is never a 5xx."""
    described = schemathesis.openapi.from_dict(DOCUMENT)
    described.config.update(base_url=service.url)
    operation = described.find_operation_by_id(name)
    statuses = set()
    with requests.Session() as session:

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=GENERATED[name],
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def run(case: schemathesis.Case[Any]) -> None:
            response = case.call(session=session)
            statuses.add(response.status_code)
            assert response.status_code < 500, response.content
            case.validate_response(response, checks=CHECKS)

        run()
    usual = 400 if mode is schemathesis.GenerationMode.NEGATIVE else USUAL.get(name, 200)
    assert usual in statuses, f"the requests generated were answered {statuses}: they tested little"
