"""Connections as the service counts them: how many, how old, from which pages."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Final

import pytest

from tests.service.frames import opened, upgrade_headers
from tests.service.test_bad_input import Refusal, expect
from tests.service.watched_service import WatchedService, event_bytes
from tests.service.wire import connected, request_bytes

CONNECTIONS_MAX: Final = 20

VARIABLES: Final = {
    "WOWEVENT_CONNECTIONS_MAX": str(CONNECTIONS_MAX),
    "WOWEVENT_CONNECTION_AGE_SECONDS": "2",
    "WOWEVENT_ARRIVING_BYTES_MAX": "100000",
    "WOWEVENT_STREAM_PING_SECONDS": "0.3",
    "WOWEVENT_ALLOWED_ORIGINS": "https://app.example, http://localhost:3000",
}


async def test_too_many_connections(service: WatchedService) -> None:
    """One connection too many is told so with 503 and closed, also when it had sent its request; the rest go on."""
    async with AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(connected(service.port)) for _ in range(CONNECTIONS_MAX)]
        for sent in (b"", request_bytes("GET", "/health")):
            async with connected(service.port) as extra:
                await extra.send(sent)
                answer = await extra.answer()
                expect(answer, Refusal(503, "overloaded"))
                assert answer.header("Retry-After")
                assert await extra.is_closed_now()
            for wire in wires:
                await wire.send(request_bytes("GET", "/ready"))
                assert (await wire.answer()).status == 200
    while (await service.call("GET", "/ready")).status != 200:
        pass


async def test_bodies_on_their_way_are_bounded_together(service: WatchedService) -> None:
    """Bodies that are small each and many together are refused with 503, and accepted once the others are gone."""
    head = b"POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n"
    async with AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(connected(service.port)) for _ in range(3)]
        for wire in wires:
            await wire.send(head + b" " * 50_000)
        answering = [asyncio.create_task(wire.answer()) for wire in wires]
        done, waiting = await asyncio.wait(answering, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        for task in done:
            expect(task.result(), Refusal(503, "overloaded"))
    answer = await service.publish(event_bytes("connections.small"))
    while answer.status == 503:
        answer = await service.publish(event_bytes("connections.small"))
    assert answer.status == 200


async def test_old_connections_are_asked_to_move(service: WatchedService) -> None:
    """A kept connection past its age gets ``Connection: close`` with its next answer, and is served until then."""
    async with connected(service.port) as wire:
        answers = 0
        closes: str | None = None
        while closes is None:
            await wire.send(request_bytes("GET", "/ready"))
            answer = await wire.answer()
            assert answer.status == 200
            closes = answer.header("Connection")
            answers += 1
            await asyncio.sleep(0.05)
        assert closes == "close"
        assert answers > 10
        assert await wire.is_closed_now()


async def test_old_streams_are_asked_to_move(service: WatchedService) -> None:
    """A stream past its age ends with its cursor and a time to come back, SSE and WebSocket each in its own words."""
    cursor = (await service.call("GET", "/v1/log")).json()["cursor"]
    async with connected(service.port) as wire, opened(service.port) as socket:
        await wire.send(request_bytes("GET", f"/v1/stream?from={cursor}"))
        assert (await wire.head()).status == 200
        await socket.ask(op="stream", id="1", **{"from": cursor})
        last = b""
        while chunk := await wire.chunk():
            last = chunk
        assert last.startswith(b"retry: ")
        assert f"\nid: {cursor}\n\n".encode() in last
        closing = await socket.receive_op("closing")
        assert closing["cursor"] == cursor
        assert 2 <= closing["retry_after_seconds"] <= 5
        assert (await socket.closed()).code == 1012


ORIGINS: Final = ["https://app.example", "http://localhost:3000"]
FOREIGN: Final = [
    "https://evil.example",
    "null",
    "https://app.example.evil.example",
    "http://app.example",
    "http://[",
    "https://app.example:8443",
    "\xff",
    "file://",
    "",
]


@pytest.mark.parametrize("origin", ORIGINS)
async def test_allowed_origins(service: WatchedService, origin: str) -> None:
    """Pages of an allowed origin may read, publish, ask first, and open sockets."""
    answers = [
        await service.call("GET", "/v1/log", {"Origin": origin}),
        await service.call("POST", "/v1/events", {"Origin": origin, "Content-Type": "application/json"}, event_bytes()),
        await service.call("POST", "/v1/events", {"Origin": origin, "Content-Type": "application/json"}, b"{"),
        await service.call("GET", "/nowhere", {"Origin": origin}),
        await service.call("GET", "/metrics", {"Origin": origin}),
    ]
    asks = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    preflight = await service.call("OPTIONS", "/v1/events", asks)
    assert preflight.status == 204
    assert preflight.header("Access-Control-Allow-Methods") == "GET, POST, PUT, DELETE"
    assert preflight.header("Access-Control-Allow-Headers") == "*"
    for answer in (*answers, preflight):
        assert answer.header("Access-Control-Allow-Origin") == origin
        assert answer.header("Access-Control-Allow-Credentials") is None
        varies = [value for name, value in answer.headers if name == "Vary"]
        assert "Origin" in varies
    assert ("Vary", "Accept") in answers[-1].headers
    async with opened(service.port, ("Origin", origin)):
        pass


@pytest.mark.parametrize("origin", FOREIGN)
async def test_foreign_origins(service: WatchedService, origin: str) -> None:
    """Pages of another origin get no permission to read an answer, and no socket at all."""
    answer = await service.call("GET", "/v1/log", {"Origin": origin})
    assert answer.header("Access-Control-Allow-Origin") is None
    preflight = await service.call("OPTIONS", "/v1/events", {"Origin": origin, "Access-Control-Request-Method": "POST"})
    expect(preflight, Refusal(405, "method_not_allowed"))
    assert preflight.header("Access-Control-Allow-Origin") is None
    refused = await service.call("GET", "/v1/ws", upgrade_headers(("Origin", origin)))
    expect(refused, Refusal(403, "forbidden_origin"))


async def test_the_same_origin(service: WatchedService) -> None:
    """A page that the service's own address serves may open a socket."""
    async with opened(service.port, ("Origin", "http://127.0.0.1")):
        pass
    expect(
        await service.call("GET", "/v1/ws", upgrade_headers(("Origin", "http://127.0.0.1:1"))),
        Refusal(403, "forbidden_origin"),
    )
