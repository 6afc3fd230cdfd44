"""Whether a next request has begun to arrive, by values: what came, in which pieces, and what the parser made of it."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser

from waooaw.events.service.arrival import Arrival

GET: Final = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
POST: Final = b"POST /v1/events HTTP/1.1\r\nHost: a\r\n"
LENGTH: Final = POST + b"Content-Length: 10\r\n\r\n"
CHUNKED: Final = POST + b"Transfer-Encoding: chunked\r\n\r\n"
CHUNKS: Final = b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
TRAILERS: Final = b"1\r\na\r\n0\r\nX: a\r\n\r\n"
BODY_OF_LINES: Final = b"\r\n\r\nab\r\n\r\n"

WHOLE: Final = {
    "no body": GET,
    "length": LENGTH + b"0123456789",
    "length, all empty lines": LENGTH + BODY_OF_LINES,
    "length 0": POST + b"Content-Length: 0\r\n\r\n",
    "chunked": CHUNKED + CHUNKS,
    "trailers": CHUNKED + TRAILERS,
    "several": GET + LENGTH + b"0123456789" + CHUNKED + CHUNKS + GET,
    "several, a length last": GET + CHUNKED + CHUNKS + LENGTH + b"0123456789",
}
BEGINNINGS: Final = [b"G", b"GET /he", b"POST / HTTP/1.1\r\nHost: a\r\n"]


async def followed(*pieces: bytes) -> list[bool]:
    """Give pieces to aiohttp's own parser, and return after each whether a request has begun."""
    loop = asyncio.get_running_loop()
    parser = HttpRequestParser(BaseProtocol(loop), loop, 2**16, auto_decompress=False)
    arrival = Arrival()
    told = []
    for piece in pieces:
        requests, _, _ = parser.feed_data(piece)
        if requests:
            message, body = requests[-1]
            arrival.take_request(piece, body, is_chunked=message.chunked)
        else:
            arrival.take(piece)
        told.append(arrival.has_begun)
    return told


@pytest.mark.parametrize("sent", WHOLE.values(), ids=WHOLE)
async def test_whole_requests_in_two_pieces(sent: bytes) -> None:
    """Wherever whole requests are cut, nothing has begun behind them once they are there."""
    for cut in range(1, len(sent)):
        assert (await followed(sent[:cut], sent[cut:]))[-1] is False, sent[:cut]


@pytest.mark.parametrize("sent", WHOLE.values(), ids=WHOLE)
async def test_whole_requests_byte_by_byte(sent: bytes) -> None:
    """The same in single bytes."""
    assert (await followed(*[bytes([byte]) for byte in sent]))[-1] is False


@pytest.mark.parametrize("beginning", BEGINNINGS)
@pytest.mark.parametrize("sent", WHOLE.values(), ids=WHOLE)
async def test_a_begun_request(sent: bytes, beginning: bytes) -> None:
    """A beginning is seen in one piece with what stands before it, or however they are cut."""
    assert (await followed(sent + beginning))[-1] is True
    for cut in range(1, len(sent) + 1):
        assert (await followed(sent[:cut], sent[cut:] + beginning))[-1] is True, sent[:cut]


async def test_a_begun_request_that_becomes_whole() -> None:
    """It has begun until its headers are complete; each later one begins anew."""
    assert await followed(GET + b"GET", b" /health HTTP/1.1\r\nHost: a\r\n", b"\r\n", b"\r\n", b"G", b"") == [
        True,
        True,
        False,
        False,
        True,
        True,
    ]


async def test_before_any_request() -> None:
    """Before the first headers are complete there is nothing to be behind."""
    assert await followed(b"", b"GET /he", b"alth HTTP/1.1\r\n") == [False, False, False]
