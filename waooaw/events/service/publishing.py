"""``POST /v1/events``: one event, a batch, or lines."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from waooaw.events.acceptance import check_idempotency_key
from waooaw.events.errors import UnsupportedMediaTypeError, WowEventError
from waooaw.events.http_binding import read_binary
from waooaw.events.media_type import MediaType
from waooaw.events.outages import UnavailableError
from waooaw.events.receipt import Receipt
from waooaw.events.service.context import CONTEXT
from waooaw.events.service.parameters import Parameters
from waooaw.events.service.problems import problem, problem_headers
from waooaw.events.service.prompt_response import prompt_response
from waooaw.events.service.representations import BATCH, EVENT, JSON, LINES, json_response
from waooaw.events.service.request_body import read_body

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

    from waooaw.events.bus.event_bus import EventBus
    from waooaw.events.event import Entry


async def publish(request: web.Request) -> web.StreamResponse:
    """Store what the request carries, and answer with a receipt for each event."""
    context = request.app[CONTEXT]
    bus = context.bus_for(request)
    if request.query_string:
        Parameters(request.query, ())
    body = await read_body(request, context)
    try:
        accepted = _read_events(bus, request, body)
    except WowEventError as error:
        bus.metrics.refused(error)
        raise
    if isinstance(accepted, list):
        return _batch_response(request, await bus.submit(accepted))
    receipt = await bus.submit_one(accepted)
    return prompt_response(request, receipt.as_json())


def _read_events(bus: EventBus, request: web.Request, body: bytes) -> Entry | list[Entry | WowEventError]:
    headers = request.headers
    key = headers.get("Idempotency-Key")
    if key is not None:
        check_idempotency_key(key)
    content_type = headers.get("Content-Type")
    # Any of them makes a request one of binary mode: the first would do, the others make a better error of its lack.
    if "ce-type" in headers or "ce-id" in headers or "ce-source" in headers or "ce-specversion" in headers:
        return read_binary(bus.acceptance, headers.items(), content_type, body, idempotency_key=key)
    essence = _essence(content_type)
    if essence in {JSON, EVENT}:
        return bus.acceptance.one(body, idempotency_key=key)
    if essence == BATCH:
        return bus.acceptance.batch(body, idempotency_key=key)
    if essence == LINES:
        return bus.acceptance.lines(body, idempotency_key=key)
    shown = essence or "no content type"
    message = f"{shown} is not read here; send {JSON}, {EVENT}, {BATCH}, {LINES}, or binary mode with ce- headers"
    raise UnsupportedMediaTypeError(message)


@lru_cache(maxsize=256)
def _essence(content_type: str | None) -> str:
    if content_type is None:
        return ""
    parsed = MediaType.parse(content_type)
    charset = parsed.parameter("charset")
    if charset is not None and charset.lower() not in {"utf-8", "utf8", "us-ascii"}:
        message = f"the charset {charset[:64]!r} is not read; send UTF-8"
        raise UnsupportedMediaTypeError(message)
    return parsed.essence


def _batch_response(request: web.Request, answers: Sequence[Receipt | WowEventError]) -> web.StreamResponse:
    result = batch_result(answers)
    errors = [answer for answer in answers if isinstance(answer, WowEventError)]
    if not errors:
        return prompt_response(request, result)
    if len(errors) < len(answers):
        return json_response(result, status=207)
    if all(isinstance(error, UnavailableError) for error in errors):
        return json_response(result, status=503, headers=problem_headers(errors[0]))
    return json_response(result, status=422)


def batch_result(answers: Sequence[Receipt | WowEventError]) -> dict[str, Any]:
    """Return what a batch is answered with, a result an event in order."""
    results = [_result(answer) for answer in answers]
    accepted = sum(isinstance(answer, Receipt) for answer in answers)
    return {"accepted": accepted, "rejected": len(answers) - accepted, "results": results}


def _result(answer: Receipt | WowEventError) -> dict[str, Any]:
    if isinstance(answer, Receipt):
        return {"status": "ok", **answer.as_json()}
    members = problem(answer)
    kept: dict[str, Any] = {name: members[name] for name in ("code", "detail", "outcome") if name in members}
    return {"status": "error", **kept, "errors": members.get("errors", []), "retryable": answer.retryable}
