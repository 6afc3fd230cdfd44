"""Reading a request's body: in time, within its limit, unpacked."""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING, Final

from aiohttp import web

from waooaw.events.errors import InvalidRequestError, RequestTimeoutError, TooLargeError, UnsupportedMediaTypeError
from waooaw.events.outages import OverloadedError

if TYPE_CHECKING:
    from aiohttp import StreamReader

    from waooaw.events.service.context import Context

_GZIP: Final = 16 + zlib.MAX_WBITS
"""zlib's window setting for the gzip format (zlib.net/manual.html, inflateInit2)."""


MEMBERS_MAX: Final = 16
"""Members of one gzip body: tools make one, log shippers a few. Each costs a copy of all that follows it."""


async def read_body(request: web.Request, context: Context) -> bytes:
    """Return the body; raises the error that says why it cannot be had."""
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in {"identity", "gzip", "x-gzip"}:
        message = f"the content encoding {encoding[:64]!r} is not read; send gzip or none"
        raise UnsupportedMediaTypeError(message)
    body = await _read(request, context)
    return body if encoding == "identity" else unpack(body, context.settings.body_bytes_max)


async def _read(request: web.Request, context: Context) -> bytes:
    settings = context.settings
    limit = settings.body_bytes_max
    if request.content_length is not None and request.content_length > limit:
        raise _too_large(limit)
    content = request.content
    try:
        if content.is_eof():  # Small bodies came with their headers: they need no deadline.
            body = content.read_nowait()
        else:
            async with asyncio.timeout(settings.body_seconds):
                body = await _read_chunks(content, limit, context)
    except TimeoutError:
        message = f"the body was not complete within {settings.body_seconds:g} s"
        raise RequestTimeoutError(message) from None
    except (web.RequestPayloadError, web.PayloadAccessError) as error:
        message = f"the body cannot be read: {str(error)[:200]}"
        raise InvalidRequestError(message) from None
    if len(body) > limit:
        raise _too_large(limit)
    return body


async def _read_chunks(content: StreamReader, limit: int, context: Context) -> bytes:
    """Read a body as it comes. What all bodies on their way take together is bounded: each is small, many are not."""
    chunks: list[bytes] = []
    size_bytes = 0
    try:
        while size_bytes <= limit and (chunk := await content.readany()):
            chunks.append(chunk)
            size_bytes += len(chunk)
            context.arriving_bytes += len(chunk)
            if context.arriving_bytes > context.settings.arriving_bytes_max:
                message = "too many request bodies are on their way at once; send it again, or smaller batches"
                raise OverloadedError(message, retry_after_seconds=2)
    finally:
        context.arriving_bytes -= size_bytes
    return b"".join(chunks)


def unpack(packed: bytes, limit: int) -> bytes:
    """Unpack gzip (RFC 1952), also of several members; never makes more than ``limit`` and one byte."""
    unpacked = b""
    for _ in range(MEMBERS_MAX):
        if not packed:
            return unpacked
        member = zlib.decompressobj(_GZIP)
        try:
            unpacked += member.decompress(packed, limit + 1 - len(unpacked))
        except zlib.error:
            message = "the body is not gzip, as its Content-Encoding says"
            raise InvalidRequestError(message) from None
        if len(unpacked) > limit:
            raise _too_large(limit)
        if not member.eof:
            message = "the gzip body is cut short"
            raise InvalidRequestError(message)
        packed = member.unused_data
    if packed:
        message = f"the gzip body has more than {MEMBERS_MAX} members"
        raise InvalidRequestError(message)
    return unpacked


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"the body is larger than {limit} bytes (unpacked); send it in parts")
