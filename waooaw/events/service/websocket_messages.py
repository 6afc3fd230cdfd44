"""What clients send over ``wowevent.v1``, taken apart: which operation, and its fields, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec

from waooaw.events.errors import (
    InvalidParameterError,
    InvalidRequestError,
    MalformedJsonError,
    NotAvailableFieldError,
    UnknownParameterError,
    Violation,
    WowEventError,
)
from waooaw.events.service.typed_json import decode_typed

Value = TypeVar("Value")
Default = TypeVar("Default")

_FIELDS: Final[dict[str, frozenset[str]]] = {
    "publish": frozenset({"event", "events"}),
    "stream": frozenset({"patterns", "from", "filter"}),
    "stop": frozenset(),
    "consume": frozenset({"subscription", "credit", "member"}),
    "settle": frozenset({"subscription", "outcomes"}),
    "ping": frozenset(),
}
_NOT_YET: Final = frozenset({"filter"})

ID_LENGTH_MAX: Final = 255

_decode: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class OperationError(Exception):
    """A message that cannot be carried out: the ``id`` it came with, and the error to answer."""

    def __init__(self, operation_id: str | None, error: WowEventError) -> None:
        super().__init__(str(error))
        self.operation_id = operation_id
        self.error = error


@dataclass(frozen=True, slots=True)
class Operation:
    """One message of a client. ``fields`` are still JSON text."""

    name: str
    id: str | None
    fields: dict[str, msgspec.Raw]

    def value(self, name: str, kind: Any, rule: str) -> Any:  # noqa: ANN401 - msgspec decides by ``kind``
        """Return a field decoded as a type, or None where it is absent; raises `InvalidParameterError`."""
        if name not in self.fields:
            return None
        try:
            return msgspec.json.decode(self.fields[name], type=kind)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            message = f"{name} must be {rule}"
            raise _error(InvalidParameterError, name, message) from None

    def typed(self, name: str, decoder: msgspec.json.Decoder[Value], default: Default) -> Value | Default:
        """Return a field as a decoder reads it, or a default where it is absent; raises `InvalidParameterError`."""
        if name not in self.fields:
            return default
        return decode_typed(decoder, self.fields[name], pointer=f"#/{name}")


def read_operation(text: str | bytes) -> Operation:
    """Take a message apart; raises `OperationError`."""
    try:
        fields = _decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        message = f"a message is a JSON object: {str(error)[:200]}"
        raise OperationError(None, MalformedJsonError(message)) from None
    operation_id = None
    try:
        operation_id = _text(fields.pop("id", None), "id")
        name = _text(fields.pop("op", None), "op")
        _check(name, fields)
    except WowEventError as error:
        raise OperationError(operation_id, error) from None
    return Operation(str(name), operation_id, fields)


def _text(raw: msgspec.Raw | None, name: str) -> str | None:
    if raw is None:
        return None
    try:
        text = msgspec.json.decode(raw, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = None
    if text is None or len(text) > ID_LENGTH_MAX:
        message = f"{name} must be a string of at most {ID_LENGTH_MAX} characters"
        raise _error(InvalidParameterError, name, message)
    return text


def _check(name: str | None, fields: dict[str, msgspec.Raw]) -> None:
    known = _FIELDS.get(name or "")
    if known is None:
        message = f"op must be one of {', '.join(_FIELDS)}"
        raise _error(InvalidRequestError, "op", message)
    for field in fields:
        if field in _NOT_YET & known:
            raise _error(NotAvailableFieldError, field, f"{field} is not available in this release")
        if field not in known:
            message = f"unknown field {field[:64]!r}; {name} knows {', '.join(sorted(known - _NOT_YET)) or 'no more'}"
            raise _error(UnknownParameterError, field, message)


def _error(kind: type[WowEventError], field: str, detail: str) -> WowEventError:
    return kind(detail, errors=(Violation(f"#/{field[:64]}", detail, kind.code),))
