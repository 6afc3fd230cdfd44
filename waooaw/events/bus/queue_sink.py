"""A reader inside the process: messages as objects, in a queue that is bounded because the bus looks at its size.

A live stream that leaves much untaken is demoted by the hub, and one that catches up waits for `QueueSink.drained`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from waooaw.events.cursor import Cursor, encode_cursor
from waooaw.events.stream_message import Delivered, GapMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waooaw.events.epoch import Gap
    from waooaw.events.event import StoredEvent
    from waooaw.events.stream_message import StreamMessage

Messages = tuple["StreamMessage", ...]

DRAINED_BYTES: Final = 256 * 1024
"""What may still be queued when the next chunk of the log is read: the reader never waits for the log then."""

MESSAGE_BYTES: Final = 400
"""What a message costs in memory beside the body of its event."""


def gap_message(bus: str, gap: Gap) -> GapMessage:
    """Return a gap with its cursors as tokens."""
    return GapMessage(encode_cursor(bus, gap.start), encode_cursor(bus, gap.end), gap.reason)


class ObjectFraming:
    """Spells messages as objects. One instance serves all readers of a bus."""

    def __init__(self, bus: str) -> None:
        self._bus = bus

    def event(self, event: StoredEvent, epoch: int) -> Messages:
        """See Framing."""
        token = encode_cursor(self._bus, Cursor(epoch, event.position))
        return (Delivered(event.position, event.type, event.source, event.correlationid, event.body, token),)

    def join(self, payloads: Sequence[Messages]) -> Messages:
        """See Framing."""
        return tuple([message for payload in payloads for message in payload])

    def gap(self, gap: Gap) -> Messages:
        """See Framing."""
        return (gap_message(self._bus, gap),)

    def cursor(self, cursor: Cursor) -> Messages:  # noqa: ARG002 - a reader in the process asks the stream itself
        """See Framing."""
        return ()


class QueueSink:
    """A queue between a stream and one reader."""

    def __init__(self) -> None:
        self._messages: deque[StreamMessage] = deque()
        self._size_bytes = 0
        self._changed = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()
        self._is_ended = False
        self._error: BaseException | None = None

    def write(self, payload: Messages) -> None:
        """See Sink."""
        if self._is_ended:
            return
        self._messages.extend(payload)
        self._size_bytes += sum([_cost(message) for message in payload])
        self._changed.set()
        if self._size_bytes > DRAINED_BYTES:
            self._drained.clear()

    def buffered_bytes(self) -> int:
        """See Sink."""
        return self._size_bytes

    async def drained(self) -> None:
        """See Sink."""
        await self._drained.wait()
        if self._is_ended:
            message = "the reader is gone"
            raise ConnectionError(message)

    def end(self, error: BaseException | None = None) -> None:
        """Let the reader have what is queued, and then the error or the end. Ending twice is harmless."""
        if not self._is_ended:
            self._is_ended = True
            self._error = error
            self._changed.set()
            self._drained.set()

    async def take(self) -> StreamMessage | None:
        """Return the next message, once there is one; None at the end. Raises the error that ended it."""
        while not self._messages:
            if self._error is not None:
                raise self._error
            if self._is_ended:
                return None
            self._changed.clear()
            await self._changed.wait()
        message = self._messages.popleft()
        self._size_bytes -= _cost(message)
        if self._size_bytes <= DRAINED_BYTES:
            self._drained.set()
        return message


def _cost(message: StreamMessage) -> int:
    return MESSAGE_BYTES + (len(message.body) if isinstance(message, Delivered) else 0)
