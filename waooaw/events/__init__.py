"""WowEvent: an event bus for software agents. These are the public names; everything else may move."""

from __future__ import annotations

import logging

from waooaw.events.bus.event_bus import BusOptions, EventBus
from waooaw.events.bus.event_store import EventStore, Query
from waooaw.events.bus.metrics import EventMetrics
from waooaw.events.connect import connect
from waooaw.events.dead_letter import DeadLetter, DeadLetterFilter
from waooaw.events.delivery import Delivery, Settlement
from waooaw.events.errors import ConfirmationRequiredError, StaleTokenError, WowEventError
from waooaw.events.event import Event, StoredEvent
from waooaw.events.handling import RejectError, ReleaseError, RetryError, run_handler
from waooaw.events.interface import Bus, EventStream
from waooaw.events.pattern import Pattern, PatternSet
from waooaw.events.push import PushDefinition
from waooaw.events.push_state import Attempt, PushState
from waooaw.events.receipt import Receipt, ScheduledReceipt
from waooaw.events.retry import RetryPolicy
from waooaw.events.scheduled_event import ScheduledEvent
from waooaw.events.stream_message import Delivered, GapMessage
from waooaw.events.subscription import SubscriptionDefinition
from waooaw.events.subscription_interface import Consumer, Subscription
from waooaw.events.subscription_state import Counts, DeliveryReport, SubscriptionInfo

logging.getLogger("wowevent").addHandler(logging.NullHandler())  # who wants our lines sets logging up

__all__ = [
    "Attempt",
    "Bus",
    "BusOptions",
    "ConfirmationRequiredError",
    "Consumer",
    "Counts",
    "DeadLetter",
    "DeadLetterFilter",
    "Delivered",
    "Delivery",
    "DeliveryReport",
    "Event",
    "EventBus",
    "EventMetrics",
    "EventStore",
    "EventStream",
    "GapMessage",
    "Pattern",
    "PatternSet",
    "PushDefinition",
    "PushState",
    "Query",
    "Receipt",
    "RejectError",
    "ReleaseError",
    "RetryError",
    "RetryPolicy",
    "ScheduledEvent",
    "ScheduledReceipt",
    "Settlement",
    "StaleTokenError",
    "StoredEvent",
    "Subscription",
    "SubscriptionDefinition",
    "SubscriptionInfo",
    "WowEventError",
    "connect",
    "run_handler",
]
