"""Claiming and settling deliveries over HTTP.

Rule 1: a claim that waits ends where its client goes away, and where the service drains.
Rule 2: what was claimed for a client that did not get it is given back at once, unless it sent an ``Idempotency-Key``:
with the same key it gets the same answer, so that the leases are still its own.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import msgspec
from msgspec import Meta

from waooaw.events.acceptance import check_idempotency_key
from waooaw.events.delivery import (
    CLAIM_MAX,
    DELAY_SECONDS_MAX,
    MEMBER_LENGTH_MAX,
    TOKEN_LENGTH_MAX,
    Settlement,
)
from waooaw.events.delivery_wire import RESULT_OK, claimed_json
from waooaw.events.errors import InvalidParameterError, WowEventError
from waooaw.events.service.context import CONTEXT
from waooaw.events.service.parameters import Parameters, located
from waooaw.events.service.problems import problem
from waooaw.events.service.prompt_response import prompt_text
from waooaw.events.service.subscriptions import name_of_path
from waooaw.events.service.typed_json import decode_typed, read_json_body

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from aiohttp import web

    from waooaw.events.bus.event_bus import EventBus
    from waooaw.events.delivery import ClaimedDeliveries
    from waooaw.events.service.connection import Connection
    from waooaw.events.service.context import Context

_log = logging.getLogger("wowevent.service")

WAIT_SECONDS_MAX: Final = 60.0
"""How long a claim may wait: below the idle time-outs of common proxies."""

DRAIN_WAIT_SECONDS: Final = 0.5
"""How long a claim may wait that comes during a drain: a member that asks again at once is no flood."""


class _Claim(msgspec.Struct, forbid_unknown_fields=True):
    max: Annotated[int, Meta(ge=1, le=CLAIM_MAX)] = 10
    wait_seconds: Annotated[float, Meta(ge=0, le=WAIT_SECONDS_MAX)] = 0.0
    member: Annotated[str, Meta(max_length=MEMBER_LENGTH_MAX)] = ""


class SpelledSettlement(Settlement, forbid_unknown_fields=True, frozen=True, kw_only=True, gc=False):
    """A settlement as clients spell it, with the limits of its members."""

    token: Annotated[str, Meta(min_length=1, max_length=TOKEN_LENGTH_MAX)]
    delay_seconds: Annotated[float, Meta(ge=0, le=DELAY_SECONDS_MAX)] | None = None


Outcomes = Annotated[list[SpelledSettlement], Meta(max_length=CLAIM_MAX)]


class _Settle(msgspec.Struct, forbid_unknown_fields=True):
    outcomes: Outcomes


_claim_decoder: Final = msgspec.json.Decoder(_Claim)
_settle_decoder: Final = msgspec.json.Decoder(_Settle)


def _idempotency_key(request: web.Request) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None:
        try:
            check_idempotency_key(key)
        except InvalidParameterError as error:
            raise located("#/headers/Idempotency-Key", error) from None
    return key


# Claiming -------------------------------------------------------------------------------------------------------------


async def claim(request: web.Request) -> web.StreamResponse:
    """Lease events to the client; answered 200 with what there is, nothing included."""
    context = request.app[CONTEXT]
    bus = context.bus_for(request)
    Parameters(request.query, ())
    name = name_of_path(request)
    key = _idempotency_key(request)
    wanted = decode_typed(_claim_decoder, await read_json_body(request, context) or b"{}")

    def ask(wait_seconds: float) -> Coroutine[None, None, ClaimedDeliveries]:
        return bus.deliveries.claim(
            name, wanted.max, wait_seconds=wait_seconds, member=wanted.member, idempotency_key=key
        )

    wait_seconds = min(wanted.wait_seconds, DRAIN_WAIT_SECONDS) if context.is_draining else wanted.wait_seconds
    claimed = await (_waiting(request, context, ask, wait_seconds) if wait_seconds else ask(0.0))
    response = prompt_text(request, claimed_json(claimed))
    try:
        await response.prepare(request)
        await response.write_eof()
    except ConnectionError:
        if key is None:
            await give_back(bus, name, claimed)
        raise
    return response


async def _waiting(
    request: web.Request,
    context: Context,
    ask: Callable[[float], Coroutine[None, None, ClaimedDeliveries]],
    wait_seconds: float,
) -> ClaimedDeliveries:
    """Claim, and wait. Raises `ConnectionResetError` where the client went away meanwhile."""
    connection = cast("Connection", request.protocol)
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    claiming = loop.create_task(ask(wait_seconds), name="claim")
    try:
        with context.ended_by_drain(over), _ended_by_loss(connection, over):
            ends: set[asyncio.Future[Any]] = {claiming, over}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if claiming.done():
            return claiming.result()
    finally:
        claiming.cancel()
        # One that is answered while it is cancelled gives back what it got.
        await asyncio.gather(claiming, return_exceptions=True)
    if connection.transport is None:
        message = "the client went away while its claim waited"
        raise ConnectionResetError(message)
    return await ask(0.0)


@contextmanager
def _ended_by_loss(connection: Connection, wait: asyncio.Future[None]) -> Iterator[None]:
    """Have the loss of a connection set the result of a future, while this lasts."""

    def lose() -> None:
        if not wait.done():
            wait.set_result(None)

    connection.lost = lose
    if connection.transport is None:
        lose()
    try:
        yield
    finally:
        connection.lost = None


async def give_back(bus: EventBus, name: str, claimed: ClaimedDeliveries) -> None:
    """Release what nobody got. Where that fails, the leases run out by themselves."""
    releases = [Settlement(token=delivery.token, outcome="release") for delivery in claimed.deliveries]
    if not releases:
        return
    try:
        await bus.deliveries.settle(name, releases)
    except WowEventError as error:
        _log.warning(
            "delivery.release_failed",
            extra={"bus": bus.name, "subscription": name, "code": error.code, "detail": error.detail},
        )


# Settling -------------------------------------------------------------------------------------------------------------


async def settle(request: web.Request) -> web.StreamResponse:
    """Settle deliveries; answered 200 with a result for each, in order."""
    context = request.app[CONTEXT]
    bus = context.bus_for(request)
    Parameters(request.query, ())
    name = name_of_path(request)
    key = _idempotency_key(request)
    outcomes = decode_typed(_settle_decoder, await read_json_body(request, context)).outcomes
    answers = await bus.deliveries.settle(name, outcomes, idempotency_key=key)
    return prompt_text(request, settled_json(answers))


def settled_json(answers: Sequence[WowEventError | None]) -> bytes:
    """Spell what a settle answers."""
    if not any(answers):
        return b'{"results":[%b]}' % b",".join([RESULT_OK] * len(answers))
    return b'{"results":[%b]}' % b",".join([RESULT_OK if error is None else _refused(error) for error in answers])


def _refused(error: WowEventError) -> bytes:
    members = problem(error)
    kept = {name: members[name] for name in ("code", "detail", "errors", "outcome") if name in members}
    return msgspec.json.encode({"status": "error", **kept, "retryable": error.retryable})
