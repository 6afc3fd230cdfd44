"""Rules for the members of an object that a person wrote: all that is wrong is told at once, each with its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from waooaw.events.attributes import VIOLATIONS_MAX
from waooaw.events.errors import (
    InvalidParameterError,
    InvalidRequestError,
    UnknownParameterError,
    Violation,
)


class WrongValueError(Exception):
    """What is wrong with one value; a rule raises it, and `Problems` tells it with its place."""

    def __init__(self, detail: str, kind: type[InvalidRequestError] = InvalidParameterError) -> None:
        super().__init__(detail)
        self.detail = detail
        self.kind = kind


Rule = Callable[[Any], Any]
"""Returns the value as a definition keeps it; raises `WrongValueError`, or an `InvalidRequestError` that says where."""


class Problems:
    """What was found wrong, and the kinds of error that it was."""

    def __init__(self) -> None:
        self._violations: list[Violation] = []
        self._kinds: set[type[InvalidRequestError]] = set()

    def add(self, kind: type[InvalidRequestError], pointer: str, detail: str) -> None:
        """Note one thing that is wrong."""
        self._take(kind, Violation(pointer, detail, kind.code))

    def read(self, pointer: str, members: object, rules: Mapping[str, Rule]) -> dict[str, Any]:
        """Return the members of an object that are as they should be."""
        if not isinstance(members, Mapping):
            self.add(InvalidParameterError, pointer, "must be an object")
            return {}
        fields: dict[str, Any] = {}
        for name, value in members.items():
            place = f"{pointer}/{escaped(name)}"
            rule = rules.get(name) if isinstance(name, str) else None
            if rule is None:
                self.add(UnknownParameterError, place, f"is no field here; there are {', '.join(rules)}")
                continue
            try:
                fields[name] = rule(value)
            except WrongValueError as wrong:
                self.add(wrong.kind, place, wrong.detail)
            except InvalidRequestError as error:
                for violation in error.errors:
                    self._take(type(error), violation)
        return fields

    def raise_any(self, what: str) -> None:
        """Raise what was found, if anything: as the kind that all of it shares, else as invalid parameters."""
        if not self._violations:
            return
        detail = "; ".join(f"{violation.pointer[2:] or what} {violation.detail}" for violation in self._violations)
        kind = self._kinds.pop() if len(self._kinds) == 1 else InvalidParameterError
        raise kind(detail, errors=tuple(self._violations))

    def _take(self, kind: type[InvalidRequestError], violation: Violation) -> None:
        if len(self._violations) < VIOLATIONS_MAX:
            self._violations.append(violation)
            self._kinds.add(kind)


def escaped(name: object) -> str:
    """Return a name as a part of a JSON pointer (RFC 6901 section 3), cut to 64 characters."""
    return str(name)[:64].replace("~", "~0").replace("/", "~1")


def whole(low: int, high: int) -> Rule:
    """Take whole numbers of a range, both ends included."""

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise WrongValueError(f"must be a whole number from {low:,} to {high:,}")
        return value

    return read


def number(low: float, high: float, *, optional: bool = False) -> Rule:
    """Take numbers of a range, both ends included; null too where it is optional."""

    def read(value: object) -> float | None:
        if value is None and optional:
            return None
        # NaN is in no range
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            span = f"from {_spelled(low)} to {_spelled(high)}"
            raise WrongValueError(f"must be a number {span}" + (" or null" if optional else ""))
        return float(value)

    return read


def choice(*choices: str) -> Rule:
    """Take one of some words."""

    def read(value: object) -> str:
        if not isinstance(value, str) or value not in choices:
            raise WrongValueError(f"must be one of {', '.join(choices)}")
        return value

    return read


def _spelled(bound: float) -> str:
    return f"{bound:,.0f}" if bound >= 1 else f"{bound:g}"
