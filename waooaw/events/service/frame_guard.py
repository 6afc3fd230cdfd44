"""Sees to it that a client masks its WebSocket frames, and sends no flood of control frames.

RFC 6455 section 5.1: "The server MUST close the connection upon receiving a frame that is not masked." Only the heads
of frames are looked at; payloads are passed over. What is seen on the way tells whether a message is still on its way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aiohttp import WSCloseCode

from waooaw.events.service.token_bucket import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Callable

_HEAD_BYTES: Final = 2
_MASK_BIT: Final = 0x80
_FINAL_BIT: Final = 0x80
_OPCODE_BITS: Final = 0x0F
_CONTINUATION: Final = 0
_CONTROL: Final = 8
"""Opcodes from here on are control frames (section 5.5)."""
_KEY_BYTES: Final = 4
_EXTENDED: Final = {126: 2, 127: 8}
"""Bytes of extended length by the length in the head (section 5.2)."""

CONTROLS_PER_SECOND: Final = 100
"""Control frames of one client. Libraries ping every ten seconds or so, browsers never; at this rate the answers cost
the loop a few milliseconds a second, which other clients do not feel.
"""

CONTROLS_BURST: Final = 200
"""As many at once: pings that a proxy or a slow link held back arrive together."""


class FrameGuard:
    """Stands before aiohttp's frame parser, with its methods. ``broken`` is told, once, a close code and a reason.

    ``monotonic`` tells the time in seconds.
    """

    __slots__ = (
        "_broken",
        "_controls",
        "_controls_left",
        "_failed",
        "_fragmented",
        "_head",
        "_monotonic",
        "_parser",
        "_passing",
        "messages",
    )

    def __init__(
        self,
        parser: Any,  # noqa: ANN401 - one of two classes of aiohttp's, by build
        broken: Callable[[WSCloseCode, str], None],
        monotonic: Callable[[], float],
    ) -> None:
        self._parser = parser
        self._broken = broken
        self._monotonic = monotonic
        self._controls = 0
        self._controls_left = TokenBucket(per_second=CONTROLS_PER_SECOND, burst=CONTROLS_BURST, now=monotonic())
        self._head = b""
        self._passing = 0
        self._fragmented = False
        self._failed = False
        self.messages = 0

    @property
    def is_within_message(self) -> bool:
        """Whether a message has begun that is not complete yet; ``messages`` counts those begun."""
        return self._passing > 0 or self._fragmented or bool(self._head)

    def fail(self, code: WSCloseCode, reason: str) -> None:
        """Have the socket closed with a code. Nothing that comes after is parsed."""
        if not self._failed:
            self._failed = True
            self._broken(code, reason)

    def feed_eof(self) -> None:
        """The client sends no more."""
        self._parser.feed_eof()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Look at frames, then have them parsed. Nothing that comes with a bad frame, or after it, is parsed."""
        if self._failed:
            return True, b""
        if not self._all_masked(data):
            self.fail(WSCloseCode.PROTOCOL_ERROR, "frames of a client must be masked")
            return True, b""
        if self._controls:
            controls, self._controls = self._controls, 0
            if not self._controls_left.take(controls, self._monotonic()):
                self.fail(WSCloseCode.POLICY_VIOLATION, "too many pings and pongs")
                return True, b""
        answer: tuple[bool, bytes] = self._parser.feed_data(data)
        return answer

    def _all_masked(self, data: bytes) -> bool:
        if self._passing >= len(data):
            self._passing -= len(data)
            return True
        place = self._passing
        self._passing = 0
        if self._head:
            data, place, self._head = self._head + data, 0, b""
        while len(data) - place >= _HEAD_BYTES:
            second = data[place + 1]
            if not second & _MASK_BIT:
                return False
            length = second & ~_MASK_BIT
            extended = _EXTENDED.get(length, 0)
            head_end = place + _HEAD_BYTES + extended
            if len(data) < head_end:
                break
            self._begin_frame(data[place])
            if extended:
                length = int.from_bytes(data[place + _HEAD_BYTES : head_end], "big")
            frame_end = head_end + _KEY_BYTES + length
            if frame_end >= len(data):
                self._passing = frame_end - len(data)
                return True
            place = frame_end
        self._head = data[place:]
        return True

    def _begin_frame(self, first: int) -> None:
        """Note from the first byte of a frame whether a message begins or goes on (section 5.4)."""
        opcode = first & _OPCODE_BITS
        if opcode >= _CONTROL:
            self._controls += 1
            return
        self.messages += opcode != _CONTINUATION
        self._fragmented = not first & _FINAL_BIT
