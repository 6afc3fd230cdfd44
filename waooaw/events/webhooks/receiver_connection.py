"""The connection to a receiver, as aiohttp keeps it, with limits of its own for what the receiver does on it.

Rule 1: before an answer no more than `HEAD_BYTES_MAX` are read, with `INTERIMS_MAX` interim answers (1xx); with it no
more than `BODY_BYTES_MAX`, however its chunks are spelled. What is beyond is not looked at, and costs the connection.
Rule 2: what comes after an answer, with nothing asked, is no answer to what is asked next: the connection ends.
Rule 3: a connection ends at once: what was not sent yet is dropped. A receiver that reads nothing and never hangs up
would keep it otherwise.
Rule 4: a connection that was used before and ends before anything of the next answer came is an
`IdleConnectionLostError`: most likely the receiver closed it while it was idle.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from aiohttp import ClientOSError, ClientPayloadError, ServerDisconnectedError, TCPConnector
from aiohttp.client_proto import ResponseHandler

if TYPE_CHECKING:
    from asyncio import Transport

    from aiohttp.http_parser import RawResponseMessage
    from aiohttp.streams import StreamReader

HEAD_BYTES_MAX: Final = 32_768
"""Twice what common servers and proxies let through as the head of a message."""

INTERIMS_MAX: Final = 16
"""Nobody was asked for one; some servers send a few all the same (100 Continue, 103 Early Hints)."""

BODY_BYTES_MAX: Final = 65_536
"""After the head, what spells chunks included: what a receiver may say and still keep its connection."""

_HEAD_END: Final = b"\r\n\r\n"
_SWITCHED: Final = 101
_FINAL: Final = 200


class IdleConnectionLostError(ServerDisconnectedError):
    """A connection that was open from before ended when it was used again."""


class EndlessAnswerError(ClientPayloadError):
    """A receiver sent more than any answer needs, and no answer."""


class ReceiverConnection(ResponseHandler):
    """One connection; the requests on it come one after the other."""

    _requests = 0
    _has_heard = False
    _left = 0
    _interims = 0
    _answer: StreamReader | None = None

    def set_response_params(self, **settings: Any) -> None:  # noqa: ANN401 - aiohttp's own settings, passed on
        """Begin with the next request."""
        self._requests += 1
        self._has_heard = False
        self._left = HEAD_BYTES_MAX
        self._interims = 0
        self._answer = None
        super().set_response_params(**settings)

    def data_received(self, data: bytes) -> None:
        """Take what came, within the limits: head by head, so that what follows an answer cannot spoil it."""
        if not data:  # aiohttp goes on with what it has
            super().data_received(data)
            return
        at = 0
        while at < len(data):
            if self.transport is None or self.transport.is_closing():
                break
            if self._answer is not None and self._answer.is_eof():
                self.abort()
                return
            if not self._left:
                self._cut(self.transport)
                return
            end = min(len(data), at + self._left)
            if self._answer is None and (found := data.find(_HEAD_END, at, end)) >= 0:
                end = found + len(_HEAD_END)
            self._has_heard = True
            self._left -= end - at
            part, at = data[at:end], end
            super().data_received(part)
        error = self.exception()
        if error is not None and self._answer is not None and not self._answer.is_eof():
            self._answer.set_exception(ClientPayloadError("the body cannot be read"), error)  # aiohttp lets it wait

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """Take a message, an interim one or the answer."""
        message, payload = data
        if message.code >= _FINAL or message.code == _SWITCHED:
            self._answer = payload
            self._left = BODY_BYTES_MAX
        else:
            self._interims += 1
            if self._interims > INTERIMS_MAX:
                self._left = 0
        super().feed_data(data, size)

    def _cut(self, transport: Transport) -> None:
        """End an answer that has no end: what of it came counts, if it is one."""
        self.force_close()
        if self._answer is None:
            detail = f"it sent more than {HEAD_BYTES_MAX} bytes or {INTERIMS_MAX} interim answers, and no answer"
            self.set_exception(EndlessAnswerError(detail))
        else:
            self._answer.feed_eof()
        transport.abort()

    def set_exception(self, exc: BaseException, *causes: BaseException) -> None:
        """Fail the request under way."""
        if self._requests > 1 and not self._has_heard and isinstance(exc, ClientOSError | ServerDisconnectedError):
            exc = IdleConnectionLostError()
        super().set_exception(exc, *causes)

    def close(self) -> None:
        """End it at once."""
        self.abort()


class ReceiverConnector(TCPConnector):
    """Makes connections of that kind. The settings are aiohttp's."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - as above
        super().__init__(**settings)
        self._factory = cast("partial[ResponseHandler]", partial(ReceiverConnection, loop=self._loop))
