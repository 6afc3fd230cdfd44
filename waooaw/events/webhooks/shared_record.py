"""The record of one receiver as this replica last saw it, and how all of them change it together.

Rule 1: a change is decided from the record as it is, and written only over that one; where another replica was first,
it is decided again from what that one wrote.
Rule 2: times are the engine's: every answer tells them, and in between they are counted on by this machine's clock,
from when it was asked: what ends at a time has then ended for this replica no later than for the engine.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final

import msgspec

from waooaw.events.outages import EngineUnavailableError
from waooaw.events.webhooks.push_record import encode_record, read_record

if TYPE_CHECKING:
    from collections.abc import Callable

    from waooaw.events.clock import Clock
    from waooaw.events.engine.contract import Engine
    from waooaw.events.engine.push_contract import PushRecord as StoredRecord
    from waooaw.events.push import PushDefinition
    from waooaw.events.webhooks.push_record import PushRecord

TRIES_MAX: Final = 200
"""Each loss is somebody else's change; more in a row are a defect somewhere."""


def always(*_: PushRecord) -> bool:
    """Tell the others whatever changed."""
    return True


class SharedRecord:
    """``writer`` is the name of this replica: two that write the same are told apart by it.

    Raises `NotFoundError` where the subscription is no more, and `UnavailableError` kinds.
    """

    def __init__(self, engine: Engine, bus: str, incarnation: str, clock: Clock, *, writer: str) -> None:
        self._engine = engine
        self._bus = bus
        self._incarnation = incarnation
        self._clock = clock
        self._writer = writer
        self._writes = count(1)
        self._stored: StoredRecord | None = None
        self._told_at = 0.0

    def now_ms(self) -> int:
        """Return the engine's time, as far as this replica knows it."""
        if self._stored is None:
            return self._clock.now_ms()
        return self._stored.now_ms + round((self._clock.monotonic() - self._told_at) * 1000)

    def record(self, push: PushDefinition) -> PushRecord:
        """Return the record as it was last seen."""
        value = b"" if self._stored is None else self._stored.value
        return read_record(value, push, self.now_ms())

    async def read(self, push: PushDefinition) -> PushRecord:
        """Return the record as it is."""
        await self._read()
        return self.record(push)

    async def change(
        self,
        push: PushDefinition,
        decide: Callable[[PushRecord, int], PushRecord],
        *,
        tells: Callable[[PushRecord, PushRecord], bool] = lambda *_: False,
    ) -> PushRecord:
        """Change the record; return it as it is then. Where the decision is to leave it, nothing is written.

        ``decide`` is told the record and the engine's time; ``tells`` says of the record before and after whether the
        other replicas are to look at once.
        """
        stored = self._stored
        if stored is None:
            stored = await self._read()
        for _ in range(TRIES_MAX):
            before = read_record(stored.value, push, self.now_ms())
            after = decide(before, self.now_ms())
            if after == before:
                return before
            after = msgspec.structs.replace(after, written=f"{self._writer}.{next(self._writes)}")
            value, expected = encode_record(after), stored.version
            asked_at = self._clock.monotonic()
            stored = await self._engine.write_push_record(
                self._bus, self._incarnation, value, expected=expected, tells=tells(before, after)
            )
            self._take(stored, asked_at)
            if stored.version == expected + 1 and stored.value == value:
                return after
        message = "too many replicas change the record of this webhook at once"
        raise EngineUnavailableError(message, outcome="not_stored")

    async def _read(self) -> StoredRecord:
        asked_at = self._clock.monotonic()
        stored = await self._engine.push_record(self._bus, self._incarnation)
        self._take(stored, asked_at)
        return stored

    def _take(self, stored: StoredRecord, asked_at: float) -> None:
        self._stored = stored
        self._told_at = asked_at
