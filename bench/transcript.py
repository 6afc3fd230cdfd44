"""Proof at little cost that each of many readers got every event exactly once and in order.

All readers of one pattern must receive the same bytes of event frames. The first to receive a frame parses it and
adds it to one transcript; for the others one comparison of memory shows that what came is what had to come. Frames
that may differ between readers (cursors, pings) are cut out first.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final

from bench.errors import BenchError
from bench.websocket import EVENT_PREFIX, next_frame

if TYPE_CHECKING:
    from bench.websocket import StreamSocket

_POSITION_NAME: Final = b'"position":"'
_SHOWN_BYTES: Final = 200


class Transcript:
    """The event frames of one stream, one after the other, and where each begins.

    An event frame's payload starts with `event_prefix`. Where events have positions, they must increase.
    """

    def __init__(self, event_prefix: bytes = EVENT_PREFIX, *, positions: bool = True) -> None:
        """Start empty."""
        self.event_prefix = event_prefix
        self._positions = positions
        self.frames = bytearray()
        self.starts = [0]
        """The start of each frame, and at last the end of all."""
        self.consumed = 0
        """Bytes verified by all readers together."""
        self._last_position = (0, -1)

    @property
    def events(self) -> int:
        """How many events it holds."""
        return len(self.starts) - 1

    def add(self, frame: bytes) -> None:
        """Add a frame that no reader had before. Raises BenchError where its position is not above the last one."""
        if self._positions:
            position = _position_of(frame)
            if position <= self._last_position:
                raise BenchError(f"position {position} came after {self._last_position}")
            self._last_position = position
        self.frames += frame
        self.starts.append(len(self.frames))

    def events_before(self, offset: int) -> int:
        """Return how many whole events lie before `offset`."""
        return bisect_right(self.starts, offset) - 1


class TranscriptReader:
    """One reader's place in the transcript, which only verified bytes move forward. A sink of a stream."""

    def __init__(self, transcript: Transcript) -> None:
        """Start at the beginning."""
        self.offset = 0
        self._transcript = transcript
        self._partial = b""

    @property
    def events(self) -> int:
        """How many events it received and verified."""
        return self._transcript.events_before(self.offset)

    def feed(self, socket: StreamSocket, data: bytes) -> None:
        """Take bytes as they came. Raises BenchError where they are not the next events."""
        if self._partial:
            data = self._partial + data
            self._partial = b""
        if self._transcript.frames.startswith(data, self.offset):
            self._advance(len(data))
        else:
            self._parse(socket, data)

    def _advance(self, size: int) -> None:
        self.offset += size
        self._transcript.consumed += size

    def _parse(self, socket: StreamSocket, data: bytes) -> None:
        """Cut `data` into frames, going back to the start of a frame that was verified in part."""
        frames, starts = self._transcript.frames, self._transcript.starts
        start = starts[bisect_right(starts, self.offset) - 1]
        data = bytes(frames[start : self.offset]) + data
        self._advance(start - self.offset)
        at = 0
        known = len(frames) - start
        if known < len(data) and frames.startswith(data[:known], start):
            self._advance(known)
            at = known
        while (frame := next_frame(data, at)) is not None:
            at = frame.end
            if data.startswith(self._transcript.event_prefix, frame.payload):
                self._take(data[frame.start : frame.end])
            else:
                socket.other(frame.opcode, data[frame.payload : frame.end])
        self._partial = data[at:]

    def _take(self, frame: bytes) -> None:
        """Verify one event frame, or add it where no reader had it before."""
        transcript = self._transcript
        if self.offset == len(transcript.frames):
            transcript.add(frame)
        elif not transcript.frames.startswith(frame, self.offset):
            start = transcript.starts[transcript.events_before(self.offset)]
            expected = bytes(transcript.frames[start : start + _SHOWN_BYTES])
            raise BenchError(
                f"event {self.events} of a reader is {frame[:_SHOWN_BYTES]!r}, another reader has {expected!r}"
            )
        self._advance(len(frame))


def _position_of(frame: bytes) -> tuple[int, int]:
    """Return the position that an event frame names."""
    start = frame.find(_POSITION_NAME) + len(_POSITION_NAME)
    milliseconds, _, sequence = frame[start : frame.find(b'"', start)].partition(b"-")
    return int(milliseconds), int(sequence)
