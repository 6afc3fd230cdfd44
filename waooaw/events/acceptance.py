"""From what publishers send to entries of the log: the JSON forms of CloudEvents (JSON format 1.0.2; batch; lines).

Rule 1: an event of a batch that breaks a rule fails alone; a batch that cannot be taken apart fails whole.
Rule 2: missing ``id``, ``time`` and ``specversion`` are filled in; nothing else is added.
Rule 3: the bytes made here are the bytes stored and sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from waooaw.events.attributes import SPECVERSION, event_error, find_violations
from waooaw.events.delivery_attributes import delivery_attributes
from waooaw.events.errors import (
    BatchTooLargeError,
    InvalidEventError,
    InvalidParameterError,
    InvalidRequestError,
    MalformedJsonError,
    TooDeepError,
    Violation,
    WowEventError,
)
from waooaw.events.event import Entry, split_data
from waooaw.events.json_text import DEPTH_MAX, event_too_large, read_json
from waooaw.events.timestamp import format_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from waooaw.events.clock import Clock
    from waooaw.events.identifier import Identifiers

_Members = dict[str, msgspec.Raw]
_decode_members: Final = msgspec.json.Decoder(_Members).decode
_encode: Final = msgspec.json.encode

Accepted = Entry | WowEventError
"""What became of one event of a batch."""

IDEMPOTENCY_KEY_LENGTH_MAX: Final = 255
"""Longer than any UUID, hash or path that keys are made of, short enough to keep a million in memory."""


@dataclass(frozen=True, slots=True)
class AcceptanceLimits:
    """What one publish may carry."""

    event_bytes_max: int = 256 * 1024
    batch_events_max: int = 1000
    depth_max: int = DEPTH_MAX


class Acceptance:
    """Reads events as publishers send them. Holds no state but the last time it spelled: one instance serves all."""

    def __init__(self, limits: AcceptanceLimits, clock: Clock, identifiers: Identifiers) -> None:
        self._limits = limits
        self._clock = clock
        self._identifiers = identifiers
        self._spelled_time = (0, format_timestamp(0))
        self._decode_items = _items_decoder(limits.batch_events_max)

    def one(self, text: bytes, *, idempotency_key: str | None = None) -> Entry:
        """Read one event in JSON; raises the `WowEventError` that says what is wrong with it."""
        value, minified = self.read_json(text)
        if not isinstance(value, dict):
            message = f"an event is a JSON object, not {_kind(value)}"
            raise InvalidEventError(message, errors=(Violation("#", "must be an object", "not_an_object"),))
        return self.members(value, minified, idempotency_key=idempotency_key)

    def batch(self, text: bytes, *, idempotency_key: str | None = None) -> list[Accepted]:
        """Read a JSON array of events (CloudEvents JSON batch format); one result each, in order."""
        try:
            record = self._decode_items(text)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise self._not_a_batch(error) from None
        items = [item for item in msgspec.structs.astuple(record) if item is not msgspec.UNSET]
        return self.several(items, idempotency_key=idempotency_key)

    def _not_a_batch(self, error: Exception) -> WowEventError:
        reason = str(error)
        if reason.startswith("Expected `array` of at most"):
            return BatchTooLargeError(f"more than {self._limits.batch_events_max} events in one batch, the limit")
        if isinstance(error, RecursionError):
            return TooDeepError(f"nested deeper than {self._limits.depth_max} levels")
        if isinstance(error, msgspec.ValidationError):
            message = "a batch is a JSON array of events"
            return InvalidRequestError(message, errors=(Violation("#", message, "not_an_array"),))
        return MalformedJsonError(reason)

    def lines(self, text: bytes, *, idempotency_key: str | None = None) -> list[Accepted]:
        """Read newline-delimited JSON, an event a line; empty lines are passed over."""
        lines_max = 2 * self._limits.batch_events_max
        lines = text.split(b"\n", lines_max)
        if len(lines) > lines_max:
            message = f"more than {lines_max} lines in one batch; the limit is {self._limits.batch_events_max} events"
            raise BatchTooLargeError(message)
        return self.several([line for line in lines if line.strip()], idempotency_key=idempotency_key)

    def read_json(self, text: bytes) -> tuple[object, bytes]:
        """Read JSON that is, or is part of, one event; see `json_text.read_json`."""
        return read_json(text, depth_max=self._limits.depth_max, bytes_max=self._limits.event_bytes_max)

    def several(self, texts: Sequence[bytes | msgspec.Raw], *, idempotency_key: str | None = None) -> list[Accepted]:
        """Read events that stand apart already; one result each, in order."""
        if len(texts) > self._limits.batch_events_max:
            message = f"{len(texts)} events in one batch; the limit is {self._limits.batch_events_max}"
            raise BatchTooLargeError(message)
        results: list[Accepted] = []
        for index, text in enumerate(texts):
            key = None if idempotency_key is None else f"{idempotency_key}/{index}"
            try:
                results.append(self.one(bytes(text), idempotency_key=key))
            except WowEventError as error:
                results.append(error)
        return results

    def members(self, members: dict[str, object], minified: bytes, *, idempotency_key: str | None = None) -> Entry:
        """Make the entry of an event from its decoded members and its text without white space."""
        raw = _decode_members(minified)
        if len(_encode(raw)) != len(minified):
            raise _repeated_or_escaped()
        if None in members.values():
            raw = {name: value for name, value in raw.items() if members[name] is not None or name == "data"}
            minified = _encode(raw)
        attributes, _ = split_data(members)
        if attributes.get("id") is None and idempotency_key is not None:
            check_idempotency_key(idempotency_key)
            filled: dict[str, object] = {"id": idempotency_key}
        else:
            filled = {}
        if violations := find_violations(attributes):
            raise event_error(violations)
        self._fill(attributes, filled)
        body = _prepend(filled, minified) if filled else minified
        if len(body) > self._limits.event_bytes_max:
            raise event_too_large(len(body), self._limits.event_bytes_max)
        return Entry(
            attributes["type"],
            attributes["source"],
            attributes["id"],
            attributes.get("correlationid"),
            body,
            "id" not in filled or idempotency_key is not None,
            "time" not in filled,
            delivery_attributes(attributes),
        )

    def _fill(self, attributes: dict[str, object], filled: dict[str, object]) -> None:
        if "specversion" not in attributes:
            filled["specversion"] = SPECVERSION
        if "id" not in attributes and "id" not in filled:
            filled["id"] = self._identifiers.new_event_id()
        if "time" not in attributes:
            filled["time"] = self._now()
        attributes.update(filled)

    def _now(self) -> str:
        """Spell the time; events of a batch, and of a busy millisecond, share it."""
        now_ms = self._clock.now_ms()
        spelled_ms, spelled = self._spelled_time
        if now_ms != spelled_ms:
            spelled = format_timestamp(now_ms)
            self._spelled_time = (now_ms, spelled)
        return spelled


def _items_decoder(events_max: int) -> Callable[[bytes], msgspec.Struct]:
    """Return a decoder of arrays that stops at the first element too many.

    A list would be made whole before its length is known; eight megabytes hold four million elements. An array can be
    decoded as a record as well, whose fields here are optional and bounded in number.
    """
    fields = [(f"item{index}", msgspec.Raw | msgspec.UnsetType, msgspec.UNSET) for index in range(events_max)]
    return msgspec.json.Decoder(msgspec.defstruct("Batch", fields, array_like=True, forbid_unknown_fields=True)).decode


def check_idempotency_key(key: str) -> None:
    """Raise `InvalidParameterError` unless a key can be an event's id."""
    if not key or len(key) > IDEMPOTENCY_KEY_LENGTH_MAX + len("/1000") or not (key.isascii() and key.isprintable()):
        message = f"Idempotency-Key must be 1 to {IDEMPOTENCY_KEY_LENGTH_MAX} printable ASCII characters"
        raise InvalidParameterError(message)


def content_of(entry_body: bytes, *, time_given: bool) -> dict[str, bytes]:
    """Return what two events with one ``source`` and ``id`` must share to be the same event.

    That is every member as it was spelled, but for the time where the bus filled it in; the order does not matter.
    """
    members = {name: bytes(value) for name, value in _decode_members(entry_body).items()}
    if not time_given:
        members.pop("time", None)
    return members


def _prepend(filled: dict[str, object], minified: bytes) -> bytes:
    opening = _encode(filled)
    return opening if minified == b"{}" else b"%b,%b" % (opening[:-1], minified[1:])


def _repeated_or_escaped() -> MalformedJsonError:
    detail = "an attribute is given twice, or its name is spelled with escapes"
    return MalformedJsonError(detail, errors=(Violation("#", detail, "repeated_attribute"),))


_KINDS: Final = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}


def _kind(value: object) -> str:
    return _KINDS.get(type(value), "a number")
