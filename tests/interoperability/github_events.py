"""The 273 real events of `tests/data/github`: webhook payloads, from one line to 27 KB, of 163 types."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

PATH: Final = Path(__file__).parents[1] / "data" / "github" / "events.ndjson"
LINES: Final[tuple[bytes, ...]] = tuple(PATH.read_bytes().splitlines())


class Facts(NamedTuple):
    """What of an event must arrive: its attributes but for the time, which the bus fills in, and its data's bytes."""

    attributes: dict[str, Any]
    data: bytes


def facts(event: bytes | msgspec.Raw) -> Facts:
    """Take an event in JSON apart."""
    members = msgspec.json.decode(event, type=dict[str, msgspec.Raw])
    data = bytes(members.pop("data"))
    members.pop("time", None)
    return Facts({name: msgspec.json.decode(raw) for name, raw in members.items()}, data)


FACTS: Final[tuple[Facts, ...]] = tuple(facts(line) for line in LINES)
