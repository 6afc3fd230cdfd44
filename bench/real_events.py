"""Real events of the common size: GitHub webhooks of `tests/data/github`, cut to 450 bytes, without ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from bench.errors import BenchError

EVENT_BYTES_MAX: Final = 450
_SOURCE: Final = Path(__file__).resolve().parent.parent / "tests" / "data" / "github" / "events.ndjson"


def real_events(count: int) -> list[bytes]:
    """Return the first `count` of them as JSON, all different. Raises BenchError where there are fewer."""
    events = dict.fromkeys(cut(line) for line in _SOURCE.read_bytes().splitlines())
    if len(events) < count:
        raise BenchError(f"{_SOURCE} has {len(events)} different events, not {count}")
    return list(events)[:count]


def cut(line: bytes) -> bytes:
    """Return an event without `id` and with as many members of its data, in their order, as fit.

    Of nested objects only the plain members are taken. The bus fills in an id, as for most publishers; with one, an
    event that is sent again and again would be a duplicate.
    """
    event = json.loads(line)
    del event["id"]
    whole = event["data"]
    kept: dict[str, object] = {}
    event["data"] = kept
    for name, value in whole.items():
        if isinstance(value, dict):
            nested: dict[str, object] = {}
            kept[name] = nested
            for inner, plain in value.items():
                if not isinstance(plain, dict | list):
                    _add(event, nested, inner, plain)
            if not nested:
                del kept[name]
        else:
            _add(event, kept, name, value)
    return _json(event)


def _add(event: object, target: dict[str, object], name: str, value: object) -> None:
    """Add a member where the whole event stays small enough."""
    target[name] = value
    if len(_json(event)) > EVENT_BYTES_MAX:
        del target[name]


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
