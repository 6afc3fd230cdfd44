"""Reading the store: ``GET /v1/events``, ``GET /v1/events/{position}``, ``GET /v1/log``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web

from waooaw.events.bus.event_store import PAGE_EVENTS_MAX, Query
from waooaw.events.cursor import Cursor, encode_cursor
from waooaw.events.errors import InvalidParameterError
from waooaw.events.http_binding import write_binary
from waooaw.events.position import format_position, parse_position
from waooaw.events.service.context import CONTEXT
from waooaw.events.service.parameters import Parameters, located
from waooaw.events.service.representations import BATCH, EVENT, JSON, LINES, json_response, negotiated

if TYPE_CHECKING:
    from waooaw.events.bus.event_bus import EventBus
    from waooaw.events.bus.event_store import StorePage
    from waooaw.events.epoch import Gap
    from waooaw.events.event import StoredEvent
    from waooaw.events.position import Position

LIST_PARAMETERS: Final = ("pattern", "filter", "source", "correlationid", "from", "to", "order", "limit")


def gap_members(bus: str, gap: Gap) -> dict[str, str]:
    """Return a gap as the wire spells it."""
    return {"from": encode_cursor(bus, gap.start), "to": encode_cursor(bus, gap.end), "reason": gap.reason}


async def list_events(request: web.Request) -> web.Response:
    """Answer a page of the store."""
    bus = request.app[CONTEXT].bus_for(request)
    parameters = Parameters(request.query, LIST_PARAMETERS)
    media_type = negotiated(request, JSON, BATCH, LINES)
    query = Query(
        patterns=parameters.patterns(),
        source=parameters.one("source"),
        correlationid=parameters.one("correlationid"),
        start=parameters.bound("from", bus.name, "earliest"),
        end=parameters.bound("to", bus.name, "now"),
        newest_first=parameters.choice("order", ("asc", "desc")) == "desc",
        limit=parameters.integer("limit", 100, minimum=1, maximum=PAGE_EVENTS_MAX),
    )
    page = await bus.store.read(query)
    token = encode_cursor(bus.name, page.next)
    if media_type == JSON:
        return web.Response(body=_page_json(bus.name, page, token), content_type=JSON)
    resume = {"to": token} if query.newest_first else {"from": token}
    url = request.rel_url.update_query(resume)
    headers = {"Link": f'<{url}>; rel="next"'}
    bodies = [event.body for event in page.events]
    body = b"[" + b",".join(bodies) + b"]" if media_type == BATCH else b"".join([body + b"\n" for body in bodies])
    return web.Response(body=body, content_type=media_type, headers=headers)


def _page_json(bus: str, page: StorePage, token: str) -> bytes:
    items = b",".join([_item_json(event) for event in page.events])
    rest: dict[str, Any] = {"next": token, "end": page.is_end}
    if page.gap is not None:
        rest["gap"] = gap_members(bus, page.gap)
    return b'{"items":[%b],%b' % (items, msgspec.json.encode(rest)[1:])


def _item_json(event: StoredEvent) -> bytes:
    return b'{"position":"%b","event":%b}' % (format_position(event.position).encode(), event.body)


async def get_event(request: web.Request) -> web.Response:
    """Answer one event."""
    bus = request.app[CONTEXT].bus_for(request)
    mode = Parameters(request.query, ("mode",)).choice("mode", ("structured", "binary"))
    media_type = JSON if mode == "binary" else negotiated(request, JSON, EVENT)
    event = await bus.store.get(position_of_path(request))
    if mode == "binary":
        headers, body = write_binary(event.body)
        headers["Content-Length"] = str(len(body))  # aiohttp leaves a 0 out of what it answers to HEAD
        return web.Response(body=body, headers=headers)
    if media_type == EVENT:
        return web.Response(body=event.body, content_type=EVENT)
    return web.Response(body=_item_json(event), content_type=JSON)


def position_of_path(request: web.Request) -> Position:
    """Return the position that a path names; raises `InvalidParameterError` for what is none."""
    try:
        return parse_position(request.match_info["position"])
    except InvalidParameterError as error:
        raise located("#/path/position", error) from None


async def describe_log(request: web.Request) -> web.Response:
    """Answer how the log stands; its cursor is *now*."""
    bus = request.app[CONTEXT].bus_for(request)
    Parameters(request.query, ())
    negotiated(request, JSON)
    return json_response(log_members(bus))


def log_members(bus: EventBus) -> dict[str, Any]:
    """Return the log's state as the wire spells it."""
    state = bus.store.state()
    history = state.history
    return {
        "epoch": f"{history.current.id:016x}",
        "cursor": encode_cursor(bus.name, Cursor(history.current.id, history.last)),
        "first": None if state.first is None else format_position(state.first),
        "last": None if state.first is None else format_position(history.last),
        "events": state.events,
        "size_bytes": state.size_bytes,
        "retention": {
            "age_seconds": bus.retention.max_age_seconds,
            "events": bus.retention.max_events,
            "size_bytes": bus.retention.max_bytes,
        },
    }
