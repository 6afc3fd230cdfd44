"""Receivers of webhooks on loopback: agents that are called, count what they got, and answer as a test says."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web
from multidict import CIMultiDictProxy

HOST: Final = "127.0.0.1"
ALLOWED_NETWORKS: Final = "127.0.0.0/8"
"""What an operator opens so that these receivers may be called."""

WAIT_SECONDS: Final = 30.0
"""For what comes at once, unless something is broken."""


CUT_SECONDS: Final = 0.01
"""For connections that are idle or under way when a receiver leaves; 0 would be for ever to aiohttp."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request that came. ``at`` is monotonic, in seconds."""

    method: str
    target: str
    headers: CIMultiDictProxy[str]
    body: bytes
    at: float

    @property
    def message_id(self) -> str:
        """What Standard Webhooks tells repeats by."""
        return self.headers["webhook-id"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver says to a request."""

    status: int = 204
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


TAKEN: Final = Answer()

Script = Callable[[Request], Answer | Awaitable[Answer]]


def take(_: Request) -> Answer:
    """Take everything."""
    return TAKEN


class Receiver:
    """A server that keeps what it gets; see `receiving`, which runs it. Not safe for several threads.

    ``script`` answers what is posted, and may be another one at any time. The handshake is answered by ``consents``
    and ``allowed_rate`` (requests a minute) alone.
    """

    def __init__(self, script: Script = take, *, consents: bool = True, allowed_rate: str | None = None) -> None:
        self.script = script
        self.consents = consents
        self.allowed_rate = allowed_rate
        self.port = 0
        self.scheme = "http"
        self.requests: list[Request] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self._came = asyncio.Event()

    @property
    def url(self) -> str:
        """Where events are posted to."""
        return f"{self.scheme}://{HOST}:{self.port}/events"

    @property
    def posts(self) -> list[Request]:
        """The deliveries that came."""
        return [request for request in self.requests if request.method == "POST"]

    @property
    def handshakes(self) -> list[Request]:
        """The questions for consent that came."""
        return [request for request in self.requests if request.method == "OPTIONS"]

    @property
    def message_ids(self) -> set[str]:
        """The messages that came, each once."""
        return {request.message_id for request in self.posts}

    async def until(self, condition: Callable[[], bool], seconds_max: float = WAIT_SECONDS) -> None:
        """Return once a condition on what came holds; it is asked after each request."""
        async with asyncio.timeout(seconds_max):
            while not condition():
                self._came.clear()
                await self._came.wait()

    async def posted(self, count: int, seconds_max: float = WAIT_SECONDS) -> list[Request]:
        """Return the deliveries once there are so many."""
        await self.until(lambda: len(self.posts) >= count, seconds_max)
        return self.posts

    async def serve(self, request: web.BaseRequest) -> web.Response:
        """Answer one request."""
        at = asyncio.get_running_loop().time()
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            body = await request.read()
            kept = Request(request.method, request.path_qs, request.headers, body, at)
            self.requests.append(kept)
            self._came.set()
            answer = self._consent(kept) if kept.method == "OPTIONS" else self.script(kept)
            if not isinstance(answer, Answer):
                answer = await answer
        finally:
            self.in_flight -= 1
        return web.Response(status=answer.status, headers=dict(answer.headers), body=answer.body)

    def _consent(self, request: Request) -> Answer:
        if not self.consents:
            return Answer(405, {"Allow": "POST"})
        return Answer(200, consent_to(request.headers.get("WebHook-Request-Origin", "*"), self.allowed_rate))


def consent_to(origin: str, allowed_rate: str | None = None) -> dict[str, str]:
    """Return the headers that consent (CloudEvents, "HTTP 1.1 Web Hooks", 4.2)."""
    headers = {"Allow": "OPTIONS, POST", "WebHook-Allowed-Origin": origin}
    return headers if allowed_rate is None else headers | {"WebHook-Allowed-Rate": allowed_rate}


@asynccontextmanager
async def receiving(
    script: Script = take,
    *,
    consents: bool = True,
    allowed_rate: str | None = None,
    port: int = 0,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Receiver]:
    """Run a receiver in this loop; leaving cuts the connections to it."""
    receiver = Receiver(script, consents=consents, allowed_rate=allowed_rate)
    server = web.Server(receiver.serve, access_log=None)
    listening = await asyncio.get_running_loop().create_server(server, HOST, port, ssl=tls, reuse_address=True)
    receiver.port = listening.sockets[0].getsockname()[1]
    receiver.scheme = "http" if tls is None else "https"
    try:
        yield receiver
    finally:
        listening.close()
        await server.shutdown(CUT_SECONDS)
