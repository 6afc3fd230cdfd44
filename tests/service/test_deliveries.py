"""Why? What each subscription made of one event, or why it did not get it."""

from __future__ import annotations

from typing import Any

from tests.service.subscribed import claim, outcome, publish, put, settle
from tests.service.test_bad_input import Refusal, expect
from tests.service.watched_service import WatchedService, event_bytes
from waooaw.events.subscription_wire import read_reports


async def reports(service: WatchedService, position: str) -> dict[str, dict[str, Any]]:
    """What subscriptions made of an event, by name."""
    answer = await service.call("GET", f"/v1/events/{position}/deliveries")
    assert answer.status == 200, answer
    assert answer.json()["position"] == position
    assert len(read_reports(answer.json())) == len(answer.json()["items"])
    return {item["subscription"]: item for item in answer.json()["items"]}


async def test_each_state(service: WatchedService) -> None:
    """Whether it waits, is held, is tried again, died or is dealt with, with attempts, member and last error."""
    await put(service, "why")
    await put(service, "other", patterns=["other.*"])
    positions = await publish(service, "why", 5)
    await put(service, "late", patterns=["why.*"])
    held, failed, dead, acked = await claim(service, "why", max=4, member="w1")
    await settle(
        service,
        "why",
        outcome(failed, "nack", delay_seconds=600, reason="not now"),
        outcome(dead, "reject", reason="never"),
        outcome(acked),
    )
    found = [(await reports(service, position))["why"] for position in positions]
    assert [report["matched"] for report in found] == [True] * 5
    assert [report["state"] for report in found] == ["leased", "scheduled", "dead", "settled", "waiting"]
    assert (found[0]["member"], found[0]["attempts"]) == ("w1", 1)
    assert (found[1]["last_error"], found[1]["attempts"]) == ("not now", 1)
    assert found[2]["last_error"] == "never"
    first = await reports(service, held["position"])
    assert first["other"] == {"subscription": "other", "matched": False, "why": "pattern"}
    assert first["late"] == {"subscription": "late", "matched": False, "why": "created_later"}
    assert list(first) == sorted(first)


async def test_bad_requests(service: WatchedService) -> None:
    """A position that is none, or where nothing is, and what is not known."""
    (position,) = await publish(service, "asked")
    expect(await service.call("GET", "/v1/events/1-0/deliveries"), Refusal(404, "not_found"))
    refused = await service.call("GET", "/v1/events/nonsense/deliveries")
    expect(refused, Refusal(400, "invalid_parameter", "#/path/position"))
    refused = await service.call("GET", f"/v1/events/{position}/deliveries?x=1")
    expect(refused, Refusal(400, "unknown_parameter", "#/query/x"))
    refused = await service.call("POST", f"/v1/events/{position}/deliveries", body=event_bytes())
    expect(refused, Refusal(405, "method_not_allowed"))
    assert (await service.call("HEAD", f"/v1/events/{position}/deliveries")).status == 200
