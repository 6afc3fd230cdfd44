"""The benchmark's proof of delivery fails where a reader did not get each event exactly once and in order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import BenchError
from bench.transcript import Transcript, TranscriptReader
from bench.websocket import StreamSocket, client_frame, next_frame


class Others(StreamSocket):
    """A socket that keeps what was no event."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []

    def other(self, opcode: int, payload: bytes) -> None:
        """Keep the payload."""
        del opcode
        self.kept.append(payload)


def text(payload: bytes) -> bytes:
    """Return an unmasked text frame."""
    return (
        b"\x81"
        + (bytes((len(payload),)) if len(payload) < 126 else b"\x7e" + len(payload).to_bytes(2, "big"))
        + payload
    )


def event(sequence: int, size: int = 150) -> bytes:
    """Return an event frame at position `1-<sequence>`."""
    return text(b'{"op":"event","position":"1-%d","event":{"data":"%b"}}' % (sequence, b"x" * size))


EVENTS = [event(sequence, 40 * sequence) for sequence in range(8)]
CURSOR = text(b'{"op":"cursor","cursor":"c"}')


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 700)), max_size=60))
def test_any_cut_of_the_same_frames_is_accepted(steps: list[tuple[int, int]]) -> None:
    """However the bytes are cut and whatever else comes between, both readers get all events and no error."""
    transcript = Transcript()
    socket = Others()
    readers = [TranscriptReader(transcript), TranscriptReader(transcript)]
    streams = [b"".join(EVENTS), b"".join(frame + CURSOR for frame in EVENTS)]
    for which, size in [*steps, (0, 10_000), (1, 10_000)]:
        chunk, streams[which] = streams[which][:size], streams[which][size:]
        if chunk:
            readers[which].feed(socket, chunk)

    assert [len(EVENTS)] * 3 == [transcript.events, readers[0].events, readers[1].events]
    assert 2 * len(transcript.frames) == transcript.consumed
    assert len(EVENTS) == len(socket.kept)


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(EVENTS[:3] + EVENTS[4:], id="lost"),
        pytest.param(EVENTS[:3] + EVENTS[2:], id="twice"),
        pytest.param([EVENTS[1], EVENTS[0], *EVENTS[2:]], id="swapped"),
        pytest.param([*EVENTS[:-1], EVENTS[-1].replace(b"x", b"y", 1)], id="changed"),
    ],
)
def test_other_frames_than_another_reader_had_fail(frames: list[bytes]) -> None:
    """A reader whose events differ from another's is an error, not a count."""
    transcript = Transcript()
    TranscriptReader(transcript).feed(Others(), b"".join(EVENTS))

    with pytest.raises(BenchError):
        TranscriptReader(transcript).feed(Others(), b"".join(frames))


def test_a_position_that_runs_back_fails() -> None:
    """The first reader itself is held to increasing positions."""
    with pytest.raises(BenchError, match="came after"):
        TranscriptReader(Transcript()).feed(Others(), EVENTS[1] + EVENTS[0])


def test_the_end_lost_leaves_the_reader_behind() -> None:
    """A reader that lost the last event counts one less."""
    transcript = Transcript()
    TranscriptReader(transcript).feed(Others(), b"".join(EVENTS))
    reader = TranscriptReader(transcript)
    reader.feed(Others(), b"".join(EVENTS[:-1]))

    assert len(EVENTS) - 1 == reader.events


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536, 70_000])
def test_a_frame_is_cut_at_each_length_form(size: int) -> None:
    """All three forms of a length (RFC 6455, section 5.2) are read, and nothing before the last byte is there."""
    extended = b"" if size < 126 else size.to_bytes(2, "big") if size < 65_536 else size.to_bytes(8, "big")
    frame = b"\x82" + bytes((size if size < 126 else 126 if size < 65_536 else 127,)) + extended + bytes(size)

    assert next_frame(b"?" + frame[:-1], 1) is None
    assert (2, 1, 1 + len(frame) - size, 1 + len(frame)) == next_frame(b"?" + frame + b"!", 1)


def test_a_fragment_and_a_masked_frame_are_refused() -> None:
    """A server sends neither here; counting them would count wrongly."""
    for frame in (b"\x01\x01x", client_frame(1, b"x")):
        with pytest.raises(BenchError):
            next_frame(frame, 0)
