"""A durable subscription as its owner writes it: what it wants, and how it is delivered.

A definition replaces the one before it as a whole: what is absent has its default again. Every limit is checked here,
so that an engine and a delivery never meet a definition that they cannot keep.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Final, Literal

from waooaw.events.errors import (
    InvalidParameterError,
    NotAvailableFieldError,
    UnknownParameterError,
    Violation,
)
from waooaw.events.pattern import PatternSet
from waooaw.events.retry import RetryPolicy

Ordering = Literal["none", "key"]
OnExhausted = Literal["dead_letter", "drop"]

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")

LEASE_SECONDS: Final = (1, 3600)
MAX_IN_FLIGHT: Final = (1, 100_000)
MAX_WAITING: Final = (1, 10_000_000)
MAX_ATTEMPTS: Final = (1, 1000)
SECONDS: Final = (0.0, 30 * 86_400.0)
FACTOR: Final = (1.0, 100.0)
EXPIRES_AFTER: Final = (60.0, 365 * 86_400.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionDefinition:
    """What a subscription asks for. ``start`` counts when it is made, and never again."""

    patterns: PatternSet
    start: str = "now"
    ordering: Ordering = "none"
    max_in_flight: int = 1000
    max_waiting: int = 1_000_000
    lease_seconds: float = 30.0
    expires_after_seconds: float | None = None
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    on_exhausted: OnExhausted = "dead_letter"

    def to_members(self) -> dict[str, Any]:
        """Return the definition as the wire spells it, defaults included, without ``from``."""
        retry = self.retry
        return {
            "patterns": [pattern.text for pattern in self.patterns.patterns],
            "filter": None,
            "ordering": self.ordering,
            "max_in_flight": self.max_in_flight,
            "max_waiting": self.max_waiting,
            "lease_seconds": self.lease_seconds,
            "expires_after_seconds": self.expires_after_seconds,
            "retry": {
                "max_attempts": retry.max_attempts,
                "first_seconds": retry.first_seconds,
                "factor": retry.factor,
                "cap_seconds": retry.cap_seconds,
                "max_age_seconds": retry.max_age_seconds,
            },
            "on_exhausted": self.on_exhausted,
            "push": None,
        }


def check_name(name: str) -> None:
    """Raise `InvalidParameterError` unless a text can name a subscription."""
    if NAME.fullmatch(name) is None:
        message = (
            "a subscription's name has 1 to 128 letters, digits, dots, dashes and underscores, a letter or digit first"
        )
        raise InvalidParameterError(message, errors=(Violation("#/name", message, InvalidParameterError.code),))


def parse_subscription(members: object) -> SubscriptionDefinition:
    """Read a definition; raises `InvalidRequestError` kinds that name every field that is wrong."""
    reader = _Reader("#", members, ("patterns", "from", *_PLAIN, "retry", "filter", "push"))
    reader.refuse_later("filter", "push")
    patterns = PatternSet.parse(reader.texts("patterns"), pointer="#/patterns")
    retry = _Reader("#/retry", reader.members.get("retry") or {}, tuple(_RETRY))
    values: dict[str, Any] = {name: read(reader, name) for name, read in _PLAIN.items() if name in reader.members}
    policy = RetryPolicy(**{name: read(retry, name) for name, read in _RETRY.items() if name in retry.members})
    problems = reader.problems + retry.problems
    if problems:
        message = "; ".join(f"{problem.pointer[2:]} {problem.detail}" for problem in problems)
        raise InvalidParameterError(message, errors=tuple(problems))
    start = reader.members.get("from", "now")
    return SubscriptionDefinition(patterns=patterns, start=str(start), retry=policy, **values)


class _Reader:
    """Reads the fields of one object, and collects what is wrong with them."""

    def __init__(self, pointer: str, members: object, known: tuple[str, ...]) -> None:
        if not isinstance(members, Mapping):
            message = f"{pointer[2:] or 'a subscription'} must be an object"
            raise InvalidParameterError(message, errors=(Violation(pointer, "must be an object", "not_an_object"),))
        if unknown := [name for name in members if name not in known]:
            message = f"{unknown[0]!r} is no field here; there are {', '.join(known)}"
            raise UnknownParameterError(message, errors=(Violation(f"{pointer}/{unknown[0]}", message, "unknown"),))
        self.members: Mapping[str, Any] = members
        self.problems: list[Violation] = []
        self._pointer = pointer

    def refuse_later(self, *names: str) -> None:
        for name in names:
            if self.members.get(name) is not None:
                message = f"{name} is not available in this release"
                violation = Violation(f"{self._pointer}/{name}", message, NotAvailableFieldError.code)
                raise NotAvailableFieldError(message, errors=(violation,))

    def texts(self, name: str) -> list[str]:
        value = self.members.get(name)
        if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
            self._wrong(name, "must be a list of at least one pattern")
            raise InvalidParameterError(f"{name} {self.problems[-1].detail}", errors=tuple(self.problems))
        return value

    def whole(self, name: str, low: int, high: int) -> int:
        value = self.members[name]
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self._wrong(name, f"must be a whole number from {low:,} to {high:,}")
            return low
        return value

    def seconds(self, name: str, low: float, high: float, *, optional: bool = False) -> float | None:
        value = self.members[name]
        if value is None and optional:
            return None
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not isfinite(value)
            or not low <= value <= high
        ):
            self._wrong(name, f"must be a number from {low:g} to {high:g}" + (" or null" if optional else ""))
            return low
        return float(value)

    def choice(self, name: str, *choices: str) -> str:
        value = self.members[name]
        if value not in choices:
            self._wrong(name, f"must be one of {', '.join(choices)}")
            return choices[0]
        return str(value)

    def _wrong(self, name: str, detail: str) -> None:
        self.problems.append(Violation(f"{self._pointer}/{name}", detail, InvalidParameterError.code))


_Read = Callable[[_Reader, str], Any]

_PLAIN: Final[dict[str, _Read]] = {
    "ordering": lambda reader, name: reader.choice(name, "none", "key"),
    "max_in_flight": lambda reader, name: reader.whole(name, *MAX_IN_FLIGHT),
    "max_waiting": lambda reader, name: reader.whole(name, *MAX_WAITING),
    "lease_seconds": lambda reader, name: reader.seconds(name, *LEASE_SECONDS),
    "expires_after_seconds": lambda reader, name: reader.seconds(name, *EXPIRES_AFTER, optional=True),
    "on_exhausted": lambda reader, name: reader.choice(name, "dead_letter", "drop"),
}
_RETRY: Final[dict[str, _Read]] = {
    "max_attempts": lambda reader, name: reader.whole(name, *MAX_ATTEMPTS),
    "first_seconds": lambda reader, name: reader.seconds(name, *SECONDS),
    "factor": lambda reader, name: reader.seconds(name, *FACTOR),
    "cap_seconds": lambda reader, name: reader.seconds(name, *SECONDS),
    "max_age_seconds": lambda reader, name: reader.seconds(name, *SECONDS, optional=True),
}
