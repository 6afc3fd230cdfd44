"""Requests to receivers, and what came back. A receiver may be broken or hostile: none costs more than its limits.

Rule 1: a request is bounded as a whole by the time-out of its definition, from the dial to the end of the reply.
Rule 2: of a reply 64 KiB are read, and 1 KiB is kept; then the connection is closed. Nothing is unpacked, no redirect
is followed, no cookie is kept. Only a connection whose reply was read to its end is used again.
Rule 3: whatever happens is a `Reply`; only a cancellation is raised.
Rule 4: a request on a connection that was open from before, and ends before any of the answer came, is sent again at
once: the receiver closed it while it was idle, and that is no failure. Where the receiver had it all the same it gets
it twice, with the same ``webhook-id``; deliveries are at least once.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from dataclasses import dataclass
from importlib.metadata import version
from io import BytesIO
from typing import TYPE_CHECKING, Final, Literal

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientError,
    ClientPayloadError,
    ClientResponseError,
    ClientSSLError,
    EofStream,
    ServerDisconnectedError,
)
from yarl import URL

from waooaw.events.errors import AddressRefusedError
from waooaw.events.push_state import REPLY_BYTES_KEPT
from waooaw.events.webhooks.receiver_connection import EndlessAnswerError, IdleConnectionLostError
from waooaw.events.webhooks.redaction import Redaction
from waooaw.events.webhooks.signature import sign

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import ClientResponse, ClientSession

    from waooaw.events.clock import Clock
    from waooaw.events.push import PushDefinition
    from waooaw.events.webhooks.dialing import Dialer
    from waooaw.events.webhooks.messages import Message

ReplyKind = Literal["answered", "timeout", "connection", "tls", "refused", "unreadable"]

WRITTEN_AT_ONCE_BYTES_MAX: Final = 1024 * 1024
"""Of a message; what is longer is written in parts, as the receiver takes them, beside other requests."""

IDLE_LOSSES_MAX: Final = 4
"""Connections in a row that a request may find closed: who closes one while it is idle closes others too."""

TARGETS_KEPT: Final = 1024
"""Definitions whose URL and headers are kept ready: those of one replica; more are made ready anew."""

ORIGIN: Final = "WebHook-Request-Origin"
RATE: Final = "WebHook-Request-Rate"

_REDIRECTS: Final = range(300, 400)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came of a request.

    ``kind`` other than ``answered``: there is no status, and ``error`` says what happened. Of an answer that points
    elsewhere (3xx) ``error`` is where to, without the query. ``seconds`` is from the dial to the end of the reply;
    ``body`` its first KiB, as it came. The rest are headers, None where absent: ``Retry-After``,
    ``WebHook-Allowed-Origin``, ``WebHook-Allowed-Rate``.
    """

    kind: ReplyKind
    status: int | None = None
    error: str | None = None
    seconds: float = 0.0
    body: bytes = b""
    retry_after: str | None = None
    allowed_origin: str | None = None
    allowed_rate: str | None = None


@dataclass(frozen=True, slots=True)
class _Target:
    """A definition, made ready for its requests; it is kept here, so that no other one has its `id` meanwhile."""

    push: PushDefinition
    url: URL
    session: ClientSession
    headers: dict[str, str]
    redaction: Redaction


class Sender:
    """Sends requests through a dialer that is open. For one event loop; any number at a time.

    ``origin`` is for whom receivers consent.
    """

    def __init__(self, dialer: Dialer, *, origin: str, clock: Clock) -> None:
        self._dialer = dialer
        self._origin = origin
        self._clock = clock
        self._agent = f"WowEvent/{version('wowevent')}"
        self._targets: dict[int, _Target] = {}

    async def post(self, push: PushDefinition, message: Message) -> Reply:
        """Send a message, signed now. Raises nothing but CancelledError; the request is cut off then."""
        signed = sign(push.secret, message.id, self._clock.now_ms() // 1000, message.body)
        return await self._send(push, "POST", {**message.headers, **signed}, message.body)

    async def options(self, push: PushDefinition, *, requests_per_minute: int | None) -> Reply:
        """Ask a receiver for its consent (CloudEvents HTTP 1.1 Web Hooks, section 4.1). Raises as `post`."""
        headers = {} if requests_per_minute is None else {RATE: str(requests_per_minute)}
        return await self._send(push, "OPTIONS", headers, None)

    async def _send(self, push: PushDefinition, method: str, headers: Mapping[str, str], body: bytes | None) -> Reply:
        began = self._clock.monotonic()
        try:
            target = self._target(push)
        except AddressRefusedError as error:
            return Reply(kind="refused", error=error.detail)
        try:
            async with asyncio.timeout(push.timeout_seconds):
                response, read = await self._exchange(target, method, {**target.headers, **headers}, body)
            return self._answered(target.redaction, response, read, began)
        except TimeoutError:
            kind: ReplyKind = "timeout"
            why = f"no answer within {push.timeout_seconds:g} s"
        except (ClientError, EofStream, OSError, ValueError) as failure:
            kind, why = self._failed(failure)
        return Reply(kind=kind, error=why, seconds=self._clock.monotonic() - began)

    async def _exchange(
        self, target: _Target, method: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[ClientResponse, bytes]:
        for _ in range(IDLE_LOSSES_MAX):
            try:
                return await _exchange_once(target, method, headers, body)
            except IdleConnectionLostError:  # rule 4
                continue
        return await _exchange_once(target, method, headers, body)

    def _target(self, push: PushDefinition) -> _Target:
        """Return a definition made ready. Raises `AddressRefusedError`."""
        target = self._targets.get(id(push))
        if target is None:
            url = self._dialer.read(push.url)
            if len(self._targets) >= TARGETS_KEPT:
                del self._targets[next(iter(self._targets))]
            target = self._targets[id(push)] = _Target(
                push,
                URL(url.text, encoded=True),
                self._dialer.session(url),
                self._headers(push),
                Redaction(push),
            )
        return target

    def _headers(self, push: PushDefinition) -> dict[str, str]:
        own = {"User-Agent": self._agent, "Accept-Encoding": "identity", ORIGIN: self._origin}
        if push.authorization is not None:
            own["Authorization"] = push.authorization
        names = {name.lower() for name in own}
        return {name: value for name, value in push.headers.items() if name.lower() not in names} | own

    def _answered(self, redaction: Redaction, response: ClientResponse, read: bytes, began: float) -> Reply:
        headers = response.headers
        location = headers.get("Location") if response.status in _REDIRECTS else None
        return Reply(
            kind="answered",
            status=response.status,
            error=None if location is None else redaction.of_text(location.partition("?")[0].partition("#")[0]),
            seconds=self._clock.monotonic() - began,
            body=redaction.of(read)[:REPLY_BYTES_KEPT] if read else read,
            retry_after=headers.get("Retry-After"),
            allowed_origin=redaction.of_text(headers.get("WebHook-Allowed-Origin")),
            allowed_rate=redaction.of_text(headers.get("WebHook-Allowed-Rate")),
        )

    def _failed(self, failure: Exception) -> tuple[ReplyKind, str]:
        why = self._dialer.refusal(failure)
        if why is not None:
            return "refused", why
        if isinstance(failure, ClientSSLError | ssl.SSLError):
            return "tls", _tls_error(failure)
        if isinstance(failure, ClientResponseError):
            return "unreadable", f"the answer is not HTTP: {failure.message}"
        if isinstance(failure, EndlessAnswerError):
            return "unreadable", str(failure)
        if isinstance(failure, ClientPayloadError):
            return "unreadable", "the answer broke off, or its body cannot be read"
        return "connection", _connection_error(failure)


async def _exchange_once(
    target: _Target, method: str, headers: dict[str, str], body: bytes | None
) -> tuple[ClientResponse, bytes]:
    data = BytesIO(body) if body is not None and len(body) > WRITTEN_AT_ONCE_BYTES_MAX else body
    response = await target.session.request(method, target.url, data=data, headers=headers, allow_redirects=False)
    try:
        return response, await _read(response, REPLY_BYTES_KEPT + target.redaction.length_max)
    finally:
        response.close()  # of a reply that was read to its end, the connection is kept


async def _read(response: ClientResponse, kept_bytes: int) -> bytes:
    """Read a reply to its end, or to the end of what a connection takes; return what is kept of it."""
    content, kept = response.content, b""
    while not content.at_eof():
        chunk = await content.readany()
        if len(kept) < kept_bytes:
            kept += chunk[: kept_bytes - len(kept)]
    return kept


def _tls_error(failure: Exception) -> str:
    if isinstance(failure, ClientConnectorCertificateError):
        found = failure.certificate_error
        return f"its certificate is not accepted: {getattr(found, 'verify_message', None) or found}"
    cause = failure.os_error if isinstance(failure, ClientConnectorError) else failure
    return f"no secure connection: {getattr(cause, 'reason', None) or cause}"


def _connection_error(failure: Exception) -> str:
    """Say what happened; aiohttp's own words have the URL in them, whose query may be a secret."""
    if isinstance(failure, ServerDisconnectedError | EofStream):
        return "the connection was closed without an answer"
    if isinstance(failure, ClientConnectorDNSError):
        return f"the name {failure.host} cannot be looked up: {failure.os_error.strerror}"
    if isinstance(failure, ClientConnectorError):
        number = failure.os_error.errno
        return f"no connection: {failure.os_error if number is None else os.strerror(number)}"
    if isinstance(failure, OSError) and failure.errno is not None:
        return f"the connection broke: {os.strerror(failure.errno)}"
    if isinstance(failure, ValueError):
        return f"the request cannot be written: a header or the URL is none ({type(failure).__name__})"
    return f"the connection broke ({type(failure).__name__})"
