"""What a handler makes of an event, by its id and attempt alone: any member, and the judge, come to the same."""

from __future__ import annotations

import zlib
from typing import Final, Literal

Decision = Literal["ack", "nack", "reject"]

NACKED_ONCE, NACKED_TWICE, POISON, REJECTED = 10, 14, 17, 19
"""Of a hundred events: ten fail once, four twice, three always, two are rejected; the rest is acked at once."""

FAILURES: Final = {"once": 1, "twice": 2}


def decide(event_id: str, attempt: int) -> Decision:
    """Return what becomes of a delivery. ``attempt`` counts from 1 and includes lapses, which are failures too."""
    share = zlib.crc32(event_id.encode()) % 100
    if share < NACKED_ONCE:
        return "nack" if attempt <= FAILURES["once"] else "ack"
    if share < NACKED_TWICE:
        return "nack" if attempt <= FAILURES["twice"] else "ack"
    if share < POISON:
        return "nack"
    return "reject" if share < REJECTED else "ack"


def ends_dead(event_id: str) -> bool:
    """Tell whether an event must end among the dead letters."""
    return NACKED_TWICE <= zlib.crc32(event_id.encode()) % 100 < REJECTED
