"""WowEvent: an event bus for software agents. These are the public names; everything else may move."""

from __future__ import annotations

from waooaw.events.bus.event_bus import BusOptions, EventBus
from waooaw.events.bus.event_store import EventStore, Query
from waooaw.events.bus.metrics import EventMetrics
from waooaw.events.connect import connect
from waooaw.events.errors import WowEventError
from waooaw.events.event import Event, StoredEvent
from waooaw.events.interface import Bus, EventStream
from waooaw.events.pattern import Pattern, PatternSet
from waooaw.events.receipt import Receipt
from waooaw.events.stream_message import Delivered, GapMessage

__all__ = [
    "Bus",
    "BusOptions",
    "Delivered",
    "Event",
    "EventBus",
    "EventMetrics",
    "EventStore",
    "EventStream",
    "GapMessage",
    "Pattern",
    "PatternSet",
    "Query",
    "Receipt",
    "StoredEvent",
    "WowEventError",
    "connect",
]
