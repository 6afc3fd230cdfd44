"""How the peers of the webhook scenarios post: with aiohttp's client, as its documentation shows it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

import aiohttp

from bench.errors import BenchError

CONCURRENCY: Final = 64
"""Requests at a time, on either side."""

_TIMEOUT_SECONDS: Final = 30
_HTTP_NO_CONTENT: Final = 204


def sender_arguments(description: str | None) -> argparse.ArgumentParser:
    """Return the parser of what a peer is given; one with a store adds its port."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--url", required=True, help="where to post")
    parser.add_argument("--events", type=Path, required=True, help="a file of events, one a line")
    parser.add_argument("--count", type=int, required=True)
    return parser


def session() -> aiohttp.ClientSession:
    """Return a session with as many connections as there are requests at a time."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONCURRENCY), timeout=aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)
    )


async def post_event(sending: aiohttp.ClientSession, url: str, message_id: str, event: bytes) -> None:
    """Post one event in structured mode. Raises BenchError where the receiver does not take it."""
    headers = {"Content-Type": "application/cloudevents+json", "webhook-id": message_id}
    async with sending.post(url, data=event, headers=headers) as response:
        await response.read()
        if response.status != _HTTP_NO_CONTENT:
            raise BenchError(f"the receiver answered {response.status}")
