"""Every way out: the store in each representation, one event in each mode, a stream on each kind of socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import aiohttp
import msgspec

from tests.interoperability.github_events import Facts, facts
from tests.interoperability.publishing_modes import BATCH, EVENT, NDJSON
from waooaw.events.http_binding import PREFIX

Read = Callable[[aiohttp.ClientSession, int], Awaitable[list[Facts]]]


class _Item(msgspec.Struct):
    position: str
    event: msgspec.Raw


class _Page(msgspec.Struct):
    items: list[_Item]
    next: str
    end: bool


async def _body(session: aiohttp.ClientSession, path: str, accept: str) -> bytes:
    async with session.get(path, headers={"Accept": accept}) as response:
        assert (response.status, response.content_type) == (200, accept)
        return await response.read()


async def _items(session: aiohttp.ClientSession) -> list[_Item]:
    body = await _body(session, "/v1/events?limit=1000", "application/json")
    page = msgspec.json.decode(body, type=_Page)
    assert page.end
    return page.items


async def pages(session: aiohttp.ClientSession, _count: int) -> list[Facts]:
    found, place, is_end = [], "earliest", False
    while not is_end:
        body = await _body(session, f"/v1/events?limit=100&from={place}", "application/json")
        page = msgspec.json.decode(body, type=_Page)
        found += [facts(item.event) for item in page.items]
        place, is_end = page.next, page.end
    return found


async def batch(session: aiohttp.ClientSession, _count: int) -> list[Facts]:
    body = await _body(session, "/v1/events?limit=1000", BATCH)
    return [facts(event) for event in msgspec.json.decode(body, type=list[msgspec.Raw])]


async def ndjson(session: aiohttp.ClientSession, _count: int) -> list[Facts]:
    body = await _body(session, "/v1/events?limit=1000", NDJSON)
    return [facts(line) for line in body.splitlines()]


async def each_structured(session: aiohttp.ClientSession, _count: int) -> list[Facts]:
    return [facts(await _body(session, f"/v1/events/{item.position}", EVENT)) for item in await _items(session)]


async def each_binary(session: aiohttp.ClientSession, _count: int) -> list[Facts]:
    found = []
    for item in await _items(session):
        async with session.get(f"/v1/events/{item.position}?mode=binary") as response:
            names = {name.lower(): value for name, value in response.headers.items()}
            attributes = {name.removeprefix(PREFIX): names[name] for name in names if name.startswith(PREFIX)}
            attributes.pop("time")
            found.append(Facts(attributes | {"datacontenttype": names["content-type"]}, await response.read()))
    return found


async def _data_lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    async for line in response.content:
        if line.startswith(b"data: "):
            yield line.removeprefix(b"data: ")


async def server_sent_events(session: aiohttp.ClientSession, count: int) -> list[Facts]:
    found: list[Facts] = []
    async with session.get("/v1/stream?from=earliest") as response:
        async for line in _data_lines(response):
            found.append(facts(line))
            if len(found) == count:
                break
    return found


async def websocket(session: aiohttp.ClientSession, count: int) -> list[Facts]:
    found: list[Facts] = []
    async with session.ws_connect("/v1/ws") as socket:
        await socket.send_json({"op": "stream", "id": "s", "patterns": ["*"], "from": "earliest"})
        while len(found) < count:
            message = msgspec.json.decode(await socket.receive_str(), type=dict[str, msgspec.Raw])
            if bytes(message["op"]) == b'"event"':
                found.append(facts(message["event"]))
    return found


async def websocket_cloudevents(session: aiohttp.ClientSession, count: int) -> list[Facts]:
    async with session.ws_connect("/v1/ws?from=earliest", protocols=("cloudevents.json",)) as socket:
        return [facts((await socket.receive_str()).encode()) for _ in range(count)]


MODES: Final[dict[str, Read]] = {
    "pages": pages,
    "batch": batch,
    "ndjson": ndjson,
    "each_structured": each_structured,
    "each_binary": each_binary,
    "server_sent_events": server_sent_events,
    "websocket": websocket,
    "websocket_cloudevents": websocket_cloudevents,
}
