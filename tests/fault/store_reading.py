"""The whole store, as anyone may read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fault.sockets import HttpLink
from tests.fault.traffic import stored_of

if TYPE_CHECKING:
    from tests.fault.checker import Stored

PAGE_EVENTS = 1000


async def read_store(port: int, start: str = "earliest", root: str = "/v1") -> tuple[list[Stored], str]:
    """Return every event of a bus from a place on, and the cursor behind the last one."""
    events: list[Stored] = []
    async with HttpLink(port) as link:
        while True:
            answer = await link.request("GET", f"{root}/events?limit={PAGE_EVENTS}&from={start}")
            assert answer.status == 200, answer
            assert "gap" not in answer.json, answer.json["gap"]
            events += map(stored_of, answer.json["items"])
            start = answer.json["next"]
            if answer.json["end"]:
                return events, start
