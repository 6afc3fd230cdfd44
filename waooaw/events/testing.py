"""What tests of agents need: time that moves by hand, identifiers that can be foretold, deliveries for handlers."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from waooaw.events.delivery import Delivery
from waooaw.events.event import StoredEvent
from waooaw.events.position import make_position

if TYPE_CHECKING:
    from waooaw.events.clock import Clock
    from waooaw.events.event import Event
    from waooaw.events.identifier import Identifiers

START_MS = 1_764_019_200_000
"""When time begins where a test does not say."""


class ManualClock:
    """A clock that stands still until ``advance``. It counts in whole nanoseconds, so steps add up exactly."""

    __slots__ = ("_monotonic_ns", "_wall_ns")

    def __init__(self, now_ms: int = START_MS, monotonic: float = 1_000.0) -> None:
        self._wall_ns = now_ms * 1_000_000
        self._monotonic_ns = round(monotonic * 1e9)

    def now_ms(self) -> int:
        """See Clock."""
        return self._wall_ns // 1_000_000

    def now(self) -> float:
        """See Clock."""
        return self._wall_ns / 1e9

    def monotonic(self) -> float:
        """See Clock."""
        return self._monotonic_ns / 1e9

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks. Raises ValueError below 0: monotonic time cannot run back."""
        if seconds < 0:
            raise ValueError(seconds)
        self._wall_ns += round(seconds * 1e9)
        self._monotonic_ns += round(seconds * 1e9)

    def set_wall(self, now_ms: int) -> None:
        """Set the wall clock alone, forth or back, as an operator or NTP does."""
        self._wall_ns = now_ms * 1_000_000


class SequentialIdentifiers:
    """Identifiers that count from 1: event ids in the form of a UUIDv7, epochs ``1``, tokens ``token-1``."""

    __slots__ = ("_epochs", "_events", "_tokens")

    def __init__(self) -> None:
        self._events = count(1)
        self._epochs = count(1)
        self._tokens = count(1)

    def new_event_id(self) -> str:
        """See Identifiers."""
        return f"00000000-0000-7000-8000-{next(self._events):012x}"

    def new_epoch(self) -> int:
        """See Identifiers."""
        return next(self._epochs)

    def new_token(self) -> str:
        """See Identifiers."""
        return f"token-{next(self._tokens)}"


def delivery_of(event: Event, *, attempt: int = 1, last_error: str | None = None) -> Delivery:
    """Return a delivery of an event, as a handler gets it, without a bus. Nothing can be settled by it."""
    body = event.to_json()
    correlationid = event.extensions.get("correlationid")
    return Delivery(
        token=f"test.{START_MS}-0.test",
        stored=StoredEvent(
            make_position(START_MS),
            event.type,
            event.source,
            None if correlationid is None else str(correlationid),
            body,
        ),
        attempt=attempt,
        first_delivery_ms=START_MS,
        last_error=last_error,
        lease_seconds=30.0,
    )


if TYPE_CHECKING:
    _clock: type[Clock] = ManualClock
    _identifiers: type[Identifiers] = SequentialIdentifiers
