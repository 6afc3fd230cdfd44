"""The calls of the API description that are about durable subscriptions, and about events for later."""

from __future__ import annotations

from typing import Final

from waooaw.events.acceptance import IDEMPOTENCY_KEY_LENGTH_MAX
from waooaw.events.service.dead_letters import PAGE_MAX
from waooaw.events.service.openapi_parts import NAME_PARAMETER, Operation, body, header, problems, query
from waooaw.events.service.openapi_schemas import reference
from waooaw.events.service.openapi_subscription_schemas import FILTER
from waooaw.events.service.openapi_webhooks import WEBHOOK_PATHS
from waooaw.events.service.representations import JSON

POSITION: Final[Operation] = {
    "name": "position",
    "in": "path",
    "required": True,
    "schema": reference("Position"),
    "description": "Where the event is in the log, as its receipt said.",
}

_NAME: Final = NAME_PARAMETER
_KEY: Final[Operation] = header(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": IDEMPOTENCY_KEY_LENGTH_MAX, "pattern": "^[ -~]+$"},
    "The same call again with this key, within ten minutes and at any replica, gets the same answer.",
)
_AFTER: Final = query("after", {"type": "string"}, "The next of another page.")
_LIMIT: Final = query("limit", {"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": 100}, "Of a page.")


def _id(description: str) -> Operation:
    return {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}, "description": description}


def _answer(description: str, schema: str) -> Operation:
    return {"200": {"description": description, "content": {JSON: body(schema)}}}


def _taken(schema: str, *, required: bool) -> Operation:
    return {"required": required, "content": {JSON: body(schema)}}


_GONE: Final[Operation] = {"204": {"description": "It is gone."}}

_FILTER: Final = [
    query(name, schema, schema.get("description", "Dead letters of these."), explode=True, style="form")
    for name, schema in FILTER.items()
]

_LIST: Final[Operation] = {
    "operationId": "listSubscriptions",
    "summary": "All durable subscriptions",
    "responses": {**_answer("By name.", "Subscriptions"), **problems(406, 503)},
}

_PUT: Final[Operation] = {
    "operationId": "putSubscription",
    "summary": "Make a durable subscription, or replace its definition",
    "description": "From the answer on it misses no event that matches. Of an existing one from must be now or absent.",
    "parameters": [_NAME],
    "requestBody": _taken("SubscriptionDefinition", required=True),
    "responses": {
        **_answer("It was there, and is as asked.", "Subscription"),
        "201": {
            "description": "It was made.",
            "headers": {"Location": {"schema": {"type": "string"}}},
            "content": {JSON: body("Subscription")},
        },
        **problems(409, 413, 415, 422, 503),
    },
}

_GET: Final[Operation] = {
    "operationId": "getSubscription",
    "summary": "One durable subscription as it stands",
    "parameters": [
        _NAME,
        query(
            "details",
            {"enum": ["false", "true"], "default": "false"},
            "true adds who holds what, what fails, and the members that are connected.",
        ),
    ],
    "responses": {**_answer("As it stands.", "Subscription"), **problems(404, 406, 503)},
}

_DELETE: Final[Operation] = {
    "operationId": "deleteSubscription",
    "summary": "Remove a durable subscription, with all that waits and its dead letters",
    "parameters": [_NAME],
    "responses": {**_GONE, **problems(404, 503)},
}

_CLAIM: Final[Operation] = {
    "operationId": "claimDeliveries",
    "summary": "Lease events to a member",
    "description": (
        "Waits for the first event, if asked to. A client that goes away before it is answered loses nothing: its "
        "leases go back at once, or with an Idempotency-Key are answered again."
    ),
    "parameters": [_NAME, _KEY],
    "requestBody": _taken("Claim", required=False),
    "responses": {**_answer("What there is, an empty list included.", "Claimed"), **problems(404, 413, 415, 503)},
}

_SETTLE: Final[Operation] = {
    "operationId": "settleDeliveries",
    "summary": "Say what became of deliveries",
    "description": "A delivery that went on to somebody else is stale_token in its result, and nothing is changed.",
    "parameters": [_NAME, _KEY],
    "requestBody": _taken("Settle", required=True),
    "responses": {**_answer("A result for each.", "Settled"), **problems(404, 413, 415, 503)},
}

_PAUSE: Final[Operation] = {
    "operationId": "pauseSubscription",
    "summary": "Hand out nothing more; matching and queueing go on",
    "parameters": [_NAME],
    "responses": {**_answer("It is paused.", "Subscription"), **problems(404, 503)},
}

_RESUME: Final[Operation] = {
    "operationId": "resumeSubscription",
    "summary": "Hand out again",
    "parameters": [_NAME],
    "responses": {**_answer("It is not paused.", "Subscription"), **problems(404, 503)},
}

_SEEK: Final[Operation] = {
    "operationId": "seekSubscription",
    "summary": "Drop what waits, and go on from another place in the log",
    "parameters": [_NAME],
    "requestBody": _taken("Seek", required=True),
    "responses": {**_answer("It goes on from there.", "Subscription"), **problems(404, 413, 415, 503)},
}

_LIST_DEAD: Final[Operation] = {
    "operationId": "listDeadLetters",
    "summary": "What a subscription could not process",
    "parameters": [_NAME, *_FILTER, _AFTER, _LIMIT],
    "responses": {**_answer("A page.", "DeadLetters"), **problems(404, 406, 503)},
}

_GET_DEAD: Final[Operation] = {
    "operationId": "getDeadLetter",
    "summary": "One dead letter",
    "parameters": [_NAME, _id("The id that the list says.")],
    "responses": {**_answer("The dead letter.", "DeadLetter"), **problems(404, 406, 503)},
}

_PURGE: Final[Operation] = {
    "operationId": "purgeDeadLetters",
    "summary": "Destroy dead letters",
    "description": "Without confirm: 409 with the count, and the token to confirm it. What died since stays.",
    "parameters": [_NAME, *_FILTER, query("confirm", {"type": "string"}, "The token that a 409 said.")],
    "responses": {**_answer("They are gone.", "Purged"), **problems(404, 409, 503)},
}

_REDRIVE: Final[Operation] = {
    "operationId": "redriveDeadLetters",
    "summary": "Put dead letters back into their subscription, to be tried anew",
    "parameters": [_NAME],
    "requestBody": _taken("Redrive", required=False),
    "responses": {**_answer("How many.", "Redriven"), **problems(404, 413, 415, 503)},
}

_LIST_SCHEDULED: Final[Operation] = {
    "operationId": "listScheduled",
    "summary": "Events that wait for their deliverat",
    "parameters": [_AFTER, _LIMIT],
    "responses": {**_answer("A page.", "ScheduledPage"), **problems(406, 503)},
}

_GET_SCHEDULED: Final[Operation] = {
    "operationId": "getScheduled",
    "summary": "One event that waits for its deliverat",
    "parameters": [_id("The id that its receipt said.")],
    "responses": {**_answer("The event.", "Scheduled"), **problems(404, 406, 503)},
}

_CANCEL_SCHEDULED: Final[Operation] = {
    "operationId": "cancelScheduled",
    "summary": "Take an event off the schedule, so that nobody gets it",
    "parameters": [_id("The id that its receipt said.")],
    "responses": {**_GONE, **problems(404, 503)},
}

WHY: Final[Operation] = {
    "operationId": "listDeliveries",
    "summary": "What each subscription made of one event, or why it did not get it",
    "parameters": [POSITION],
    "responses": {**_answer("By subscription.", "DeliveryReports"), **problems(404, 406, 410, 503)},
}

_ONE: Final = "/v1/subscriptions/{name}"

SUBSCRIPTION_PATHS: Final[dict[str, dict[str, Operation]]] = {
    "/v1/subscriptions": {"get": _LIST},
    _ONE: {"put": _PUT, "get": _GET, "delete": _DELETE},
    f"{_ONE}/claim": {"post": _CLAIM},
    f"{_ONE}/settle": {"post": _SETTLE},
    f"{_ONE}/pause": {"post": _PAUSE},
    f"{_ONE}/resume": {"post": _RESUME},
    f"{_ONE}/seek": {"post": _SEEK},
    **WEBHOOK_PATHS,
    f"{_ONE}/dead-letters": {"get": _LIST_DEAD, "delete": _PURGE},
    f"{_ONE}/dead-letters/redrive": {"post": _REDRIVE},
    f"{_ONE}/dead-letters/{{id}}": {"get": _GET_DEAD},
    "/v1/scheduled": {"get": _LIST_SCHEDULED},
    "/v1/scheduled/{id}": {"get": _GET_SCHEDULED, "delete": _CANCEL_SCHEDULED},
}
