"""HEAD in the API description: beside every GET that ends, the same call without its content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from waooaw.events.service.openapi_parts import PROBLEMS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from waooaw.events.service.openapi_parts import Operation

ENDLESS: Final = ("streamEvents", "openWebSocket")
"""What the names of the calls begin with whose answers do not end; a test holds it against the route table."""


def name_of_head(name: str) -> str:
    """Return the name of the HEAD of a call."""
    return f"{name}Head"


def with_heads(paths: Mapping[str, dict[str, Operation]]) -> dict[str, dict[str, Operation]]:
    """Return paths with HEAD beside each GET that ends (RFC 9110 section 9.3.2)."""
    return {path: _with_head(operations) for path, operations in paths.items()}


def _with_head(operations: dict[str, Operation]) -> dict[str, Operation]:
    get = operations.get("get")
    if get is None or get["operationId"].startswith(ENDLESS):
        return operations
    head = get | {
        "operationId": name_of_head(get["operationId"]),
        "summary": f"The headers of the same GET: {get['summary'][0].lower()}{get['summary'][1:]}",
        "responses": {status: _without_content(status, response) for status, response in get["responses"].items()},
    }
    return operations | {"head": head}


def _without_content(status: str, response: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in response:
        return {"description": PROBLEMS[int(status)]}
    return {name: value for name, value in response.items() if name != "content"}
