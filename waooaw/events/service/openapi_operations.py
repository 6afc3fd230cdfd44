"""The calls of the API description, in the order of the route table, which a test holds beside it."""

from __future__ import annotations

from typing import Any, Final

from waooaw.events.acceptance import IDEMPOTENCY_KEY_LENGTH_MAX
from waooaw.events.bus.event_store import PAGE_EVENTS_MAX
from waooaw.events.bus_names import DEFAULT_BUS, NAME
from waooaw.events.pattern import PATTERN_CHARACTERS_MAX, PATTERNS_MAX
from waooaw.events.service.bus_paths import name_of_bus, path_of_bus
from waooaw.events.service.exposition import OPENMETRICS, PROMETHEUS
from waooaw.events.service.openapi_schemas import (
    EXAMPLE_CURSOR,
    EXAMPLE_EVENT,
    EXAMPLE_RECEIPT,
    array_schema,
    reference,
)
from waooaw.events.service.problems import CONTENT_TYPE
from waooaw.events.service.representations import BATCH, EVENT, JSON, LINES
from waooaw.events.service.sse import SSE
from waooaw.events.service.websocket import CLOUDEVENTS, OPERATIONS

Operation = dict[str, Any]

_EVERYWHERE: Final = (400, 408, 431, 500)
"""What any request can be answered: it cannot be read, came too slowly, is too big; or the service failed."""

PROBLEMS: Final[dict[int, str]] = {
    400: "It cannot be read, or breaks a rule of CloudEvents or of a parameter.",
    403: "A browser page of an origin that is not allowed.",
    404: "Nothing is there.",
    406: "Nothing that Accept names is made here.",
    408: "It did not arrive in time.",
    409: "The source and id came before with other content.",
    410: "Retention has removed the event.",
    413: "The body, the event or the batch is too large.",
    415: "The content type or content encoding is not read here.",
    431: "The headers are too many or too long.",
    500: "The service failed; its log says why.",
    503: "Not now: the bus is overloaded, its store is away or fails, or it is off. Try again after Retry-After.",
}


def problem_responses() -> dict[str, Operation]:
    """Return the responses that report errors, by the name that `_problems` refers to."""
    return {f"Problem{status}": _problem_response(status, text) for status, text in PROBLEMS.items()}


def _problem_response(status: int, description: str) -> Operation:
    response: Operation = {"description": description, "content": {CONTENT_TYPE: {"schema": reference("Problem")}}}
    if status == 503:  # noqa: PLR2004 - the one that names a time
        response["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 0}}}
    return response


def _problems(*statuses: int) -> Operation:
    return {
        str(status): {"$ref": f"#/components/responses/Problem{status}"} for status in sorted({*statuses, *_EVERYWHERE})
    }


def _query(name: str, schema: Operation, description: str, **more: Any) -> Operation:  # noqa: ANN401 - OpenAPI's
    return {"name": name, "in": "query", "description": description, "schema": schema, **more}


def _header(name: str, schema: Operation, description: str) -> Operation:
    return {"name": name, "in": "header", "description": description, "schema": schema}


def _body(name: str) -> Operation:
    return {"schema": reference(name)}


_PATTERN: Final = _query(
    "pattern",
    array_schema({"type": "string", "minLength": 1, "maxLength": PATTERN_CHARACTERS_MAX}, maxItems=PATTERNS_MAX),
    "A glob over the event type: * any run of characters, ? one, [ab] a class, \\ quotes. Repeat it for several.",
    explode=True,
    style="form",
    example=["task.*"],
)
_FROM: Final = _query(
    "from",
    reference("Place") | {"default": "now"},
    "Where to begin; only what is accepted from then on where absent.",
    example="earliest",
)
_LAST_EVENT_ID: Final = _header(
    "Last-Event-ID", reference("Cursor"), "The last id that was read, as browsers send it by themselves. Beats from."
)
_LINK: Final[Operation] = {
    "Link": {"description": 'The next page, as rel="next"; not in JSON.', "schema": {"type": "string"}}
}

_PUBLISH: Final[Operation] = {
    "operationId": "publishEvents",
    "summary": "Store one event, a batch, or lines",
    "description": (
        "Answered once the events are stored. An event with an id (its own, or from Idempotency-Key) is stored once "
        "for its source and id: again, it is answered with its first receipt and duplicate true. Binary mode is any "
        "request with a ce- header: attributes in headers, data in the body, whatever its content type."
    ),
    "parameters": [
        _header(
            "Idempotency-Key",
            {"type": "string", "minLength": 1, "maxLength": IDEMPOTENCY_KEY_LENGTH_MAX, "pattern": "^[ -~]+$"},
            "The id of an event that has none; in a batch, key/index.",
        ),
        _header("Content-Encoding", {"enum": ["identity", "gzip", "x-gzip"]}, "gzip is unpacked."),
        _header("ce-type", {"type": "string"}, "Binary mode: the type. Any other attribute likewise."),
        _header("ce-source", {"type": "string"}, "Binary mode: the source."),
        _header("ce-id", {"type": "string"}, "Binary mode: the id."),
        _header("ce-specversion", {"const": "1.0"}, "Binary mode: the version of CloudEvents."),
    ],
    "requestBody": {
        "required": True,
        "content": {
            JSON: _body("NewEvent"),
            EVENT: _body("NewEvent"),
            BATCH: {"schema": array_schema(reference("NewEvent"))},
            LINES: {"schema": {"type": "string", "description": "An event a line; empty lines are passed over."}},
            "*/*": {"schema": {"description": "Binary mode: the data alone."}},
        },
    },
    "responses": {
        "200": {
            "description": "Stored: a receipt, or for a batch all its results.",
            "content": {
                JSON: {
                    "schema": {"oneOf": [reference("Receipt"), reference("BatchResult")]},
                    "example": EXAMPLE_RECEIPT,
                }
            },
        },
        "207": {"description": "Some events of a batch are stored.", "content": {JSON: _body("BatchResult")}},
        "422": {"description": "No event of a batch is stored.", "content": {JSON: _body("BatchResult")}},
        **_problems(409, 413, 415),
        "503": {
            "description": "Nothing of it is stored, or it is not known (outcome). Try again with the same ids.",
            "headers": {"Retry-After": {"schema": {"type": "integer"}}},
            "content": {CONTENT_TYPE: _body("Problem"), JSON: _body("BatchResult")},
        },
    },
}

_LIST: Final[Operation] = {
    "operationId": "listEvents",
    "summary": "Read the store, page by page",
    "parameters": [
        _PATTERN,
        _query("source", {"type": "string"}, "Only events of this source."),
        _query("correlationid", {"type": "string"}, "Only events of this conversation."),
        _query("from", reference("Place") | {"default": "earliest"}, "Inclusive; a cursor: what comes after it."),
        _query("to", reference("Place") | {"default": "now"}, "Exclusive."),
        _query("order", {"enum": ["asc", "desc"], "default": "asc"}, "desc: newest first."),
        _query(
            "limit", {"type": "integer", "minimum": 1, "maximum": PAGE_EVENTS_MAX, "default": 100}, "Events of a page."
        ),
    ],
    "responses": {
        "200": {
            "description": "A page.",
            "headers": _LINK,
            "content": {
                JSON: _body("Page"),
                BATCH: {"schema": array_schema(reference("Event"))},
                LINES: {"schema": {"type": "string", "description": "An event a line."}},
            },
        },
        **_problems(406, 503),
    },
}

_GET: Final[Operation] = {
    "operationId": "getEvent",
    "summary": "Read one event",
    "parameters": [
        {
            "name": "position",
            "in": "path",
            "required": True,
            "schema": reference("Position"),
            "description": "Where the event is in the log, as its receipt said.",
        },
        _query(
            "mode", {"enum": ["structured", "binary"], "default": "structured"}, "binary: attributes in ce- headers."
        ),
    ],
    "responses": {
        "200": {
            "description": "The event.",
            "headers": {"ce-type": {"description": "Binary mode, as all attributes.", "schema": {"type": "string"}}},
            "content": {
                JSON: {
                    "schema": {"anyOf": [reference("StoredEvent"), {"description": "Binary mode: data that is JSON."}]},
                    "example": {"position": "1764019200123-0", "event": EXAMPLE_EVENT},
                },
                EVENT: _body("Event"),
                "*/*": {"schema": {"description": "Binary mode: data of another media type."}},
            },
        },
        **_problems(404, 406, 410, 503),
    },
}

_LOG: Final[Operation] = {
    "operationId": "describeLog",
    "summary": "How the log stands; its cursor is now",
    "responses": {"200": {"description": "The log.", "content": {JSON: _body("Log")}}, **_problems(406, 503)},
}

_STREAM: Final[Operation] = {
    "operationId": "streamEvents",
    "summary": "Stream events as server-sent events",
    "description": (
        "Begins with retry and the id of the starting cursor. Each event is id (a cursor) and data (the event in one "
        "line). What the log no longer has is an event named gap. A comment with the cursor comes every 15 seconds."
    ),
    "parameters": [_PATTERN, _FROM, _LAST_EVENT_ID],
    "responses": {
        "200": {
            "description": "The stream, until one side ends it.",
            "content": {
                SSE: {
                    "schema": {"type": "string"},
                    "example": f"retry: 3584\nid: {EXAMPLE_CURSOR}\n\nid: {EXAMPLE_CURSOR}\ndata: {{…}}\n\n",
                }
            },
        },
        **_problems(406, 503),
    },
}

_WEBSOCKET: Final[Operation] = {
    "operationId": "openWebSocket",
    "summary": "Open a WebSocket: publish and stream on one connection",
    "description": (
        f"{OPERATIONS} (also where no subprotocol is offered): messages with op, of the guide; its stream is "
        f"asked for by a message. {CLOUDEVENTS}: bare events both ways; pattern and from in the URL choose what comes."
    ),
    "parameters": [
        _PATTERN,
        _FROM,
        _header(
            "Sec-WebSocket-Protocol", {"enum": [OPERATIONS, CLOUDEVENTS]}, "The subprotocols that the client speaks."
        ),
    ],
    "responses": {
        "101": {
            "description": "The socket is open.",
            "headers": {"Sec-WebSocket-Protocol": {"schema": {"enum": [OPERATIONS, CLOUDEVENTS]}}},
        },
        **_problems(403, 503),
    },
}

_DESCRIBE: Final[Operation] = {
    "operationId": "describeService",
    "summary": "This description",
    "responses": {
        "200": {"description": "OpenAPI 3.1.", "content": {JSON: {"schema": {"type": "object"}}}},
        **_problems(),
    },
}

_HEALTH: Final[Operation] = {
    "operationId": "getHealth",
    "summary": "Whether the service is well",
    "description": "Answered from memory, whatever the store does. Kill the process only when this is not 200.",
    "parameters": [
        _query("details", {"enum": ["false", "true"], "default": "false"}, "true adds engine, limits and warnings.")
    ],
    "responses": {
        "200": {"description": "Well, or degraded and at work.", "content": {JSON: _body("Health")}},
        "503": {"description": "Stuck: start it anew.", "content": {JSON: _body("Health")}},
        **_problems(),
    },
}

_READY: Final[Operation] = {
    "operationId": "getReadiness",
    "summary": "Whether the service should get traffic",
    "responses": {
        "200": {"description": "Ready.", "content": {JSON: _body("Readiness")}},
        "503": {"description": "Not ready, with the reason.", "content": {JSON: _body("Readiness")}},
        **_problems(),
    },
}

_METRICS: Final[Operation] = {
    "operationId": "getMetrics",
    "summary": "What is counted and measured",
    "parameters": [
        _query("format", {"enum": ["json", "prometheus", "openmetrics"]}, "Beats Accept; JSON where neither says.")
    ],
    "responses": {
        "200": {
            "description": "The metrics of this process.",
            "headers": {"Vary": {"schema": {"const": "Accept"}}},
            "content": {
                JSON: _body("Metrics"),
                PROMETHEUS: {"schema": {"type": "string"}},
                OPENMETRICS: {"schema": {"type": "string"}},
            },
        },
        **_problems(406),
    },
}

_BUSES: Final[Operation] = {
    "operationId": "listBuses",
    "summary": "The buses that are served",
    "responses": {
        "200": {"description": "Each with what its receipts promise.", "content": {JSON: _body("Buses")}},
        **_problems(406, 503),
    },
}

_CLUSTER: Final[Operation] = {
    "operationId": "listReplicas",
    "summary": "The replicas of the service",
    "responses": {
        "200": {"description": "Who serves from the same store.", "content": {JSON: _body("Cluster")}},
        **_problems(406, 503),
    },
}

_BUS: Final[Operation] = {
    "name": "bus",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": f"^{NAME.pattern}$"},
    "description": "The bus, one of those that GET /v1/buses lists.",
    "example": DEFAULT_BUS,
}


def _of_bus(operation: Operation) -> Operation:
    """Return the same call for a bus that its path names."""
    return operation | {
        "operationId": name_of_bus(operation["operationId"]),
        "summary": f"The same on a bus by its name: {operation['summary'][0].lower()}{operation['summary'][1:]}",
        "parameters": [_BUS, *operation.get("parameters", [])],
        "responses": {**operation["responses"], **_problems(404)},
    }


_PATHS_OF_A_BUS: Final[dict[str, dict[str, Operation]]] = {
    "/v1/events": {"post": _PUBLISH, "get": _LIST},
    "/v1/events/{position}": {"get": _GET},
    "/v1/log": {"get": _LOG},
    "/v1/stream": {"get": _STREAM},
    "/v1/ws": {"get": _WEBSOCKET},
}

PATHS: Final[dict[str, dict[str, Operation]]] = {
    **_PATHS_OF_A_BUS,
    "/v1/buses": {"get": _BUSES},
    "/v1/cluster": {"get": _CLUSTER},
    "/v1/openapi.json": {"get": _DESCRIBE},
    "/health": {"get": _HEALTH},
    "/ready": {"get": _READY},
    "/metrics": {"get": _METRICS},
    **{
        path_of_bus(path): {method: _of_bus(operation) for method, operation in operations.items()}
        for path, operations in _PATHS_OF_A_BUS.items()
    },
}
