"""What queues moved besides what was asked for: told in the log, and counted, in one place for all who learn of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from waooaw.events.bus.metrics import EventMetrics
    from waooaw.events.clock import Clock
    from waooaw.events.engine.queue_contract import Moves


class QueueMoves:
    """Takes the `Moves` of claims, settles and sweeps of one bus."""

    def __init__(self, bus: str, metrics: EventMetrics, clock: Clock) -> None:
        raise NotImplementedError

    def take(self, subscription: str, moves: Moves) -> None:
        """Log and count what an engine's answer says it moved."""
        raise NotImplementedError
