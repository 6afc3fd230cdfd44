"""What a service answers to reads, as values."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from waooaw.events.event import StoredEvent
from waooaw.events.event_page import EventPage
from waooaw.events.log_info import LogInfo
from waooaw.events.position import Position, parse_position
from waooaw.events.retention import RetentionLimits
from waooaw.events.stream_message import Delivered, GapMessage


class _Item(msgspec.Struct, gc=False):
    position: str
    event: msgspec.Raw


class _Gap(msgspec.Struct, rename={"start": "from", "end": "to"}, gc=False):
    start: str
    end: str
    reason: Any


class _Page(msgspec.Struct):
    items: list[_Item]
    next: str
    end: bool
    gap: _Gap | None = None


class _Routing(msgspec.Struct, gc=False):
    type: str
    source: str
    correlationid: str | None = None


_decode_page: Final = msgspec.json.Decoder(_Page).decode
_decode_item: Final = msgspec.json.Decoder(_Item).decode
_decode_gap: Final = msgspec.json.Decoder(_Gap).decode
_decode_routing: Final = msgspec.json.Decoder(_Routing).decode


def read_page(body: bytes) -> EventPage:
    """Read a page of the store."""
    page = _decode_page(body)
    gap = None if page.gap is None else _gap(page.gap)
    return EventPage(tuple([_stored(item) for item in page.items]), page.next, page.end, gap)


def read_item(body: bytes) -> StoredEvent:
    """Read one event of the store."""
    return _stored(_decode_item(body))


def read_log(body: bytes) -> LogInfo:
    """Read the state of the log."""
    members = msgspec.json.decode(body)
    limits = members["retention"]
    return LogInfo(
        epoch=members["epoch"],
        cursor=members["cursor"],
        first=_position(members["first"]),
        last=_position(members["last"]),
        events=members["events"],
        size_bytes=members["size_bytes"],
        retention=RetentionLimits(
            max_age_seconds=limits["age_seconds"], max_events=limits["events"], max_bytes=limits["size_bytes"]
        ),
    )


def read_gap(text: bytes) -> GapMessage:
    """Read a gap of a stream."""
    return _gap(_decode_gap(text))


def read_delivered(position: Position, token: str, text: bytes) -> Delivered:
    """Read an event of a stream."""
    routing = _decode_routing(text)
    return Delivered(position, routing.type, routing.source, routing.correlationid, text, token)


def _gap(gap: _Gap) -> GapMessage:
    return GapMessage(gap.start, gap.end, gap.reason)


def _stored(item: _Item) -> StoredEvent:
    text = bytes(item.event)
    routing = _decode_routing(text)
    return StoredEvent(parse_position(item.position), routing.type, routing.source, routing.correlationid, text)


def _position(text: str | None) -> Position | None:
    return None if text is None else parse_position(text)
