"""Query parameters: each call names those it knows; others are refused, since a misspelt filter would widen a read."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from waooaw.events.bound import parse_bound
from waooaw.events.errors import (
    InvalidCursorError,
    InvalidParameterError,
    NotAvailableFieldError,
    UnknownParameterError,
    Violation,
    WowEventError,
)
from waooaw.events.pattern import PatternSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from multidict import MultiMapping

    from waooaw.events.bound import Bound

NOT_YET = frozenset({"filter"})
"""Parameters of the design that this release does not serve."""

INTEGER_DIGITS_MAX = 9
"""More digits than any number here needs, few enough for `int` whatever they are."""


class Parameters:
    """The query parameters of one request."""

    def __init__(self, query: MultiMapping[str], known: Iterable[str]) -> None:
        names = frozenset(known)
        for name in query:
            if name in names and name not in NOT_YET:
                continue
            if name in names:
                message = f"the parameter {name} is not available in this release"
                raise _error(NotAvailableFieldError, name, message)
            message = f"unknown parameter {name[:64]!r}; this call knows {', '.join(sorted(names - NOT_YET)) or 'none'}"
            raise _error(UnknownParameterError, name, message)
        self._query = query

    def one(self, name: str) -> str | None:
        """Return the value of a parameter that may come once, or None."""
        values = self._query.getall(name, [])
        if len(values) > 1:
            raise _error(InvalidParameterError, name, f"the parameter {name} is given {len(values)} times")
        return values[0] if values else None

    def several(self, name: str) -> list[str] | None:
        """Return the values of a parameter that may come more than once, or None."""
        return self._query.getall(name, []) or None

    def integer(self, name: str, default: int, *, minimum: int, maximum: int) -> int:
        """Return a whole number within its bounds."""
        text = self.one(name)
        if text is None:
            return default
        is_number = text.isascii() and text.isdecimal() and len(text) <= INTEGER_DIGITS_MAX
        if not (is_number and minimum <= int(text) <= maximum):
            message = f"{name} must be a whole number from {minimum} to {maximum}, not {text[:64]!r}"
            raise _error(InvalidParameterError, name, message)
        return int(text)

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """Return one of several words; the first is the default."""
        text = self.one(name)
        if text is None:
            return choices[0]
        if text not in choices:
            raise _error(InvalidParameterError, name, f"{name} must be {' or '.join(choices)}, not {text[:64]!r}")
        return text

    def bound(self, name: str, bus: str, default: str) -> Bound:
        """Return a place in the log of a bus."""
        text = self.one(name)
        return bound_at(f"#/query/{name}", bus, default if text is None else text)

    def patterns(self) -> PatternSet:
        """Return the patterns, all types where none is given."""
        return PatternSet.parse(self._query.getall("pattern", ["*"]), pointer="#/query/pattern")


@contextmanager
def said_in_query() -> Iterator[None]:
    """Have what is wrong with an argument (``#/after``) told as wrong with the parameter that gave it."""
    try:
        yield
    except InvalidParameterError as error:
        places = [
            Violation(place.pointer.replace("#/", "#/query/", 1), place.detail, place.code) for place in error.errors
        ]
        raise InvalidParameterError(error.detail, errors=tuple(places)) from None


def located(pointer: str, error: WowEventError) -> WowEventError:
    """Return an error with where in the request its cause was given."""
    return type(error)(error.detail, errors=(Violation(pointer, error.detail, error.code),))


def bound_at(pointer: str, bus: str, text: str) -> Bound:
    """Read a place in the log of a bus; what is wrong with it is told with where it was given."""
    try:
        return parse_bound(bus, text)
    except (InvalidCursorError, InvalidParameterError) as error:
        raise located(pointer, error) from None


def _error(kind: type[WowEventError], name: str, detail: str) -> WowEventError:
    return kind(detail, errors=(Violation(f"#/query/{name[:64]}", detail, kind.code),))
