"""Webhooks over HTTP: receivers made, asked, tried and looked at; secrets go in, and never out."""

from __future__ import annotations

import json
import socket
from base64 import b64decode, b64encode
from typing import Any, Final

import pytest
from standardwebhooks.webhooks import Webhook

from tests.service.subscribed import JSON_TYPE, Members, counts, look, path, publish, put, send, until
from tests.service.test_bad_input import Refusal, expect
from tests.service.watched_service import WatchedService
from tests.service.wire import Answer, call
from tests.webhooks.receivers import ALLOWED_NETWORKS, Receiver, receiving
from tests.webhooks.receivers import Answer as Said
from waooaw.events.push_wire import PUSH_TOLD
from waooaw.events.subscription_wire import read_subscription

VARIABLES: Final = {
    "WOWEVENT_BUSES": "default,orders",
    "WOWEVENT_WEBHOOK_ALLOWED_NETWORKS": ALLOWED_NETWORKS,
    "WOWEVENT_WEBHOOK_ORIGIN": "events.example.com",
}

SECRET: Final = "whsec_" + b64encode(b"present-secret-of-24-byt").decode()
OTHER: Final = "whsec_" + b64encode(b"another-secret-of-24-byt").decode()

DEFAULTS: Final[Members] = {
    "mode": "binary",
    "headers": {},
    "authorization": None,
    "secret": None,
    "handshake": "options",
    "timeout_seconds": 30.0,
    "concurrency": 10,
    "rate": None,
}


async def put_push(service: WatchedService, name: str, url: str, **push: Any) -> Members:  # noqa: ANN401 - whatever JSON has
    """Make a subscription that is pushed; return how its push is told."""
    members: Members = (await put(service, name, push={"url": url, **push}))["push"]
    return members


async def push_of(service: WatchedService, name: str) -> Members:
    """Return how a subscription is pushed, and how that goes."""
    members: Members = (await look(service, name))["push"]
    return members


async def until_state(service: WatchedService, name: str, state: str) -> Members:
    """Return the push of a subscription once its receiver is in a state."""
    found: Members = {}

    async def is_so() -> bool:
        nonlocal found
        found = await push_of(service, name)
        return bool(found["state"] == state)

    await until(is_so)
    return found


async def post(service: WatchedService, name: str, rest: str, members: object = None) -> Members:
    """Make a call about a receiver; return what is answered."""
    answer = await send(service, "POST", path(name, rest), members)
    assert answer.status == 200, answer
    found: Members = answer.json()
    return found


async def attempts(service: WatchedService, name: str, query: str = "") -> list[Members]:
    """Return the last attempts."""
    answer = await service.call("GET", path(name, "/attempts") + query)
    assert answer.status == 200, answer
    items: list[Members] = answer.json()["items"]
    return items


def signed_by(receiver: Receiver, secret: str) -> list[bool]:
    """Tell of each delivery whether the reference library of Standard Webhooks takes it for signed by a secret."""
    library = Webhook(secret)
    found = []
    for delivery in receiver.posts:
        try:
            library.verify(delivery.body, dict(delivery.headers))
        except Exception:  # noqa: BLE001 - the library's own kinds, and those of what it is built on
            found.append(False)
        else:
            found.append(True)
    return found


# Made, asked, delivered -----------------------------------------------------------------------------------------------


async def test_a_receiver_is_asked_and_gets_what_matches(service: WatchedService) -> None:
    """The answer to PUT tells the whole push, the handshake runs behind it, and events arrive signed."""
    async with receiving(allowed_rate="6000") as receiver:
        answer = await send(
            service,
            "PUT",
            path("asked"),
            {"patterns": ["asked.*"], "push": {"url": receiver.url, "mode": "structured", "secret": SECRET}},
        )
        assert answer.status == 201
        push = answer.json()["push"]
        assert set(push) == {"url", *DEFAULTS} | PUSH_TOLD
        told = DEFAULTS | {"url": receiver.url, "mode": "structured", "secret": ["***"]}
        assert {name: push[name] for name in told} == told
        assert push["state"] in {"pending", "verified"}

        verified = await until_state(service, "asked", "verified")
        assert (verified["allowed_per_minute"], verified["stopped"], verified["breaker"]) == (6000, None, "closed")
        assert verified["since"].endswith("Z")
        assert receiver.handshakes[0].headers["WebHook-Request-Origin"] == "events.example.com"

        (position,) = await publish(service, "asked")
        (delivery,) = await receiver.posted(1)
        assert json.loads(delivery.body)["type"] == "asked.made"
        assert signed_by(receiver, SECRET) == [True]
        assert delivery.headers["WebHook-Request-Origin"] == "events.example.com"

        await until(lambda: is_acked(service, "asked", 1))
        delivered, handshake = await attempts(service, "asked")
        assert (delivered["kind"], delivered["outcome"], delivered["status"]) == ("delivery", "delivered", 204)
        assert delivered["positions"] == [position]
        assert delivered["attempt"] == 1
        assert (handshake["kind"], handshake["positions"], handshake["error"]) == ("handshake", [], None)
        assert await attempts(service, "asked", "?limit=1") == [delivered]
        (replica,) = (await service.call("GET", "/v1/cluster")).json()["replicas"]
        assert delivered["replica"] == replica["id"]


async def is_acked(service: WatchedService, name: str, count: int) -> bool:
    """Tell whether so many events of a subscription are acked."""
    return (await counts(service, name)).get("acked") == count


async def test_put_does_not_wait_for_the_receiver(service: WatchedService) -> None:
    """A receiver that says nothing holds nobody up: it is pending, and says why."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the kernel takes the connection, and nobody reads it
        push = await put_push(service, "silent", f"http://127.0.0.1:{silent.getsockname()[1]}/")
        assert push["state"] == "pending"
        assert push["reason"]
        assert (await service.call("DELETE", path("silent"))).status == 204


async def test_a_refusal_stays_until_somebody_asks_again(service: WatchedService) -> None:
    """Nothing is sent to who did not consent; verify asks now, and answers how that ended."""
    async with receiving(consents=False) as receiver:
        await put_push(service, "refusing", receiver.url)
        refused = await until_state(service, "refusing", "refused")
        assert "405" in refused["reason"]
        (position,) = await publish(service, "refusing")
        expect(await send(service, "POST", path("refusing", "/test")), Refusal(409, "push_unverified"))
        again = await send(service, "POST", path("refusing", "/redeliver"), {"position": position})
        expect(again, Refusal(409, "push_unverified"))
        assert (await post(service, "refusing", "/verify"))["push"]["state"] == "refused"
        assert receiver.posts == []

        receiver.consents = True
        verified = await post(service, "refusing", "/verify", {})
        assert (verified["name"], verified["push"]["state"]) == ("refusing", "verified")
        await receiver.posted(1)
        await until(lambda: is_acked(service, "refusing", 1))


async def test_a_test_and_a_redelivery_answer_their_attempt(service: WatchedService) -> None:
    """Both are requests of their own: the attempt is answered and kept, and nothing is settled by it."""
    async with receiving() as receiver:
        await put_push(service, "tried", receiver.url)
        await until_state(service, "tried", "verified")
        (position,) = await publish(service, "tried")
        await until(lambda: is_acked(service, "tried", 1))
        before = await counts(service, "tried")

        tested = await post(service, "tried", "/test")
        assert (tested["kind"], tested["outcome"], tested["status"], tested["positions"]) == (
            *("test", "delivered", 204),
            [],
        )
        receiver.script = lambda _: Said(500, body=b"no disk")
        again = await post(service, "tried", "/redeliver", {"position": position})
        assert (again["kind"], again["outcome"], again["status"]) == ("redelivery", "failed", 500)
        assert (again["positions"], again["reply"]) == ([position], "no disk")
        assert again["error"] == "500 Internal Server Error: no disk"

        first, test, redelivered = receiver.posts
        assert test.headers["ce-type"] == "wowevent.webhook.test"
        assert redelivered.message_id == first.message_id != test.message_id
        assert [item["kind"] for item in await attempts(service, "tried", "?limit=3")] == [
            *("redelivery", "test", "delivery"),
        ]
        assert await counts(service, "tried") == before


async def test_on_a_bus_by_its_name(service: WatchedService) -> None:
    """A receiver belongs to its bus: the calls are there under its path, and on the default it is unknown."""
    async with receiving() as receiver:
        target = path("ordered", bus="orders")
        answer = await send(service, "PUT", target, {"patterns": ["*"], "push": {"url": receiver.url}})
        assert answer.status == 201
        verified = await send(service, "POST", f"{target}/verify")
        assert verified.json()["push"]["state"] == "verified"
        assert (await send(service, "POST", f"{target}/test")).json()["outcome"] == "delivered"
        assert len((await service.call("GET", f"{target}/attempts")).json()["items"]) >= 2
        expect(await send(service, "POST", path("ordered", "/test")), Refusal(404, "not_found"))
        await call(service.port, "DELETE", target)


async def test_every_answer_tells_how_the_receiver_does(service: WatchedService) -> None:
    """List, details, pause, resume and seek have the push whole, as GET has; clients read its state."""
    async with receiving() as receiver:
        await put_push(service, "told", receiver.url, rate=50, concurrency=2)
        verified = await until_state(service, "told", "verified")
        (listed,) = [
            item for item in (await service.call("GET", "/v1/subscriptions")).json()["items"] if item["name"] == "told"
        ]
        answers = [listed, await look(service, "told", "?details=true")]
        answers += [await post(service, "told", "/pause"), await post(service, "told", "/resume")]
        answers.append(await post(service, "told", "/seek", {"to": "now"}))
        for members in answers:
            assert members["push"] == verified
            state = read_subscription(members).push_state
            assert state is not None
            assert (state.state, state.breaker) == ("verified", "closed")
        assert receiver.handshakes[0].headers["WebHook-Request-Rate"] == "3000"


# Secrets --------------------------------------------------------------------------------------------------------------


async def test_what_was_read_can_be_put_back(service: WatchedService) -> None:
    """A mask keeps what was there, so that the rest can be changed by who does not know it."""
    async with receiving() as receiver:
        push = await put_push(
            *(service, "kept", receiver.url),
            authorization="Bearer kept-token",
            secret=SECRET,
            headers={"X-Key": "kept-key"},
        )
        assert (push["authorization"], push["headers"], push["secret"]) == ("***", {"X-Key": "***"}, ["***"])
        definition = {name: value for name, value in push.items() if name not in PUSH_TOLD}
        changed = await put_push(service, "kept", **definition | {"concurrency": 3})
        assert changed["concurrency"] == 3
        assert definition | {"concurrency": 3} == {name: changed[name] for name in definition}
        await until_state(service, "kept", "verified")
        await post(service, "kept", "/test")
        (delivery,) = receiver.posts
        assert delivery.headers["Authorization"] == "Bearer kept-token"
        assert delivery.headers["X-Key"] == "kept-key"
        assert signed_by(receiver, SECRET) == [True]

        rotated = await put_push(service, "kept", **definition | {"secret": ["***", OTHER]})
        assert rotated["secret"] == ["***", "***"]
        await post(service, "kept", "/test")
        await put_push(service, "kept", **definition | {"secret": OTHER})
        await post(service, "kept", "/test")
        assert signed_by(receiver, SECRET) == [True, True, False]
        assert signed_by(receiver, OTHER) == [False, True, True]

        none = await put_push(service, "kept", receiver.url)
        assert (none["authorization"], none["headers"], none["secret"]) == (None, {}, None)
        await until_state(service, "kept", "verified")
        await post(service, "kept", "/test")
        assert {"Authorization", "X-Key", "webhook-signature"}.isdisjoint(receiver.posts[-1].headers)


async def test_secrets_are_not_sent_elsewhere(service: WatchedService) -> None:
    """Another origin is not told what was set for the first one, and a new name has nothing to keep."""
    async with receiving() as receiver, receiving() as thief:
        url = receiver.url
        push = {"url": url, "authorization": "Bearer own-token", "secret": SECRET}
        await put(service, "own", push=push)
        await until_state(service, "own", "verified")
        masked = {"authorization": "***", "secret": ["***"]}
        for members in ({"url": thief.url}, {"url": url.replace("127.0.0.1", "127.0.0.2")}):
            answer = await send(service, "PUT", path("own"), {"patterns": ["own.*"], "push": masked | members})
            assert (answer.status, answer.code) == (400, "invalid_parameter")
            assert [item["pointer"] for item in answer.json()["errors"]] == [
                *("#/push/authorization", "#/push/secret/0"),
            ]
        answer = await send(service, "PUT", path("fresh"), {"patterns": ["a"], "push": {"url": url, **masked}})
        assert (answer.status, answer.code) == (400, "invalid_parameter")
        expect(await service.call("GET", path("fresh")), Refusal(404, "not_found"))
        assert (await push_of(service, "own"))["url"] == url
        assert thief.requests == []


WRONG: Final[tuple[Members, ...]] = (
    {"secret": "whsec_hidden-key"},
    {"authorization": "Bearer hidden-token\n"},
    {"headers": {"X-Key": "hidden-key\r\n"}},
    {"headers": {"X-Key": ["hidden-key"]}},
    {"url": "https://10.0.0.1/"},
    {"url": "https://hidden-key@127.0.0.1/"},
    {"mode": "xml"},
    {"unknown": "hidden-key"},
)
"""Of a push that has secrets: each breaks another rule."""


async def test_secrets_are_in_no_answer_and_no_line(service: WatchedService) -> None:
    """Whatever is asked, and whatever goes wrong: none of the bytes that are secret comes back."""
    secrets = {
        b"Bearer hidden-token",
        b"hidden-token",
        b"hidden-key",
        SECRET.encode(),
        SECRET.removeprefix("whsec_").encode(),
        b64decode(SECRET.removeprefix("whsec_")),
    }
    answers: list[Answer] = []

    async def heard(method: str, target: str, members: object = None, body: bytes | None = None) -> Answer:
        sent = json.dumps(members).encode() if members is not None else body
        answers.append(await service.call(method, target, {} if sent is None else JSON_TYPE, sent))
        return answers[-1]

    async with receiving(lambda _: Said(500)) as receiver:
        push = {
            "url": receiver.url,
            "authorization": "Bearer hidden-token",
            "secret": [SECRET],
            "headers": {"X-Key": "hidden-key"},
        }
        whole = {"patterns": ["hidden.*"], "push": push, "retry": {"max_attempts": 1}}
        assert (await heard("PUT", path("hidden"), whole)).status == 201
        assert (await heard("PUT", path("hidden"), whole)).status == 200
        await until_state(service, "hidden", "verified")
        (position,) = await publish(service, "hidden")
        await receiver.posted(1)
        for rest in ("/verify", "/test", "/pause", "/resume"):
            assert (await heard("POST", path("hidden", rest))).status == 200
        await heard("POST", path("hidden", "/redeliver"), {"position": position})
        for target in (
            *("/v1/subscriptions", path("hidden"), path("hidden") + "?details=true", path("hidden", "/attempts")),
            *(path("hidden", "/dead-letters"), f"/v1/events/{position}/deliveries", "/metrics", "/health?details=true"),
            *("/metrics?format=prometheus", "/v1/cluster", "/v1/events?from=earliest&limit=1000"),
        ):
            assert (await heard("GET", target)).status == 200, target
        for members in WRONG:
            answer = await heard("PUT", path("hidden"), {**whole, "push": {**push, **members}})
            assert answer.status in {400, 422}, members
        await heard("PUT", path("hidden"), body=json.dumps(whole).encode()[:-1])
        await heard("PUT", path("hidden"), {**whole, "from": "earliest"})
        await heard("PUT", path("hidden"), {**whole, "ordering": "key"})
        assert {answer.status for answer in answers} >= {200, 201, 400, 409, 422}
        assert {request.headers["Authorization"] for request in receiver.requests} == {"Bearer hidden-token"}

    assert (await heard("DELETE", path("hidden"))).status == 204
    everything = b"\n".join([answer.body + repr(answer.headers).encode() for answer in answers])
    for secret in secrets:
        assert secret not in everything
        assert secret not in service.log_text.encode()


# Bad input ------------------------------------------------------------------------------------------------------------

REQUESTS: Final[list[tuple[str, str, object, Refusal]]] = [
    *[
        (method, rest, body, Refusal(status, code))
        for method, rest, body in (
            ("POST", "/verify", None),
            ("GET", "/attempts", None),
            ("POST", "/test", None),
            ("POST", "/redeliver", {"position": "1-0"}),
        )
        for status, code in ((409, "no_push"),)
    ],
    ("POST", "/redeliver", None, Refusal(400, "malformed_json", "#")),
    ("POST", "/redeliver", {}, Refusal(400, "invalid_parameter", "#/position")),
    ("POST", "/redeliver", {"position": 1}, Refusal(400, "invalid_parameter", "#/position")),
    ("POST", "/redeliver", {"position": "now"}, Refusal(400, "invalid_parameter", "#/position")),
    ("POST", "/redeliver", {"position": "1-0", "a": 1}, Refusal(400, "unknown_parameter", "#/a")),
    ("POST", "/test", {"a": 1}, Refusal(400, "unknown_parameter", "#/a")),
    ("POST", "/verify", {"a": 1}, Refusal(400, "unknown_parameter", "#/a")),
    ("POST", "/verify?a=1", None, Refusal(400, "unknown_parameter", "#/query/a")),
    ("GET", "/attempts?limit=0", None, Refusal(400, "invalid_parameter", "#/query/limit")),
    ("GET", "/attempts?limit=101", None, Refusal(400, "invalid_parameter", "#/query/limit")),
    ("GET", "/attempts?after=1", None, Refusal(400, "unknown_parameter", "#/query/after")),
    ("PUT", "/verify", None, Refusal(405, "method_not_allowed")),
    ("POST", "/attempts", None, Refusal(405, "method_not_allowed")),
]


@pytest.mark.parametrize(("method", "rest", "body", "refusal"), REQUESTS)
async def test_bad_requests(service: WatchedService, method: str, rest: str, body: object, refusal: Refusal) -> None:
    """What cannot be carried out is refused with its code and its place."""
    await put(service, "plain")
    expect(await send(service, method, path("plain", rest), body), refusal)


async def test_nobody_is_there(service: WatchedService) -> None:
    """Calls about a subscription that there is not are 404; so is an event that is not in the log."""
    for method, rest, body in (
        ("POST", "/verify", None),
        ("GET", "/attempts", None),
        ("POST", "/test", None),
        ("POST", "/redeliver", {"position": "1-0"}),
    ):
        expect(await send(service, method, path("nobody", rest), body), Refusal(404, "not_found"))
    async with receiving() as receiver:
        await put_push(service, "lost", receiver.url)
        await until_state(service, "lost", "verified")
        answer = await send(service, "POST", path("lost", "/redeliver"), {"position": "1-0"})
        expect(answer, Refusal(404, "not_found"))
        assert receiver.posts == []


async def test_only_the_networks_that_are_open(service: WatchedService) -> None:
    """With loopback open, and nothing else, other addresses inside stay shut."""
    for url in ("http://10.0.0.1/", "http://169.254.169.254/latest/", "http://[::1]/"):
        answer = await send(service, "PUT", path("inside"), {"patterns": ["a"], "push": {"url": url}})
        expect(answer, Refusal(422, "address_refused", "#/push/url"))
        expect(await service.call("GET", path("inside")), Refusal(404, "not_found"))


# Metrics --------------------------------------------------------------------------------------------------------------


async def test_requests_are_counted(service: WatchedService) -> None:
    """JSON and Prometheus tell the same: requests by what came of them, how long they took, what is paused."""

    async def metrics() -> Members:
        members: Members = (await service.call("GET", "/metrics")).json()["webhooks"]
        return members

    before = await metrics()
    async with receiving() as receiver:
        await put_push(service, "counted", receiver.url)
        await until_state(service, "counted", "verified")
        await post(service, "counted", "/test")
        receiver.script = lambda _: Said(404)
        await post(service, "counted", "/test")
    await post(service, "counted", "/test")
    after = await metrics()
    grown = {name: after["requests"][name] - before["requests"][name] for name in after["requests"]}
    assert (grown["4xx"], grown["connection"]) == (1, 1)
    assert grown["2xx"] >= 1
    assert after["seconds"]["count"] == sum(after["requests"].values())
    assert after["seconds"]["p99"] > 0
    assert set(after["breakers"]) == {"open", "half_open"}
    assert set(after["stopped"]) == {"gone", "failing"}
    text = (await service.call("GET", "/metrics?format=prometheus")).body.decode()
    for line in (
        f'wowevent_webhook_requests_total{{result="4xx"}} {float(after["requests"]["4xx"])}',
        f"wowevent_webhook_request_seconds_count {float(after['seconds']['count'])}",
        'wowevent_webhook_request_quantile_seconds{quantile="0.99"}',
        "wowevent_webhook_in_flight 0.0",
        'wowevent_webhook_breakers{state="open"}',
        f'wowevent_webhook_stopped_total{{reason="gone"}} {float(after["stopped"]["gone"])}',
    ):
        assert line in text
