"""The shapes of the API description: JSON Schema 2020-12, as OpenAPI 3.1 takes it.

What the service answers may get further fields, so its objects are open; what clients send is closed where it is ours.
"""

from __future__ import annotations

from typing import Any, Final

from waooaw.events.attributes import INTEGER_MAX, INTEGER_MIN, PRIORITIES, TYPE_LENGTH_MAX
from waooaw.events.cursor import TOKEN_LENGTH
from waooaw.events.error_table import ERRORS
from waooaw.events.errors import StartupError
from waooaw.events.service.problems import TYPE_PREFIX

Schema = dict[str, Any]

EXAMPLE_CURSOR: Final = "AcUitTmrCg_OLfgzkRogwijSgAAAVlUQ9w"
EXAMPLE_POSITION: Final = "1764019200123-0"
EXAMPLE_EVENT: Final[Schema] = {
    "specversion": "1.0",
    "id": "019abcde-0000-7000-8000-000000000001",
    "time": "2025-11-24T21:20:00.123Z",
    "type": "task.created",
    "source": "/agents/planner",
    "data": {"task": "write the report"},
}
EXAMPLE_RECEIPT: Final[Schema] = {
    "id": EXAMPLE_EVENT["id"],
    "position": EXAMPLE_POSITION,
    "durability": "fsync",
    "duplicate": False,
}

TIME: Final[Schema] = {"type": "string", "format": "date-time"}
DURABILITY: Final[Schema] = {"enum": ["fsync", "local", "replicated", "memory"]}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}


def reference(name: str) -> Schema:
    """Return a reference to a schema of this module."""
    return {"$ref": f"#/components/schemas/{name}"}


def object_schema(required: Schema, optional: Schema | None = None, **more: Any) -> Schema:  # noqa: ANN401 - JSON Schema's
    """Return the schema of an object, open to further members."""
    return {"type": "object", "required": list(required), "properties": required | (optional or {}), **more}


def array_schema(items: Schema, **more: Any) -> Schema:  # noqa: ANN401 - JSON Schema's
    """Return the schema of an array."""
    return {"type": "array", "items": items, **more}


_TYPE: Final[Schema] = {
    "type": "string",
    "pattern": rf"""^[^\u0000-\u0020\u007f-\uffff"'*?\[\]\\]{{1,{TYPE_LENGTH_MAX}}}$""",
    "description": "What happened, dot-separated: task.created. Printable ASCII without spaces, quotes and *?[]\\.",
}
_SOURCE: Final[Schema] = {"type": "string", "format": "uri-reference", "minLength": 1, "description": "Who sent it."}
_ATTRIBUTES: Final[Schema] = {
    "datacontenttype": {"type": "string", "description": "The media type of data; application/json if absent."},
    "dataschema": {"type": "string", "format": "uri"},
    "subject": {"type": "string", "minLength": 1},
    "priority": {"enum": list(PRIORITIES)},
    "expirytime": {**TIME, "description": "After this time nobody needs the event."},
    "deliverat": {**TIME, "description": "Nobody gets the event before this time; it is scheduled until then."},
    "partitionkey": {"type": "string", "minLength": 1},
    "correlationid": {"type": "string", "minLength": 1, "description": "The conversation that the event belongs to."},
    "causationid": {"type": "string", "minLength": 1, "description": "The id of the event that caused this one."},
    "traceparent": {"type": "string", "minLength": 1},
    "data": {"description": "Any JSON."},
    "data_base64": {"type": "string", "contentEncoding": "base64", "description": "Data that is not JSON nor text."},
}
_EXTENSION: Final[Schema] = {
    "anyOf": [
        {"type": ["string", "boolean", "null"]},
        {"type": "integer", "minimum": INTEGER_MIN, "maximum": INTEGER_MAX},
    ]
}
_NAMES: Final[Schema] = {"pattern": "^([a-z0-9]+|data_base64)$"}


def _nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _problem_schema() -> Schema:
    codes = sorted({kind.code for kind in ERRORS if not issubclass(kind, StartupError)})
    return object_schema(
        {
            "type": {"type": "string", "pattern": f"^{TYPE_PREFIX}[a-z_]+$"},
            "title": {"type": "string"},
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": {"type": "string", "description": "A sentence for a person: what is wrong and what to do."},
            "code": {"enum": codes, "description": "For programs; a code keeps its meaning and its status."},
        },
        {
            "errors": array_schema(reference("Violation")),
            "outcome": _OUTCOME,
            "count": COUNT | {"description": "Of a deletion that is to be confirmed: how many would go."},
            "confirm": {"type": "string", "description": "The token that confirms it, for a minute."},
        },
        description="Problem details (RFC 9457).",
        examples=[
            {
                "type": f"{TYPE_PREFIX}unknown_parameter",
                "title": "A parameter is not known",
                "status": 400,
                "detail": "unknown parameter 'patern'; this call knows from, pattern",
                "code": "unknown_parameter",
                "errors": [
                    {"pointer": "#/query/patern", "detail": "unknown parameter 'patern'", "code": "unknown_parameter"}
                ],
            }
        ],
    )


_OUTCOME: Final[Schema] = {
    "enum": ["not_stored", "unknown"],
    "description": "Of a publish that failed: unknown where the event may be in the log all the same.",
}

_EVENT_SCHEMAS: Final[Schema] = {
    "NewEvent": object_schema(
        {"type": _TYPE, "source": _SOURCE},
        {
            "specversion": {"enum": ["1.0", None], "description": "Filled in where absent."},
            "id": _nullable({"type": "string", "minLength": 1, "description": "Filled in (UUIDv7) where absent."}),
            "time": _nullable({**TIME, "description": "When it happened; the time of acceptance where absent."}),
            **{name: schema if name == "data" else _nullable(schema) for name, schema in _ATTRIBUTES.items()},
        },
        propertyNames=_NAMES,
        additionalProperties=_EXTENSION,
        description="A CloudEvents 1.0 event as a publisher sends it. null is unset; other names are extensions.",
        examples=[{"type": "task.created", "source": "/agents/planner", "data": {"task": "write the report"}}],
    ),
    "Event": object_schema(
        {
            "specversion": {"const": "1.0"},
            "id": {"type": "string", "minLength": 1},
            "source": _SOURCE,
            "type": _TYPE,
            "time": {"type": "string", "description": "RFC 3339, spelled as the publisher did."},
        },
        _ATTRIBUTES,
        propertyNames=_NAMES,
        additionalProperties=_EXTENSION,
        description="A CloudEvents 1.0 event as it is stored: the publisher's, with id, time and specversion.",
        examples=[EXAMPLE_EVENT],
    ),
    "StoredEvent": object_schema(
        {"position": reference("Position"), "event": reference("Event")},
        examples=[{"position": EXAMPLE_POSITION, "event": EXAMPLE_EVENT}],
    ),
}

_LOG_SCHEMAS: Final[Schema] = {
    "Position": {
        "type": "string",
        "pattern": "^[0-9]{1,13}-[0-9]{1,7}$",
        "description": "Where an event is in the log: milliseconds and number. It only grows.",
        "examples": [EXAMPLE_POSITION],
    },
    "Cursor": {
        "type": "string",
        "pattern": f"^[A-Za-z0-9_-]{{{TOKEN_LENGTH}}}$",
        "description": "A place between two events; opaque. Keep it to resume.",
        "examples": [EXAMPLE_CURSOR],
    },
    "Place": {
        "anyOf": [{"enum": ["earliest", "now"]}, TIME, reference("Position"), reference("Cursor")],
        "description": "earliest, now, an RFC 3339 time of acceptance, a position, or a cursor.",
    },
    "Gap": object_schema(
        {
            "from": reference("Cursor"),
            "to": {**reference("Cursor"), "description": "Reading goes on from here."},
            "reason": {"enum": ["retention", "epoch"]},
        },
        description="Events that the log no longer has: everything after from up to to.",
    ),
    "Page": object_schema(
        {
            "items": array_schema(reference("StoredEvent")),
            "next": {**reference("Cursor"), "description": "Give it as from (as to where newest first) to read on."},
            "end": {
                "type": "boolean",
                "description": "Nothing more lies in the range now. A short page may not be it.",
            },
        },
        {"gap": reference("Gap")},
        examples=[
            {"items": [{"position": EXAMPLE_POSITION, "event": EXAMPLE_EVENT}], "next": EXAMPLE_CURSOR, "end": True}
        ],
    ),
    "Log": object_schema(
        {
            "epoch": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
            "cursor": {**reference("Cursor"), "description": "Now: after the newest event."},
            "first": {"anyOf": [reference("Position"), {"type": "null"}]},
            "last": {"anyOf": [reference("Position"), {"type": "null"}]},
            "events": COUNT,
            "size_bytes": COUNT,
            "retention": object_schema({"age_seconds": COUNT, "events": COUNT, "size_bytes": COUNT}),
        }
    ),
}

_POSITION_OR_NULL: Final[Schema] = {
    "anyOf": [reference("Position"), {"type": "null"}],
    "description": "null of an event that is scheduled.",
}

_PUBLISH_SCHEMAS: Final[Schema] = {
    "Receipt": object_schema(
        {
            "id": {"type": "string"},
            "position": _POSITION_OR_NULL,
            "durability": DURABILITY | {"description": "How safe the event was when the receipt was written."},
            "duplicate": {"type": "boolean", "description": "The event was stored before; this is its first receipt."},
        },
        {"scheduled": reference("ScheduledReceipt")},
        examples=[EXAMPLE_RECEIPT],
    ),
    "BatchResult": object_schema(
        {
            "accepted": COUNT,
            "rejected": COUNT,
            "results": array_schema(
                {"oneOf": [reference("BatchReceipt"), reference("BatchError")]}, description="One an event, in order."
            ),
        },
        examples=[
            {
                "accepted": 1,
                "rejected": 1,
                "results": [
                    {"status": "ok", **EXAMPLE_RECEIPT},
                    {
                        "status": "error",
                        "code": "invalid_event",
                        "detail": "source is required",
                        "errors": [{"pointer": "#/source", "detail": "is required", "code": "required"}],
                        "retryable": False,
                    },
                ],
            }
        ],
    ),
    "BatchReceipt": object_schema(
        {
            "status": {"const": "ok"},
            "id": {"type": "string"},
            "position": _POSITION_OR_NULL,
            "durability": DURABILITY,
            "duplicate": {"type": "boolean"},
        },
        {"scheduled": reference("ScheduledReceipt")},
    ),
    "ScheduledReceipt": object_schema(
        {"id": {"type": "string", "description": "What it is cancelled by."}, "deliverat": TIME},
        description="The event is not in the log yet: it is stored beside it until its time.",
    ),
    "BatchError": object_schema(
        {
            "status": {"const": "error"},
            "code": {"type": "string"},
            "detail": {"type": "string"},
            "errors": array_schema(reference("Violation")),
            "retryable": {"type": "boolean", "description": "Whether the same event, unchanged, can succeed later."},
        },
        {"outcome": _OUTCOME},
    ),
    "Violation": object_schema(
        {
            "pointer": {"type": "string", "description": "Where, as a JSON pointer (RFC 6901): #/data/amount."},
            "detail": {"type": "string"},
            "code": {"type": "string"},
        }
    ),
    "Problem": _problem_schema(),
}

SCHEMAS: Final[dict[str, Schema]] = _EVENT_SCHEMAS | _LOG_SCHEMAS | _PUBLISH_SCHEMAS
