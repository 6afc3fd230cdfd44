"""How dead letters, and events for later, are spelled in JSON, and read back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, get_args

import msgspec

from waooaw.events.dead_letter import DeadLetter, DeadLetterFilter, DeadLetterPage, RedriveResult
from waooaw.events.delivery_wire import stored_event
from waooaw.events.errors import InvalidParameterError, UnknownParameterError, Violation
from waooaw.events.pattern import PatternSet
from waooaw.events.position import format_position
from waooaw.events.retry import DeadReason
from waooaw.events.scheduled_event import ScheduledEvent, ScheduledPage
from waooaw.events.timestamp import format_timestamp, parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping

FILTER_MEMBERS: Final = ("id", "reason", "type", "from", "to", "text")
"""Of a filter, in a query and in a body; ``id`` and ``type`` may be several."""

REASONS: Final[tuple[DeadReason, ...]] = get_args(DeadReason)

IDS_MAX: Final = 1000
TEXT_LENGTH_MAX: Final = 200
ID_LENGTH_MAX: Final = 64

_encode: Final = msgspec.json.encode


class _Letter(msgspec.Struct, gc=False):
    id: str
    position: str
    reference: str
    reason: Any
    attempts: int
    first_failure: str
    last_failure: str
    last_error: str
    member: str
    event: msgspec.Raw


class _Page(msgspec.Struct):
    items: list[_Letter]
    next: str | None = None


class _Scheduled(msgspec.Struct, gc=False):
    id: str
    deliverat: str
    event: msgspec.Raw


class _ScheduledPage(msgspec.Struct):
    items: list[_Scheduled]
    total: int
    next: str | None = None


_decode_letter: Final = msgspec.json.Decoder(_Letter).decode
_decode_page: Final = msgspec.json.Decoder(_Page).decode
_decode_scheduled: Final = msgspec.json.Decoder(_Scheduled).decode
_decode_scheduled_page: Final = msgspec.json.Decoder(_ScheduledPage).decode


# Dead letters ---------------------------------------------------------------------------------------------------------


def dead_letter_json(letter: DeadLetter) -> bytes:
    """Spell a dead letter, its event as the log had it."""
    members = {
        "id": letter.id,
        "position": format_position(letter.stored.position),
        "reference": letter.reference,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "first_failure": format_timestamp(letter.first_failure_ms),
        "last_failure": format_timestamp(letter.last_failure_ms),
        "last_error": letter.last_error,
        "member": letter.member,
    }
    return b'%b,"event":%b}' % (_encode(members)[:-1], letter.stored.body)


def dead_letter_page_json(page: DeadLetterPage) -> bytes:
    """Spell a page of them; ``next`` is given as ``after`` to go on, null at the end."""
    items = b",".join([dead_letter_json(letter) for letter in page.items])
    return b'{"items":[%b],%b' % (items, _encode({"next": page.next, "end": page.next is None})[1:])


def read_dead_letter(text: bytes) -> DeadLetter:
    """Read a dead letter; raises `msgspec.MsgspecError` and `InvalidParameterError` for what is none."""
    return _letter(_decode_letter(text))


def read_dead_letter_page(text: bytes) -> DeadLetterPage:
    """Read a page of them; raises as `read_dead_letter`."""
    page = _decode_page(text)
    return DeadLetterPage(tuple([_letter(letter) for letter in page.items]), page.next)


def _letter(found: _Letter) -> DeadLetter:
    return DeadLetter(
        id=found.id,
        reference=found.reference,
        reason=found.reason,
        attempts=found.attempts,
        first_failure_ms=parse_timestamp(found.first_failure),
        last_failure_ms=parse_timestamp(found.last_failure),
        last_error=found.last_error,
        member=found.member,
        stored=stored_event(found.position, bytes(found.event)),
    )


def filter_members(which: DeadLetterFilter) -> dict[str, Any]:
    """Spell a filter: members of a body, and parameters of a query where a list is one repeated."""
    members: dict[str, Any] = {}
    if which.ids is not None:
        members["id"] = sorted(which.ids)
    if which.reason is not None:
        members["reason"] = which.reason
    if which.patterns is not None:
        members["type"] = [pattern.text for pattern in which.patterns.patterns]
    if which.died_from_ms is not None:
        members["from"] = format_timestamp(which.died_from_ms)
    if which.died_before_ms is not None:
        members["to"] = format_timestamp(which.died_before_ms)
    if which.text is not None:
        members["text"] = which.text
    return members


def read_filter(members: Mapping[str, object], *, pointer: str = "#") -> DeadLetterFilter:
    """Read a filter; raises `InvalidRequestError` kinds that name the member, below ``pointer``."""
    for name in members:
        if name not in FILTER_MEMBERS:
            message = f"{name[:64]!r} is no member of a filter; there are {', '.join(FILTER_MEMBERS)}"
            raise UnknownParameterError(message, errors=(_violation(pointer, name, message, "unknown_parameter"),))
    ids = _texts(members, "id", pointer, ID_LENGTH_MAX)
    types = _texts(members, "type", pointer, None)
    reason = _text(members, "reason", pointer, None)
    if reason is not None and reason not in REASONS:
        raise _invalid(pointer, "reason", f"must be one of {', '.join(REASONS)}")
    return DeadLetterFilter(
        ids=None if ids is None else frozenset(ids),
        reason=next((known for known in REASONS if known == reason), None),
        patterns=None if types is None else PatternSet.parse(types, pointer=f"{pointer}/type"),
        died_from_ms=_time(members, "from", pointer),
        died_before_ms=_time(members, "to", pointer),
        text=_text(members, "text", pointer, TEXT_LENGTH_MAX),
    )


def _texts(members: Mapping[str, object], name: str, pointer: str, length_max: int | None) -> list[str] | None:
    value = members.get(name)
    if value is None:
        return None
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not 1 <= len(listed) <= IDS_MAX:
        raise _invalid(pointer, name, f"must be a string, or a list of 1 to {IDS_MAX} of them")
    texts = [item for item in listed if isinstance(item, str) and (length_max is None or 1 <= len(item) <= length_max)]
    if len(texts) < len(listed):
        limit = "" if length_max is None else f" of 1 to {length_max} characters"
        raise _invalid(pointer, name, f"must be strings{limit}")
    return texts


def _text(members: Mapping[str, object], name: str, pointer: str, length_max: int | None) -> str | None:
    value = members.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not value or (length_max is not None and len(value) > length_max):
        limit = "" if length_max is None else f" of 1 to {length_max} characters"
        raise _invalid(pointer, name, f"must be a string{limit}")
    return value


def _time(members: Mapping[str, object], name: str, pointer: str) -> int | None:
    text = _text(members, name, pointer, None)
    return None if text is None else parse_timestamp(text, lenient_plus=True, pointer=f"{pointer}/{name}")


def _invalid(pointer: str, name: str, rule: str) -> InvalidParameterError:
    message = f"{name} {rule}"
    return InvalidParameterError(message, errors=(_violation(pointer, name, message, InvalidParameterError.code),))


def _violation(pointer: str, name: str, detail: str, code: str) -> Violation:
    return Violation(f"{pointer}/{name[:64]}", detail, code)


def redrive_members(result: RedriveResult) -> dict[str, int]:
    """Spell what a redrive did."""
    return {"matched": result.matched, "redriven": result.redriven}


def read_redrive(members: Mapping[str, Any]) -> RedriveResult:
    """Read what a redrive did; raises KeyError for what is none."""
    return RedriveResult(members["matched"], members["redriven"])


# Events for later -----------------------------------------------------------------------------------------------------


def scheduled_json(scheduled: ScheduledEvent) -> bytes:
    """Spell an event that waits for its time."""
    due = format_timestamp(scheduled.due_ms)
    return b'{"id":%b,"deliverat":"%b","event":%b}' % (_encode(scheduled.id), due.encode(), scheduled.body)


def scheduled_page_json(page: ScheduledPage) -> bytes:
    """Spell a page of them; ``next`` is given as ``after`` to go on, null at the end."""
    items = b",".join([scheduled_json(scheduled) for scheduled in page.items])
    rest = {"next": page.next, "end": page.next is None, "total": page.total}
    return b'{"items":[%b],%b' % (items, _encode(rest)[1:])


def read_scheduled(text: bytes) -> ScheduledEvent:
    """Read an event that waits; raises `msgspec.MsgspecError` and `InvalidParameterError` for what is none."""
    return _scheduled(_decode_scheduled(text))


def read_scheduled_page(text: bytes) -> ScheduledPage:
    """Read a page of them; raises as `read_scheduled`."""
    page = _decode_scheduled_page(text)
    return ScheduledPage(tuple([_scheduled(item) for item in page.items]), page.next, page.total)


def _scheduled(found: _Scheduled) -> ScheduledEvent:
    return ScheduledEvent(found.id, parse_timestamp(found.deliverat), bytes(found.event))
