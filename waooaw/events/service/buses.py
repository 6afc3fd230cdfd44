"""``GET /v1/buses``: which buses are served."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waooaw.events.service.context import CONTEXT
from waooaw.events.service.parameters import Parameters
from waooaw.events.service.representations import JSON, json_response, negotiated

if TYPE_CHECKING:
    from aiohttp import web


async def list_buses(request: web.Request) -> web.Response:
    """Answer the buses, in the order of the setting, with what their receipts promise."""
    context = request.app[CONTEXT]
    buses = context.served_buses
    Parameters(request.query, ())
    negotiated(request, JSON)
    items = [{"name": name, "durability": bus.details()["durability"]} for name, bus in buses.items()]
    return json_response({"items": items})
