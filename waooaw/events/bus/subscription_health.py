"""How subscriptions do, by the thresholds of the design; activity of several replicas adds up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

HealthWord = Literal["healthy", "degraded", "unhealthy", "unknown"]


@dataclass(frozen=True, slots=True)
class SubscriptionHealth:
    """How a subscription does. ``reason`` is a sentence for people; empty where it is healthy or unknown."""

    word: HealthWord
    error_rate: float
    p95: float | None
    """Seconds from acceptance to first delivery."""
    reason: str = ""


@dataclass(slots=True)
class SubscriberActivity:
    """What members of a subscription did in the last 60 s."""

    acked: int = 0
    failed: int = 0

    def merge(self, other: SubscriberActivity) -> None:
        """Add what happened at another replica."""
        raise NotImplementedError

    def to_members(self) -> dict[str, Any]:
        """Return it compactly, for what a replica says of itself."""
        raise NotImplementedError

    @classmethod
    def from_members(cls, members: Mapping[str, Any]) -> Self:
        """Read what `to_members` made; what is malformed counts as nothing."""
        raise NotImplementedError


def subscription_health(activity: SubscriberActivity, *, oldest_seconds: float | None) -> SubscriptionHealth:
    """Judge a subscription. ``oldest_seconds``: age of the oldest event that waits unclaimed, None where none does."""
    raise NotImplementedError
