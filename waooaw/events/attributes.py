"""The attributes of an event and their rules (CloudEvents 1.0.2, sections "Context Attributes" and "Type System").

A rule takes a value as JSON decoded it and returns what is wrong with it, or None. Rules whose values repeat from event
to event (types, sources, media types) remember the last few thousand.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from waooaw.events.errors import (
    InvalidEventError,
    TypeUnsupportedError,
    Violation,
    WowEventError,
)
from waooaw.events.timestamp import is_rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SPECVERSION: Final = "1.0"
TYPE_LENGTH_MAX: Final = 255
"""A type is a routing key: it is memoised, counted and matched against patterns, which have the same limit."""

PRIORITIES: Final = ("critical", "high", "normal", "low")
INTEGER_MIN, INTEGER_MAX = -(2**31), 2**31 - 1

VIOLATIONS_MAX: Final = 16
"""Reported of one event: who made them all by one mistake needs no more, and answers stay small."""

_MEMO: Final = 4096
"""Distinct values a rule remembers: the working set of a busy bus, under a megabyte."""

# CloudEvents 1.0.2, "Type System", String: no control characters, no noncharacters, no surrogates.
_FORBIDDEN: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | tail) for plane in range(17) for tail in (0xFFFE, 0xFFFF))
    + "]"
)
_NAME: Final = re.compile(r"[a-z0-9]+", re.ASCII)
# RFC 3986 appendix A: the characters of a URI-reference, with well-formed percent-encoding.
_URI_REFERENCE: Final = re.compile(r"(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+", re.ASCII)
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:.", re.ASCII)
_TOKEN: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_MEDIA_TYPE: Final = re.compile(
    rf"{_TOKEN}/{_TOKEN}(?:[ \t]*;[ \t]*{_TOKEN}=(?:{_TOKEN}|\"(?:[^\"\\\x00-\x1f]|\\[\x20-\x7e])*\"))*[ \t]*", re.ASCII
)
_TYPE: Final = re.compile(r"[!#$%&()+,\-./0-9:;<=>@A-Z^_`a-z{|}~]{1,255}", re.ASCII)


class Fault(NamedTuple):
    """What is wrong with one value."""

    code: str
    detail: str


_NOT_TEXT: Final = Fault("not_a_string", "must be a string")
_EMPTY: Final = Fault("empty", "must not be empty")
_CONTROL: Final = Fault("forbidden_character", "must not contain control characters, noncharacters or lone surrogates")


def _text(value: object) -> Fault | None:
    if not isinstance(value, str):
        return _NOT_TEXT
    if not value:
        return _EMPTY
    if value.isascii() and value.isprintable():
        return None
    return _CONTROL if _FORBIDDEN.search(value) else None


def _specversion(value: object) -> Fault | None:
    return None if value == SPECVERSION else Fault("unsupported_version", 'must be "1.0", the only version served')


@lru_cache(maxsize=_MEMO)
def _type_text(value: str) -> Fault | None:
    if not value:
        return _EMPTY
    if _TYPE.fullmatch(value):
        return None
    rule = rf"must be 1 to {TYPE_LENGTH_MAX} printable ASCII characters without spaces, quotes and *?[]\ "
    return Fault(TypeUnsupportedError.code, rule.strip())


def _type(value: object) -> Fault | None:
    return _type_text(value) if isinstance(value, str) else _NOT_TEXT


@lru_cache(maxsize=_MEMO)
def _source_text(value: str) -> Fault | None:
    if not value:
        return _EMPTY
    if _URI_REFERENCE.fullmatch(value):
        return None
    return Fault("not_a_uri_reference", "must be a URI-reference (RFC 3986); percent-encode spaces and non-ASCII")


def _source(value: object) -> Fault | None:
    return _source_text(value) if isinstance(value, str) else _NOT_TEXT


@lru_cache(maxsize=_MEMO)
def _dataschema_text(value: str) -> Fault | None:
    if _SCHEME.match(value) and _URI_REFERENCE.fullmatch(value):
        return None
    return Fault("not_a_uri", "must be an absolute URI (RFC 3986)")


def _dataschema(value: object) -> Fault | None:
    return _dataschema_text(value) if isinstance(value, str) else _NOT_TEXT


@lru_cache(maxsize=_MEMO)
def _media_type_text(value: str) -> Fault | None:
    return None if _MEDIA_TYPE.fullmatch(value) else Fault("not_a_media_type", "must be a media type (RFC 2046)")


def _datacontenttype(value: object) -> Fault | None:
    return _media_type_text(value) if isinstance(value, str) else _NOT_TEXT


def _timestamp(value: object) -> Fault | None:
    if not isinstance(value, str):
        return _NOT_TEXT
    return None if is_rfc3339(value) else Fault("not_a_timestamp", "must be an RFC 3339 time, 2026-01-31T12:00:00Z")


def _priority(value: object) -> Fault | None:
    return None if value in PRIORITIES else Fault("not_a_priority", f"must be one of {', '.join(PRIORITIES)}")


_RULES: Final[Mapping[str, Callable[[object], Fault | None]]] = {
    "specversion": _specversion,
    "id": _text,
    "source": _source,
    "type": _type,
    "datacontenttype": _datacontenttype,
    "dataschema": _dataschema,
    "subject": _text,
    "time": _timestamp,
    "priority": _priority,
    "deliverat": _timestamp,
    "expirytime": _timestamp,
    "partitionkey": _text,
    "correlationid": _text,
    "causationid": _text,
    "traceparent": _text,
}
REQUIRED: Final = ("source", "type")
"""What a publisher must give; the bus fills in ``id``, ``time`` and ``specversion``."""


def is_attribute_name(name: str) -> bool:
    """Tell whether a name can be an attribute's: lower-case ASCII letters and digits."""
    return _NAME.fullmatch(name) is not None


def _extension(name: str, value: object) -> Fault | None:
    if not is_attribute_name(name):
        return Fault("invalid_name", "attribute names are lower-case letters a-z and digits 0-9")
    if isinstance(value, str):
        return _CONTROL if not (value.isascii() and value.isprintable()) and _FORBIDDEN.search(value) else None
    if isinstance(value, bool) or (isinstance(value, int) and INTEGER_MIN <= value <= INTEGER_MAX):
        return None
    return Fault("invalid_value", "an extension is a string, a boolean or a 32-bit integer")


def _pointer(name: str) -> str:
    escaped = name[:64].replace("~", "~0").replace("/", "~1")
    return f"#/{escaped}"


def find_violations(attributes: Mapping[str, object]) -> list[Violation]:
    """Return what is wrong with the attributes of an event (its data apart), in their order, up to `VIOLATIONS_MAX`."""
    found = [Violation(f"#/{name}", "is required", "required") for name in REQUIRED if name not in attributes]
    for name, value in attributes.items():
        if len(found) >= VIOLATIONS_MAX:
            break
        rule = _RULES.get(name)
        fault = rule(value) if rule is not None else _extension(name, value)
        if fault is not None:
            found.append(Violation(_pointer(name), fault.detail, fault.code))
    return found


def event_error(violations: list[Violation]) -> WowEventError:
    """Return the error that reports the violations of one event; its code is the most telling one they share."""
    codes = {violation.code for violation in violations}
    kind = TypeUnsupportedError if codes == {TypeUnsupportedError.code} else InvalidEventError
    detail = "; ".join(f"{violation.pointer[2:]} {violation.detail}" for violation in violations[:5])
    return kind(detail, errors=tuple(violations))
