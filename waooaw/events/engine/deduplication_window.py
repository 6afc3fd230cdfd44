"""How far back a repeated id is recognised: what every engine is told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeduplicationWindow:
    """How far back a repeated id is recognised: a time, and a count that bounds the memory (about 150 MB a million)."""

    seconds: int = 300
    ids_max: int = 1_000_000
