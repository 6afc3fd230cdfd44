"""Receivers of webhooks over HTTP: asked for their consent, tried, looked at."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import msgspec

from waooaw.events.errors import InvalidParameterError
from waooaw.events.position import parse_position
from waooaw.events.push_state import ATTEMPTS_KEPT
from waooaw.events.push_wire import attempt_members, attempts_members
from waooaw.events.service.context import CONTEXT
from waooaw.events.service.parameters import Parameters, located
from waooaw.events.service.representations import JSON, json_response, negotiated
from waooaw.events.service.subscriptions import name_of_path, read_nothing
from waooaw.events.service.typed_json import decode_typed, read_json_body
from waooaw.events.subscription_wire import subscription_members

if TYPE_CHECKING:
    from aiohttp import web

    from waooaw.events.position import Position


class _Redelivery(msgspec.Struct, forbid_unknown_fields=True):
    position: str


_redelivery_decoder: Final = msgspec.json.Decoder(_Redelivery)


async def verify_receiver(request: web.Request) -> web.Response:
    """Judge a receiver's address and ask for its consent now; answer the subscription with how that ended."""
    context = request.app[CONTEXT]
    bus, webhooks = context.bus_for(request), context.webhooks_for(request)
    Parameters(request.query, ())
    name = name_of_path(request)
    await read_nothing(request, context)
    state = await webhooks.verify(name)
    info = replace(await bus.subscriptions.info(name), push_state=state)
    return json_response(subscription_members(info, context.clock.now_ms()))


async def list_attempts(request: web.Request) -> web.Response:
    """Answer the last attempts at a receiver, the newest first."""
    webhooks = request.app[CONTEXT].webhooks_for(request)
    parameters = Parameters(request.query, ("limit",))
    negotiated(request, JSON)
    name = name_of_path(request)
    limit = parameters.integer("limit", ATTEMPTS_KEPT, minimum=1, maximum=ATTEMPTS_KEPT)
    return json_response(attempts_members((await webhooks.attempts(name))[:limit]))


async def send_test(request: web.Request) -> web.Response:
    """Send a receiver an event that is in no log; answer what came of it."""
    context = request.app[CONTEXT]
    webhooks = context.webhooks_for(request)
    Parameters(request.query, ())
    name = name_of_path(request)
    await read_nothing(request, context)
    return json_response(attempt_members(await webhooks.test(name)))


async def redeliver_event(request: web.Request) -> web.Response:
    """Send a receiver one event of the log again, beside its queue; answer what came of it."""
    context = request.app[CONTEXT]
    webhooks = context.webhooks_for(request)
    Parameters(request.query, ())
    name = name_of_path(request)
    position = _position(decode_typed(_redelivery_decoder, await read_json_body(request, context)).position)
    return json_response(attempt_members(await webhooks.redeliver(name, position)))


def _position(text: str) -> Position:
    try:
        return parse_position(text)
    except InvalidParameterError as error:
        raise located("#/position", error) from None
