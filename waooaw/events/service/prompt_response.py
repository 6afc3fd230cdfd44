"""JSON answers with status 200 whose head and body are written in one piece.

aiohttp makes a header map for each response, runs a hook over it and spells it out: 9 of the 28 microseconds that a
request with an empty handler takes it. Where nothing has to be said of the connection, the head is always the same but
for a length and a date, and is kept spelled.

Rule 1: a client can tell `prompt_response` from `json_response` by nothing; it is what `json_response` and
`answering.finish_headers` make of the same request.
Rule 2: writing goes through aiohttp's writer of the request, which knows of connections that are gone or full.
"""

from __future__ import annotations

from email.utils import formatdate
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from aiohttp import HttpVersion11, web

from waooaw.events.service.context import CONTEXT
from waooaw.events.service.representations import JSON

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter

    from waooaw.events.service.connection import Connection
    from waooaw.events.service.context import Context

_HEADS_KEPT: Final = 64
"""A head is 120 bytes and good for a second; receipts differ in length by the ids that publishers chose."""

_encode: Final = msgspec.json.encode


def prompt_response(request: web.Request, members: dict[str, Any]) -> web.StreamResponse:
    """Return an answer in JSON with status 200. For the handler's last step: what it looks at may change later."""
    return prompt_text(request, _encode(members))


def prompt_text(request: web.Request, text: bytes) -> web.StreamResponse:
    """Return an answer of JSON that is encoded already; otherwise as `prompt_response`."""
    context = request.app[CONTEXT]
    if _says_nothing_of_the_connection(request, context):
        return _PromptResponse(text, context.clock.now_ms() // 1000)
    return web.Response(body=text, content_type=JSON)


def _says_nothing_of_the_connection(request: web.Request, context: Context) -> bool:
    """Tell whether `finish_headers` has nothing to do, and the connection persists by itself (RFC 9112 section 9.3)."""
    return (
        request.version == HttpVersion11
        and request.keep_alive
        and request.content.is_eof()
        and not context.should_close(cast("Connection", request.protocol))
        and not context.settings.allowed_origins
    )


class _PromptResponse(web.StreamResponse):
    """A response that is over once it is prepared."""

    _keep_alive = True

    def __init__(self, body: bytes, unix_seconds: int) -> None:
        super().__init__()
        self._content = body
        self._unix_seconds = unix_seconds

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write all of it, and wait where the client takes nothing. Raises `ConnectionError` where it is gone."""
        if not self._eof_sent:
            await request.writer.write_eof(_head(len(self._content), self._unix_seconds) + self._content)
            self._eof_sent = True
            self._body_length = len(self._content)
        return None


@lru_cache(_HEADS_KEPT)
def _head(body_bytes: int, unix_seconds: int) -> bytes:
    return (
        f"HTTP/1.1 200 OK\r\nContent-Type: {JSON}\r\nContent-Length: {body_bytes}\r\n"
        f"Date: {formatdate(unix_seconds, usegmt=True)}\r\n\r\n"  # IMF-fixdate, RFC 9110 section 5.6.7
    ).encode("ascii")
