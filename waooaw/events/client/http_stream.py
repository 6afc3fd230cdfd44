"""A live feed over HTTP, by server-sent events: it keeps the cursor, and connects again from there until it is closed.

Rule 1: it is pulled: nothing is read unless somebody waits for a message, so TCP holds back what is not wanted yet.
Rule 2: it resumes after what was taken off the connection, which waits in ``_messages`` until it is asked for.
Rule 3: failures in a row lengthen the wait; they are forgotten once a message came.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Self

import msgspec

from waooaw.events.client.backoff import Backoff
from waooaw.events.client.reading import read_delivered, read_gap
from waooaw.events.client.server_sent_events import ServerSentEventParser
from waooaw.events.cursor import decode_cursor
from waooaw.events.errors import WowEventError
from waooaw.events.outages import UnavailableError
from waooaw.events.stream_message import Delivered, StreamStatus

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random
    from types import TracebackType

    from aiohttp import ClientResponse

    from waooaw.events.client.transport import Transport
    from waooaw.events.interface import EventStream
    from waooaw.events.stream_message import StreamMessage

RETRY_SECONDS: Final = 1.0
"""The first wait is at most this long, until a service has said how long it wants."""

RETRY_SECONDS_MAX: Final = 30.0
"""A service that is away for long is asked twice a minute by each stream, and missed by half a minute at most."""


class HttpStream:
    """A reader of a service's stream."""

    def __init__(
        self,
        transport: Transport,
        path: str,
        patterns: tuple[str, ...],
        *,
        bus: str,
        start: str,
        chance: Random,
        watch: Callable[[StreamStatus], None] | None,
        closed: Callable[[HttpStream], None],
    ) -> None:
        self._transport = transport
        self._path = path
        self._patterns = patterns
        self._bus = bus
        self._resume = start
        self._chance = chance
        self._watch = watch
        self._closed = closed
        self._closing = asyncio.Event()
        self._response: ClientResponse | None = None
        self._parser = ServerSentEventParser()
        self._messages: deque[StreamMessage] = deque()
        self._cursor: str | None = None
        self._retry_seconds = RETRY_SECONDS
        self._failures = 0

    @property
    def _is_connected(self) -> bool:
        return self._response is not None and bool(self._parser.last_id)

    @property
    def cursor(self) -> str | None:
        """See EventStream."""
        return self._cursor

    async def __aenter__(self) -> Self:
        """See EventStream."""
        while not self._is_connected and not self._closing.is_set():
            await self._advance()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """See EventStream."""
        await self.close()

    def __aiter__(self) -> Self:
        """See EventStream."""
        return self

    async def __anext__(self) -> StreamMessage:
        """See EventStream."""
        while not self._closing.is_set():
            if self._messages:
                message = self._messages.popleft()
                self._cursor = message.cursor if isinstance(message, Delivered) else message.end
                if not self._messages:
                    self._cursor = self._resume
                return message
            await self._advance()
        raise StopAsyncIteration

    async def close(self) -> None:
        """See EventStream."""
        self._closing.set()
        self._closed(self)
        self._disconnect()

    # One step ---------------------------------------------------------------------------------------------------------

    async def _advance(self) -> None:
        """Connect, or take what came, or wait after a failure. Closes, and raises, where no further try can help."""
        try:
            if self._response is None:
                await self._connect()
            else:
                await self._receive(self._response)
        except WowEventError as error:
            self._disconnect()
            if self._closing.is_set():
                return
            if not error.retryable:
                await self.close()
                raise
            await self._wait_after(error)

    async def _connect(self) -> None:
        query = [("pattern", pattern) for pattern in self._patterns]
        query.append(("from", self._resume))
        opening = asyncio.create_task(self._transport.open_stream(self._path, query), name="open stream")
        closing = asyncio.create_task(self._closing.wait(), name="stream closing")
        try:
            await asyncio.wait((opening, closing), return_when=asyncio.FIRST_COMPLETED)
            if not self._closing.is_set():
                self._parser = ServerSentEventParser()
                self._response = opening.result()
        finally:
            closing.cancel()
            if self._response is None:
                opening.add_done_callback(_discard)
                opening.cancel()

    async def _receive(self, response: ClientResponse) -> None:
        """Take what came. The first message of a connection says where it starts, and that it stands."""
        was_connected = self._is_connected
        chunk = await self._transport.read_stream(response)
        if not chunk:
            message = "the service ended the stream"
            raise UnavailableError(message, retry_after_seconds=None)
        self._take(chunk)
        if self._parser.retry_seconds is not None:
            self._retry_seconds = self._parser.retry_seconds
        if self._parser.last_id:
            self._resume = self._parser.last_id
            if not self._messages:
                self._cursor = self._resume
        if self._is_connected and not was_connected and self._watch is not None:
            self._watch(StreamStatus())

    def _take(self, chunk: bytes) -> None:
        try:
            for message in self._parser.feed(chunk):
                if message.name == "":
                    position = decode_cursor(self._bus, message.id).position
                    self._messages.append(read_delivered(position, message.id, message.data))
                elif message.name == "gap":
                    self._messages.append(read_gap(message.data))
                self._failures = 0
        except msgspec.MsgspecError as error:
            message_text = f"{self._transport.url} sent what is no stream of a bus: {error}"
            raise WowEventError(message_text) from error

    async def _wait_after(self, error: WowEventError) -> None:
        self._failures += 1
        backoff = Backoff(first_seconds=self._retry_seconds, cap_seconds=max(RETRY_SECONDS_MAX, self._retry_seconds))
        wait_seconds = backoff.wait_seconds(self._failures, self._chance.random(), at_least=error.retry_after_seconds)
        if self._watch is not None:
            self._watch(StreamStatus(error, wait_seconds))
        try:
            await asyncio.wait_for(self._closing.wait(), wait_seconds)
        except TimeoutError:
            return

    def _disconnect(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None


def _discard(opening: asyncio.Future[ClientResponse]) -> None:
    """Close a connection that came when nobody wanted it any more."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


if TYPE_CHECKING:
    _: type[EventStream] = HttpStream
