"""Answers written in one piece are what aiohttp makes of the same answer, and are sent where that may be."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, cast

import aiohttp
import pytest
from aiohttp import web

from tests.service.watched_service import WatchedService, event_bytes
from tests.service.wire import Wire, connected, request_bytes
from waooaw.events.service.answering import finish_headers
from waooaw.events.service.app import build_app, open_context
from waooaw.events.service.connection import Connection
from waooaw.events.service.context import Context
from waooaw.events.service.listener import Listener, bind
from waooaw.events.service.prompt_response import prompt_response
from waooaw.events.service.representations import json_response
from waooaw.events.settings import Settings

MEMBERS: Final[dict[str, Any]] = {"id": "ä1", "position": "1-0", "duplicate": False}
PROMPT, ORDINARY = "/prompt", "/ordinary"
TARGETS: Final = (PROMPT, ORDINARY)
LARGE_CHARACTERS: Final = 64 * 1024
KEPT: Final = request_bytes("POST", "/", body=b"")
LAST: Final = request_bytes("POST", "/", {"Connection": "close"}, b"")
EXPECTING: Final = request_bytes("POST", "/", {"Expect": "100-continue", "Content-Length": "2"})


@dataclass(slots=True)
class Served:
    """A listener of the service's own, whose handlers give one answer in both ways."""

    context: Context
    listener: Listener = field(init=False)
    prompt: list[bool] = field(default_factory=list)
    """Of each answer, whether it was written in one piece."""

    connections: list[Connection] = field(default_factory=list)
    before: Callable[[Connection], None] = lambda _: None
    """Called before each answer is made."""

    hold: asyncio.Event | None = None
    """What handlers wait for before they answer."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer in the way that the path names."""
        connection = cast("Connection", request.protocol)
        self.connections.append(connection)
        if "unread" not in request.query:
            await request.read()
        if self.hold is not None:
            await self.hold.wait()
        self.before(connection)
        members = {"text": "a" * LARGE_CHARACTERS} if "large" in request.query else MEMBERS
        response = prompt_response(request, members) if request.path == PROMPT else json_response(members)
        self.prompt.append(not isinstance(response, web.Response))
        return response

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.listener.url.rpartition(":")[2])


@asynccontextmanager
async def served(**settings: Any) -> AsyncIterator[Served]:  # noqa: ANN401 - settings have many types
    """Serve both ways through the service's application, listener and connections."""
    chosen = Settings(event_bus_enabled=False, port=0, **settings)
    async with AsyncExitStack() as stack:
        bound = bind(chosen)
        stack.callback(bound.close)
        context = await open_context(chosen, stack)
        app = build_app(context)
        assert list(app.on_response_prepare) == [finish_headers], "prompt answers pass this hook by"
        runner = web.AppRunner(app, access_log=None)
        service = Served(context)
        for target in TARGETS:
            app.router.add_post(target, service.answer)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        assert runner.server is not None
        service.listener = Listener(bound, runner.server, chosen, context.random)
        await service.listener.listen()
        stack.callback(service.listener.close)
        yield service


async def until(is_so: Callable[[], object]) -> None:
    """Give way until something is so; the suite's time-out ends what never comes."""
    while not is_so():  # noqa: ASYNC110 - what it looks at tells nobody
        await asyncio.sleep(0)


async def received(service: Served, target: str, sent: bytes, late: bytes = b"") -> bytes:
    """Send requests to one of the ways, more once an answer comes; return all that comes to the end, undated."""
    async with connected(service.port) as wire:
        await wire.send(sent.replace(b" / ", f" {target} ".encode()).replace(b" /?", f" {target}?".encode()))
        everything = await wire.reader.readexactly(1) if late else b""
        await wire.send(late)
        everything += await wire.rest()
    dated = re.compile(rb"\r\nDate: (Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT\r\n")
    return dated.sub(b"\r\nDate: then\r\n", everything)


ALIKE: Final[list[tuple[str, bytes, list[bool]]]] = [
    ("kept", KEPT + LAST, [True, False]),
    ("pipelined", KEPT * 100 + LAST, [True] * 100 + [False]),
    ("asks to be kept", request_bytes("POST", "/", {"Connection": "keep-alive"}, b"{}") + LAST, [True, False]),
    ("expects 100", EXPECTING + b"{}" + LAST, [True, False]),
    (
        "chunked",
        request_bytes("POST", "/", {"Transfer-Encoding": "chunked"}) + b"2\r\n{}\r\n0\r\n\r\n" + LAST,
        [True, False],
    ),
    ("large", KEPT.replace(b" / ", b" /?large ") + LAST, [True, False]),
    ("to be closed", LAST, [False]),
    ("HTTP/1.0", request_bytes("POST", "/", body=b"{}", version="HTTP/1.0"), [False]),
    (
        "HTTP/1.0, kept",
        request_bytes("POST", "/", {"Connection": "keep-alive"}, b"", version="HTTP/1.0") + LAST,
        [False, False],
    ),
    (
        "declined upgrade",
        request_bytes("POST", "/", {"Connection": "upgrade", "Upgrade": "websocket"}, b"") + LAST,
        [True, False],
    ),
    ("body not read, all there", request_bytes("POST", "/?unread", body=b"{}") + LAST, [True, False]),
]


@pytest.mark.parametrize(("sent", "prompt"), [row[1:] for row in ALIKE], ids=[row[0] for row in ALIKE])
async def test_same_bytes(sent: bytes, prompt: list[bool]) -> None:
    """Whatever a request asks of its connection, both ways send the same bytes, but for the time of day."""
    async with served() as service:
        expected = await received(service, ORDINARY, sent)
        assert service.prompt == [False] * len(prompt)
        service.prompt.clear()
        assert await received(service, PROMPT, sent) == expected
        assert service.prompt == prompt
    heads = expected.count(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ")
    assert heads + expected.count(b"HTTP/1.0 200 OK\r\n") == len(prompt), expected
    assert b"\r\nDate: then\r\n" in expected
    assert b"Server:" not in expected


async def test_bodies_that_nobody_read() -> None:
    """What is left of a body is not taken for the next request: the answer closes the connection."""
    sent = request_bytes("POST", "/?unread", {"Content-Length": str(len(KEPT))})
    async with served() as service:
        expected = await received(service, ORDINARY, sent, KEPT)
        assert await received(service, PROMPT, sent, KEPT) == expected
        assert service.prompt == [False, False]
    assert expected.count(b"HTTP/1.1 200 OK") == expected.count(b"Connection: close") == 1


@pytest.mark.parametrize("origin", ["https://app.example", "https://evil.example", None])
async def test_allowed_origins(origin: str | None) -> None:
    """Where pages of other origins may read, every answer says that it varies by origin."""
    sent = request_bytes("POST", "/", {"Origin": origin} if origin else {}, b"") + LAST
    async with served(allowed_origins=("https://app.example",)) as service:
        expected = await received(service, ORDINARY, sent)
        assert await received(service, PROMPT, sent) == expected
        assert service.prompt == [False] * 4
    assert expected.count(b"Vary: Origin") == 2
    assert expected.count(b"Access-Control-Allow-Origin") == (origin == "https://app.example")


def _grow_old(connection: Connection) -> None:
    connection.is_old = True


@pytest.mark.parametrize("way", ["old", "draining"])
async def test_connections_to_be_closed(way: str) -> None:
    """An old connection, and each during a drain, is closed by its next answer, also if that comes up meanwhile."""
    found = []
    for target in TARGETS:
        async with served() as service:
            grow = _grow_old if way == "old" else lambda _, context=service.context: context.begin_drain()
            service.before = cast("Callable[[Connection], None]", grow)
            found.append(await received(service, target, KEPT * 3))
            assert service.prompt == [False]
            assert service.connections[0].is_leaving
    assert found[0] == found[1]
    assert found[0].count(b"HTTP/1.1 200 OK") == found[0].count(b"Connection: close") == 1


@pytest.mark.parametrize("target", TARGETS)
async def test_clients_that_vanish(target: str, caplog: pytest.LogCaptureFixture) -> None:
    """An answer for a client that is gone ends its connection without a word in the log; others are served."""
    async with served() as service:
        service.hold = asyncio.Event()
        async with connected(service.port) as wire:
            await wire.send(KEPT.replace(b" / ", f" {target} ".encode()) * 2)
            await until(lambda: service.connections)
        await until(lambda: not service.listener.connections)
        service.hold.set()
        await service.context.requests_answered()
        assert service.prompt == [target == PROMPT]
        assert service.listener.sending == 0
        assert b"200 OK" in await received(service, target, LAST)
    assert caplog.records == []


@pytest.mark.parametrize("target", TARGETS)
async def test_readers_that_are_slow(target: str) -> None:
    """Who sends requests and takes no answers makes the service wait, not collect; later all answers are there."""
    requests = 500
    async with served() as service, connected(service.port, receive_bytes=4096) as wire:
        sending = asyncio.create_task(wire.send(KEPT.replace(b" / ", f" {target}?large ".encode()) * requests))
        wire.reader._transport.pause_reading()  # type: ignore[attr-defined]  # noqa: SLF001 - no other way not to read
        await until(lambda: service.connections and service.connections[0].writing_paused)
        for _ in range(requests):  # turns of the loop in which more could be answered
            await asyncio.sleep(0)
        (connection,) = set(service.connections)
        assert connection.transport is not None
        assert connection.transport.get_write_buffer_size() < 3 * LARGE_CHARACTERS
        assert connection.is_sending
        assert 0 < len(service.prompt) < requests
        wire.reader._transport.resume_reading()  # type: ignore[attr-defined]  # noqa: SLF001 - as above
        for _ in range(requests):
            assert len((await wire.answer()).json()["text"]) == LARGE_CHARACTERS
        await sending
        assert service.prompt == [target == PROMPT] * requests


# The whole service ----------------------------------------------------------------------------------------------------

JSON_TYPE: Final = {"Content-Type": "application/json"}
LINES_TYPE: Final = {"Content-Type": "application/x-ndjson"}


async def test_thousand_requests_on_a_connection(service: WatchedService) -> None:
    """One connection is kept for a thousand publishes, one event and several, refused ones among them."""
    async with connected(service.port) as wire:
        for number in range(250):
            event = event_bytes("prompt.event", id=f"kept-{number}")
            single = await _publish(wire, service, JSON_TYPE, event)
            assert (single["id"], single["duplicate"]) == (f"kept-{number}", False)
            several = await _publish(wire, service, LINES_TYPE, event + b"\n" + event_bytes("prompt.event"))
            assert [result["duplicate"] for result in several["results"]] == [True, False]
            await wire.send(request_bytes("POST", "/v1/events", LINES_TYPE, event + b"\n{"))
            assert (await wire.answer()).status == 207
            await wire.send(request_bytes("POST", "/v1/events", JSON_TYPE, b"{"))
            assert (await wire.answer()).code == "malformed_json"


async def _publish(wire: Wire, service: WatchedService, headers: dict[str, str], body: bytes) -> dict[str, Any]:
    await wire.send(request_bytes("POST", "/v1/events", headers, body))
    answer = await wire.answer()
    assert answer.status == 200
    assert [name for name, _ in answer.headers] == ["Content-Type", "Content-Length", "Date"]
    assert answer.header("Content-Type") == "application/json"
    members: dict[str, Any] = answer.json()
    service.count(members)
    return members


async def test_client_libraries(service: WatchedService) -> None:
    """The client of aiohttp and curl read such answers, several on a connection each."""
    url = f"{service.url}/v1/events"
    async with aiohttp.ClientSession() as session:
        for _ in range(3):
            async with session.post(url, data=event_bytes(), headers=JSON_TYPE) as response:
                assert response.status == 200
                service.count(await response.json())
        assert session.connector is not None
        assert len(session.connector._conns) == 1  # noqa: SLF001 - the connections it keeps
    arguments = ["-sS", "-w", "\n%{num_connects}\n", "-H", "Content-Type: application/json", "-d", "@-", url, url]
    curl = await asyncio.create_subprocess_exec(
        "curl", *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    told, _ = await curl.communicate(event_bytes(id="curl"))
    assert curl.returncode == 0
    first, first_connects, second, second_connects = told.decode().split()
    assert [first_connects, second_connects] == ["1", "0"]
    for receipt in (json.loads(first), json.loads(second)):
        service.count(receipt)
