"""The shapes of the API description of durable subscriptions, their deliveries, dead letters, and events for later."""

from __future__ import annotations

from typing import Final

from waooaw.events.dead_letter import REDRIVE_RATE
from waooaw.events.dead_letter_wire import ID_LENGTH_MAX, IDS_MAX, REASONS, TEXT_LENGTH_MAX
from waooaw.events.delivery import (
    CLAIM_MAX,
    DELAY_SECONDS_MAX,
    MEMBER_LENGTH_MAX,
    OUTCOMES,
    REASON_LENGTH_MAX,
    TOKEN_LENGTH_MAX,
)
from waooaw.events.pattern import PATTERN_CHARACTERS_MAX, PATTERNS_MAX
from waooaw.events.retry import PUSH_RETRY
from waooaw.events.service.delivering import WAIT_SECONDS_MAX
from waooaw.events.service.openapi_schemas import (
    COUNT,
    EXAMPLE_EVENT,
    EXAMPLE_POSITION,
    TIME,
    Schema,
    array_schema,
    object_schema,
    reference,
)
from waooaw.events.subscription import (
    EXPIRES_AFTER_SECONDS,
    FACTOR,
    LEASE_SECONDS,
    MAX_ATTEMPTS,
    MAX_IN_FLIGHT,
    MAX_WAITING,
    WAIT_SECONDS,
)

EXAMPLE_TOKEN: Final = "5f2c9a01d4e7b386.1764019200123-0.8c1d2e3f4a5b6c7d"
_EXAMPLE_DEFINITION: Final[Schema] = {
    "patterns": ["invoice.*"],
    "lease_seconds": 60,
    "retry": {"max_attempts": 5, "first_seconds": 1, "factor": 2, "cap_seconds": 300},
}

_TEXT: Final[Schema] = {"type": "string"}
_TEXT_OR_NULL: Final[Schema] = {"type": ["string", "null"]}
_TIME_OR_NULL: Final[Schema] = {"type": ["string", "null"], "format": "date-time"}
_AGE: Final[Schema] = {"type": ["number", "null"], "minimum": 0}
_MEMBER: Final[Schema] = {"type": "string", "maxLength": MEMBER_LENGTH_MAX, "description": "A name, for people."}


def _number(bounds: tuple[float, float], kind: str | list[str] = "number", **more: object) -> Schema:
    return {"type": kind, "minimum": bounds[0], "maximum": bounds[1], **more}


def _or_null(name: str, description: str) -> Schema:
    return {"anyOf": [reference(name), {"type": "null"}], "description": description}


_RETRY: Final[Schema] = {
    "max_attempts": _number(MAX_ATTEMPTS, "integer", default=5),
    "first_seconds": _number(WAIT_SECONDS, default=1, description="The longest wait after the first failure."),
    "factor": _number(FACTOR, default=2, description="How much longer after each further one."),
    "cap_seconds": _number(WAIT_SECONDS, default=300, description="No wait is longer. Each is a random part of it."),
    "max_age_seconds": _number(
        WAIT_SECONDS, ["number", "null"], description="No try follows after it; null: no limit."
    ),
}
_DEFINITION: Final[Schema] = {
    "filter": {"type": "null", "description": "Of a later release."},
    "ordering": {"enum": ["none", "key"], "default": "none", "description": "Cannot be changed later."},
    "max_in_flight": _number(MAX_IN_FLIGHT, "integer", default=1000, description="Leases at once, of all members."),
    "max_waiting": _number(MAX_WAITING, "integer", default=1_000_000, description="Beyond it the oldest are lost."),
    "lease_seconds": _number(LEASE_SECONDS, default=30, description="How long a member has for an event."),
    "expires_after_seconds": _number(
        EXPIRES_AFTER_SECONDS, ["number", "null"], description="Without a claim for so long it is deleted; null: never."
    ),
    "retry": {
        "type": "object",
        "properties": _RETRY,
        "description": (
            f"With push absent members are {PUSH_RETRY.max_attempts}, {PUSH_RETRY.first_seconds:g}, "
            f"{PUSH_RETRY.factor:g} and {PUSH_RETRY.cap_seconds:g}: a receiver may be away for a night."
        ),
    },
    "on_exhausted": {"enum": ["dead_letter", "drop"], "default": "dead_letter"},
}
_PATTERNS: Final[Schema] = array_schema(
    {"type": "string", "minLength": 1, "maxLength": PATTERN_CHARACTERS_MAX}, minItems=1, maxItems=PATTERNS_MAX
)

COUNTS: Final[Schema] = dict.fromkeys(
    ("matched", "acked", "waiting", "leased", "scheduled", "dead", "expired", "overrun", "dropped"), COUNT
)
_HOLDING: Final[Schema] = object_schema(
    {
        "position": reference("Position"),
        "state": {"enum": ["leased", "scheduled", "waiting"]},
        "member": _TEXT,
        "failures": COUNT,
        "due": TIME | {"description": "When the lease ends, or the next try may begin."},
        "last_error": _TEXT_OR_NULL,
    }
)
_HOLDING_OR_NULL: Final[Schema] = {"anyOf": [_HOLDING, {"type": "null"}]}

_SUBSCRIPTION_SCHEMAS: Final[Schema] = {
    "SubscriptionDefinition": object_schema(
        {"patterns": _PATTERNS},
        {
            "from": reference("Place") | {"default": "now", "description": "Where it begins; counts once."},
            **_DEFINITION,
            "push": _or_null("PushDefinition", "The service calls the member; see its guide on webhooks."),
        },
        additionalProperties=False,
        description="Replaces what was said before as a whole: what is absent has its default.",
        examples=[_EXAMPLE_DEFINITION],
    ),
    "Subscription": object_schema(
        {
            "name": _TEXT,
            "incarnation": _TEXT | {"description": "Tells it from others that had the name before."},
            "state": {"enum": ["active", "paused", "filling"]},
            "created": TIME,
            "receives": _TEXT | {"description": "A sentence: events accepted after a position."},
            "receives_after": reference("Position"),
            "patterns": _PATTERNS,
            **_DEFINITION,
            "push": _or_null("Push", "How its receiver is called, and how that goes."),
            "counts": object_schema(
                COUNTS, description="matched is the sum of all others; each is counted where it happens."
            ),
            "oldest_waiting": _TIME_OR_NULL
            | {"description": "When the oldest event was accepted that is not settled."},
            "oldest_waiting_seconds": _AGE,
            "oldest_dead": _TIME_OR_NULL | {"description": "When the oldest dead letter died."},
            "oldest_dead_seconds": _AGE,
            "claimed": TIME | {"description": "When a member last claimed, or it was made."},
            "fill": {
                "anyOf": [
                    object_schema(
                        {
                            "reached": reference("Position"),
                            "through": reference("Position"),
                            "waiting": COUNT | {"description": "What it has queued that nobody claimed yet."},
                        }
                    ),
                    {"type": "null"},
                ],
                "description": "History that is on its way into the queue.",
            },
        },
        {
            "leases": array_schema(_HOLDING, description="Those that end first."),
            "failing": array_schema(_HOLDING, description="What failed, and is still tried."),
            "oldest": _HOLDING_OR_NULL,
            "last_errors": array_schema(_TEXT),
            "suspected_poison": _HOLDING_OR_NULL,
            "members": array_schema(
                object_schema(
                    {
                        "member": _TEXT_OR_NULL,
                        "kind": {"enum": ["consume", "claim", None]},
                        "credit": {"type": ["integer", "null"]},
                        "held": {"type": ["integer", "null"]},
                        "replica": _TEXT,
                        "self": {"type": "boolean", "description": "Whether it is connected to who answers this."},
                    }
                )
            ),
        },
        description="The last members only with ?details=true.",
    ),
    "Subscriptions": object_schema({"items": array_schema(reference("Subscription"))}),
    "Seek": object_schema({"to": reference("Place")}, additionalProperties=False, examples=[{"to": "earliest"}]),
    "DeliveryReports": object_schema(
        {
            "position": reference("Position"),
            "items": array_schema(
                object_schema(
                    {"subscription": _TEXT, "matched": {"type": "boolean"}},
                    {
                        "why": {"enum": ["pattern", "filter", "created_later", None], "description": "Why it did not."},
                        "state": {"enum": ["waiting", "leased", "scheduled", "dead", "settled", None]},
                        "attempts": COUNT,
                        "member": _TEXT_OR_NULL,
                        "last_error": _TEXT_OR_NULL,
                    },
                )
            ),
        }
    ),
}

_DELIVERY: Final[Schema] = object_schema(
    {
        "token": _TEXT | {"description": "What it is settled by."},
        "position": reference("Position"),
        "attempt": {"type": "integer", "minimum": 1},
        "first_delivery": TIME,
        "lease_seconds": {"type": "number", "minimum": 0},
        "last_error": _TEXT_OR_NULL,
        "event": reference("Event"),
    },
    {"replay": {"const": True, "description": "Of an event out of the history."}},
)
_DELIVERY_SCHEMAS: Final[Schema] = {
    "Claim": object_schema(
        {},
        {
            "max": {"type": "integer", "minimum": 1, "maximum": CLAIM_MAX, "default": 10},
            "wait_seconds": _number((0, WAIT_SECONDS_MAX), default=0, description="For the first one."),
            "member": _MEMBER,
        },
        additionalProperties=False,
        examples=[{"max": 10, "wait_seconds": 5, "member": "worker-1"}],
    ),
    "Claimed": object_schema(
        {
            "deliveries": array_schema(_DELIVERY),
            "next_due": _TIME_OR_NULL | {"description": "When something will be claimable that is not yet."},
        },
        examples=[
            {
                "deliveries": [
                    {
                        "token": EXAMPLE_TOKEN,
                        "position": EXAMPLE_POSITION,
                        "attempt": 1,
                        "first_delivery": "2025-11-24T21:20:01.000Z",
                        "lease_seconds": 30,
                        "last_error": None,
                        "event": EXAMPLE_EVENT,
                    }
                ],
                "next_due": None,
            }
        ],
    ),
    "Settle": object_schema(
        {
            "outcomes": array_schema(
                object_schema(
                    {
                        "token": {"type": "string", "minLength": 1, "maxLength": TOKEN_LENGTH_MAX},
                        "outcome": {"enum": list(OUTCOMES)},
                    },
                    {
                        "delay_seconds": _number(
                            (0, DELAY_SECONDS_MAX),
                            ["number", "null"],
                            description="nack: until the next try; extend: the lease from now on.",
                        ),
                        "reason": {
                            "type": "string",
                            "description": f"For people; the first {REASON_LENGTH_MAX} characters are kept.",
                        },
                    },
                    additionalProperties=False,
                ),
                maxItems=CLAIM_MAX,
            )
        },
        additionalProperties=False,
        examples=[{"outcomes": [{"token": EXAMPLE_TOKEN, "outcome": "ack"}]}],
    ),
    "Settled": object_schema(
        {
            "results": array_schema(
                {
                    "oneOf": [
                        object_schema({"status": {"const": "ok"}}),
                        object_schema(
                            {
                                "status": {"const": "error"},
                                "code": _TEXT,
                                "detail": _TEXT,
                                "retryable": {"type": "boolean"},
                            },
                            {"errors": array_schema(reference("Violation"))},
                        ),
                    ]
                },
                description="One an outcome, in order.",
            )
        },
        examples=[{"results": [{"status": "ok"}]}],
    ),
}

_ID: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": ID_LENGTH_MAX}
FILTER: Final[Schema] = {
    "id": array_schema(_ID, minItems=1, maxItems=IDS_MAX),
    "reason": {"enum": list(REASONS)},
    "type": _PATTERNS,
    "from": TIME | {"description": "Died at or after this time."},
    "to": TIME | {"description": "Died before this time."},
    "text": {"type": "string", "minLength": 1, "maxLength": TEXT_LENGTH_MAX, "description": "In error or event."},
}

_DEAD_LETTER_SCHEMAS: Final[Schema] = {
    "DeadLetter": object_schema(
        {
            "id": _TEXT,
            "position": reference("Position"),
            "reference": _TEXT,
            "reason": {"enum": list(REASONS)},
            "attempts": COUNT,
            "first_failure": TIME,
            "last_failure": TIME,
            "last_error": _TEXT,
            "member": _TEXT,
            "event": reference("Event"),
        }
    ),
    "DeadLetters": object_schema(
        {
            "items": array_schema(reference("DeadLetter"), description="The oldest first; a page may be short."),
            "next": _TEXT_OR_NULL | {"description": "Give it as after to go on."},
            "end": {"type": "boolean"},
        }
    ),
    "Redrive": object_schema(
        {},
        {
            **FILTER,
            "dry_run": {"type": "boolean", "default": False, "description": "Only tell how many are meant."},
            "rate": {
                "type": ["number", "null"],
                "minimum": REDRIVE_RATE[0],
                "maximum": REDRIVE_RATE[1],
                "description": "Events a second; null: all at once.",
            },
        },
        additionalProperties=False,
        description="Which dead letters: those that fit every member given; {} for all.",
        examples=[{"reason": "max_attempts", "rate": 10}],
    ),
    "Redriven": object_schema(
        {"matched": COUNT, "redriven": COUNT, "dry_run": {"type": "boolean"}},
        examples=[{"matched": 3, "redriven": 3, "dry_run": False}],
    ),
    "Purged": object_schema({"purged": COUNT}, examples=[{"purged": 3}]),
}

_SCHEDULED_SCHEMAS: Final[Schema] = {
    "Scheduled": object_schema({"id": _TEXT, "deliverat": TIME, "event": reference("Event")}),
    "ScheduledPage": object_schema(
        {
            "items": array_schema(reference("Scheduled"), description="The next one first."),
            "next": _TEXT_OR_NULL | {"description": "Give it as after to go on."},
            "end": {"type": "boolean"},
            "total": COUNT,
        }
    ),
}

SCHEMAS: Final[dict[str, Schema]] = (
    _SUBSCRIPTION_SCHEMAS | _DELIVERY_SCHEMAS | _DEAD_LETTER_SCHEMAS | _SCHEDULED_SCHEMAS
)
