"""The events that every scenario sends, built once as bytes so that the load generator spends nothing on them."""

from __future__ import annotations

import json
from typing import Final

from bench.errors import BenchError

EVENT_BYTES: Final = 400
"""Size of one event as sent. No `id`, no `time`: the bus fills both in, as it does for most publishers."""

STAMP_DIGITS: Final = 20
"""Digits of a send time in nanoseconds, padded so that every event has the same size."""

_STAMP_PLACE: Final = "#" * STAMP_DIGITS
_TEXT: Final = "an agent finished one step of its task and says what it found; "


def event(event_type: str = "bench.event") -> bytes:
    """Return one event in structured JSON of exactly `EVENT_BYTES` bytes."""
    return _padded(event_type, {"step": 7})


def batch(count: int) -> bytes:
    """Return `count` events as lines of ndjson."""
    return b"\n".join([event()] * count) + b"\n"


def stamped_event(stamp: int) -> bytes:
    """Return one event whose data carries `stamp`, nanoseconds of the sender's clock, as `sent`."""
    before, after = _STAMPED
    return before + b"%0*d" % (STAMP_DIGITS, stamp) + after


def stamp_of(message: bytes) -> int:
    """Return the send time that `message` carries. Raises BenchError where it carries none."""
    start = message.find(_SENT)
    if start < 0:
        raise BenchError(f"an event without its send time: {message[:200]!r}")
    start += len(_SENT)
    return int(message[start : start + STAMP_DIGITS])


def _padded(event_type: str, data: dict[str, object]) -> bytes:
    """Return an event whose `text` is cut so that the whole has `EVENT_BYTES` bytes."""
    value = {
        "type": event_type,
        "source": "bench/load",
        "datacontenttype": "application/json",
        "data": {**data, "text": ""},
    }
    missing = EVENT_BYTES - len(json.dumps(value, separators=(",", ":")))
    value["data"] = {**data, "text": (_TEXT * (missing // len(_TEXT) + 1))[:missing]}
    return json.dumps(value, separators=(",", ":")).encode()


_SENT: Final = b'"sent":"'


def _split_stamped() -> tuple[bytes, bytes]:
    before, _, after = _padded("bench.event", {"sent": _STAMP_PLACE}).partition(_STAMP_PLACE.encode())
    return before, after


_STAMPED: Final = _split_stamped()
