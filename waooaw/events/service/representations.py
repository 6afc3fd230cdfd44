"""The media types that calls read and answer, and answers in JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web

from waooaw.events.errors import NotAcceptableError
from waooaw.events.media_type import negotiate

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON: Final = "application/json"
EVENT: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
LINES: Final = "application/x-ndjson"


def negotiated(request: web.Request, *offered: str) -> str:
    """Return which representation a request accepts; raises `NotAcceptableError` for none."""
    chosen = negotiate(request.headers.get("Accept"), offered)
    if chosen is None:
        message = f"none of what Accept names is made here; ask for {' or '.join(offered)}"
        raise NotAcceptableError(message)
    return chosen


def json_response(
    members: dict[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return an answer in JSON."""
    return web.Response(status=status, body=msgspec.json.encode(members), content_type=JSON, headers=headers)
