"""What happened on a bus, counted where it happens; reading it computes, counting does not.

*Publishes* are events stored, duplicates apart. *Errors* are publishes refused and deliveries failed (nack, reject,
lapse). *Deliveries* are events written to a stream, and acks. *Retries* are failed deliveries that are tried again,
*dlq* are those that went to the dead letters. *Latency* runs from acceptance to the first live delivery of a stream,
and to the first delivery of a subscription; history, replays and retries have none.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from waooaw.events.bus.subscription_health import ActivityWindow
from waooaw.events.errors import NotFoundError
from waooaw.events.histogram import LatencyHistogram
from waooaw.events.rate import Rate, SlidingCounter
from waooaw.events.receipt import Receipt

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from waooaw.events.bus.subscription_health import SubscriberActivity
    from waooaw.events.clock import Clock
    from waooaw.events.epoch import GapReason
    from waooaw.events.errors import WowEventError
    from waooaw.events.event import Entry, StoredEvent

_log = logging.getLogger("wowevent.bus")

TYPES_MAX: Final = 200
"""Event types counted by name; the rest is counted under `OTHER`. A type is a publisher's to choose, memory is not."""

OTHER: Final = "other"


@dataclass(slots=True)
class TypeCounts:
    """The counts of one event type."""

    publishes: int = 0
    deliveries: int = 0
    errors: int = 0
    retries: int = 0
    dlq: int = 0
    latency: LatencyHistogram = field(default_factory=LatencyHistogram)


class EventMetrics:
    """The counters of one bus in this process. Used from the event loop only."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.totals = TypeCounts()
        self.types: dict[str, TypeCounts] = {}
        self.duplicates = 0
        self.published_bytes = 0
        self.demotions = 0
        self.gaps: Counter[GapReason] = Counter()
        self.refusals: Counter[str] = Counter()
        self._publishes = SlidingCounter()
        self._deliveries = SlidingCounter()
        self._activities: dict[str, ActivityWindow] = {}

    # Counting ---------------------------------------------------------------------------------------------------------

    def published(self, entries: Sequence[Entry], answers: Sequence[Receipt | WowEventError]) -> None:
        """Count what an append answered."""
        stored = 0
        for entry, answer in zip(entries, answers, strict=True):
            if isinstance(answer, NotFoundError):
                continue  # taken off the schedule while it was being published: nobody waits for it
            if not isinstance(answer, Receipt):
                self.refused(answer, entry.type)
            elif answer.duplicate:
                self.duplicates += 1
            else:
                stored += 1
                self.published_bytes += len(entry.body)
                self._type(entry.type).publishes += 1
        if stored:
            self.totals.publishes += stored
            self._publishes.add(self._clock.monotonic(), stored)

    def refused(self, error: WowEventError, event_type: str | None = None) -> None:
        """Count a publish that was refused. A type that was never published is not counted by name."""
        self.totals.errors += 1
        self.refusals[error.code] += 1
        if event_type is not None:
            (self.types.get(event_type) or self._other()).errors += 1

    def failed(self, error: Exception) -> None:
        """Report a defect: an exception that should have been one of ours."""
        _log.error("publish.failed", exc_info=error)

    def delivered(self, types: Mapping[str, int], latency_seconds: float) -> None:
        """Count live deliveries by event type."""
        total = 0
        for event_type, count in types.items():
            counts = self._type(event_type)
            counts.deliveries += count
            counts.latency.record(latency_seconds)
            self.totals.latency.record(latency_seconds)
            total += count
        self._add_deliveries(total)

    def caught_up(self, events: Iterable[StoredEvent]) -> None:
        """Count deliveries out of the log."""
        total = 0
        for event in events:
            self._type(event.type).deliveries += 1
            total += 1
        self._add_deliveries(total)

    # Subscriptions: the type of a delivery that another replica handed out is not known; it counts as `OTHER` ---------

    def acked(self, types: Mapping[str, int]) -> None:
        """Count deliveries that were acked, by event type."""
        for event_type, count in types.items():
            self._type(event_type).deliveries += count
        self._add_deliveries(sum(types.values()))

    def first_delivered(self, event_type: str, latency_seconds: float, count: int) -> None:
        """Count how long events took from acceptance to the first member of a subscription."""
        self._type(event_type).latency.record(latency_seconds, count)
        self.totals.latency.record(latency_seconds, count)

    def delivery_failed(self, event_type: str = OTHER, count: int = 1) -> None:
        """Count deliveries that a member failed or refused, or whose lease lapsed."""
        self._type(event_type).errors += count
        self.totals.errors += count

    def retried(self, event_type: str = OTHER, count: int = 1) -> None:
        """Count failed deliveries that are tried again."""
        self._type(event_type).retries += count
        self.totals.retries += count

    def buried(self, event_type: str = OTHER, count: int = 1) -> None:
        """Count deliveries that became dead letters."""
        self._type(event_type).dlq += count
        self.totals.dlq += count

    def activity_of(self, subscription: str) -> ActivityWindow:
        """Return where the activity of a subscription is counted. Look it up each time: idle ones are forgotten."""
        window = self._activities.get(subscription)
        if window is None:
            window = self._activities[subscription] = ActivityWindow()
        return window

    def _add_deliveries(self, count: int) -> None:
        self.totals.deliveries += count
        self._deliveries.add(self._clock.monotonic(), count)

    def demoted(self) -> None:
        """Count a live stream that fell behind."""
        self.demotions += 1

    def gap(self, reason: GapReason) -> None:
        """Count a gap that a reader was told."""
        self.gaps[reason] += 1

    # Reading ----------------------------------------------------------------------------------------------------------

    def publish_rate(self) -> Rate:
        """Publishes over the last minute."""
        return self._publishes.rate(self._clock.monotonic())

    def delivery_rate(self) -> Rate:
        """Deliveries over the last minute."""
        return self._deliveries.rate(self._clock.monotonic())

    def activities(self) -> dict[str, SubscriberActivity]:
        """Return what was done in the last minute for each subscription; one that is not named was idle."""
        now = self._clock.monotonic()
        found = {name: window.activity(now) for name, window in self._activities.items()}
        self._activities = {name: self._activities[name] for name, activity in found.items() if activity}
        return {name: activity for name, activity in found.items() if activity}

    def _type(self, event_type: str) -> TypeCounts:
        counts = self.types.get(event_type)
        if counts is None:
            if len(self.types) >= TYPES_MAX:
                return self._other()
            counts = self.types[event_type] = TypeCounts()
        return counts

    def _other(self) -> TypeCounts:
        return self.types.setdefault(OTHER, TypeCounts())
