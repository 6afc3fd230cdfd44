"""How streams spell their messages on each kind of socket. A framing is one instance: readers share what it makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from waooaw.events.cursor import Cursor, encode_cursor
from waooaw.events.position import format_position
from waooaw.events.service.bus_paths import path_to
from waooaw.events.service.reading import gap_members

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waooaw.events.epoch import Gap
    from waooaw.events.event import StoredEvent

_TEXT: Final = 0x81
_PING: Final = 0x89
_SHORT, _MEDIUM = 126, 65_536

WEBSOCKET_PING: Final = bytes([_PING, 0])


def text_frame(payload: bytes) -> bytes:
    """Return a whole WebSocket text message as a server sends it: one frame, not masked (RFC 6455 section 5.2)."""
    length = len(payload)
    if length < _SHORT:
        return bytes([_TEXT, length]) + payload
    if length < _MEDIUM:
        return bytes([_TEXT, 126]) + length.to_bytes(2, "big") + payload
    return bytes([_TEXT, 127]) + length.to_bytes(8, "big") + payload


def message_frame(message: dict[str, Any]) -> bytes:
    """Return a WebSocket message of ours."""
    return text_frame(msgspec.json.encode(message))


def result_frame(operation_id: str | None, result: bytes) -> bytes:
    """Return the answer to an operation, whose result is JSON already."""
    return text_frame(b'{"op":"result","id":%b,"result":%b}' % (msgspec.json.encode(operation_id), result))


def _joined(frames: Sequence[bytes]) -> bytes:
    return frames[0] if len(frames) == 1 else b"".join(frames)


class SseFraming:
    """Server-sent events (WHATWG HTML, section 9.2): the id is the cursor, so ``Last-Event-ID`` resumes."""

    def __init__(self, bus: str, *, chunked: bool) -> None:
        self._bus = bus
        self._chunked = chunked

    def event(self, event: StoredEvent, epoch: int) -> bytes:
        """Spell one event."""
        token = encode_cursor(self._bus, Cursor(epoch, event.position))
        return b"id: %b\ndata: %b\n\n" % (token.encode(), event.body)

    def join(self, payloads: Sequence[bytes]) -> bytes:
        """Make one payload of several, as one chunk of the response (RFC 9112 section 7.1)."""
        joined = b"".join(payloads)
        return b"%x\r\n%b\r\n" % (len(joined), joined) if self._chunked else joined

    def gap(self, gap: Gap) -> bytes:
        """Spell what a reader did not see; its id resumes behind it."""
        members = gap_members(self._bus, gap)
        return self.join([b"event: gap\nid: %b\ndata: %b\n\n" % (members["to"].encode(), msgspec.json.encode(members))])

    def cursor(self, cursor: Cursor) -> bytes:
        """Spell a ping with the cursor reached."""
        return self.join([b": ping\nid: %b\n\n" % encode_cursor(self._bus, cursor).encode()])

    def opening(self, cursor: Cursor, retry_ms: int) -> bytes:
        """Spell what a stream begins or ends with: when to come back, and from where."""
        return self.join([b"retry: %d\nid: %b\n\n" % (retry_ms, encode_cursor(self._bus, cursor).encode())])


class WebSocketFraming:
    """The subprotocol ``wowevent.v1``."""

    def __init__(self, bus: str) -> None:
        self._bus = bus

    def event(self, event: StoredEvent, _epoch: int) -> bytes:
        """Spell one event; nothing in it differs between readers."""
        position = format_position(event.position).encode()
        return text_frame(b'{"op":"event","position":"%b","event":%b}' % (position, event.body))

    def join(self, payloads: Sequence[bytes]) -> bytes:
        """Make one payload of several: each is a message of its own."""
        return _joined(payloads)

    def gap(self, gap: Gap) -> bytes:
        """Spell what a reader did not see."""
        return message_frame({"op": "gap", **gap_members(self._bus, gap)})

    def cursor(self, cursor: Cursor) -> bytes:
        """Spell the cursor reached, with a ping for what lies between."""
        return WEBSOCKET_PING + message_frame({"op": "cursor", "cursor": encode_cursor(self._bus, cursor)})

    def closing(self, cursor: Cursor | None, retry_after_seconds: float) -> bytes:
        """Spell that the service is about to close the socket."""
        message: dict[str, Any] = {"op": "closing", "retry_after_seconds": retry_after_seconds}
        if cursor is not None:
            message["cursor"] = encode_cursor(self._bus, cursor)
        return message_frame(message)


GAP_TYPE: Final = "io.wowevent.gap"


class CloudEventsFraming:
    """The subprotocol ``cloudevents.json`` (CloudEvents WebSocket binding 1.0.2): bare events, so a gap is one too."""

    def __init__(self, bus: str) -> None:
        self._bus = bus
        self._log = path_to(bus, "/v1/log")

    def event(self, event: StoredEvent, _epoch: int) -> bytes:
        """Spell one event."""
        return text_frame(event.body)

    def join(self, payloads: Sequence[bytes]) -> bytes:
        """Make one payload of several."""
        return _joined(payloads)

    def gap(self, gap: Gap) -> bytes:
        """Spell what a reader did not see as an event of the type `GAP_TYPE`."""
        members = gap_members(self._bus, gap)
        event = {"specversion": "1.0", "id": members["to"], "source": self._log, "type": GAP_TYPE, "data": members}
        return message_frame(event)

    def cursor(self, _cursor: Cursor) -> bytes:
        """Spell a ping: this subprotocol has no cursors."""
        return WEBSOCKET_PING
