"""The calls of the API description, in the order of the route table, which a test holds beside it."""

from __future__ import annotations

from typing import Final

from waooaw.events.acceptance import IDEMPOTENCY_KEY_LENGTH_MAX
from waooaw.events.bus.event_store import PAGE_EVENTS_MAX
from waooaw.events.bus_names import DEFAULT_BUS, NAME
from waooaw.events.pattern import PATTERN_CHARACTERS_MAX, PATTERNS_MAX
from waooaw.events.service.bus_paths import name_of_bus, path_of_bus
from waooaw.events.service.exposition import OPENMETRICS, PROMETHEUS
from waooaw.events.service.openapi_parts import Operation, body, header, problems, query
from waooaw.events.service.openapi_schemas import (
    EXAMPLE_CURSOR,
    EXAMPLE_EVENT,
    EXAMPLE_RECEIPT,
    array_schema,
    reference,
)
from waooaw.events.service.openapi_subscriptions import POSITION, SUBSCRIPTION_PATHS, WHY
from waooaw.events.service.problems import CONTENT_TYPE
from waooaw.events.service.representations import BATCH, EVENT, JSON, LINES
from waooaw.events.service.sse import SSE
from waooaw.events.service.websocket import CLOUDEVENTS, OPERATIONS

_PATTERN: Final = query(
    "pattern",
    array_schema({"type": "string", "minLength": 1, "maxLength": PATTERN_CHARACTERS_MAX}, maxItems=PATTERNS_MAX),
    "A glob over the event type: * any run of characters, ? one, [ab] a class, \\ quotes. Repeat it for several.",
    explode=True,
    style="form",
    example=["task.*"],
)
_FROM: Final = query(
    "from",
    reference("Place") | {"default": "now"},
    "Where to begin; only what is accepted from then on where absent.",
    example="earliest",
)
_LAST_EVENT_ID: Final = header(
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
        header(
            "Idempotency-Key",
            {"type": "string", "minLength": 1, "maxLength": IDEMPOTENCY_KEY_LENGTH_MAX, "pattern": "^[ -~]+$"},
            "The id of an event that has none; in a batch, key/index.",
        ),
        header("Content-Encoding", {"enum": ["identity", "gzip", "x-gzip"]}, "gzip is unpacked."),
        header("ce-type", {"type": "string"}, "Binary mode: the type. Any other attribute likewise."),
        header("ce-source", {"type": "string"}, "Binary mode: the source."),
        header("ce-id", {"type": "string"}, "Binary mode: the id."),
        header("ce-specversion", {"const": "1.0"}, "Binary mode: the version of CloudEvents."),
    ],
    "requestBody": {
        "required": True,
        "content": {
            JSON: body("NewEvent"),
            EVENT: body("NewEvent"),
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
        "207": {"description": "Some events of a batch are stored.", "content": {JSON: body("BatchResult")}},
        "422": {"description": "No event of a batch is stored.", "content": {JSON: body("BatchResult")}},
        **problems(409, 413, 415),
        "503": {
            "description": "Nothing of it is stored, or it is not known (outcome). Try again with the same ids.",
            "headers": {"Retry-After": {"schema": {"type": "integer"}}},
            "content": {CONTENT_TYPE: body("Problem"), JSON: body("BatchResult")},
        },
    },
}

_LIST: Final[Operation] = {
    "operationId": "listEvents",
    "summary": "Read the store, page by page",
    "parameters": [
        _PATTERN,
        query("source", {"type": "string"}, "Only events of this source."),
        query("correlationid", {"type": "string"}, "Only events of this conversation."),
        query("from", reference("Place") | {"default": "earliest"}, "Inclusive; a cursor: what comes after it."),
        query("to", reference("Place") | {"default": "now"}, "Exclusive."),
        query("order", {"enum": ["asc", "desc"], "default": "asc"}, "desc: newest first."),
        query(
            "limit", {"type": "integer", "minimum": 1, "maximum": PAGE_EVENTS_MAX, "default": 100}, "Events of a page."
        ),
    ],
    "responses": {
        "200": {
            "description": "A page.",
            "headers": _LINK,
            "content": {
                JSON: body("Page"),
                BATCH: {"schema": array_schema(reference("Event"))},
                LINES: {"schema": {"type": "string", "description": "An event a line."}},
            },
        },
        **problems(406, 503),
    },
}

_GET: Final[Operation] = {
    "operationId": "getEvent",
    "summary": "Read one event",
    "parameters": [
        POSITION,
        query(
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
                EVENT: body("Event"),
                "*/*": {"schema": {"description": "Binary mode: data of another media type."}},
            },
        },
        **problems(404, 406, 410, 503),
    },
}

_LOG: Final[Operation] = {
    "operationId": "describeLog",
    "summary": "How the log stands; its cursor is now",
    "responses": {"200": {"description": "The log.", "content": {JSON: body("Log")}}, **problems(406, 503)},
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
        **problems(406, 503),
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
        header(
            "Sec-WebSocket-Protocol", {"enum": [OPERATIONS, CLOUDEVENTS]}, "The subprotocols that the client speaks."
        ),
    ],
    "responses": {
        "101": {
            "description": "The socket is open.",
            "headers": {"Sec-WebSocket-Protocol": {"schema": {"enum": [OPERATIONS, CLOUDEVENTS]}}},
        },
        **problems(403, 503),
    },
}

_DESCRIBE: Final[Operation] = {
    "operationId": "describeService",
    "summary": "This description",
    "responses": {
        "200": {"description": "OpenAPI 3.1.", "content": {JSON: {"schema": {"type": "object"}}}},
        **problems(),
    },
}

_HEALTH: Final[Operation] = {
    "operationId": "getHealth",
    "summary": "Whether the service is well",
    "description": "Answered from memory, whatever the store does. Kill the process only when this is not 200.",
    "parameters": [
        query("details", {"enum": ["false", "true"], "default": "false"}, "true adds engine, limits and warnings.")
    ],
    "responses": {
        "200": {"description": "Well, or degraded and at work.", "content": {JSON: body("Health")}},
        "503": {"description": "Stuck: start it anew.", "content": {JSON: body("Health")}},
        **problems(),
    },
}

_READY: Final[Operation] = {
    "operationId": "getReadiness",
    "summary": "Whether the service should get traffic",
    "responses": {
        "200": {"description": "Ready.", "content": {JSON: body("Readiness")}},
        "503": {"description": "Not ready, with the reason.", "content": {JSON: body("Readiness")}},
        **problems(),
    },
}

_METRICS: Final[Operation] = {
    "operationId": "getMetrics",
    "summary": "What is counted and measured",
    "parameters": [
        query("format", {"enum": ["json", "prometheus", "openmetrics"]}, "Beats Accept; JSON where neither says.")
    ],
    "responses": {
        "200": {
            "description": "The metrics of this process.",
            "headers": {"Vary": {"schema": {"const": "Accept"}}},
            "content": {
                JSON: body("Metrics"),
                PROMETHEUS: {"schema": {"type": "string"}},
                OPENMETRICS: {"schema": {"type": "string"}},
            },
        },
        **problems(406),
    },
}

_BUSES: Final[Operation] = {
    "operationId": "listBuses",
    "summary": "The buses that are served",
    "responses": {
        "200": {"description": "Each with what its receipts promise.", "content": {JSON: body("Buses")}},
        **problems(406, 503),
    },
}

_CLUSTER: Final[Operation] = {
    "operationId": "listReplicas",
    "summary": "The replicas of the service",
    "responses": {
        "200": {"description": "Who serves from the same store.", "content": {JSON: body("Cluster")}},
        **problems(406, 503),
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
        "responses": {**operation["responses"], **problems(404)},
    }


_PATHS_OF_A_BUS: Final[dict[str, dict[str, Operation]]] = {
    "/v1/events": {"post": _PUBLISH, "get": _LIST},
    "/v1/events/{position}": {"get": _GET},
    "/v1/events/{position}/deliveries": {"get": WHY},
    "/v1/log": {"get": _LOG},
    "/v1/stream": {"get": _STREAM},
    "/v1/ws": {"get": _WEBSOCKET},
    **SUBSCRIPTION_PATHS,
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
