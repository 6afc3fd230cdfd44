"""Stages of an event that a timed loop can measure by itself: the product's own functions, over real events."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from bench.errors import BenchError
from waooaw.events.acceptance import Acceptance, AcceptanceLimits
from waooaw.events.bus.routes import Routes
from waooaw.events.clock import SystemClock
from waooaw.events.engine.contract import Frame
from waooaw.events.engine.redis.layout import read_frame
from waooaw.events.identifier import RandomIdentifiers
from waooaw.events.pattern import PatternSet
from waooaw.events.position import make_position
from waooaw.events.receipt import Receipt
from waooaw.events.service.framings import WebSocketFraming
from waooaw.events.service.publishing import batch_result

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from waooaw.events.event import Entry

_LOOP_SECONDS: Final = 0.2
_RUNS: Final = 20
"""Between two looks at the clock, which takes as long as the shortest stage."""
_ROUTES: Final = ("github.*", "github.issues.*", "*.opened", "*")
"""What streams may ask for beside each other; an event of the samples takes two to four of these routes."""
_MS: Final = 1_764_019_200_123
_FRAMING: Final = WebSocketFraming("default")


class _Stream:
    """What finding its route looks at in a stream."""

    def __init__(self, patterns: PatternSet) -> None:
        self.patterns = patterns
        self.framing = _FRAMING


def acceptance() -> Acceptance:
    """Return what reads events, with the service's clock and ids."""
    return Acceptance(AcceptanceLimits(), SystemClock(), RandomIdentifiers())


def entries_of(events: Sequence[bytes]) -> list[Entry]:
    """Return events as the bus accepts them."""
    return [acceptance().one(event) for event in events]


def decode_seconds(events: Sequence[bytes]) -> float:
    """Return what reading, checking and completing an event costs."""
    reading = acceptance()
    if len(events) == 1:
        return _each(lambda: reading.one(events[0]), 1)
    body = b"\n".join(events) + b"\n"
    return _each(lambda: reading.lines(body), len(events))


def live_seconds(message: bytes) -> float:
    """Return what reading a frame of the live channel costs an event."""
    return _each(lambda: read_frame(message), len(frame_of(message).events))


def match_seconds(message: bytes) -> float:
    """Return what finding the routes of an event costs."""
    routes = Routes()
    for pattern in _ROUTES:
        reader: Any = _Stream(PatternSet.parse((pattern,)))
        routes.add(reader)
    events = frame_of(message).events

    def match() -> None:
        for event in events:
            routes.match(event.type)

    return _each(match, len(events))


def frame_seconds(message: bytes) -> float:
    """Return what spelling an event once for all WebSocket readers costs, joined with the others of its frame."""
    frame = frame_of(message)
    return _each(lambda: websocket_frames(frame), len(frame.events))


def answer_seconds(entries: Sequence[Entry]) -> float:
    """Return what the answer with an event's receipt costs, headers apart."""
    receipts = [Receipt(entry.id, make_position(_MS, index), "local") for index, entry in enumerate(entries)]
    if len(receipts) == 1:
        return _each(lambda: msgspec.json.encode(receipts[0].as_json()), 1)
    return _each(lambda: msgspec.json.encode(batch_result(receipts)), len(receipts))


def websocket_frames(frame: Frame) -> bytes:
    """Return what each WebSocket reader of all events of a frame is written."""
    return _FRAMING.join([_FRAMING.event(event, frame.epoch) for event in frame.events])


def frame_of(message: bytes) -> Frame:
    """Read a frame of the live channel. Raises BenchError for a tip: the samples are small enough to travel."""
    told = read_frame(message)
    if not isinstance(told, Frame):
        raise BenchError("the live channel carried no events")
    return told


def _each(work: Callable[[], object], events: int) -> float:
    """Return the processor time of `work` for each event of it, warmed up."""
    work()
    runs = 0
    began = time.thread_time()
    while (spent := time.thread_time() - began) < _LOOP_SECONDS:
        for _ in range(_RUNS):
            work()
        runs += _RUNS
    return spent / (runs * events)
