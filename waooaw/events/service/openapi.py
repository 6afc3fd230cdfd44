"""``GET /v1/openapi.json``: the service described in OpenAPI 3.1."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Final

import msgspec
from aiohttp import web

from waooaw.events.service import (
    openapi_operating,
    openapi_schemas,
    openapi_subscription_schemas,
    openapi_webhook_schemas,
)
from waooaw.events.service.openapi_head import with_heads
from waooaw.events.service.openapi_operations import PATHS
from waooaw.events.service.openapi_parts import problem_responses
from waooaw.events.service.parameters import Parameters
from waooaw.events.service.representations import JSON

DOCUMENT: Final[dict[str, Any]] = {
    "openapi": "3.1.0",
    "info": {
        "title": "WowEvent",
        "version": version("wowevent"),
        "summary": "An event bus for software agents.",
        "description": (
            "Agents publish CloudEvents, read what is stored, stream what comes, and share work by durable "
            "subscriptions. Errors are problem details "
            "(RFC 9457) with a stable code. Parameters that a call does not know are refused."
        ),
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    },
    "servers": [{"url": "/"}],
    "paths": with_heads(PATHS),
    "components": {
        "schemas": openapi_schemas.SCHEMAS
        | openapi_subscription_schemas.SCHEMAS
        | openapi_webhook_schemas.SCHEMAS
        | openapi_operating.SCHEMAS,
        "responses": problem_responses(),
    },
}

_BODY: Final = msgspec.json.encode(DOCUMENT)


async def openapi(request: web.Request) -> web.Response:
    """Answer the description."""
    Parameters(request.query, ())
    return web.Response(body=_BODY, content_type=JSON)
