"""The calls of the API description that are about receivers of webhooks."""

from __future__ import annotations

from typing import Final

from waooaw.events.push_state import ATTEMPTS_KEPT
from waooaw.events.service.openapi_parts import NAME_PARAMETER, Operation, body, problems, query
from waooaw.events.service.representations import JSON

_VERIFY: Final[Operation] = {
    "operationId": "verifyReceiver",
    "summary": "Ask the receiver of a subscription for its consent now",
    "description": "Its address is judged again. Answered when the receiver was asked; push.state says how that ended.",
    "parameters": [NAME_PARAMETER],
    "responses": {
        "200": {"description": "It was asked.", "content": {JSON: body("Subscription")}},
        **problems(404, 409, 422, 503),
    },
}

_ATTEMPTS: Final[Operation] = {
    "operationId": "listAttempts",
    "summary": "The last requests to the receiver of a subscription",
    "parameters": [
        NAME_PARAMETER,
        query(
            "limit",
            {"type": "integer", "minimum": 1, "maximum": ATTEMPTS_KEPT, "default": ATTEMPTS_KEPT},
            "The last so many.",
        ),
    ],
    "responses": {
        "200": {"description": "The newest first.", "content": {JSON: body("Attempts")}},
        **problems(404, 406, 409, 503),
    },
}

_ATTEMPT: Final[Operation] = {"200": {"description": "What came of it.", "content": {JSON: body("Attempt")}}}

_TEST: Final[Operation] = {
    "operationId": "sendTest",
    "summary": "Send the receiver of a subscription an event that is in no log",
    "parameters": [NAME_PARAMETER],
    "responses": {**_ATTEMPT, **problems(404, 409, 503)},
}

_REDELIVER: Final[Operation] = {
    "operationId": "redeliverEvent",
    "summary": "Send the receiver of a subscription one event again, beside its queue",
    "description": "Nothing is settled by it. Its webhook-id is that of the first time.",
    "parameters": [NAME_PARAMETER],
    "requestBody": {"required": True, "content": {JSON: body("Redelivery")}},
    "responses": {**_ATTEMPT, **problems(404, 409, 410, 413, 415, 503)},
}

WEBHOOK_PATHS: Final[dict[str, dict[str, Operation]]] = {
    "/v1/subscriptions/{name}/verify": {"post": _VERIFY},
    "/v1/subscriptions/{name}/attempts": {"get": _ATTEMPTS},
    "/v1/subscriptions/{name}/test": {"post": _TEST},
    "/v1/subscriptions/{name}/redeliver": {"post": _REDELIVER},
}
