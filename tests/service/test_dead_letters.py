"""Dead letters over HTTP: browsed by filters, put back, destroyed after a confirmation."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from tests.service.subscribed import bury, claim, counts, letters, look, outcome, path, put, send, settle
from tests.service.test_bad_input import Refusal, expect
from tests.service.watched_service import WatchedService
from waooaw.events.dead_letter_wire import filter_members, read_dead_letter_page, read_filter


async def test_what_a_dead_letter_tells(service: WatchedService) -> None:
    """The whole event, why and when it died, after how many attempts, and who had it last; alone the same."""
    await put(service, "told")
    (letter_id,) = await bury(service, "told", subject="s")
    answer = await service.call("GET", path("told", "/dead-letters"))
    (letter,) = answer.json()["items"]
    assert (letter["reason"], letter["attempts"], letter["last_error"]) == ("rejected", 1, "bad 0")
    assert letter["event"] == (await service.call("GET", f"/v1/events/{letter['position']}")).json()["event"]
    assert letter["first_failure"] <= letter["last_failure"]
    assert (answer.json()["next"], answer.json()["end"]) == (None, True)
    assert (await service.call("GET", path("told", f"/dead-letters/{letter_id}"))).json() == letter
    page = read_dead_letter_page(answer.body)
    assert [(item.id, item.stored.event.subject) for item in page.items] == [(letter_id, "s")]
    assert (await look(service, "told"))["oldest_dead_seconds"] >= 0


async def test_browsing(service: WatchedService) -> None:
    """Pages go on after an id; each filter finds its own."""
    await put(service, "browsed", retry={"max_attempts": 1})
    ids = await bury(service, "browsed", 4)
    await bury(service, "browsed", 1, correlationid="Change-7")
    pages = [await service.call("GET", path("browsed", f"/dead-letters?limit=2&after={ids[0]}"))]
    assert [item["id"] for item in pages[0].json()["items"]] == ids[1:3]
    pages.append(await service.call("GET", path("browsed", f"/dead-letters?after={pages[0].json()['next']}")))
    assert len(pages[1].json()["items"]) == 2
    everything = await letters(service, "browsed")
    last = everything[-1]
    for query, count in [
        (f"?id={ids[1]}&id={ids[2]}", 2),
        ("?reason=rejected", 5),
        ("?reason=max_attempts", 0),
        ("?type=browsed.*&type=x", 5),
        ("?type=x", 0),
        ("?text=BAD%203", 1),
        ("?text=change-7", 1),
        (f"?from={everything[0]['last_failure']}", 5),
        (f"?to={everything[0]['last_failure']}", 0),
        (f"?reason=rejected&id={last['id']}&text=bad", 1),
    ]:
        assert len(await letters(service, "browsed", query)) == count, query


async def test_redriving(service: WatchedService) -> None:
    """A dry run changes nothing; what is put back is tried anew from the first attempt, in that subscription."""
    await put(service, "redriven")
    ids = await bury(service, "redriven", 3)
    target = path("redriven", "/dead-letters/redrive")
    dry = await send(service, "POST", target, {"dry_run": True})
    assert dry.json() == {"matched": 3, "redriven": 0, "dry_run": True}
    assert await counts(service, "redriven") == {"matched": 3, "dead": 3}
    some = await send(service, "POST", target, {"id": ids[1]})
    assert some.json() == {"matched": 1, "redriven": 1, "dry_run": False}
    (delivery,) = await claim(service, "redriven", wait_seconds=5)
    assert (delivery["attempt"], delivery["last_error"], delivery["event"]["data"]) == (1, None, 1)
    await settle(service, "redriven", outcome(delivery))
    assert (await send(service, "POST", target)).json()["redriven"] == 2
    assert await counts(service, "redriven") == {"matched": 3, "acked": 1, "waiting": 2}


async def test_redriving_at_a_rate(service: WatchedService) -> None:
    """With a rate one is due after the other."""
    await put(service, "slowly")
    await bury(service, "slowly", 3)
    answer = await send(service, "POST", path("slowly", "/dead-letters/redrive"), {"rate": 0.01})
    assert answer.json()["redriven"] == 3
    assert len(await claim(service, "slowly", wait_seconds=5)) == 1
    assert await counts(service, "slowly") == {"matched": 3, "leased": 1, "waiting": 2}


async def test_purging(service: WatchedService) -> None:
    """Nothing is destroyed without the token that the first answer has with the count; it is good for that filter."""
    await put(service, "purged")
    ids = await bury(service, "purged", 3)
    target = path("purged", "/dead-letters")
    refused = await service.call("DELETE", f"{target}?id={ids[0]}&id={ids[1]}")
    expect(refused, Refusal(409, "confirmation_required"))
    assert refused.json()["count"] == 2
    confirm = refused.json()["confirm"]
    expect(await service.call("DELETE", f"{target}?confirm={confirm}"), Refusal(409, "confirmation_required"))
    expect(await service.call("DELETE", f"{target}?confirm=x"), Refusal(409, "confirmation_required"))
    assert len(await letters(service, "purged")) == 3
    answer = await service.call("DELETE", f"{target}?id={ids[1]}&id={ids[0]}&confirm={confirm}")
    assert (answer.status, answer.json()) == (200, {"purged": 2})
    assert [letter["id"] for letter in await letters(service, "purged")] == ids[2:]
    assert await counts(service, "purged") == {"matched": 3, "dead": 1, "dropped": 2}


def test_filters_are_read_as_they_are_spelled() -> None:
    """What a client spells of a filter is what the service reads."""
    which = read_filter(
        {"id": ["a", "b"], "reason": "max_age", "type": "x.*", "from": "2026-01-01T00:00:00Z", "text": "t"}
    )
    assert read_filter(json.loads(json.dumps(filter_members(which)))) == which
    assert filter_members(read_filter({})) == {}


BAD_QUERIES: Final[list[tuple[str, Refusal]]] = [
    ("?x=1", Refusal(400, "unknown_parameter", "#/query/x")),
    ("?reason=boredom", Refusal(400, "invalid_parameter", "#/query/reason")),
    ("?reason=rejected&reason=max_age", Refusal(400, "invalid_parameter", "#/query/reason")),
    ("?type=%5B", Refusal(400, "invalid_pattern", "#/query/type/0")),
    ("?from=yesterday", Refusal(400, "invalid_parameter", "#/query/from")),
    ("?to=2026-02-30T00:00:00Z", Refusal(400, "invalid_parameter", "#/query/to")),
    ("?text=", Refusal(400, "invalid_parameter", "#/query/text")),
    ("?text=" + "t" * 201, Refusal(400, "invalid_parameter", "#/query/text")),
    ("?id=", Refusal(400, "invalid_parameter", "#/query/id")),
    ("?id=" + "i" * 65, Refusal(400, "invalid_parameter", "#/query/id")),
]


@pytest.mark.parametrize(("query", "refusal"), BAD_QUERIES, ids=lambda value: str(value)[:40])
async def test_bad_filters(service: WatchedService, query: str, refusal: Refusal) -> None:
    """A filter that cannot be is refused by browsing and by purging: it would mean more than was meant."""
    await put(service, "bad")
    for method in ("GET", "DELETE"):
        expect(await service.call(method, path("bad", "/dead-letters") + query), refusal)


BAD_PAGES: Final[list[tuple[str, Refusal]]] = [
    ("/dead-letters?limit=0", Refusal(400, "invalid_parameter", "#/query/limit")),
    ("/dead-letters?limit=1001", Refusal(400, "invalid_parameter", "#/query/limit")),
    ("/dead-letters?after=nonsense", Refusal(400, "invalid_parameter", "#/query/after")),
    ("/dead-letters?id=nonsense", Refusal(400, "invalid_parameter", "#/query/id")),
    ("/dead-letters?confirm=x", Refusal(400, "unknown_parameter", "#/query/confirm")),
    ("/dead-letters/nonsense", Refusal(404, "not_found")),
    ("/dead-letters/1-1", Refusal(404, "not_found")),
    ("/dead-letters/1-1?x=1", Refusal(400, "unknown_parameter", "#/query/x")),
]


@pytest.mark.parametrize(("rest", "refusal"), BAD_PAGES)
async def test_bad_pages(service: WatchedService, rest: str, refusal: Refusal) -> None:
    """So are pages, and dead letters that are not there."""
    await put(service, "bad")
    expect(await service.call("GET", path("bad", rest)), refusal)


def redriving(**members: Any) -> bytes:  # noqa: ANN401 - whatever JSON has
    """A redrive that may be wrong."""
    return json.dumps(members).encode()


BAD_REDRIVES: Final[list[tuple[bytes, Refusal]]] = [
    (b"nonsense", Refusal(400, "malformed_json", "#")),
    (b"[]", Refusal(400, "invalid_parameter", "#")),
    (redriving(ids=["a"]), Refusal(400, "unknown_parameter", "#/ids")),
    (redriving(confirm="a"), Refusal(400, "unknown_parameter", "#/confirm")),
    (redriving(id=[]), Refusal(400, "invalid_parameter", "#/id")),
    (redriving(id=[1]), Refusal(400, "invalid_parameter", "#/id")),
    (redriving(id="nonsense"), Refusal(400, "invalid_parameter", "#/id")),
    (redriving(id=["i"] * 1001), Refusal(400, "invalid_parameter", "#/id")),
    (redriving(type={}), Refusal(400, "invalid_parameter", "#/type")),
    (redriving(type=["a", "["]), Refusal(400, "invalid_pattern", "#/type/1")),
    (redriving(reason=1), Refusal(400, "invalid_parameter", "#/reason")),
    (redriving(**{"from": 1}), Refusal(400, "invalid_parameter", "#/from")),
    (redriving(text=["a"]), Refusal(400, "invalid_parameter", "#/text")),
    (redriving(dry_run="yes"), Refusal(400, "invalid_parameter", "#/dry_run")),
    (redriving(rate=0.0009), Refusal(400, "invalid_parameter", "#/rate")),
    (redriving(rate=0), Refusal(400, "invalid_parameter", "#/rate")),
    (redriving(rate=1e9), Refusal(400, "invalid_parameter", "#/rate")),
    (redriving(rate=True), Refusal(400, "invalid_parameter", "#/rate")),
]


@pytest.mark.parametrize(("body", "refusal"), BAD_REDRIVES, ids=lambda value: str(value)[:40])
async def test_bad_redrives(service: WatchedService, body: bytes, refusal: Refusal) -> None:
    """A redrive that cannot be read is refused with its code and its place, and nothing is moved."""
    await put(service, "bad")
    target = path("bad", "/dead-letters/redrive")
    expect(await service.call("POST", target, {"Content-Type": "application/json"}, body), refusal)


async def test_no_such_subscription(service: WatchedService) -> None:
    """Each call says so."""
    for method, rest in [("GET", ""), ("DELETE", ""), ("GET", "/1-1"), ("POST", "/redrive")]:
        expect(await service.call(method, path("nobody", f"/dead-letters{rest}")), Refusal(404, "not_found"))
