"""What every request goes through: errors become problems, and every response has the service's manners."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from aiohttp import web

from waooaw.events.errors import MethodNotAllowedError, NotAvailableError, NotFoundError, WowEventError
from waooaw.events.service.bus_paths import path_without_bus
from waooaw.events.service.context import CONTEXT
from waooaw.events.service.problems import error_of_http, problem_response
from waooaw.events.service.routes import NOT_YET

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from waooaw.events.service.connection import Connection
    from waooaw.events.service.context import Context

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

CORS_METHODS: Final = "GET, POST, PUT, DELETE"
CORS_HEADERS: Final = "*"
CORS_SECONDS: Final = "600"
CORS_EXPOSED: Final = "Link, Retry-After"


@web.middleware
async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Carry out a request; what it raises becomes its answer."""
    context = request.app[CONTEXT]
    connection = cast("Connection", request.protocol)
    connection.begin_request()
    context.begin_request()
    try:
        return await handler(request)
    except WowEventError as error:
        return problem_response(error)
    except web.HTTPException as error:
        return _answer_aiohttp(request, error, context)
    finally:
        context.end_request()


def _answer_aiohttp(request: web.Request, error: web.HTTPException, context: Context) -> web.StreamResponse:
    if isinstance(error, web.HTTPMethodNotAllowed):
        if request.method == "OPTIONS" and request.headers.get("Origin") in context.settings.allowed_origins:
            return web.Response(status=204, headers=_preflight_headers())
        allowed = ", ".join(sorted(error.allowed_methods))
        message = f"{request.method[:32]} is not served here; use {allowed}"
        return problem_response(MethodNotAllowedError(message), {"Allow": allowed})
    if isinstance(error, web.HTTPNotFound):
        return problem_response(_not_found(request.path))
    return problem_response(error_of_http(error.status, error.text or error.reason))


def _not_found(path: str) -> WowEventError:
    shown = path[:200]
    path = path_without_bus(path)
    if any(path == prefix or path.startswith(prefix + "/") for prefix in NOT_YET):
        return NotAvailableError(f"{shown} is not available in this release")
    return NotFoundError(f"no route {shown}; /v1/openapi.json lists them")


def _preflight_headers() -> dict[str, str]:
    return {
        "Access-Control-Allow-Methods": CORS_METHODS,
        "Access-Control-Allow-Headers": CORS_HEADERS,
        "Access-Control-Max-Age": CORS_SECONDS,
    }


async def finish_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Say no more of the software than is asked; close what should move; let allowed pages read."""
    context = request.app[CONTEXT]
    headers = response.headers
    headers.popall("Server", None)
    connection = cast("Connection", request.protocol)
    # What is left of a body that nobody read must not be taken for the next request.
    closes = context.should_close(connection) or not request.content.is_eof()
    if closes and response.status != 101:  # noqa: PLR2004 - an upgrade
        connection.is_leaving = True
        response.force_close()
        headers["Connection"] = "close"
    if allowed := context.settings.allowed_origins:
        headers.add("Vary", "Origin")
        if (origin := request.headers.get("Origin")) in allowed:
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = CORS_EXPOSED
