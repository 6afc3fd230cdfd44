"""Claiming and settling over HTTP: what a member is told, what its outcomes do, and what becomes of one that goes."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any, Final

import pytest

from tests.service.subscribed import claim, counts, look, outcome, path, publish, put, send, settle, until
from tests.service.test_bad_input import Refusal, expect
from tests.service.watched_service import WatchedService
from tests.service.wire import Wire, connected, request_bytes

OK: Final = {"status": "ok"}


async def test_a_delivery(service: WatchedService) -> None:
    """A claim leases events in their order and tells of each what a member needs; acked ones do not come again."""
    await put(service, "plain", lease_seconds=7.5)
    positions = await publish(service, "plain", 3)
    deliveries = await claim(service, "plain", max=2, member="w1")
    assert [delivery["position"] for delivery in deliveries] == positions[:2]
    first = deliveries[0]
    assert (first["attempt"], first["last_error"], first["lease_seconds"]) == (1, None, 7.5)
    assert "replay" not in first
    stored = (await service.call("GET", f"/v1/events/{positions[0]}")).json()
    assert first["event"] == stored["event"]
    assert first["first_delivery"] > stored["event"]["time"]
    assert await counts(service, "plain") == {"matched": 3, "leased": 2, "waiting": 1}
    assert await settle(service, "plain", *map(outcome, deliveries)) == [OK, OK]
    assert await counts(service, "plain") == {"matched": 3, "acked": 2, "waiting": 1}


async def test_an_empty_claim(service: WatchedService) -> None:
    """A claim of nothing, without a body, is 200 with an empty list; when something will be due is told."""
    await put(service, "empty")
    answer = await send(service, "POST", path("empty", "/claim"))
    assert (answer.status, answer.json()) == (200, {"deliveries": [], "next_due": None})
    await publish(service, "empty")
    (delivery,) = await claim(service, "empty")
    await settle(service, "empty", outcome(delivery, "nack", delay_seconds=300))
    assert (await send(service, "POST", path("empty", "/claim"))).json()["next_due"] > delivery["first_delivery"]


async def test_outcomes(service: WatchedService) -> None:
    """Each outcome does its own: nack comes again with its reason, reject dies, release counts no failure."""
    await put(service, "outcomes")
    await publish(service, "outcomes", 5)
    acked, nacked, rejected, released, extended = await claim(service, "outcomes")
    results = await settle(
        service,
        "outcomes",
        outcome(acked),
        outcome(nacked, "nack", delay_seconds=0, reason="not yet"),
        outcome(rejected, "reject", reason="never"),
        outcome(released, "release"),
        outcome(extended, "extend", delay_seconds=600),
    )
    assert results == [OK] * 5
    again = {delivery["position"]: delivery for delivery in await claim(service, "outcomes", wait_seconds=5)}
    while len(again) < 2:
        again |= {delivery["position"]: delivery for delivery in await claim(service, "outcomes", wait_seconds=5)}
    retried, unharmed = again[nacked["position"]], again[released["position"]]
    assert (retried["attempt"], retried["last_error"]) == (2, "not yet")
    assert retried["first_delivery"] == nacked["first_delivery"]
    assert (unharmed["attempt"], unharmed["last_error"]) == (1, None)
    assert await counts(service, "outcomes") == {"matched": 5, "acked": 1, "dead": 1, "leased": 3}


async def test_tokens(service: WatchedService) -> None:
    """A token is good once: again, or after the event went on, its result is stale_token, and nothing is changed."""
    await put(service, "tokens")
    await publish(service, "tokens")
    (delivery,) = await claim(service, "tokens")
    results = await settle(service, "tokens", outcome(delivery, "nack", delay_seconds=0), outcome(delivery))
    assert [result.get("code") for result in results] == [None, "stale_token"]
    assert results[1]["retryable"] is False
    (again,) = await claim(service, "tokens", wait_seconds=5)
    forged = {**again, "token": again["token"][:-1] + ("0" if again["token"][-1] != "0" else "1")}
    nonsense = {"token": "nonsense", "outcome": "ack"}
    results = await settle(service, "tokens", outcome(delivery), outcome(forged), nonsense, outcome(again))
    assert [result.get("code") for result in results] == ["stale_token", "stale_token", "invalid_parameter", None]
    assert results[2]["errors"][0]["pointer"] == "#/outcomes/2/token"
    assert await counts(service, "tokens") == {"matched": 1, "acked": 1}
    assert await settle(service, "tokens") == []


async def test_idempotency(service: WatchedService) -> None:
    """A claim, and a settle, that is repeated with its key gets the same answer, and does nothing twice."""
    await put(service, "keyed")
    await publish(service, "keyed", 3)
    answers = [await send(service, "POST", path("keyed", "/claim"), {"max": 2}, Idempotency_Key="c1") for _ in range(2)]
    assert answers[0].json()["deliveries"] == answers[1].json()["deliveries"]
    assert len(answers[0].json()["deliveries"]) == 2
    assert await counts(service, "keyed") == {"matched": 3, "leased": 2, "waiting": 1}
    outcomes = {"outcomes": [outcome(delivery) for delivery in answers[0].json()["deliveries"]]}
    for _ in range(2):
        answer = await send(service, "POST", path("keyed", "/settle"), outcomes, Idempotency_Key="s1")
        assert answer.json() == {"results": [OK, OK]}
    assert await counts(service, "keyed") == {"matched": 3, "acked": 2, "waiting": 1}


# Waiting --------------------------------------------------------------------------------------------------------------


def claim_bytes(name: str, **wanted: Any) -> bytes:  # noqa: ANN401 - whatever JSON has
    """The request of a claim."""
    body = json.dumps(wanted).encode()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    return request_bytes("POST", path(name, "/claim"), headers) + body


async def members(service: WatchedService, name: str) -> list[str]:
    """The members of a subscription by name."""
    return [member["member"] for member in (await look(service, name, "?details=true"))["members"]]


async def begin_claim(service: WatchedService, wire: Wire, name: str, **wanted: Any) -> None:  # noqa: ANN401 - whatever JSON has
    """Send a claim, and return once it waits."""
    await wire.send(claim_bytes(name, wait_seconds=60, **wanted))

    async def waits() -> bool:
        return wanted["member"] in await members(service, name)

    await until(waits)


async def test_a_claim_that_waits(service: WatchedService) -> None:
    """A claim that waits is answered with the event that comes, and is seen among the members meanwhile."""
    await put(service, "waits")
    async with connected(service.port) as wire:
        await begin_claim(service, wire, "waits", member="w1", max=7)
        (member,) = (await look(service, "waits", "?details=true"))["members"]
        assert (member["kind"], member["credit"], member["held"], member["self"]) == ("claim", 7, 0, True)
        (position,) = await publish(service, "waits")
        answer = await wire.answer()
    assert [delivery["position"] for delivery in answer.json()["deliveries"]] == [position]
    assert await members(service, "waits") == []


async def test_a_client_that_goes_away_while_it_waits(service: WatchedService) -> None:
    """It waits no longer, and takes no event with it."""
    await put(service, "leaves", lease_seconds=3600)
    for end in ("close", "reset"):
        async with connected(service.port) as wire:
            await begin_claim(service, wire, "leaves", member=end)
            await wire.close() if end == "close" else wire.reset()

            async def gone() -> bool:
                return await members(service, "leaves") == []

            await until(gone)
    await publish(service, "leaves")
    (delivery,) = await claim(service, "leaves", wait_seconds=10)
    assert delivery["attempt"] == 1
    assert await counts(service, "leaves") == {"matched": 1, "leased": 1}


async def test_a_client_that_goes_away_as_the_event_comes(service: WatchedService) -> None:
    """However the two meet, the event is not kept from others until a lease of an hour ends, and no failure counts."""
    await put(service, "meets", lease_seconds=3600)
    for _ in range(10):
        async with connected(service.port) as wire:
            await begin_claim(service, wire, "meets", member="w1")
            async with asyncio.TaskGroup() as group:
                group.create_task(publish(service, "meets"))
                await asyncio.sleep(0)
                wire.reset()
        answered = await claim(service, "meets", wait_seconds=10)
        assert [delivery["attempt"] for delivery in answered] == [1]
        assert await settle(service, "meets", outcome(answered[0])) == [OK]


async def test_a_drain_ends_waiting(tmp_path: Path) -> None:
    """A claim that waits while the service goes is answered at once, with nothing, and the service goes well."""
    with WatchedService(tmp_path, {"WOWEVENT_DRAIN_LAME_DUCK_SECONDS": "2"}) as service:
        await put(service, "drained")
        async with connected(service.port) as wire, connected(service.port) as late:
            await begin_claim(service, wire, "drained", member="w1")
            service.signal(signal.SIGTERM)
            answer = await wire.answer()
            assert (answer.status, answer.json()["deliveries"]) == (200, [])
            assert answer.header("Connection") == "close"
            await late.send(claim_bytes("drained", wait_seconds=60))
            assert (await late.answer()).json()["deliveries"] == []
        assert await asyncio.to_thread(service.wait, 20) == 0
        service.check_log_lines()


# Bad input ------------------------------------------------------------------------------------------------------------

TOKEN: Final = "0123456789abcdef.1-0.0123456789abcdef"


def settling(**members: Any) -> bytes:  # noqa: ANN401 - whatever JSON has
    """A settle whose second outcome has members that may be wrong."""
    good = {"token": TOKEN, "outcome": "ack"}
    return json.dumps({"outcomes": [good, {**good, **members}]}).encode()


BAD: Final[list[tuple[str, str, bytes, Refusal]]] = [
    ("claim, not JSON", "claim", b"nonsense", Refusal(400, "malformed_json", "#")),
    ("claim, an array", "claim", b"[]", Refusal(400, "invalid_parameter", "#")),
    ("claim, deep", "claim", b'{"x":' * 100_000, Refusal(400, "unknown_parameter", "#/x")),
    ("claim, NaN", "claim", b'{"max":NaN}', Refusal(400, "malformed_json", "#")),
    ("claim, not UTF-8", "claim", b'{"member":"\xff"}', Refusal(400, "malformed_json", "#")),
    ("claim, unknown field", "claim", b'{"limit":1}', Refusal(400, "unknown_parameter", "#/limit")),
    ("claim, odd field", "claim", b'{"a/b`~":1}', Refusal(400, "unknown_parameter", "#/a~1b`~0")),
    ("claim, max 0", "claim", b'{"max":0}', Refusal(400, "invalid_parameter", "#/max")),
    ("claim, max 1,001", "claim", b'{"max":1001}', Refusal(400, "invalid_parameter", "#/max")),
    ("claim, max text", "claim", b'{"max":"1"}', Refusal(400, "invalid_parameter", "#/max")),
    ("claim, max huge", "claim", b'{"max":1e999}', Refusal(400, "invalid_parameter", "#/max")),
    ("claim, wait 61", "claim", b'{"wait_seconds":61}', Refusal(400, "invalid_parameter", "#/wait_seconds")),
    ("claim, wait -1", "claim", b'{"wait_seconds":-1}', Refusal(400, "invalid_parameter", "#/wait_seconds")),
    ("claim, member", "claim", b'{"member":1}', Refusal(400, "invalid_parameter", "#/member")),
    ("claim, long member", "claim", b'{"member":"%b"}' % (b"m" * 129), Refusal(400, "invalid_parameter", "#/member")),
    ("settle, empty", "settle", b"", Refusal(400, "malformed_json", "#")),
    ("settle, nothing", "settle", b"{}", Refusal(400, "invalid_parameter", "#/outcomes")),
    ("settle, no list", "settle", b'{"outcomes":{}}', Refusal(400, "invalid_parameter", "#/outcomes")),
    ("settle, a number", "settle", b'{"outcomes":[1]}', Refusal(400, "invalid_parameter", "#/outcomes/0")),
    ("settle, unknown field", "settle", settling(x=1), Refusal(400, "unknown_parameter", "#/outcomes/1/x")),
    ("settle, outcome", "settle", settling(outcome="done"), Refusal(400, "invalid_parameter", "#/outcomes/1/outcome")),
    ("settle, no token", "settle", settling(token=None), Refusal(400, "invalid_parameter", "#/outcomes/1/token")),
    (
        "settle, long token",
        "settle",
        settling(token="t" * 201),
        Refusal(400, "invalid_parameter", "#/outcomes/1/token"),
    ),
    (
        "settle, delay",
        "settle",
        settling(delay_seconds=-1),
        Refusal(400, "invalid_parameter", "#/outcomes/1/delay_seconds"),
    ),
    ("settle, reason", "settle", settling(reason=1), Refusal(400, "invalid_parameter", "#/outcomes/1/reason")),
    (
        "settle, 1,001",
        "settle",
        json.dumps({"outcomes": [{"token": TOKEN, "outcome": "ack"}] * 1001}).encode(),
        Refusal(400, "invalid_parameter", "#/outcomes"),
    ),
]


@pytest.mark.parametrize(("call", "body", "refusal"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
async def test_bad_calls(service: WatchedService, call: str, body: bytes, refusal: Refusal) -> None:
    """A claim or a settle that cannot be read is refused with its code and its place."""
    await put(service, "bad")
    expect(await service.call("POST", path("bad", f"/{call}"), {"Content-Type": "application/json"}, body), refusal)


@pytest.mark.parametrize("call", ["claim", "settle"])
async def test_bad_requests(service: WatchedService, call: str) -> None:
    """So are a bad key, a query, another media type, and a subscription that is not there."""
    body: dict[str, object] = {} if call == "claim" else {"outcomes": []}
    await put(service, "bad")
    pointer = "#/headers/Idempotency-Key"
    for key in ("", "k" * 300, "\xff"):
        refused = await send(service, "POST", path("bad", f"/{call}"), body, Idempotency_Key=key)
        expect(refused, Refusal(400, "invalid_parameter", pointer))
    refused = await send(service, "POST", path("bad", f"/{call}?max=1"), body)
    expect(refused, Refusal(400, "unknown_parameter", "#/query/max"))
    refused = await service.call("POST", path("bad", f"/{call}"), {"Content-Type": "text/plain"}, b"{}")
    expect(refused, Refusal(415, "unsupported_media_type"))
    expect(await send(service, "POST", path("nobody", f"/{call}"), body), Refusal(404, "not_found"))
