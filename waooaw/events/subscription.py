"""A durable subscription as its owner writes it: what it wants, and how it is delivered.

Rule 1: a definition replaces the one before it as a whole: what is absent has its default again.
Rule 2: every limit is checked here, so that an engine and a delivery never meet a definition that they cannot keep.
Rule 3: all that is wrong is told at once, each with its place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from waooaw.events.cursor import TOKEN_LENGTH
from waooaw.events.errors import InvalidParameterError, NotAvailableFieldError, Violation
from waooaw.events.field_rules import Problems, Rule, WrongValueError, choice, number, whole
from waooaw.events.pattern import PatternSet
from waooaw.events.position import is_position
from waooaw.events.push import PushDefinition, read_push
from waooaw.events.retry import DEFAULT_RETRY, PUSH_RETRY, RetryPolicy
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
    retry: RetryPolicy = DEFAULT_RETRY
    on_exhausted: OnExhausted = "dead_letter"
    push: PushDefinition | None = None

    def __post_init__(self) -> None:
        """Try for longer where nothing was said of retries and a receiver is called."""
        if self.push is not None and self.retry is DEFAULT_RETRY:
            object.__setattr__(self, "retry", PUSH_RETRY)

    def to_members(self) -> dict[str, Any]:
        """Return the definition as the wire spells it, defaults and secrets included, without ``from``."""
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
            "push": None if self.push is None else self.push.to_members(),
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
    problems = Problems()
    fields = problems.read("#", members, _FIELDS)
    retry = problems.read("#/retry", fields.pop("retry", {}), _RETRY)
    push = read_push(problems, "#/push", fields.pop("push", None))
    if isinstance(members, Mapping) and "patterns" not in members:
        problems.add(InvalidParameterError, "#/patterns", "is required")
    problems.raise_any("a subscription")
    for later in _LATER:
        fields.pop(later, None)
    start = fields.pop("from", "now")
    policy = replace(DEFAULT_RETRY if push is None else PUSH_RETRY, **retry)
    return SubscriptionDefinition(start=start, retry=policy, push=push, **fields)


def parse_routing(members: object, *, is_keyed: bool) -> SubscriptionDefinition:
    """Read of a definition what events are queued by, whatever else it says: one that a later release wrote.

    Raises `InvalidRequestError` kinds where it has no patterns.
    """
    patterns = members.get("patterns") if isinstance(members, Mapping) else None
    return parse_subscription({"patterns": patterns, "ordering": "key" if is_keyed else "none"})


def check_definition(definition: SubscriptionDefinition) -> None:
    """Raise what `parse_subscription` raises for a definition that was made in Python."""
    parse_subscription(definition.to_members() | {"from": definition.start})


def _later(value: object) -> None:
    if value is not None:
        raise WrongValueError("is not available in this release", NotAvailableFieldError)


def _patterns(value: object) -> PatternSet:
    if not isinstance(value, list | tuple) or not all(isinstance(text, str) for text in value):
        raise WrongValueError("must be a list of patterns")
    return PatternSet.parse(value, pointer="#/patterns")


def _place(value: object) -> str:
    if isinstance(value, str):
        is_time = is_rfc3339(value.replace(" ", "+"))
        if value in {"earliest", "now"} or is_time or is_position(value) or len(value) == TOKEN_LENGTH:
            return value
    raise WrongValueError("must be earliest, now, an RFC 3339 time, a position or a cursor")


def _object(value: object) -> object:
    return value


_LATER: Final = ("filter",)

_FIELDS: Final[Mapping[str, Rule]] = {
    "patterns": _patterns,
    "filter": _later,
    "from": _place,
    "ordering": choice("none", "key"),
    "max_in_flight": whole(*MAX_IN_FLIGHT),
    "max_waiting": whole(*MAX_WAITING),
    "lease_seconds": number(*LEASE_SECONDS),
    "expires_after_seconds": number(*EXPIRES_AFTER_SECONDS, optional=True),
    "retry": _object,
    "on_exhausted": choice("dead_letter", "drop"),
    "push": _object,
}
_RETRY: Final[Mapping[str, Rule]] = {
    "max_attempts": whole(*MAX_ATTEMPTS),
    "first_seconds": number(*WAIT_SECONDS),
    "factor": number(*FACTOR),
    "cap_seconds": number(*WAIT_SECONDS),
    "max_age_seconds": number(*WAIT_SECONDS, optional=True),
}
