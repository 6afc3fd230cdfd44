"""What tests of durable subscriptions do over HTTP, in a line each."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from tests.service.watched_service import WatchedService, event_bytes
from tests.service.wire import PATIENCE_SECONDS, Answer

JSON_TYPE: Final = {"Content-Type": "application/json"}

Members = dict[str, Any]


async def send(service: WatchedService, method: str, target: str, members: object = None, **headers: str) -> Answer:
    """Make a call with a JSON body, if any; header names are given with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if members is None:
        return await service.call(method, target, named)
    return await service.call(method, target, {**JSON_TYPE, **named}, json.dumps(members).encode())


def path(name: str, rest: str = "", bus: str | None = None) -> str:
    """Where a subscription is."""
    return f"/v1{'' if bus is None else f'/buses/{bus}'}/subscriptions/{name}{rest}"


async def put(service: WatchedService, name: str, **definition: Any) -> Members:  # noqa: ANN401 - whatever JSON has
    """Make a subscription, to types that begin with its name unless the definition says otherwise; return it."""
    answer = await send(service, "PUT", path(name), {"patterns": [f"{name}.*"], **definition})
    assert answer.status in {200, 201}, answer
    return members_of(answer)


async def publish(service: WatchedService, name: str, count: int = 1, **members: Any) -> list[str]:  # noqa: ANN401 - whatever JSON has
    """Publish events that a subscription of `put` gets; return their positions."""
    body = b"\n".join([event_bytes(f"{name}.made", data=number, **members) for number in range(count)])
    answer = await service.publish(body, "application/x-ndjson")
    assert answer.status == 200, answer
    return [receipt["position"] for receipt in answer.json()["results"]]


async def claim(service: WatchedService, name: str, **wanted: Any) -> list[Members]:  # noqa: ANN401 - whatever JSON has
    """Claim; return the deliveries."""
    answer = await send(service, "POST", path(name, "/claim"), wanted)
    assert answer.status == 200, answer
    deliveries: list[Members] = answer.json()["deliveries"]
    return deliveries


async def settle(service: WatchedService, name: str, *outcomes: Members) -> list[Members]:
    """Settle; return the results."""
    answer = await send(service, "POST", path(name, "/settle"), {"outcomes": outcomes})
    assert answer.status == 200, answer
    results: list[Members] = answer.json()["results"]
    return results


def outcome(delivery: Members, word: str = "ack", **more: Any) -> Members:  # noqa: ANN401 - whatever JSON has
    """One outcome of a delivery."""
    return {"token": delivery["token"], "outcome": word, **more}


async def look(service: WatchedService, name: str, query: str = "") -> Members:
    """Return a subscription as it stands."""
    answer = await service.call("GET", path(name) + query)
    assert answer.status == 200, answer
    return members_of(answer)


async def counts(service: WatchedService, name: str) -> Members:
    """Return the counts of a subscription that are not 0; they close."""
    found: dict[str, int] = (await look(service, name))["counts"]
    assert found["matched"] == sum(found.values()) - found["matched"], found
    return {place: count for place, count in found.items() if count}


async def until(wanted: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again until something is so."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await wanted():
            pass


def members_of(answer: Answer) -> Members:
    """The object that was answered."""
    members: Members = answer.json()
    return members


async def bury(service: WatchedService, name: str, count: int = 1, **members: Any) -> list[str]:  # noqa: ANN401 - whatever JSON has
    """Publish events and reject them; return the ids of the dead letters."""
    before = {letter["id"] for letter in await letters(service, name)}
    await publish(service, name, count, **members)
    deliveries = await claim(service, name, max=count)
    assert len(deliveries) == count
    rejections = [outcome(delivery, "reject", reason=f"bad {number}") for number, delivery in enumerate(deliveries)]
    assert await settle(service, name, *rejections) == [{"status": "ok"}] * count
    return [letter["id"] for letter in await letters(service, name) if letter["id"] not in before]


async def letters(service: WatchedService, name: str, query: str = "") -> list[Members]:
    """Return the dead letters of a subscription, a page of them."""
    answer = await service.call("GET", path(name, "/dead-letters") + query)
    assert answer.status == 200, answer
    items: list[Members] = answer.json()["items"]
    return items
