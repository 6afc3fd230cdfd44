"""Errors on the wire: problem details (RFC 9457), for every error the service answers, aiohttp's own included."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web

from waooaw.events.errors import (
    ConfirmationRequiredError,
    HeadersTooLargeError,
    InvalidRequestError,
    MethodNotAllowedError,
    NotFoundError,
    RequestTimeoutError,
    TooLargeError,
    UnsupportedMediaTypeError,
    Violation,
    WowEventError,
)
from waooaw.events.outages import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

CONTENT_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:wowevent:problem:"

_BY_STATUS: Final[Mapping[int, type[WowEventError]]] = {
    400: InvalidRequestError,
    404: NotFoundError,
    405: MethodNotAllowedError,
    408: RequestTimeoutError,
    413: TooLargeError,
    415: UnsupportedMediaTypeError,
    431: HeadersTooLargeError,
}
"""What a status of aiohttp's own is in our tree."""


def problem(error: WowEventError) -> dict[str, Any]:
    """Return the members of the problem that reports an error."""
    members: dict[str, Any] = {
        "type": TYPE_PREFIX + error.code,
        "title": error.title,
        "status": error.status,
        "detail": _writable(error.detail),
        "code": error.code,
    }
    if violations := _violations(error):
        members["errors"] = [
            {
                "pointer": _writable(violation.pointer),
                "detail": _writable(violation.detail),
                "code": violation.code,
            }
            for violation in violations
        ]
    if isinstance(error, UnavailableError):
        members["outcome"] = error.outcome
    if isinstance(error, ConfirmationRequiredError):
        members |= {"count": error.count, "confirm": error.confirm}
    return members


def _violations(error: WowEventError) -> tuple[Violation, ...]:
    """Where the input is wrong: all of it (RFC 6901, the empty pointer) where no place is to blame."""
    if not error.errors and isinstance(error, (InvalidRequestError, TooLargeError)):
        return (Violation("#", error.detail, error.code),)
    return error.errors


def _writable(text: str) -> str:
    """Headers that are not UTF-8 reach us with lone surrogates, which JSON in UTF-8 cannot have."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def problem_headers(error: WowEventError) -> dict[str, str]:
    """Return the headers that go with an error."""
    headers = {"Cache-Control": "no-store"}
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    return headers


def problem_response(error: WowEventError, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return the response that reports an error."""
    return web.Response(
        status=error.status,
        body=msgspec.json.encode(problem(error)),
        content_type=CONTENT_TYPE,
        headers={**problem_headers(error), **(headers or {})},
    )


def raw_problem(error: WowEventError) -> bytes:
    """Return the whole response for a connection that has no request yet, or never will have one."""
    body = msgspec.json.encode(problem(error))
    head = [
        f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}",
        f"Content-Type: {CONTENT_TYPE}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in problem_headers(error).items()),
    ]
    return "\r\n".join(head).encode("ascii") + b"\r\n\r\n" + body


def error_of_http(status: int, detail: str) -> WowEventError:
    """Return our error for a status that aiohttp answers by itself."""
    kind = _BY_STATUS.get(status, InvalidRequestError if status < HTTPStatus.INTERNAL_SERVER_ERROR else WowEventError)
    return kind(detail)
