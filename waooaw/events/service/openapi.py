"""``GET /v1/openapi.json``: the service described in OpenAPI 3.1."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from aiohttp import web

DOCUMENT: Final[dict[str, Any]] = {"openapi": "3.1.0", "info": {"title": "WowEvent", "version": "0.6.5.dev0"}, "paths": {}}


async def openapi(_request: web.Request) -> web.Response:
    """Answer the description."""
    return web.Response(body=msgspec.json.encode(DOCUMENT), content_type="application/json")
