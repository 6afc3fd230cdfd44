"""Server-sent events, from bytes to messages (WHATWG HTML, section 9.2.6 "Interpreting an event stream").

Rule 1: a message counts once its empty line has come; what a broken connection left unfinished is no message.
Rule 2: the id of a message without data counts too: that is how a ping says how far the stream is.
Lines end in LF or CR LF, as services and proxies write them.
"""

from __future__ import annotations

from typing import Final

import msgspec

from waooaw.events.outages import UnavailableError

LINE_BYTES_MAX: Final = 32 * 1024 * 1024
"""Twice the largest event that a service can be set to take: a longer line is no stream of ours."""


class ServerSentEvent(msgspec.Struct, frozen=True, gc=False):
    """One message. ``name`` is empty for an ordinary one; ``id`` is the last one given, by it or before it."""

    name: str
    id: str
    data: bytes


class ServerSentEventParser:
    """Takes an event stream as it comes."""

    def __init__(self) -> None:
        self.last_id = ""
        self.retry_seconds: float | None = None
        self._unfinished: list[bytes] = []
        self._unfinished_bytes = 0
        self._name = ""
        self._id: str | None = None
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Return the messages that a chunk completes; raises `UnavailableError` for a line without end."""
        *lines, rest = chunk.split(b"\n")
        if lines and self._unfinished:
            lines[0] = b"".join([*self._unfinished, lines[0]])
            self._unfinished, self._unfinished_bytes = [], 0
        if rest:
            self._unfinished.append(rest)
            self._unfinished_bytes += len(rest)
            if self._unfinished_bytes > LINE_BYTES_MAX:
                message = f"a line of the stream has more than {LINE_BYTES_MAX} bytes"
                raise UnavailableError(message)
        messages = []
        for line in lines:
            message_or_none = self._take(line.removesuffix(b"\r"))
            if message_or_none is not None:
                messages.append(message_or_none)
        return messages

    def _take(self, line: bytes) -> ServerSentEvent | None:
        if not line:
            return self._dispatch()
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match field:
            case b"data":
                self._data.append(value)
            case b"id":
                self._id = value.decode("ascii", "replace")
            case b"event":
                self._name = value.decode("utf-8", "replace")
            case b"retry" if value.isdigit():
                self.retry_seconds = int(value) / 1000
        return None

    def _dispatch(self) -> ServerSentEvent | None:
        if self._id is not None:
            self.last_id = self._id
        name, data = self._name, self._data
        self._name, self._id, self._data = "", None, []
        return ServerSentEvent(name, self.last_id, b"\n".join(data)) if data else None
