"""``GET /v1/buses``: which buses are served."""

from __future__ import annotations

import msgspec
from aiohttp import web

from waooaw.events.service.context import CONTEXT
from waooaw.events.service.parameters import Parameters
from waooaw.events.service.publishing import JSON
from waooaw.events.service.reading import negotiated


async def list_buses(request: web.Request) -> web.Response:
    """Answer the buses, in the order of the setting, with what their receipts promise."""
    context = request.app[CONTEXT]
    context.bus  # noqa: B018 - raises where buses are switched off
    Parameters(request.query, ())
    negotiated(request, JSON)
    items = [{"name": name, "durability": bus.details()["durability"]} for name, bus in context.buses.items()]
    return web.Response(body=msgspec.json.encode({"items": items}), content_type=JSON)
