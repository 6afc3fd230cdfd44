"""HTTP as the client uses it: one session, answers as values, failures as our errors."""

from __future__ import annotations

import asyncio
import os
from contextlib import nullcontext
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import aiohttp
import msgspec

from waooaw.events.client.problem import error_of_answer
from waooaw.events.errors import ClosedError, InvalidRequestError, InvalidSettingError, WowEventError
from waooaw.events.outages import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Literal, TypeVar

    Value = TypeVar("Value")
    Socket = aiohttp.ClientWebSocketResponse[Literal[False]]

CALLS_MAX: Final = 64
"""Calls of one client at once; further ones wait. Streams are not counted: each is one that the caller asked for."""

CONNECT_SECONDS: Final = 5.0
"""Long enough for a far or busy host; one that drops packets is told before an agent looks hung."""

STREAM_SILENCE_SECONDS: Final = 45.0
"""Three pings of a stream: after that the connection is broken, whatever TCP believes."""

WHOLE_BYTES_MAX: Final = 1024 * 1024
"""Larger bodies are handed to the socket piece by piece, so that the loop has time for others between two of them."""

SOCKET_PING_SECONDS: Final = 15.0
"""A socket that is quiet for so long is pinged; without an answer in half of it, the connection is broken."""

SOCKET_CLOSE_SECONDS: Final = 5.0
"""How long the service has to agree that a socket closes."""

MESSAGE_BYTES_MAX: Final = 32 * 1024 * 1024
"""Twice the largest event that a service can be set to take: a longer message is none of ours."""

PROTOCOL: Final = "wowevent.v1"

_OK: Final = 200

Query = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """The connections of one client to one address. Raises `InvalidSettingError` for what is no address."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            message = f"not the address of a service: {url!r}; it looks like http://127.0.0.1:8080"
            raise InvalidSettingError(message)
        self.url = url.rstrip("/")
        self._session: aiohttp.ClientSession | None = None
        self._calls = asyncio.Semaphore(CALLS_MAX)

    async def open(self) -> None:
        """Be ready for calls; nothing is connected yet."""
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def close(self) -> None:
        """Close every connection. Closing twice is harmless."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float,
        waits: bool = False,
    ) -> Answer:
        """Make one call and return its answer, whatever its status.

        One that ``waits`` at the service for something to come is not counted as one of `CALLS_MAX`.
        Raises `UnavailableError` where no answer came within ``seconds``; its ``outcome`` is ``not_stored`` where the
        call cannot have arrived.
        """
        limits = aiohttp.ClientTimeout(total=seconds, connect=CONNECT_SECONDS)
        data = BytesIO(body) if body is not None and len(body) > WHOLE_BYTES_MAX else body
        async with nullcontext() if waits else self._calls:
            try:
                async with self._opened().request(
                    method, self.url + path, params=query, data=data, headers=headers, timeout=limits
                ) as response:
                    return Answer(response.status, response.headers, await response.read())
            except (aiohttp.ClientError, OSError) as error:
                raise self._unavailable(error) from error

    async def open_stream(self, path: str, query: Sequence[tuple[str, str]]) -> aiohttp.ClientResponse:
        """Begin an endless answer; the caller closes it. Raises the error that another status than 200 means."""
        limits = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_SECONDS, connect=CONNECT_SECONDS, sock_read=STREAM_SILENCE_SECONDS
        )
        try:
            response = await self._opened().get(
                self.url + path, params=query, headers={"Accept": "text/event-stream"}, timeout=limits
            )
            if response.status == _OK and response.content_type == "text/event-stream":
                return response
            async with response:
                body = await response.content.read(64 * 1024)
        except (aiohttp.ClientError, OSError) as error:
            raise self._unavailable(error) from error
        raise error_of_answer(self.url, response.status, response.headers, body)

    async def read_stream(self, response: aiohttp.ClientResponse) -> bytes:
        """Return what came next, empty at the end; raises `UnavailableError` where the connection is lost."""
        try:
            return await response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise self._unavailable(error) from error

    async def open_socket(self, path: str) -> Socket:
        """Connect a WebSocket, whose messages come as bytes; the caller closes it.

        Raises the error that a refusal means; a proxy or a service that goes is `UnavailableError`.
        """
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await self._opened().ws_connect(
                    self.url + path,
                    protocols=(PROTOCOL,),
                    timeout=aiohttp.ClientWSTimeout(ws_close=SOCKET_CLOSE_SECONDS),
                    heartbeat=SOCKET_PING_SECONDS,
                    max_msg_size=MESSAGE_BYTES_MAX,
                    decode_text=False,
                )
        except aiohttp.WSServerHandshakeError as error:
            refusal = error
        except TimeoutError as error:
            detail = f"{self.url} did not open a WebSocket within {CONNECT_SECONDS:g} s"
            raise UnavailableError(detail, retry_after_seconds=None) from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._unavailable(error) from error
        answer = await self.call("GET", path, seconds=CONNECT_SECONDS)  # its body says why, which a handshake's cannot
        reason = error_of_answer(self.url, answer.status, answer.headers, answer.body)
        if answer.status == refusal.status:
            raise reason from refusal
        raise error_of_answer(self.url, refusal.status, refusal.headers or {}, b"") from refusal

    def lost(self, error: Exception | None, detail: str) -> WowEventError:
        """Return the error of a connection that ended."""
        if error is not None or self._session is None:
            return self._unavailable(error or aiohttp.ClientConnectionError(detail))
        return UnavailableError(f"the connection to {self.url} was lost: {detail}", retry_after_seconds=None)

    def error_of(self, answer: Answer) -> WowEventError:
        """Return the error that an answer means."""
        return error_of_answer(self.url, answer.status, answer.headers, answer.body)

    def decoded(self, answer: Answer, decode: Callable[[bytes], Value]) -> Value:
        """Return what an answer says; raises `WowEventError` where it says nothing that a bus says."""
        try:
            return decode(answer.body)
        except (msgspec.MsgspecError, InvalidRequestError, LookupError, TypeError, ValueError) as error:
            message = f"{self.url} answered what no bus answers; is it the address of the service?"
            raise WowEventError(message) from error

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            message = "the bus is not open: use it inside `async with`"
            raise ClosedError(message)
        return self._session

    def _unavailable(self, error: Exception) -> WowEventError:
        if isinstance(error, aiohttp.ClientConnectorError):
            number = error.os_error.errno
            reason = os.strerror(number) if number and number > 0 else str(error.os_error.strerror or error.os_error)
            detail = f"cannot reach {self.url} ({reason}); is the service running? start it with `wowevent serve`"
            return UnavailableError(detail, retry_after_seconds=None)
        if self._session is None:
            return ClosedError("the bus was closed during the call")
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            detail = f"{self.url} did not accept a connection within {CONNECT_SECONDS:g} s"
            return UnavailableError(detail, retry_after_seconds=None)
        reason = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
        detail = f"the connection to {self.url} was lost: {reason}"
        return UnavailableError(detail, retry_after_seconds=None, outcome="unknown")
