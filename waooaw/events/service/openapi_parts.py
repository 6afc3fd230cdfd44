"""What the calls of the API description are made of."""

from __future__ import annotations

from typing import Any, Final

from waooaw.events.service.openapi_schemas import reference
from waooaw.events.service.problems import CONTENT_TYPE
from waooaw.events.subscription import NAME

Operation = dict[str, Any]

_EVERYWHERE: Final = (400, 408, 431, 500)
"""What any request can be answered: it cannot be read, came too slowly, is too big; or the service failed."""

PROBLEMS: Final[dict[int, str]] = {
    400: "It cannot be read, or breaks a rule of CloudEvents or of a parameter.",
    403: "A browser page of an origin that is not allowed.",
    404: "Nothing is there.",
    406: "Nothing that Accept names is made here.",
    408: "It did not arrive in time.",
    409: "It does not fit what is there: another content, a fixed ordering, no confirmation, no consent.",
    410: "Retention has removed the event.",
    413: "The body, the event or the batch is too large.",
    415: "The content type or content encoding is not read here.",
    422: "The address of the receiver is not called.",
    431: "The headers are too many or too long.",
    500: "The service failed; its log says why.",
    503: "Not now: the bus is overloaded, its store is away or fails, or it is off. Try again after Retry-After.",
}


def problem_responses() -> dict[str, Operation]:
    """Return the responses that report errors, by the name that `problems` refers to."""
    return {f"Problem{status}": _problem_response(status, text) for status, text in PROBLEMS.items()}


def _problem_response(status: int, description: str) -> Operation:
    response: Operation = {"description": description, "content": {CONTENT_TYPE: {"schema": reference("Problem")}}}
    if status == 503:  # noqa: PLR2004 - the one that names a time
        response["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 0}}}
    return response


def problems(*statuses: int) -> Operation:
    """Return the errors that a call answers besides those that any call does."""
    return {
        str(status): {"$ref": f"#/components/responses/Problem{status}"} for status in sorted({*statuses, *_EVERYWHERE})
    }


def query(name: str, schema: Operation, description: str, **more: Any) -> Operation:  # noqa: ANN401 - OpenAPI's
    """Return a query parameter."""
    return {"name": name, "in": "query", "description": description, "schema": schema, **more}


def header(name: str, schema: Operation, description: str) -> Operation:
    """Return a header of a request."""
    return {"name": name, "in": "header", "description": description, "schema": schema}


NAME_PARAMETER: Final[Operation] = {
    "name": "name",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": f"^{NAME.pattern}$"},
    "description": "The subscription.",
    "example": "invoices",
}


def body(name: str) -> Operation:
    """Return content of a schema."""
    return {"schema": reference(name)}
