"""A settle: what each outcome makes of its delivery."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from waooaw.events.engine.queue_contract import Settled, SettleRequest
from waooaw.events.engine.sqlite import queue_statements as sql
from waooaw.events.engine.sqlite.failing import exhausted, failed, wait_ms
from waooaw.events.engine.sqlite.reference import LEASED, WAITING, Held, parse_reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waooaw.events.engine.sqlite.queue_change import QueueChange
    from waooaw.events.position import Position

SLICE_REQUESTS: Final = 250
"""Outcomes looked at before other work of the loop gets its turn: about a millisecond."""


class Settling:
    """One settle under way. `makes_claimable` tells afterwards whether somebody may get something now."""

    def __init__(self, change: QueueChange) -> None:
        self._change = change
        self._rules = change.queue.rules
        self._done: dict[tuple[Position, int], Held | None] = {}
        """References that this call has moved: how they stand, None for those that are no lease any more."""
        self.makes_claimable = change.queue.leased >= self._rules.max_in_flight

    async def run(self, requests: Sequence[SettleRequest]) -> Settled:
        """Settle in order, and write it."""
        attempts = []
        for index, request in enumerate(requests):
            if index and index % SLICE_REQUESTS == 0:
                await asyncio.sleep(0)
            held = self._find(request)
            attempts.append(0 if held is None else held.failures + 1)
            if held is not None:
                self._settle(held, request)
        if self._change.write():
            self.makes_claimable = True
        return Settled(tuple(attempts), self._change.moves)

    def _find(self, request: SettleRequest) -> Held | None:
        """Return the lease that a token is of; None where it is none any more."""
        place = parse_reference(request.reference)
        if place is None:
            return None
        if place in self._done:
            held = self._done[place]
        else:
            change = self._change
            row = change.connection.execute(sql.FIND_HELD, (change.queue.number, *place)).fetchone()
            held = None if row is None else Held(*row)
        return held if held is not None and held.state == LEASED and held.nonce == request.nonce else None

    def _settle(self, held: Held, request: SettleRequest) -> None:
        change, outcome = self._change, request.outcome
        after: Held | None = None
        if outcome == "ack":
            change.settle(held, "acked")
        elif outcome == "extend":
            seconds = self._rules.lease_seconds if request.delay_seconds is None else request.delay_seconds
            after = held._replace(at_ms=change.now_ms + round(seconds * 1000))
            change.hold(after)
        elif outcome == "release":
            change.count("leased", "waiting")
            change.hold(held._replace(state=WAITING, at_ms=change.now_ms, nonce=""))
            self.makes_claimable = True
        elif outcome == "reject":
            change.bury(held, failed(held, request.reason, change.now_ms), "rejected", change.event_of(held))
        else:
            self._nack(held, request)
        self._done[held.position, held.copy] = after

    def _nack(self, held: Held, request: SettleRequest) -> None:
        change, rules = self._change, self._rules
        after = failed(held, request.reason, change.now_ms)
        event = change.event_of(held)
        reason = exhausted(after, rules.retry, change.now_ms)
        if reason is not None:
            change.bury(held, after, reason, event, is_dropped=rules.drops_exhausted)
            return
        wait = wait_ms(after.failures, rules.retry, request.delay_seconds, request.chance)
        change.count("leased", "scheduled")
        change.hold(after._replace(at_ms=change.now_ms + wait, nonce=""), event)
        self.makes_claimable = True  # in a moment: the next claim tells when
