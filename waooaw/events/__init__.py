"""WowEvent: an event bus for software agents. These are the public names; everything else may move."""

from __future__ import annotations

from waooaw.events.bus.event_bus import BusOptions, EventBus
from waooaw.events.bus.event_store import EventStore, Query
from waooaw.events.bus.metrics import EventMetrics
from waooaw.events.errors import WowEventError
from waooaw.events.event import Event, StoredEvent
from waooaw.events.pattern import Pattern, PatternSet
from waooaw.events.receipt import Receipt

__all__ = [
    "BusOptions",
    "Event",
    "EventBus",
    "EventMetrics",
    "EventStore",
    "Pattern",
    "PatternSet",
    "Query",
    "Receipt",
    "StoredEvent",
    "WowEventError",
]
