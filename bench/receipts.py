"""Reading what the service answers, to be sure that what was counted is what was meant."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Final

from bench.errors import BenchError
from bench.server import HOST

if TYPE_CHECKING:
    from bench.server import Server

DURABILITY: Final = "fsync"
"""What the embedded engine promises; a faster figure at less would be another figure."""
_SHOWN_BYTES: Final = 300
_TIMEOUT_SECONDS: Final = 30


def check_single(body: bytes) -> None:
    """Raise BenchError unless `body` is the receipt of one new event at `DURABILITY`."""
    _check_receipt(json.loads(body))


def check_batch(body: bytes, count: int) -> None:
    """Raise BenchError unless `body` accepts `count` new events at `DURABILITY`."""
    answer = json.loads(body)
    if answer.get("accepted") != count or len(answer["results"]) != count:
        raise BenchError(f"a batch of {count} was answered with {body[:_SHOWN_BYTES]!r}")
    for receipt in answer["results"]:
        _check_receipt(receipt)


def compared_with_log(server: Server, expected: int) -> str:
    """Return a note that the log, empty before the scenario, holds exactly `expected` events.

    Raises BenchError where it holds another number. A service without `GET /v1/log` is noted, not failed.
    """
    connection = http.client.HTTPConnection(HOST, server.port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/v1/log")
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status == http.client.NOT_FOUND:
        return f"NOT compared with the log: the service answers 404 to /v1/log; {expected:,} events were answered"
    if response.status != http.client.OK:
        raise BenchError(f"/v1/log answered {response.status}: {body[:_SHOWN_BYTES]!r}")
    stored = int(json.loads(body)["events"])
    if stored != expected:
        raise BenchError(f"{expected} events were accepted, the log holds {stored}")
    return f"the log holds exactly the {stored:,} events that were answered"


def _check_receipt(receipt: dict[str, object]) -> None:
    if receipt.get("durability") != DURABILITY or receipt.get("duplicate") is not False or "position" not in receipt:
        raise BenchError(f"not the receipt of a new event at {DURABILITY}: {receipt}")
