"""One hot call past the router: `POST /v1/events`, whose way through aiohttp's application is the same each time.

aiohttp resolves the path, collects the applications and wraps the handler in its middleware for each request anew: 4 of
the 19 microseconds that a request with an empty handler takes it. What it found for the first such request holds for
all of them, as the path has no variable part.

Rule 1: only what is the very same request line is handed over; a query, another spelling of the path, or an ``Expect``
header takes the ordinary way.
Rule 2: the handler runs inside `answering.answer`, as every handler does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from waooaw.events.service.answering import answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web
    from aiohttp.web_urldispatcher import UrlMappingMatchInfo

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
    ServerHandler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

METHOD: Final = "POST"
PATH: Final = "/v1/events"


class PromptRoute:
    """Handles requests: those of the one call by its handler, all others by the application."""

    def __init__(self, application: ServerHandler, handler: Handler) -> None:
        self._application = application
        self._handler = handler
        self._found: UrlMappingMatchInfo | None = None

    async def __call__(self, received: web.BaseRequest) -> web.StreamResponse:
        """Handle a request."""
        request = cast("web.Request", received)
        if request.method != METHOD or request.raw_path != PATH or "Expect" in request.headers:
            return await self._application(request)
        if self._found is None:
            response = await self._application(request)
            self._found = request.match_info
            return response
        request._match_info = self._found  # noqa: SLF001 - where the application puts it, too
        return await answer(request, self._handler)
