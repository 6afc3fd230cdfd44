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
DURABILITY_ON_REDIS: Final = "local"
"""What Redis promises with `appendfsync everysec`, which the benchmarks on Redis run with."""
_SHOWN_BYTES: Final = 300
_TIMEOUT_SECONDS: Final = 30


def check_single(body: bytes, durability: str = DURABILITY) -> None:
    """Raise BenchError unless `body` is the receipt of one new event at `durability`."""
    _check_receipt(json.loads(body), durability)


def check_batch(body: bytes, count: int, durability: str = DURABILITY) -> None:
    """Raise BenchError unless `body` accepts `count` new events at `durability`."""
    answer = json.loads(body)
    if answer.get("accepted") != count or len(answer["results"]) != count:
        raise BenchError(f"a batch of {count} was answered with {body[:_SHOWN_BYTES]!r}")
    for receipt in answer["results"]:
        _check_receipt(receipt, durability)


def compared_with_log(server: Server, expected: int, unanswered_max: int = 0) -> str:
    """Return a note that the log, empty before the scenario, holds exactly `expected` events.

    Where the load generator cuts its last requests, up to `unanswered_max` more may be there. Raises BenchError where
    it holds another number. A service without `GET /v1/log` is noted, not failed.
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
    if not expected <= stored <= expected + unanswered_max:
        raise BenchError(f"{expected} events were accepted, the log holds {stored}")
    if unanswered_max:
        return (
            f"the log holds {stored:,} events: the {expected:,} that were answered, and {stored - expected} whose"
            " connections the load generator closed first"
        )
    return f"the log holds exactly the {stored:,} events that were answered"


def _check_receipt(receipt: dict[str, object], durability: str) -> None:
    if receipt.get("durability") != durability or receipt.get("duplicate") is not False or "position" not in receipt:
        raise BenchError(f"not the receipt of a new event at {durability}: {receipt}")


def post_once(server: Server, path: str, content_type: str, body: bytes) -> bytes:
    """Return the answer to one POST. Raises BenchError where it is not 200."""
    connection = http.client.HTTPConnection(HOST, server.port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("POST", path, body, {"Content-Type": content_type})
        response = connection.getresponse()
        answer = response.read()
    finally:
        connection.close()
    if response.status != http.client.OK:
        raise BenchError(f"{path} answered {response.status}: {answer[:_SHOWN_BYTES]!r}")
    return answer
