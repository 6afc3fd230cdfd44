"""One socket of the subprotocol ``wowevent.v1``: publishes with receipts, a stream and consumers that are asked for.

Rule 1: operations are begun in the order in which they came; each is answered under its id.
Rule 2: a client that does not take its answers is not read from: what it has in flight is bounded.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from aiohttp import WSCloseCode

from waooaw.events.cursor import encode_cursor
from waooaw.events.errors import InvalidParameterError, InvalidRequestError, StreamOpenError, WowEventError
from waooaw.events.pattern import PatternSet
from waooaw.events.service.delivering import settled_json
from waooaw.events.service.framings import WEBSOCKET_PING, message_frame, result_frame
from waooaw.events.service.parameters import bound_at
from waooaw.events.service.problems import problem
from waooaw.events.service.publishing import batch_result
from waooaw.events.service.socket_consumers import SocketConsumers
from waooaw.events.service.websocket_messages import Operation, OperationError, read_operation

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from aiohttp import web

    from waooaw.events.acceptance import Accepted
    from waooaw.events.bus.event_bus import EventBus
    from waooaw.events.bus.stream import Stream
    from waooaw.events.event import Entry
    from waooaw.events.service.context import Context
    from waooaw.events.service.delivering import Outcomes
    from waooaw.events.service.framings import WebSocketFraming
    from waooaw.events.service.socket_sink import SocketSink

_log = logging.getLogger("wowevent.service")

PUBLISHES_IN_FLIGHT_MAX: Final = 64
"""Publishes of one socket that wait for their append; the client's next one waits in its own buffer."""


EVENTS_IN_FLIGHT_MAX: Final = 1000
"""Events of batches of one socket that wait for their answers before it is read again: two batches of the usual limit,
so that one is read while the other is stored; a thousand refusals take a megabyte or two.
"""

OUTCOMES_IN_FLIGHT_MAX: Final = 4000
"""Outcomes of one socket that wait for their answers before it is read again: a few settles of the largest kind, so
that the next is read while one is stored.
"""

DRAIN_SETTLE_SECONDS: Final = 0.8
"""How long a member may settle what it holds while the service goes: within what a drain waits for sockets."""

MOVE_SETTLE_SECONDS: Final = 30.0
"""The same where a connection is only asked to move: as long as the usual lease, so that work is not done twice."""


class OperationSocket:
    """Carries out what a client asks for."""

    __slots__ = (
        "_consumers",
        "_context",
        "_events_in_flight",
        "_framing",
        "_leaving",
        "_outcomes_in_flight",
        "_response",
        "_room",
        "_running",
        "_sink",
        "_stream_id",
        "bus",
        "stream",
    )

    def __init__(
        self,
        context: Context,
        bus: EventBus,
        sink: SocketSink,
        framing: WebSocketFraming,
        response: web.WebSocketResponse,
    ) -> None:
        self._context = context
        self.bus = bus
        self._sink = sink
        self._framing = framing
        self._response = response
        self._running: set[asyncio.Task[object]] | None = None
        self._events_in_flight = 0
        self._outcomes_in_flight = 0
        self._room: asyncio.Future[None] | None = None
        self._stream_id: str | None = None
        self.stream: Stream[bytes] | None = None
        self._consumers: SocketConsumers | None = None
        self._leaving: asyncio.TimerHandle | None = None

    async def receive(self, message: str | bytes) -> None:
        """Carry out one message, or begin to."""
        try:
            operation = read_operation(message)
        except OperationError as error:
            self._refuse(error.operation_id, error.error)
        else:
            try:
                await self._begin(operation)
            except WowEventError as error:
                if operation.name == "publish":
                    self.bus.metrics.refused(error)
                self._refuse(operation.id, error)
        await self._sink.drained()

    async def _begin(self, operation: Operation) -> None:
        match operation.name:
            case "publish":
                await self._begin_publish(operation)
            case "stream":
                await self._open_stream(operation)
            case "stop":
                self._stop(operation)
            case "consume":
                self._answer(operation.id, await self._all_consumers().consume(operation))
            case "settle":
                await self._begin_settle(operation)
            case _:
                self._answer(operation.id, {})

    # Publishing -------------------------------------------------------------------------------------------------------

    async def _begin_publish(self, operation: Operation) -> None:
        if ("event" in operation.fields) == ("events" in operation.fields):
            message = "publish takes either event or events"
            raise InvalidRequestError(message)
        if "event" in operation.fields:
            entry = self.bus.acceptance.one(bytes(operation.fields["event"]))
            publish = self._publish_one(operation.id, entry)
        else:
            accepted = self.bus.acceptance.batch(bytes(operation.fields["events"]))
            self._events_in_flight += len(accepted)
            publish = self._publish_several(operation.id, accepted)
        running = self._start(publish, "publish")
        while len(running) >= PUBLISHES_IN_FLIGHT_MAX or self._events_in_flight > EVENTS_IN_FLIGHT_MAX:
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)

    async def _publish_one(self, operation_id: str | None, entry: Entry) -> None:
        try:
            receipt = await self.bus.submit_one(entry)
        except WowEventError as error:
            self._refuse(operation_id, error)
        else:
            self._answer(operation_id, receipt.as_json())

    async def _publish_several(self, operation_id: str | None, accepted: list[Accepted]) -> None:
        try:
            answers = await self.bus.submit(accepted)
        except WowEventError as error:
            self._refuse(operation_id, error)
        else:
            self._answer(operation_id, batch_result(answers))
        finally:
            self._events_in_flight -= len(accepted)

    # Streaming --------------------------------------------------------------------------------------------------------

    async def _open_stream(self, operation: Operation) -> None:
        if self.stream is not None:
            message = f"the stream {self._stream_id!r} is open on this socket; stop it, or open another socket"
            raise StreamOpenError(message)
        texts = operation.value("patterns", list[str], "an array of patterns")
        patterns = PatternSet.parse(["*"] if texts is None else texts, pointer="#/patterns")
        text = operation.value("from", str, "a string")
        start = bound_at("#/from", self.bus.name, "now" if text is None else text)
        await self.bus.store.learn(start)
        self._answer(operation.id, {"cursor": encode_cursor(self.bus.name, self.bus.cursor_of(start))})
        self._stream_id = operation.id
        self.stream = self.bus.open_stream(patterns, self._framing, self._sink, start=start, ended=self._ended)

    def _ended(self, error: BaseException) -> None:
        if not isinstance(error, ConnectionError):
            _log.error("stream.failed", exc_info=error)
        self._close_later(WSCloseCode.INTERNAL_ERROR)

    def _stop(self, operation: Operation) -> None:
        if self.stream is None or operation.id != self._stream_id:
            message = "no stream of this id is open on this socket"
            raise InvalidParameterError(message)
        self.stream.close()
        cursor = encode_cursor(self.bus.name, self.stream.cursor)
        self.stream = None
        self._answer(operation.id, {"cursor": cursor})

    # Consuming --------------------------------------------------------------------------------------------------------

    def _all_consumers(self) -> SocketConsumers:
        """Return the members that this socket is. Most sockets are none, so that they have no such thing."""
        if self._consumers is None:
            self._consumers = SocketConsumers(self.bus, self._sink, self._refuse)
        return self._consumers

    async def _begin_settle(self, operation: Operation) -> None:
        consumers = self._all_consumers()
        name, outcomes = consumers.read_settle(operation)
        self._outcomes_in_flight += len(outcomes)
        self._start(self._settle(consumers, operation.id, name, outcomes), "settle")
        while self._outcomes_in_flight > OUTCOMES_IN_FLIGHT_MAX:
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    async def _settle(
        self, consumers: SocketConsumers, operation_id: str | None, name: str, outcomes: Outcomes
    ) -> None:
        try:
            answers = await consumers.settle(name, outcomes)
        except WowEventError as error:
            self._refuse(operation_id, error)
        else:
            self._sink.write_soon(result_frame(operation_id, settled_json(answers)))
        finally:
            self._outcomes_in_flight -= len(outcomes)
            if self._room is not None and not self._room.done():
                self._room.set_result(None)
        if self._leaving is not None and not consumers.held:
            self._leaving.cancel()
            self._leaving = None
            self._close_later(WSCloseCode.SERVICE_RESTART)

    # Answering --------------------------------------------------------------------------------------------------------

    def _answer(self, operation_id: str | None, result: dict[str, Any]) -> None:
        self._sink.write(message_frame({"op": "result", "id": operation_id, "result": result}))

    def _refuse(self, operation_id: str | None, error: WowEventError) -> None:
        members = problem(error)
        if error.retry_after_seconds is not None:
            members["retry_after_seconds"] = error.retry_after_seconds
        self._sink.write(message_frame({"op": "error", "id": operation_id, "error": members}))

    # Life of the socket -----------------------------------------------------------------------------------------------

    def ping(self) -> None:
        """Write a ping, with the cursor where there is a stream, unless the client has something to take already."""
        if not self._sink.buffered_bytes():
            self._sink.write(WEBSOCKET_PING if self.stream is None else self._framing.cursor(self.stream.cursor))

    def leave(self, retry_after_seconds: float) -> None:
        """Tell the cursor and when to come back, and close; a member first gets time to settle what it holds."""
        cursor = None
        if self.stream is not None:
            self.stream.close()
            cursor = self.stream.cursor
        self._sink.write(self._framing.closing(cursor, retry_after_seconds))
        if self._consumers is not None:
            self._consumers.stop()
            if self._consumers.held:
                seconds = DRAIN_SETTLE_SECONDS if self._context.is_draining else MOVE_SETTLE_SECONDS
                loop = asyncio.get_running_loop()
                self._leaving = loop.call_later(seconds, self._close_later, WSCloseCode.SERVICE_RESTART)
                return
        self._close_later(WSCloseCode.SERVICE_RESTART)

    def break_off(self, code: WSCloseCode, reason: str) -> None:
        """Close for what the client did."""
        if self.stream is not None:
            self.stream.close()
        self._close_later(code, reason)

    def _close_later(self, code: WSCloseCode, reason: str = "") -> None:
        self._start(self._response.close(code=code, message=reason.encode()), "close socket")

    def _start(self, work: Coroutine[Any, Any, object], name: str) -> set[asyncio.Task[object]]:
        """Begin what `close` waits for; return all of it. Most sockets only read, so that they have no set."""
        if self._running is None:
            self._running = set()
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return self._running

    async def close(self) -> None:
        """End the stream and the members, and let what was accepted be stored.

        Its answers go nowhere if the client is gone. What members hold goes back at once, behind what they settled.
        """
        if self.stream is not None:
            self.stream.close()
        if self._leaving is not None:
            self._leaving.cancel()
        if self._consumers is not None:
            self._start(self._consumers.close(), "close members")
        if self._running:
            await asyncio.wait(self._running)
