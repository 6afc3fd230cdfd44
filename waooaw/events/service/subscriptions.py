"""Durable subscriptions over HTTP: made, looked at, paused, moved, removed; and what became of one event in them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web

from waooaw.events.errors import InvalidParameterError
from waooaw.events.json_text import read_json
from waooaw.events.push import MASK, with_kept_secrets
from waooaw.events.service.bus_paths import path_to
from waooaw.events.service.context import CONTEXT
from waooaw.events.service.members import member_list
from waooaw.events.service.parameters import Parameters, bound_at, located
from waooaw.events.service.reading import position_of_path
from waooaw.events.service.representations import JSON, json_response, negotiated
from waooaw.events.service.request_body import read_body
from waooaw.events.service.typed_json import decode_typed, read_json_body
from waooaw.events.subscription import check_name, parse_subscription
from waooaw.events.subscription_wire import details_members, holding_members, reports_members, subscription_members

if TYPE_CHECKING:
    from waooaw.events.bus.event_bus import EventBus
    from waooaw.events.push import PushDefinition
    from waooaw.events.service.context import Context
    from waooaw.events.subscription_state import Holding, QueueDetails, SubscriptionInfo
    from waooaw.events.webhooks.webhooks import Webhooks

ERRORS_SHOWN_MAX: Final = 5
"""Different errors among the failing references: more are variations of one cause, or too many to read."""

POISON_FAILURES: Final = 2
"""Failures from which on an event that fails is suspected: one may be chance."""


class _Seek(msgspec.Struct, forbid_unknown_fields=True):
    to: str


_seek_decoder: Final = msgspec.json.Decoder(_Seek)


class _Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """What a call without members takes."""


_nothing_decoder: Final = msgspec.json.Decoder(_Nothing)


def name_of_path(request: web.Request) -> str:
    """Return the name of the subscription that a path names; raises `InvalidParameterError` for what can be none."""
    name = request.match_info["name"]
    try:
        check_name(name)
    except InvalidParameterError as error:
        raise located("#/path/name", error) from None
    return name


async def read_nothing(request: web.Request, context: Context) -> None:
    """Read the body of a call without members: none, or an empty object. Clients give an empty one any type."""
    if body := await read_body(request, context):
        decode_typed(_nothing_decoder, body)


async def told(request: web.Request, info: SubscriptionInfo) -> dict[str, Any]:
    """Spell a subscription, with how its receiver does where it has one."""
    context = request.app[CONTEXT]
    if info.definition.push is not None:
        info = replace(info, push_state=await context.webhooks_for(request).state(info.name))
    return subscription_members(info, context.clock.now_ms())


async def list_subscriptions(request: web.Request) -> web.Response:
    """Answer all subscriptions of the bus."""
    context = request.app[CONTEXT]
    bus = context.bus_for(request)
    Parameters(request.query, ())
    negotiated(request, JSON)
    infos = await bus.subscriptions.list()
    webhooks, known, now_ms = context.webhooks_for(request), bus.subscriptions.known, context.clock.now_ms()
    items = []
    for info in infos:
        at = known.get(info.name)
        # From memory: one question to the store for each receiver is too many.
        state = None if at is None or info.definition.push is None else webhooks.state_of(at)
        items.append(subscription_members(replace(info, push_state=state), now_ms))
    return json_response({"items": items})


async def put_subscription(request: web.Request) -> web.Response:
    """Make a subscription, or replace its definition as a whole."""
    context = request.app[CONTEXT]
    bus = context.bus_for(request)
    Parameters(request.query, ())
    name = name_of_path(request)
    members, _ = read_json(await read_json_body(request, context), depth_max=context.settings.json_depth_max)
    definition = parse_subscription(members)
    bound_at("#/from", bus.name, definition.start)
    if definition.push is not None:
        push = await _judged(bus, context.webhooks_for(request), name, definition.push)
        definition = replace(definition, push=push)
    info, is_new = await bus.subscriptions.put(name, definition)
    answer = await told(request, info)
    if not is_new:
        return json_response(answer)
    return json_response(answer, status=201, headers={"Location": path_to(bus.name, f"/v1/subscriptions/{name}")})


async def _judged(bus: EventBus, webhooks: Webhooks, name: str, push: PushDefinition) -> PushDefinition:
    """Return a push with the secrets that are kept. Raises `InvalidParameterError` and `AddressRefusedError`."""
    if MASK in (push.authorization, *push.secret, *push.headers.values()):
        await bus.subscriptions.refresh()  # memory can be a second behind another replica that changed a secret
        known = bus.subscriptions.known.get(name)
        push = with_kept_secrets(push, None if known is None else known.definition.push)
    await webhooks.check(push)
    return push


async def get_subscription(request: web.Request) -> web.Response:
    """Answer one subscription; with ``details`` also who holds what, and what fails."""
    context = request.app[CONTEXT]
    bus = context.bus_for(request)
    wanted = Parameters(request.query, ("details",)).choice("details", ("false", "true"))
    negotiated(request, JSON)
    name = name_of_path(request)
    info = await bus.subscriptions.info(name)
    members = await told(request, info)
    if wanted == "true":
        members |= _details(context, bus, name, await bus.subscriptions.details(name))
    return json_response(members)


def _details(context: Context, bus: EventBus, name: str, details: QueueDetails) -> dict[str, Any]:
    replica = context.own_replica
    oldest = min((*details.leases, *details.failing), key=lambda holding: holding.position, default=None)
    poison = suspected_poison(details)
    return {
        **details_members(details),
        "oldest": None if oldest is None else holding_members(oldest),
        "last_errors": last_errors(details),
        "suspected_poison": None if poison is None else holding_members(poison),
        "members": member_list(replica.listed(), replica.id, bus.name, name),
    }


def suspected_poison(details: QueueDetails) -> Holding | None:
    """Return the reference that fails most, the oldest of those; None where none failed more than once."""
    worst = max(details.failing, key=lambda holding: holding.failures, default=None)
    return worst if worst is not None and worst.failures >= POISON_FAILURES else None


def last_errors(details: QueueDetails) -> list[str]:
    """Return the different errors of what fails, a few."""
    errors = (holding.last_error for holding in details.failing if holding.last_error)
    return list(dict.fromkeys(errors))[:ERRORS_SHOWN_MAX]


async def delete_subscription(request: web.Request) -> web.Response:
    """Remove a subscription, with all that waits and its dead letters."""
    bus = request.app[CONTEXT].bus_for(request)
    Parameters(request.query, ())
    await bus.subscriptions.delete(name_of_path(request))
    return web.Response(status=204)


async def pause_subscription(request: web.Request) -> web.Response:
    """Hand out nothing more."""
    return await _set_paused(request, is_paused=True)


async def resume_subscription(request: web.Request) -> web.Response:
    """Hand out again."""
    return await _set_paused(request, is_paused=False)


async def _set_paused(request: web.Request, *, is_paused: bool) -> web.Response:
    context = request.app[CONTEXT]
    bus = context.bus_for(request)
    Parameters(request.query, ())
    name = name_of_path(request)
    await read_nothing(request, context)
    if not is_paused:
        # Before it goes on: what the receiver did until now does not pause it again.
        await context.webhooks_for(request).resumed(name)
    info = await bus.subscriptions.set_paused(name, is_paused)
    return json_response(await told(request, info))


async def seek_subscription(request: web.Request) -> web.Response:
    """Drop what waits, and go on from another place in the log."""
    context = request.app[CONTEXT]
    bus = context.bus_for(request)
    Parameters(request.query, ())
    name = name_of_path(request)
    place = decode_typed(_seek_decoder, await read_json_body(request, context)).to
    info = await bus.subscriptions.seek(name, bound_at("#/to", bus.name, place))
    return json_response(await told(request, info))


async def list_deliveries(request: web.Request) -> web.Response:
    """Answer what each subscription made of one event, or why it did not get it."""
    bus = request.app[CONTEXT].bus_for(request)
    Parameters(request.query, ())
    negotiated(request, JSON)
    position = position_of_path(request)
    return json_response(reports_members(position, await bus.subscriptions.deliveries_of(position)))
