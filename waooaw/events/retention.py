"""What retention removes from the log: decided here, done by the engines.

Rule 1: an event goes when any limit demands it, and none goes that no limit demands.
Rule 2: only the oldest go: what remains is always one unbroken run up to the end of the log.
Rule 3: what subscriptions still need stays against limits of age and count; the limit of bytes wins over it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from waooaw.events.errors import InvalidSettingError
from waooaw.events.position import SEQUENCE_BITS

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionLimits:
    """How much the log may hold; None is no limit. Raises InvalidSettingError for a limit below 1."""

    max_age_seconds: int | None = None
    max_events: int | None = None
    max_bytes: int | None = None

    def __post_init__(self) -> None:
        """Refuse limits under which every event would go as it comes."""
        for name in self.__slots__:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidSettingError(f"retention: {name} must be at least 1, not {value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSize:
    """What the log holds: its first position (None when empty), its last, the events and their bytes."""

    first: int | None
    last: int
    events: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrimPlan:
    """What has to go: all before a time of the log (exclusive), at least so many events, at least so many bytes."""

    before_ms: int | None = None
    excess_events: int = 0
    excess_bytes: int = 0
    needed_from: int | None = None
    """The first position that subscriptions still need: only ``excess_bytes`` reaches past it."""

    @property
    def needed(self) -> bool:
        """Whether anything has to go."""
        return self.before_ms is not None or self.excess_events > 0 or self.excess_bytes > 0


def plan_trim(limits: RetentionLimits, size: LogSize, now_ms: int) -> TrimPlan:
    """What ``limits`` demand of a log of this ``size`` at ``now_ms`` (Unix milliseconds)."""
    if size.first is None:
        return TrimPlan()
    before_ms = None if limits.max_age_seconds is None else now_ms - limits.max_age_seconds * 1_000
    if before_ms is not None and size.first >> SEQUENCE_BITS >= before_ms:
        before_ms = None
    return TrimPlan(
        before_ms=before_ms,
        excess_events=_excess(size.events, limits.max_events),
        excess_bytes=_excess(size.size_bytes, limits.max_bytes),
    )


def cut(plan: TrimPlan, rows: Sequence[tuple[int, int]]) -> int:
    """How many of ``rows``, the oldest of the log as (position, size in bytes) in order, have to go.

    ``rows`` may be one step of a longer trim: after it, plan anew from the size that remains.
    """
    freed_bytes = 0
    for index, (position, size_bytes) in enumerate(rows):
        too_old = plan.before_ms is not None and position >> SEQUENCE_BITS < plan.before_ms
        is_needed = plan.needed_from is not None and position >= plan.needed_from
        goes = freed_bytes < plan.excess_bytes or (not is_needed and (too_old or index < plan.excess_events))
        if not goes:
            return index
        freed_bytes += size_bytes
    return len(rows)


def _excess(amount: int, limit: int | None) -> int:
    return 0 if limit is None else max(0, amount - limit)
