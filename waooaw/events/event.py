"""An event: a CloudEvents 1.0 event as agents hold it, and the entry that a log keeps of it."""

from __future__ import annotations

import math
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any, Final

import msgspec

from waooaw.events.attributes import SPECVERSION, event_error, find_violations
from waooaw.events.delivery_attributes import DeliveryAttributes
from waooaw.events.errors import InvalidEventError, Violation
from waooaw.events.json_text import read_json
from waooaw.events.position import Position

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_DATA: Final = msgspec.UNSET
"""What ``Event.data`` is where an event has none; ``None`` is the JSON value ``null``."""

_CORE: Final = ("id", "source", "type", "datacontenttype", "dataschema", "subject", "time")


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event. Only ``type`` and ``source`` are required: the bus fills in ``id`` and ``time``.

    ``data`` is any value that JSON has, or ``bytes`` for binary content. Give an ``id`` of your own to make publishing
    it again harmless. ``extensions`` holds further attributes: strings, booleans and 32-bit integers.
    """

    type: str
    source: str
    id: str | None = None
    time: str | None = None
    subject: str | None = None
    datacontenttype: str | None = None
    dataschema: str | None = None
    extensions: dict[str, str | bool | int] = {}
    data: Any = NO_DATA

    def to_json(self) -> bytes:
        """Return the event in the CloudEvents JSON format, without white space.

        Raises `InvalidEventError` for data that JSON cannot carry, such as NaN.
        """
        members: dict[str, Any] = {"specversion": SPECVERSION}
        members |= {name: value for name in _CORE if (value := getattr(self, name)) is not None}
        members |= self.extensions
        if isinstance(self.data, bytes):
            members["data_base64"] = b64encode(self.data).decode("ascii")
        elif self.data is not NO_DATA:
            members["data"] = self.data
        try:
            text = msgspec.json.encode(members)
        except (TypeError, ValueError, RecursionError) as error:
            raise _data_error("data", "not_json", f"cannot be written as JSON: {error}") from None
        if b"null" in text:
            _check_finite(self.data)
        return text

    @classmethod
    def from_json(cls, text: bytes) -> Event:
        """Read the CloudEvents JSON format; raises `InvalidRequestError` kinds for what breaks its rules."""
        members, _ = read_json(text)
        if not isinstance(members, dict):
            message = "an event is a JSON object"
            raise InvalidEventError(message)
        return cls.from_members(members)

    @classmethod
    def from_members(cls, members: Mapping[str, Any]) -> Event:
        """Build an event from the members of its JSON object."""
        attributes, data = split_data(members)
        if violations := find_violations(attributes):
            raise event_error(violations)
        attributes.pop("specversion", None)
        core = {name: attributes.pop(name) for name in _CORE if name in attributes}
        return cls(**core, extensions=attributes, data=data)


def split_data(members: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    """Return the set attributes of a JSON event, and its data: a value, ``bytes``, or `NO_DATA`.

    Raises `InvalidEventError` where ``data`` and ``data_base64`` come together, or the latter is not Base64.
    """
    attributes = {name: value for name, value in members.items() if value is not None and name not in DATA_MEMBERS}
    encoded = members.get("data_base64")
    if encoded is None:
        return attributes, members.get("data", NO_DATA)
    if "data" in members:
        raise _data_error("data_base64", "conflicting_data", "must not come together with data")
    if not isinstance(encoded, str):
        raise _data_error("data_base64", "not_a_string", "must be a string")
    try:
        return attributes, b64decode(encoded, validate=True)
    except ValueError:
        raise _data_error("data_base64", "not_base64", "must be Base64 (RFC 4648 section 4)") from None


def _check_finite(data: object) -> None:
    """Refuse NaN and the infinities, which the encoder would write as null (RFC 8259 section 6 has no such numbers)."""
    pending = [data]
    while pending:
        item = pending.pop()
        if isinstance(item, float) and not math.isfinite(item):
            raise _data_error("data", "not_json", f"holds {item}, which JSON has no number for")
        if isinstance(item, dict):
            pending.extend(item.values())
        elif isinstance(item, (list, tuple, set, frozenset)):
            pending.extend(item)


DATA_MEMBERS: Final = frozenset({"data", "data_base64"})


def _data_error(name: str, code: str, detail: str) -> InvalidEventError:
    return InvalidEventError(f"{name} {detail}", errors=(Violation(f"#/{name}", detail, code),))


class Entry(msgspec.Struct, frozen=True, gc=False):
    """An accepted event on its way into a log: its JSON, encoded once, and what the bus needs to look at.

    ``id_given`` and ``time_given`` tell what the publisher gave from what the bus filled in: only given ids are
    deduplicated, and a filled-in time is no part of the content that a repeated id must match.
    """

    type: str
    source: str
    id: str
    correlationid: str | None
    body: bytes
    id_given: bool
    time_given: bool
    delivery: DeliveryAttributes = DeliveryAttributes()
    schedule_id: str = ""
    """Where the event was stored beside the log until now: its append takes it off there, or does not happen."""


class StoredEvent(msgspec.Struct, frozen=True, gc=False):
    """An event in a log. ``body`` is its JSON, as it was stored and as it is sent."""

    position: Position
    type: str
    source: str
    correlationid: str | None
    body: bytes

    @property
    def event(self) -> Event:
        """The event, decoded anew at each access."""
        return Event.from_members(msgspec.json.decode(self.body))
