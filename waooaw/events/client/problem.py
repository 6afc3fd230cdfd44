"""From what a service answers to the error that it means: problem details (RFC 9457) by their ``code``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from waooaw.events.error_table import ERRORS
from waooaw.events.errors import ConfirmationRequiredError, RoutesChangedError, Violation, WowEventError
from waooaw.events.outages import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

_KINDS: Final[Mapping[tuple[str, int], type[WowEventError]]] = {
    (kind.code, kind.status): kind
    for kind in ERRORS
    if kind not in {RoutesChangedError, ConfirmationRequiredError}  # they carry more, and the first is for no client
}
"""Code and status: one code can be about a field (400) and about a route (404)."""

_KINDS_BY_CODE: Final[Mapping[str, type[WowEventError]]] = {kind.code: kind for kind in _KINDS.values()}

_GATEWAY: Final = frozenset({502, 503, 504})
"""What a proxy answers when the service behind it is not there: the same call can succeed later."""

_OUTCOMES: Final = ("not_stored", "unknown")

_SHOWN_CHARACTERS_MAX: Final = 200

_DIGITS_MAX: Final = 6
"""Eleven days; what asks for more is mistaken."""

decode_json: Final = msgspec.json.decode


def error_of_answer(url: str, status: int, headers: Mapping[str, str], body: bytes) -> WowEventError:
    """Return the error that an answer means, a proxy's in front of the service included."""
    retry_after_seconds = _seconds(headers.get("Retry-After"))
    try:
        members = decode_json(body)
    except msgspec.DecodeError:
        members = None
    if isinstance(members, dict) and isinstance(members.get("code"), str):
        return error_of_members(members, status=status, retry_after_seconds=retry_after_seconds)
    shown = body.decode("utf-8", "replace").strip()[:_SHOWN_CHARACTERS_MAX]
    detail = f"{url} answered {status}, and not as WowEvent does: {shown!r}"
    if status in _GATEWAY:
        return UnavailableError(detail, retry_after_seconds=retry_after_seconds, outcome="unknown")
    return WowEventError(f"{detail}; is it the address of the service?")


def error_of_members(
    members: Mapping[str, Any], *, status: int | None = None, retry_after_seconds: int | None = None
) -> WowEventError:
    """Return the error of a problem, or of a refused event in the results of a batch.

    A code that this release does not know becomes the nearest kind: `UnavailableError` where the same call can succeed
    later, `WowEventError` otherwise; its detail names the code.
    """
    code, detail = str(members.get("code")), str(members.get("detail", ""))
    if code == ConfirmationRequiredError.code:
        count = members.get("count")
        return ConfirmationRequiredError(
            detail, count=count if isinstance(count, int) else 0, confirm=str(members.get("confirm", ""))
        )
    kind = _KINDS.get((code, status or 0)) or _KINDS_BY_CODE.get(code)
    if kind is None:
        kind = UnavailableError if status in _GATEWAY or members.get("retryable") is True else WowEventError
        detail = f"{code}: {detail}"
    violations = tuple(_violations(members.get("errors")))
    if issubclass(kind, UnavailableError):
        outcome = members.get("outcome")
        return kind(
            detail,
            errors=violations,
            retry_after_seconds=retry_after_seconds,
            outcome=outcome if outcome in _OUTCOMES else "not_stored",
        )
    return kind(detail, errors=violations, retry_after_seconds=retry_after_seconds)


def _violations(listed: object) -> list[Violation]:
    if not isinstance(listed, list):
        return []
    return [
        Violation(str(item.get("pointer", "#")), str(item.get("detail", "")), str(item.get("code", "")))
        for item in listed
        if isinstance(item, dict)
    ]


def _seconds(text: str | None) -> int | None:
    """Read a ``Retry-After`` in seconds (RFC 9110 section 10.2.3); its other form, a date, the service does not use."""
    is_number = text is not None and text.isascii() and text.isdecimal() and len(text) <= _DIGITS_MAX
    return int(text) if text is not None and is_number else None
