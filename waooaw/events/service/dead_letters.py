"""Dead letters over HTTP: looked into, put back, destroyed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from waooaw.events.dead_letter import REDRIVE_RATE
from waooaw.events.dead_letter_wire import (
    FILTER_MEMBERS,
    dead_letter_json,
    dead_letter_page_json,
    read_filter,
    redrive_members,
)
from waooaw.events.errors import InvalidParameterError, UnknownParameterError, Violation
from waooaw.events.json_text import read_json
from waooaw.events.service.context import CONTEXT
from waooaw.events.service.parameters import Parameters, said_in_query
from waooaw.events.service.representations import JSON, json_response, negotiated
from waooaw.events.service.subscriptions import name_of_path
from waooaw.events.service.typed_json import read_json_body

if TYPE_CHECKING:
    from collections.abc import Mapping

    from waooaw.events.dead_letter import DeadLetterFilter

PAGE_MAX: Final = 1000

REDRIVE_MEMBERS: Final = (*FILTER_MEMBERS, "dry_run", "rate")


def _filter_of_query(parameters: Parameters) -> DeadLetterFilter:
    members: dict[str, object] = {}
    for name in FILTER_MEMBERS:
        value = parameters.several(name) if name in {"id", "type"} else parameters.one(name)
        if value is not None:
            members[name] = value
    return read_filter(members, pointer="#/query")


async def list_dead_letters(request: web.Request) -> web.Response:
    """Answer a page of dead letters, oldest first."""
    bus = request.app[CONTEXT].bus_for(request)
    parameters = Parameters(request.query, (*FILTER_MEMBERS, "after", "limit"))
    negotiated(request, JSON)
    name, which = name_of_path(request), _filter_of_query(parameters)
    limit = parameters.integer("limit", 100, minimum=1, maximum=PAGE_MAX)
    with said_in_query():
        page = await bus.dead_letters.browse(name, which, after=parameters.one("after") or "", limit=limit)
    return web.Response(body=dead_letter_page_json(page), content_type=JSON)


async def get_dead_letter(request: web.Request) -> web.Response:
    """Answer one dead letter."""
    bus = request.app[CONTEXT].bus_for(request)
    Parameters(request.query, ())
    negotiated(request, JSON)
    letter = await bus.dead_letters.get(name_of_path(request), request.match_info["id"])
    return web.Response(body=dead_letter_json(letter), content_type=JSON)


async def purge_dead_letters(request: web.Request) -> web.Response:
    """Destroy dead letters; without the token that confirms it: 409 with the count and the token."""
    bus = request.app[CONTEXT].bus_for(request)
    parameters = Parameters(request.query, (*FILTER_MEMBERS, "confirm"))
    name, which = name_of_path(request), _filter_of_query(parameters)
    with said_in_query():
        count = await bus.dead_letters.purge(name, which, confirm=parameters.one("confirm") or "")
    return json_response({"purged": count})


async def redrive_dead_letters(request: web.Request) -> web.Response:
    """Put dead letters back into their subscription."""
    context = request.app[CONTEXT]
    bus = context.bus_for(request)
    Parameters(request.query, ())
    name = name_of_path(request)
    text = await read_json_body(request, context) or b"{}"
    members, _ = read_json(text, depth_max=context.settings.json_depth_max)
    which, dry_run, rate = _read_redrive(members)
    result = await bus.dead_letters.redrive(name, which, dry_run=dry_run, rate=rate)
    return json_response({**redrive_members(result), "dry_run": dry_run})


def _read_redrive(members: object) -> tuple[DeadLetterFilter, bool, float | None]:
    if not isinstance(members, dict):
        message = "a redrive must be an object"
        raise InvalidParameterError(message, errors=(Violation("#", message, "not_an_object"),))
    for name in members:
        if name not in REDRIVE_MEMBERS:
            message = f"unknown field {name[:64]!r}; a redrive knows {', '.join(REDRIVE_MEMBERS)}"
            kind = UnknownParameterError
            raise kind(message, errors=(Violation(f"#/{name[:64]}", message, kind.code),))
    which = read_filter({name: value for name, value in members.items() if name in FILTER_MEMBERS})
    return which, _dry_run(members), _rate(members)


def _dry_run(members: Mapping[str, Any]) -> bool:
    value = members.get("dry_run", False)
    if not isinstance(value, bool):
        raise _invalid("dry_run", "must be true or false")
    return value


def _rate(members: Mapping[str, Any]) -> float | None:
    value = members.get("rate")
    if value is None:
        return None
    least, most = REDRIVE_RATE
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise _invalid("rate", f"must be a number from {least:g} to {most:,.0f}, or null")
    return float(value)


def _invalid(name: str, rule: str) -> InvalidParameterError:
    message = f"{name} {rule}"
    return InvalidParameterError(message, errors=(Violation(f"#/{name}", message, InvalidParameterError.code),))
