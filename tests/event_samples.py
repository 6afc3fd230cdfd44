"""Events for tests, as publishers would send them and as the bus accepts them."""

from __future__ import annotations

from typing import Final

import msgspec

from waooaw.events.acceptance import Acceptance, AcceptanceLimits
from waooaw.events.clock import Clock
from waooaw.events.event import Entry
from waooaw.events.identifier import Identifiers
from waooaw.events.testing import ManualClock, SequentialIdentifiers

SMALLEST: Final = {"type": "task.created", "source": "agent/a"}


def event_json(**members: object) -> bytes:
    """Return the JSON of an event: the smallest that the bus accepts, with these members on top."""
    return msgspec.json.encode(SMALLEST | members)


def acceptance(
    limits: AcceptanceLimits | None = None, *, clock: Clock | None = None, identifiers: Identifiers | None = None
) -> Acceptance:
    """Return an acceptance with a clock that stands still and identifiers that count from 1."""
    return Acceptance(limits or AcceptanceLimits(), clock or ManualClock(), identifiers or SequentialIdentifiers())


_DEFAULT: Final = acceptance(AcceptanceLimits(event_bytes_max=4 * 1024 * 1024))


def entry(**members: object) -> Entry:
    """Return the entry of one event; an ``id`` and a ``time`` are filled in where none is given."""
    return _DEFAULT.one(event_json(**members))


def entries(count: int, **members: object) -> list[Entry]:
    """Return entries that differ in their data: 0, 1, 2 and so on."""
    return [entry(**members, data=number) for number in range(count)]
