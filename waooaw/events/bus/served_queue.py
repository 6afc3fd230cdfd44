"""One queue as this replica serves it: what claiming and settling work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

    from waooaw.events.bus.metrics import EventMetrics
    from waooaw.events.bus.queue_moves import QueueMoves
    from waooaw.events.clock import Clock
    from waooaw.events.engine.contract import Engine
    from waooaw.events.subscription import SubscriptionDefinition


@dataclass(slots=True, kw_only=True)
class ServedQueue:
    """A queue by its incarnation. ``definition`` follows what its owner changes; the rest stays.

    ``claimer`` is unlike any other, also of an earlier object for the same queue: sequences begin anew with each.
    """

    engine: Engine
    bus: str
    name: str
    incarnation: str
    claimer: str
    definition: SubscriptionDefinition
    clock: Clock
    chance: Random
    metrics: EventMetrics
    moves: QueueMoves

    @property
    def labels(self) -> dict[str, object]:
        """What a log line names it by."""
        return {"bus": self.bus, "subscription": self.name}
