"""The shapes of the API description of webhooks: how a subscription is pushed, and the attempts at it."""

from __future__ import annotations

from typing import Final, get_args

from waooaw.events.push import (
    CONCURRENCY,
    HEADER_BYTES_MAX,
    HEADERS_MAX,
    MASK,
    RATE,
    SECRET_PREFIX,
    SECRETS_MAX,
    TIMEOUT_SECONDS,
    URL_LENGTH_MAX,
    Handshake,
    PushMode,
)
from waooaw.events.push_state import AttemptKind, AttemptOutcome, BreakerState, Consent, Stopped
from waooaw.events.service.openapi_schemas import (
    COUNT,
    EXAMPLE_POSITION,
    TIME,
    Schema,
    array_schema,
    object_schema,
    reference,
)

_TEXT_OR_NULL: Final[Schema] = {"type": ["string", "null"]}
_TIME_OR_NULL: Final[Schema] = {"type": ["string", "null"], "format": "date-time"}
_SECRET: Final[Schema] = {
    "type": "string",
    "description": f"{SECRET_PREFIX} and 24 to 64 bytes in base64, or {MASK} to keep what was set.",
}
_VALUE: Final[Schema] = {"type": "string", "maxLength": HEADER_BYTES_MAX}

_URL: Final[Schema] = {
    "type": "string",
    "pattern": "^[!-~]+$",
    "maxLength": URL_LENGTH_MAX,
    "description": "Where events are sent.",
}
_PLAIN: Final[Schema] = {
    "mode": {"enum": list(get_args(PushMode)), "default": "binary"},
    "headers": {
        "type": "object",
        "additionalProperties": _VALUE,
        "maxProperties": HEADERS_MAX,
        "description": f"Further headers. Their values are told as {MASK}.",
    },
    "authorization": {"type": ["string", "null"], "maxLength": HEADER_BYTES_MAX, "description": f"Told as {MASK}."},
    "handshake": {
        "enum": list(get_args(Handshake)),
        "default": "options",
        "description": "none: it is not asked for its consent, and gets one request a second at first.",
    },
    "timeout_seconds": {
        "type": "number",
        "minimum": TIMEOUT_SECONDS[0],
        "maximum": TIMEOUT_SECONDS[1],
        "default": 30,
        "description": "Of a request with its answer.",
    },
    "concurrency": {
        "type": "integer",
        "minimum": CONCURRENCY[0],
        "maximum": CONCURRENCY[1],
        "default": 10,
        "description": "Requests at a time, over all replicas.",
    },
    "rate": {
        "type": ["number", "null"],
        "minimum": RATE[0],
        "maximum": RATE[1],
        "description": "Requests a second, over all replicas.",
    },
}
_SECRETS: Final[Schema] = array_schema(
    _SECRET, minItems=1, maxItems=SECRETS_MAX, description="The present one, and the one before it."
)

_STATE: Final[Schema] = {
    "state": {
        "enum": list(get_args(Consent)),
        "description": "Whether the receiver consented; refused: nothing is sent, nothing is asked.",
    },
    "reason": _TEXT_OR_NULL | {"description": "Why it is pending or refused."},
    "since": TIME | {"description": "Since when it is in this state."},
    "stopped": {
        "enum": [*get_args(Stopped), None],
        "description": "Why the bus paused the subscription: a 410, or five days of nothing but failures.",
    },
    "breaker": {"enum": list(get_args(BreakerState)), "description": "The worst of all replicas."},
    "held_until": _TIME_OR_NULL | {"description": "The receiver asked to wait until then."},
    "allowed_per_minute": {"type": ["integer", "null"], "minimum": 1, "description": "What it allowed when asked."},
    "failing_since": _TIME_OR_NULL | {"description": "No success since then."},
    "in_flight": COUNT | {"description": "Requests under way, over all replicas."},
}

SCHEMAS: Final[dict[str, Schema]] = {
    "PushDefinition": object_schema(
        {"url": _URL},
        {**_PLAIN, "secret": {"anyOf": [_SECRET, _SECRETS, {"type": "null"}]}},
        additionalProperties=False,
        description="Absent members have their defaults.",
        examples=[{"url": "https://agent.example/events", "mode": "structured", "concurrency": 4}],
    ),
    "Push": object_schema(
        {
            "url": _URL,
            **_PLAIN,
            "secret": {"anyOf": [array_schema({"const": MASK}), {"type": "null"}], "description": "Never told."},
            **_STATE,
        },
        description="How it is pushed, and how that goes.",
    ),
    "Attempt": object_schema(
        {
            "id": {"type": "string"},
            "kind": {"enum": list(get_args(AttemptKind))},
            "time": TIME | {"description": "When the request began."},
            "seconds": {"type": "number", "minimum": 0},
            "outcome": {
                "enum": list(get_args(AttemptOutcome)),
                "description": "held: the receiver asked to wait, which is no failure.",
            },
            "positions": array_schema(reference("Position"), description="The events in it; none of a handshake."),
            "attempt": {"type": "integer", "minimum": 1, "description": "Of the first of them."},
            "status": {"type": ["integer", "null"], "description": "null: no answer came, error says why."},
            "error": _TEXT_OR_NULL,
            "reply": {"type": "string", "description": "The first KiB of the answer."},
            "replica": {"type": "string"},
        }
    ),
    "Attempts": object_schema({"items": array_schema(reference("Attempt"), description="The newest first.")}),
    "Redelivery": object_schema(
        {"position": reference("Position")}, additionalProperties=False, examples=[{"position": EXAMPLE_POSITION}]
    ),
}
