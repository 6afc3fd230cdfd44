"""One connection from a client: aiohttp's handler, with the deadlines and manners it leaves to others.

Rule 1: headers are complete in time from their first byte, or the connection is answered 408 and closed.
Rule 2: bytes that a client never takes do not wait for ever.
Rule 3: what cannot be parsed is answered as a problem, and is no line in the log.
Rule 4: WebSocket frames of a client are masked (RFC 6455 section 5.1), which aiohttp does not insist on.
Rule 5: a WebSocket message that has begun is complete in time, and pings come at a bounded rate.
"""

from __future__ import annotations

import logging
import socket
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Protocol

from aiohttp import WSCloseCode, web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong

from waooaw.events.errors import HeadersTooLargeError, InvalidRequestError, RequestTimeoutError, WowEventError
from waooaw.events.outages import OverloadedError
from waooaw.events.service.arrival import Arrival
from waooaw.events.service.frame_guard import FrameGuard
from waooaw.events.service.problems import error_of_http, problem_response, raw_problem

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine

    from waooaw.events.settings import Settings

_log = logging.getLogger("wowevent.service")

_TCP_USER_TIMEOUT: Final = getattr(socket, "TCP_USER_TIMEOUT", None)
"""Linux: a peer that acknowledges nothing for this long is gone (RFC 5482), also one that vanished without a word."""


LINGER_SECONDS: Final = 1.0
"""A client that is being left gets this long to take what was written last, while what it still sends is dropped."""


class Admission(Protocol):
    """What a connection knows of the listener that made it."""

    server: web.Server
    user_timeout_ms: int

    def move_at(self, now: float) -> float:
        """Return when a connection made now has reached its age."""
        ...

    def admit(self, connection: Connection) -> bool:
        """Count a connection in, unless there are too many."""
        ...

    def forget(self, connection: Connection) -> None:
        """Count a connection out."""
        ...

    def count_cut(self) -> None:
        """Count a response that is cut, because its reader takes nothing."""
        ...


class Connection(web.RequestHandler):
    """A connection. The listener looks at it once a second."""

    __slots__ = (
        "_arrival",
        "_broken",
        "_close_socket",
        "_guard",
        "_lingering_since",
        "_message_since",
        "_untaken",
        "_untaken_since",
        "carries_stream",
        "head_since",
        "is_leaving",
        "is_old",
        "listener",
        "lost",
        "move_at",
        "written_bytes",
    )

    def __init__(self, listener: Admission, *, loop: asyncio.AbstractEventLoop, **options: Any) -> None:  # noqa: ANN401 - aiohttp's
        super().__init__(listener.server, loop=loop, **options)
        self.listener = listener
        self.head_since: float | None = loop.time()
        self._arrival = Arrival()
        self.carries_stream = False
        self.move_at = listener.move_at(loop.time())
        self.is_old = False
        self.is_leaving = False
        self.written_bytes = 0
        self.lost: Callable[[], None] | None = None
        self._guard: FrameGuard | None = None
        self._broken: tuple[WSCloseCode, str] | None = None
        self._close_socket: Callable[[WSCloseCode, str], None] | None = None
        self._message_since: tuple[int, float] | None = None
        self._lingering_since: float | None = None
        self._untaken = 0
        self._untaken_since: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a new connection, unless there are too many."""
        super().connection_made(transport)
        connected = transport.get_extra_info("socket")
        if _TCP_USER_TIMEOUT is not None and connected is not None and connected.family != socket.AF_UNIX:
            connected.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, self.listener.user_timeout_ms)
        if not self.listener.admit(self):
            message = "too many connections; try again, or try another replica"
            self.refuse(OverloadedError(message, retry_after_seconds=2))
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell whoever writes to this connection that it is gone."""
        self.listener.forget(self)
        # The kernel gave up (TCP_USER_TIMEOUT), sooner than `look`.
        if isinstance(exc, TimeoutError) and not self.carries_stream:
            self.listener.count_cut()
        super().connection_lost(exc)
        if self.lost is not None:
            self.lost()

    def data_received(self, data: bytes) -> None:
        """Note when a request began to arrive."""
        waiting = len(self._messages)
        super().data_received(data)
        self._note_arrival(data, is_request=len(self._messages) > waiting)
        if self._messages and self._current_request is not None:
            self._fail_body(self._current_request)

    def _note_arrival(self, data: bytes, *, is_request: bool) -> None:
        if is_request:
            message, body = self._messages[-1]
            is_chunked = isinstance(message, RawRequestMessage) and message.chunked
            self._arrival.take_request(data, body, is_chunked=is_chunked)
            self.head_since = None
        elif not self._upgraded:
            self._arrival.take(data)
        if self._arrival.has_begun and not self._upgraded and self.head_since is None:
            self.head_since = self._loop.time()

    def set_parser(
        self,
        parser: Any,  # noqa: ANN401 - aiohttp's
        data_received_cb: Callable[[], None] | None = None,
    ) -> None:
        """Go over to WebSocket frames, each looked at before aiohttp parses it."""
        self._guard = FrameGuard(parser, self._break_off, self._loop.time)
        super().set_parser(self._guard, data_received_cb)  # type: ignore[arg-type]  # it has the parser's methods

    def when_broken(self, close: Callable[[WSCloseCode, str], None]) -> None:
        """Have ``close`` called when the frames of the client break a rule; at once if they have already."""
        self._close_socket = close
        if self._broken is not None:
            close(*self._broken)

    def _break_off(self, code: WSCloseCode, reason: str) -> None:
        self._broken = (code, reason)
        if self._close_socket is not None:
            self._close_socket(code, reason)

    def begin_request(self) -> None:
        """A request is being answered."""
        if self._messages and self._current_request is not None:
            self._fail_body(self._current_request)

    def _fail_body(self, request: web.BaseRequest) -> None:
        """Tell whoever reads a body that it broke off: aiohttp tells only the next request, which waits for this one.

        Behind a body that is not complete nothing can be in the queue but the error that the parser ended with.
        """
        if not request.content.is_eof() and request.content.exception() is None:
            request.content.set_exception(web.RequestPayloadError("its chunks cannot be parsed"))

    @property
    def _is_waiting(self) -> bool:
        """Whether nothing is to be answered."""
        return self._waiter is not None and not self._messages

    @property
    def is_idle(self) -> bool:
        """Whether nothing is to be answered, and no request arrives."""
        return self._is_waiting and self.head_since is None

    @property
    def is_arriving(self) -> bool:
        """Whether a request arrives or waits, or may: the connection is new."""
        return not (self.is_idle or self._request_in_progress or self._close or self._force_close)

    @property
    def is_sending(self) -> bool:
        """Whether a request is being answered, or its answer has not left the process. Streams are no answers."""
        transport = self.transport
        if transport is None or self.carries_stream or self._lingering_since is not None:
            return False
        return self._request_in_progress or transport.get_write_buffer_size() > 0

    def end(self) -> None:
        """Close an idle connection, once what was written has left."""
        self.close()
        if self.transport is not None:
            self.transport.close()

    def refuse(self, error: WowEventError) -> None:
        """Answer a problem where no request could be read, and linger."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(raw_problem(error))
            self.linger()

    def linger(self) -> None:
        """Send no more, and have `look` close the connection a little later, unless the client does.

        What still comes until then is read and dropped: a close with unread bytes is a reset, and overtakes what was
        written last (RFC 9112 section 9.6, RFC 6455 section 7.1.1).
        """
        transport = self.transport
        if transport is None or transport.is_closing() or self._lingering_since is not None:
            return
        transport.write_eof()
        self._lingering_since = self._loop.time()
        self._force_close = True
        if self._waiter is not None:
            self._waiter.cancel()

    def look(self, now: float, settings: Settings) -> None:
        """Close the connection if it broke a deadline. Called once a second."""
        transport = self.transport
        if transport is None:
            return
        self.is_old = now >= self.move_at
        if self._lingering_since is not None:
            if now - self._lingering_since > LINGER_SECONDS:
                transport.abort()
        elif self._is_head_late(now, settings.header_seconds):
            message = f"the headers of the request were not complete within {settings.header_seconds:g} s"
            self.refuse(RequestTimeoutError(message))
        elif self._is_stalled(transport.get_write_buffer_size(), now, settings.stalled_seconds):
            _log.info("connection.stalled", extra={"peer": self.peername, "untaken_bytes": self._untaken})
            if self.is_sending:
                self.listener.count_cut()
            transport.abort()
        elif self._guard is not None and self._is_message_late(self._guard, now, settings.body_seconds):
            self._guard.fail(WSCloseCode.POLICY_VIOLATION, "the message was not complete in time")

    def _is_head_late(self, now: float, header_seconds: float) -> bool:
        if self.head_since is None or self.is_leaving or not self._is_waiting:
            return False
        return now - self.head_since > header_seconds

    def _is_message_late(self, guard: FrameGuard, now: float, body_seconds: float) -> bool:
        """Tell whether the same message has been on its way for too long."""
        if not guard.is_within_message:
            self._message_since = None
            return False
        if self._message_since is None or self._message_since[0] != guard.messages:
            self._message_since = (guard.messages, now)
        return now - self._message_since[1] > body_seconds

    def _is_stalled(self, buffered_bytes: int, now: float, stalled_seconds: float) -> bool:
        """Tell whether nothing was taken for too long; ``written - buffered`` is what was taken."""
        untaken = buffered_bytes - self.written_bytes
        if buffered_bytes == 0 or untaken != self._untaken or self._untaken_since is None:
            self._untaken = untaken
            self._untaken_since = now if buffered_bytes else None
            return False
        return now - self._untaken_since > stalled_seconds

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what aiohttp could not read, or what failed in a handler."""
        if isinstance(exc, ConnectionError):
            raise exc
        if isinstance(exc, BadHttpMessage):
            # Without a request there is no application whose hooks would see to the headers.
            self.refuse(_unreadable(exc))
            raise ConnectionAbortedError(exc.message)
        _log.error("request.failed", exc_info=exc, extra={"status": status})
        if request.writer.output_size:
            message = "the response had begun"
            raise ConnectionAbortedError(message) from exc
        response = problem_response(WowEventError("the service failed; its log says why"))
        response.force_close()
        return response

    def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        """Send a response; what aiohttp answers before any handler of ours runs becomes a problem first."""
        if isinstance(resp, web.HTTPException):
            resp = problem_response(error_of_http(resp.status, resp.text or resp.reason))
        return super().finish_response(request, resp, start_time)

    def log_exception(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - aiohttp's
        """Write what aiohttp found wrong, but for bodies that broke off: the client's doing, and answered already."""
        error = options.get("exc_info")
        if not isinstance(error, (web.RequestPayloadError, ConnectionError)):
            _log.error("connection.failed", exc_info=error, extra={"detail": str(args[0]) if args else ""})


def _unreadable(error: BadHttpMessage) -> WowEventError:
    reason = str(error.message).split("\n", 1)[0].strip()
    if isinstance(error, LineTooLong) or "too many" in reason.lower():
        return HeadersTooLargeError("a header line or the request line is too long, or there are too many headers")
    return InvalidRequestError(f"not a valid HTTP request: {reason[:200] or HTTPStatus.BAD_REQUEST.phrase}")
