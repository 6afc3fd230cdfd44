"""A subscription as it stands: where its references are, who holds them, what goes wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from waooaw.events.position import Position
    from waooaw.events.push_state import PushState
    from waooaw.events.subscription import SubscriptionDefinition


class Counts(msgspec.Struct, frozen=True):
    """Where the references of a subscription are, or went; each counted where it happens."""

    matched: int = 0
    acked: int = 0
    waiting: int = 0
    leased: int = 0
    scheduled: int = 0
    dead: int = 0
    expired: int = 0
    overrun: int = 0
    dropped: int = 0

    @property
    def is_closed(self) -> bool:
        """Whether nothing is missing: matched is the sum of all places (promise 3)."""
        gone = self.acked + self.dead + self.expired + self.overrun + self.dropped
        return self.matched == gone + self.waiting + self.leased + self.scheduled


@dataclass(frozen=True, slots=True)
class FillState:
    """A fill that is under way: history up to ``reached`` is in the queue, and it ends at ``through`` (inclusive)."""

    reached: Position
    through: Position
    waiting: int
    """What it has put into the queue that nobody claimed yet."""


@dataclass(frozen=True, slots=True)
class QueueState:
    """A queue, cheap to ask for. Times are Unix milliseconds of the engine's clock; None where there is none."""

    counts: Counts
    oldest_ms: int | None
    """The log's time of the oldest event that is not settled."""
    oldest_dead_ms: int | None
    claimed_ms: int
    """When a member last claimed, or the subscription was made."""
    fill: FillState | None


@dataclass(frozen=True, slots=True)
class Holding:
    """A reference in somebody's hands, or waiting for its next try."""

    position: Position
    state: Literal["leased", "scheduled", "waiting"]
    member: str
    failures: int
    due_ms: int
    """When the lease lapses, or when the next try may begin."""
    last_error: str | None


@dataclass(frozen=True, slots=True)
class QueueDetails:
    """What a person wants to see of a queue: each a bounded list, the oldest first."""

    leases: tuple[Holding, ...]
    """The leases that lapse first, at most 20."""
    failing: tuple[Holding, ...]
    """The references that failed at least once and are tried again, by position, at most 20."""


DeliveryState = Literal["waiting", "leased", "scheduled", "dead", "settled"]
"""``settled``: it was acked, expired, overrun or dropped, and nothing of it is kept."""


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """What one subscription made of one event.

    ``matched`` is False with the reason in ``why`` (``pattern``, ``created_later``); else ``state`` says where it is.
    """

    subscription: str
    matched: bool
    why: Literal["pattern", "filter", "created_later"] | None = None
    state: DeliveryState | None = None
    attempts: int = 0
    member: str | None = None
    last_error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionInfo:
    """A subscription as its owner sees it."""

    name: str
    incarnation: str
    definition: SubscriptionDefinition
    state: Literal["active", "paused", "filling"]
    created_ms: int
    receives_after: Position
    """It receives all matching events after this position, and those that a fill puts before it."""
    queue: QueueState
    push_state: PushState | None = None
    """How pushing goes, where a service tells it; None without ``definition.push``."""
