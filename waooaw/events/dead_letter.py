"""An event that a subscription could not process, and how to choose among such."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from waooaw.events.errors import InvalidParameterError, Violation
from waooaw.events.event import StoredEvent
from waooaw.events.retry import DeadReason

if TYPE_CHECKING:
    from waooaw.events.pattern import PatternSet

REDRIVE_RATE: Final = (0.001, 100_000.0)
"""The slowest and the fastest redrive, in dead letters a second."""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A full copy of an event, with what its subscription made of it. Times are Unix milliseconds.

    ``id`` names it among the dead letters of its subscription, older ones sort first (``<ms>-<n>``, the time of death).
    """

    id: str
    reference: str
    reason: DeadReason
    attempts: int
    first_failure_ms: int
    last_failure_ms: int
    last_error: str
    member: str
    stored: StoredEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterFilter:
    """Which dead letters are meant: all that fit every member given. ``text`` is looked for in error and event."""

    ids: frozenset[str] | None = None
    reason: DeadReason | None = None
    patterns: PatternSet | None = None
    died_from_ms: int | None = None
    died_before_ms: int | None = None
    text: str | None = None

    def matches(self, letter: DeadLetter) -> bool:
        """Whether a dead letter is meant. Text is compared without regard to case."""
        return (
            (self.ids is None or letter.id in self.ids)
            and (self.reason is None or letter.reason == self.reason)
            and (self.patterns is None or self.patterns.matches(letter.stored.type))
            and (self.died_from_ms is None or letter.last_failure_ms >= self.died_from_ms)
            and (self.died_before_ms is None or letter.last_failure_ms < self.died_before_ms)
            and (self.text is None or self._finds(self.text.casefold(), letter))
        )

    @staticmethod
    def _finds(text: str, letter: DeadLetter) -> bool:
        if text in letter.last_error.casefold():
            return True
        spelled_alike = msgspec.json.encode(msgspec.json.decode(letter.stored.body))  # escapes are a publisher's choice
        return text in spelled_alike.decode().casefold()


@dataclass(frozen=True, slots=True)
class DeadLetterPage:
    """Dead letters, oldest first. ``next`` is the id to go on after; None at the end."""

    items: tuple[DeadLetter, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class RedriveResult:
    """How many dead letters were meant, and how many went back into their subscription (0 of a dry run)."""

    matched: int
    redriven: int


def check_redrive_rate(rate: float | None) -> None:
    """Raise `InvalidParameterError` unless a rate is one that redriving can keep, or none."""
    least, most = REDRIVE_RATE
    if rate is not None and not least <= rate <= most:  # as written, so that what is not a number is refused as well
        message = f"rate must be a number from {least:g} to {most:,.0f}, or null"
        raise InvalidParameterError(message, errors=(Violation("#/rate", message, InvalidParameterError.code),))
