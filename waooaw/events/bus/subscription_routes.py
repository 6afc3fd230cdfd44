"""Which queues an event goes to: the subscriptions of one bus, kept in memory under their version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from waooaw.events.engine.subscription_contract import SubscriptionRecord
    from waooaw.events.subscription import SubscriptionDefinition


@dataclass(frozen=True, slots=True)
class KnownSubscription:
    """A subscription as this replica knows it."""

    record: SubscriptionRecord
    definition: SubscriptionDefinition


class SubscriptionRoutes:
    """The subscriptions of one bus."""
