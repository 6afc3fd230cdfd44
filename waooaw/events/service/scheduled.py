"""Events for later over HTTP: listed, looked at, cancelled."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from waooaw.events.dead_letter_wire import scheduled_json, scheduled_page_json
from waooaw.events.service.context import CONTEXT
from waooaw.events.service.parameters import Parameters, said_in_query
from waooaw.events.service.representations import JSON, negotiated

PAGE_MAX: Final = 1000


async def list_scheduled(request: web.Request) -> web.Response:
    """Answer a page of the events that wait for their time, the next one first."""
    bus = request.app[CONTEXT].bus_for(request)
    parameters = Parameters(request.query, ("after", "limit"))
    negotiated(request, JSON)
    limit = parameters.integer("limit", 100, minimum=1, maximum=PAGE_MAX)
    with said_in_query():
        page = await bus.schedule.page(after=parameters.one("after") or "", limit=limit)
    return web.Response(body=scheduled_page_json(page), content_type=JSON)


async def get_scheduled(request: web.Request) -> web.Response:
    """Answer one event that waits."""
    bus = request.app[CONTEXT].bus_for(request)
    Parameters(request.query, ())
    negotiated(request, JSON)
    return web.Response(body=scheduled_json(await bus.schedule.get(request.match_info["id"])), content_type=JSON)


async def cancel_scheduled(request: web.Request) -> web.Response:
    """Take one off the schedule, so that nobody gets it."""
    bus = request.app[CONTEXT].bus_for(request)
    Parameters(request.query, ())
    await bus.schedule.cancel(request.match_info["id"])
    return web.Response(status=204)
