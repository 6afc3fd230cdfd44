"""Calls that a scenario makes before and after what it measures."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Any, Final

from bench.errors import BenchError
from bench.server import HOST

if TYPE_CHECKING:
    from bench.server import Server

_TIMEOUT_SECONDS: Final = 30


def call(server: Server, method: str, path: str, members: object = None) -> Any:  # noqa: ANN401 - whatever JSON has
    """Return the JSON that one call answers. Raises BenchError where it is refused."""
    connection = http.client.HTTPConnection(HOST, server.port, timeout=_TIMEOUT_SECONDS)
    try:
        body = None if members is None else json.dumps(members)
        connection.request(method, path, body, {} if body is None else {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = response.read()
    finally:
        connection.close()
    if response.status >= http.client.BAD_REQUEST:
        raise BenchError(f"{method} {path} answered {response.status}: {answer!r}")
    return json.loads(answer) if answer else None
