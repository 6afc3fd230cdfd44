"""A log as it stands, as a reader gets it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from waooaw.events.position import Position
    from waooaw.events.retention import RetentionLimits


@dataclass(frozen=True, slots=True)
class LogInfo:
    """The place now (``cursor``, a token), the first and the last position held (None where empty), and the size."""

    epoch: str
    cursor: str
    first: Position | None
    last: Position | None
    events: int
    size_bytes: int
    retention: RetentionLimits
