"""A durable subscription as its owner writes it: what it wants, and how it is delivered.

Rule 1: a definition replaces the one before it as a whole: what is absent has its default again.
Rule 2: every limit is checked here, so that an engine and a delivery never meet a definition that they cannot keep.
Rule 3: all that is wrong is told at once, each with its place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from waooaw.events.attributes import VIOLATIONS_MAX
from waooaw.events.cursor import TOKEN_LENGTH
from waooaw.events.errors import (
    InvalidParameterError,
    InvalidPatternError,
    InvalidRequestError,
    NotAvailableFieldError,
    UnknownParameterError,
    Violation,
)
from waooaw.events.pattern import PatternSet
from waooaw.events.position import is_position
from waooaw.events.retry import RetryPolicy
from waooaw.events.timestamp import is_rfc3339

Ordering = Literal["none", "key"]
OnExhausted = Literal["dead_letter", "drop"]

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""Safe in a path, a metric's label, a log line and a shell; as long as a name of Kubernetes and of most brokers."""

LEASE_SECONDS: Final = (1.0, 3600.0)
"""Below a second, leases lapse while their settle travels; above an hour, extend: a lost member holds them so long."""

MAX_IN_FLIGHT: Final = (1, 100_000)
"""Leases at a time; each costs its engine some 200 bytes, so this is 20 MB a subscription."""

MAX_WAITING: Final = (1, 10_000_000)
"""References in the queue; each costs its engine 20 bytes, so this is 200 MB a subscription."""

MAX_ATTEMPTS: Final = (1, 1000)
"""Tries; a thousand of them at the default cap of five minutes are three and a half days."""

WAIT_SECONDS: Final = (0.0, 30 * 86_400.0)
"""Of waits and ages: up to a month, over the week for which the log keeps an event by default."""

FACTOR: Final = (1.0, 100.0)
"""Below 1, waits would become shorter; 100 goes from a second to the cap in three steps."""

EXPIRES_AFTER_SECONDS: Final = (60.0, 365 * 86_400.0)
"""Below a minute, a restart of its only member would cost a subscription all that waits."""


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
    """Read a definition from the members of its JSON object; raises `InvalidRequestError` kinds.

    The error's ``errors`` name every field that is wrong, up to `VIOLATIONS_MAX`. Whether a cursor in ``from`` is one
    of the bus is for the bus to say.
    """
    problems = _Problems()
    fields = problems.read("#", members, _FIELDS)
    retry = problems.read("#/retry", fields.pop("retry", {}), _RETRY)
    if isinstance(members, Mapping) and "patterns" not in members:
        problems.add(InvalidParameterError, "#/patterns", "is required")
    problems.raise_any()
    for later in _LATER:
        fields.pop(later, None)
    start = fields.pop("from", "now")
    return SubscriptionDefinition(start=start, retry=RetryPolicy(**retry), **fields)


def check_definition(definition: SubscriptionDefinition) -> None:
    """Raise what `parse_subscription` raises for a definition that was made in Python."""
    parse_subscription(definition.to_members() | {"from": definition.start})


class _WrongError(Exception):
    """What is wrong with one value; never leaves this module."""

    def __init__(self, detail: str, kind: type[InvalidRequestError] = InvalidParameterError) -> None:
        super().__init__(detail)
        self.detail = detail
        self.kind = kind


_Rule = Callable[[Any], Any]
"""Returns the value as a definition keeps it; raises `_WrongError`, or an error that says where."""


class _Problems:
    """What was found wrong, and the kinds of error that it was."""

    def __init__(self) -> None:
        self._violations: list[Violation] = []
        self._kinds: set[type[InvalidRequestError]] = set()

    def add(self, kind: type[InvalidRequestError], pointer: str, detail: str) -> None:
        self._take(kind, Violation(pointer, detail, kind.code))

    def read(self, pointer: str, members: object, rules: Mapping[str, _Rule]) -> dict[str, Any]:
        """Return the members of an object that are as they should be."""
        if not isinstance(members, Mapping):
            self.add(InvalidParameterError, pointer, "must be an object")
            return {}
        fields: dict[str, Any] = {}
        for name, value in members.items():
            place = f"{pointer}/{_escaped(name)}"
            rule = rules.get(name) if isinstance(name, str) else None
            if rule is None:
                self.add(UnknownParameterError, place, f"is no field here; there are {', '.join(rules)}")
                continue
            try:
                fields[name] = rule(value)
            except _WrongError as wrong:
                self.add(wrong.kind, place, wrong.detail)
            except InvalidPatternError as error:
                for violation in error.errors:
                    self._take(InvalidPatternError, violation)
        return fields

    def raise_any(self) -> None:
        """Raise what was found, if anything: as the kind that all of it shares, else as invalid parameters."""
        if not self._violations:
            return
        detail = "; ".join(
            f"{violation.pointer[2:] or 'a subscription'} {violation.detail}" for violation in self._violations
        )
        kind = self._kinds.pop() if len(self._kinds) == 1 else InvalidParameterError
        raise kind(detail, errors=tuple(self._violations))

    def _take(self, kind: type[InvalidRequestError], violation: Violation) -> None:
        if len(self._violations) < VIOLATIONS_MAX:
            self._violations.append(violation)
            self._kinds.add(kind)


def _escaped(name: object) -> str:
    return str(name)[:64].replace("~", "~0").replace("/", "~1")


def _whole(low: int, high: int) -> _Rule:
    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise _WrongError(f"must be a whole number from {low:,} to {high:,}")
        return value

    return read


def _number(low: float, high: float, *, optional: bool = False) -> _Rule:
    def read(value: object) -> float | None:
        if value is None and optional:
            return None
        # NaN is in no range
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise _WrongError(f"must be a number from {low:,.0f} to {high:,.0f}" + (" or null" if optional else ""))
        return float(value)

    return read


def _choice(*choices: str) -> _Rule:
    def read(value: object) -> str:
        if not isinstance(value, str) or value not in choices:
            raise _WrongError(f"must be one of {', '.join(choices)}")
        return value

    return read


def _later(value: object) -> None:
    if value is not None:
        raise _WrongError("is not available in this release", NotAvailableFieldError)


def _patterns(value: object) -> PatternSet:
    if not isinstance(value, list | tuple) or not all(isinstance(text, str) for text in value):
        raise _WrongError("must be a list of patterns")
    return PatternSet.parse(value, pointer="#/patterns")


def _place(value: object) -> str:
    if isinstance(value, str):
        is_time = is_rfc3339(value.replace(" ", "+"))
        if value in {"earliest", "now"} or is_time or is_position(value) or len(value) == TOKEN_LENGTH:
            return value
    raise _WrongError("must be earliest, now, an RFC 3339 time, a position or a cursor")


def _object(value: object) -> object:
    return value


_LATER: Final = ("filter", "push")

_FIELDS: Final[Mapping[str, _Rule]] = {
    "patterns": _patterns,
    "filter": _later,
    "from": _place,
    "ordering": _choice("none", "key"),
    "max_in_flight": _whole(*MAX_IN_FLIGHT),
    "max_waiting": _whole(*MAX_WAITING),
    "lease_seconds": _number(*LEASE_SECONDS),
    "expires_after_seconds": _number(*EXPIRES_AFTER_SECONDS, optional=True),
    "retry": _object,
    "on_exhausted": _choice("dead_letter", "drop"),
    "push": _later,
}
_RETRY: Final[Mapping[str, _Rule]] = {
    "max_attempts": _whole(*MAX_ATTEMPTS),
    "first_seconds": _number(*WAIT_SECONDS),
    "factor": _number(*FACTOR),
    "cap_seconds": _number(*WAIT_SECONDS),
    "max_age_seconds": _number(*WAIT_SECONDS, optional=True),
}
