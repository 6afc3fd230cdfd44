"""What all receivers of one bus are served with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from waooaw.events.bus.event_bus import EventBus
    from waooaw.events.clock import Clock
    from waooaw.events.engine.contract import Engine
    from waooaw.events.identifier import Identifiers
    from waooaw.events.webhooks.dialing import Dialer
    from waooaw.events.webhooks.sending import Sender
    from waooaw.events.webhooks.webhook_metrics import WebhookMetrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """``replica`` is the name of this process among the replicas; ``origin`` for whom receivers consent."""

    event_bus: EventBus
    engine: Engine
    sender: Sender
    dialer: Dialer
    replica: str
    origin: str
    clock: Clock
    identifiers: Identifiers
    metrics: WebhookMetrics
