"""How subscriptions do, by fixed thresholds.

*Healthy*: below 5 % errors and 1 s from acceptance to first delivery. *Unhealthy*: above 20 % or 5 s. *Degraded*:
between. *Unknown*: without activity in the last minute.

Rule 1: activity adds up: what members did at several replicas is judged as if they had been at one.
Rule 2: a subscription whose events wait while nobody takes them is unhealthy, whatever was done before.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Any, Final, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

HealthWord = Literal["healthy", "degraded", "unhealthy", "unknown"]

HEALTHY_ERROR_RATE: Final = 0.05
UNHEALTHY_ERROR_RATE: Final = 0.20
HEALTHY_SECONDS: Final = 1.0
UNHEALTHY_SECONDS: Final = 5.0

_SLOT_SECONDS: Final = 5
_SLOTS: Final = 12
"""A minute in slots of five seconds: it is forgotten that much at a time."""

LATENCY_BOUNDS: Final = tuple(sorted({2.0 ** (step / 4) for step in range(-40, 64)} | {UNHEALTHY_SECONDS}))
"""Where the buckets begin, in seconds, from 1 ms to 15 hours: four an octave, so that a percentile is off by a tenth,
and what a replica says of a busy subscription is some hundred bytes. Both thresholds are bounds, and judged exactly.
"""


@dataclass(frozen=True, slots=True)
class SubscriptionHealth:
    """How a subscription does. ``reason`` is for people; empty where it is healthy or unknown."""

    word: HealthWord
    error_rate: float
    p95: float | None
    """Seconds from acceptance to first delivery; None where nothing was delivered first."""
    reason: str = ""


@dataclass(slots=True)
class SubscriberActivity:
    """What members of a subscription did in the last 60 s: deliveries settled, and how late events came to them."""

    acked: int = 0
    failed: int = 0
    latencies: dict[int, int] = field(default_factory=dict)
    """First deliveries by bucket: the number of `LATENCY_BOUNDS` that are not above the latency."""

    def __bool__(self) -> bool:
        """Whether anything was done."""
        return bool(self.acked or self.failed or self.latencies)

    def merge(self, other: SubscriberActivity) -> None:
        """Add what happened at another replica, or in another slot; it stays as it is."""
        self.acked += other.acked
        self.failed += other.failed
        for bucket, count in other.latencies.items():
            self.latencies[bucket] = self.latencies.get(bucket, 0) + count

    @property
    def error_rate(self) -> float:
        """Which part of what was settled had failed; 0 where nothing was."""
        return self.failed / ((self.acked + self.failed) or 1)

    @property
    def p95(self) -> float | None:
        """The latency that 95 % do not exceed, in seconds: the middle of its bucket; None without any."""
        remaining = ceil(sum(self.latencies.values()) * 0.95)
        for bucket in sorted(self.latencies):
            remaining -= self.latencies[bucket]
            if remaining <= 0:
                low, high = LATENCY_BOUNDS[bucket - 1 : bucket] or (0.0,), LATENCY_BOUNDS[bucket : bucket + 1]
                return (low[0] + (high or LATENCY_BOUNDS[-1:])[0]) / 2
        return None

    def to_members(self) -> dict[str, Any]:
        """Return it compactly, for what a replica says of itself."""
        return {"acked": self.acked, "failed": self.failed, "latencies": sorted(self.latencies.items())}

    @classmethod
    def from_members(cls, members: object) -> Self:
        """Read what `to_members` made, also after JSON; what is malformed (another release's) counts as nothing."""
        try:
            pairs = {_count(bucket): _count(count) for bucket, count in members["latencies"]}  # type: ignore[index]  # said by somebody else
            acked, failed = _count(members["acked"]), _count(members["failed"])  # type: ignore[index]  # as above
        except (KeyError, TypeError, ValueError):
            return cls()
        return cls(acked, failed, {bucket: count for bucket, count in pairs.items() if bucket <= len(LATENCY_BOUNDS)})


def _count(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError(value)
    return value


class ActivityWindow:
    """Counts the activity of one subscription at this replica. ``now`` is monotonic time in seconds, in each call."""

    __slots__ = ("_numbers", "_slots")

    def __init__(self) -> None:
        self._numbers = [-1] * _SLOTS
        self._slots = [SubscriberActivity() for _ in range(_SLOTS)]

    def settled(self, now: float, acked: int, failed: int) -> None:
        """Count deliveries that were acked, and that failed: nacked, rejected or lapsed."""
        slot = self._slot(now)
        slot.acked += acked
        slot.failed += failed

    def delivered(self, now: float, latencies: Mapping[float, int]) -> None:
        """Count first deliveries by how many seconds after acceptance they came."""
        counts = self._slot(now).latencies
        for seconds, count in latencies.items():
            bucket = bisect_right(LATENCY_BOUNDS, seconds)
            counts[bucket] = counts.get(bucket, 0) + count

    def activity(self, now: float) -> SubscriberActivity:
        """Return what was counted in the last minute."""
        newest = int(now) // _SLOT_SECONDS
        found = SubscriberActivity()
        for number, slot in zip(self._numbers, self._slots, strict=True):
            if newest - _SLOTS < number <= newest:
                found.merge(slot)
        return found

    def _slot(self, now: float) -> SubscriberActivity:
        number = int(now) // _SLOT_SECONDS
        index = number % _SLOTS
        if self._numbers[index] != number:
            self._numbers[index] = number
            self._slots[index] = SubscriberActivity()
        return self._slots[index]


def subscription_health(
    activity: SubscriberActivity, *, waiting: int = 0, oldest_seconds: float | None = None, is_paused: bool = False
) -> SubscriptionHealth:
    """Judge a subscription.

    ``waiting`` is how many events wait, ``oldest_seconds`` the age of the oldest that is not settled (None: there is
    none). Age counts where nothing was done in the last minute: a queue that is worked off shows in the latencies.
    """
    rate, p95 = activity.error_rate, activity.p95
    if is_paused:
        return SubscriptionHealth("unknown", rate, p95, f"it is paused; {waiting} events wait" if waiting else "")
    if not activity:
        if waiting and oldest_seconds is not None and oldest_seconds > HEALTHY_SECONDS:
            word: HealthWord = "unhealthy" if oldest_seconds > UNHEALTHY_SECONDS else "degraded"
            reason = f"{waiting} events wait, the oldest for {oldest_seconds:.0f} s, and nobody takes them"
            return SubscriptionHealth(word, rate, p95, reason)
        return SubscriptionHealth("unknown", rate, p95)
    late = p95 or 0.0
    reasons = []
    if rate >= HEALTHY_ERROR_RATE:
        reasons.append(f"{rate:.0%} of deliveries fail")
    if late >= HEALTHY_SECONDS:
        reasons.append(f"events come {late:.1f} s after their acceptance (95th percentile)")
    if rate > UNHEALTHY_ERROR_RATE or late > UNHEALTHY_SECONDS:
        return SubscriptionHealth("unhealthy", rate, p95, "; ".join(reasons))
    return SubscriptionHealth("degraded" if reasons else "healthy", rate, p95, "; ".join(reasons))
