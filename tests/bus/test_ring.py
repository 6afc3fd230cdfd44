"""The ring of recent frames: everything after its start, bounded in memory."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from waooaw.events.bus.ring import EVENT_OVERHEAD_BYTES, Ring
from waooaw.events.engine.contract import Frame
from waooaw.events.event import StoredEvent
from waooaw.events.position import BEGINNING, Position

MIB = 1024 * 1024
EVENT_BYTES = 100 + EVENT_OVERHEAD_BYTES


def frame(first: int, count: int, body_bytes: int = 100) -> Frame:
    """Return a frame of events at consecutive positions."""
    events = tuple(StoredEvent(Position(first + index), "t", "s", None, bytes(body_bytes)) for index in range(count))
    return Frame(1, Position(first - 1), events, 0.0)


@given(counts=st.lists(st.integers(1, 5), max_size=60), kept=st.integers(0, 40))
def test_it_holds_the_newest_that_fit(counts: list[int], kept: int) -> None:
    """Whole frames, as many of the newest as fit; asked from anywhere it covers, it gives all that follows."""
    ring = Ring(BEGINNING, kept * EVENT_BYTES)
    last = 0
    for count in counts:
        ring.add(frame(last + 1, count))
        last += count

    room, start = kept, last
    for count in reversed(counts):
        if (room := room - count) < 0:
            break
        start -= count
    assert ring.start == start
    for place in range(last + 2):
        assert ring.covers(Position(place)) is (place >= start)
        if place >= start:
            assert [event.position for event in ring.after(Position(place))] == [*range(place + 1, last + 1)]


def test_it_goes_on_for_long() -> None:
    """Thousands of frames later it still holds the newest, and only those."""
    ring = Ring(BEGINNING, 10 * EVENT_BYTES)
    for first in range(1, 10_000, 2):
        ring.add(frame(first, 2))

    assert [event.position for event in ring.after(ring.start)] == [*range(9_991, 10_001)]


def test_its_memory_is_bounded() -> None:
    """Frames that were pushed out are gone: hundreds of megabytes later it weighs what it may weigh."""
    tracemalloc.start()
    ring = Ring(BEGINNING, 4 * MIB)
    for first in range(1, 600):
        ring.add(frame(first, 1, MIB // 2))
    size_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert size_bytes < 5 * MIB
    assert ring.covers(Position(599))


def test_an_event_weighs_what_is_counted_for_it() -> None:
    """The overhead that is counted for an event is about what one takes."""
    count = 20_000
    tracemalloc.start()
    kept = frame(2**60, count, 0)
    size_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(kept.events) == count
    assert size_bytes / count < EVENT_OVERHEAD_BYTES


def test_a_frame_above_the_bound_is_not_held() -> None:
    """A frame larger than the ring passes through: the ring covers what follows it."""
    ring = Ring(BEGINNING, MIB)
    ring.add(frame(1, 3, MIB))

    assert ring.start == 3
    assert list(ring.after(Position(3))) == []


def test_clearing_begins_anew() -> None:
    """After a hole nothing before it is held."""
    ring = Ring(BEGINNING, MIB)
    ring.add(frame(1, 3))
    ring.clear(Position(10))
    ring.add(frame(11, 1))

    assert not ring.covers(Position(9))
    assert [event.position for event in ring.after(Position(10))] == [11]
