"""Where a stream writes, and how what it writes is spelled: what the edges give the bus.

``Payload`` is bytes on a socket and objects in the process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waooaw.events.cursor import Cursor
    from waooaw.events.epoch import Gap
    from waooaw.events.event import StoredEvent
    from waooaw.events.pattern import PatternSet
    from waooaw.events.position import Position

Payload = TypeVar("Payload")
Payload_co = TypeVar("Payload_co", covariant=True)
Payload_contra = TypeVar("Payload_contra", contravariant=True)


class Framing(Protocol[Payload]):
    """Spells messages. One instance serves all streams of its kind: compared by identity, to share what it made."""

    def event(self, event: StoredEvent, epoch: int) -> Payload:
        """Spell one event; the same for every reader."""
        ...

    def join(self, payloads: Sequence[Payload]) -> Payload:
        """Make one payload of several."""
        ...

    def gap(self, gap: Gap) -> Payload:
        """Spell what a reader did not see."""
        ...

    def cursor(self, cursor: Cursor) -> Payload:
        """Spell how far a reader is, so that it need not keep the last event."""
        ...


class Sink(Protocol[Payload_contra]):
    """One reader's end. Used from the event loop only."""

    def write(self, payload: Payload_contra) -> None:
        """Take a payload, whole and at once. A broken sink takes it silently; its owner closes the stream."""
        ...

    def buffered_bytes(self) -> int:
        """Return how much of what was written has not been taken yet."""
        ...

    async def drained(self) -> None:
        """Return when little is buffered. Raises `ConnectionError` where that cannot come."""
        ...


class LiveReader(Protocol):
    """What live delivery knows of a stream."""

    patterns: PatternSet
    framing: Framing[Any]
    sink: Sink[Any]

    def demote(self, position: Position) -> None:
        """Leave live delivery, having got everything up to a position."""
        ...

    def lose(self, place: Position, gap: Gap) -> None:
        """Leave live delivery, because the log's history went back to a place, and tell the gap."""
        ...
