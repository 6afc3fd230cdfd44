"""Claims with a key of their own: any replica answers the repetition of one as it was answered first.

A claim that waits is several claims at the engine, under sequences that count from 1: all but the last got nothing. Its
repetition finds the last one by going through them (`SupersededError` says that there is a later one).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from waooaw.events.delivery import ClaimedDeliveries
from waooaw.events.engine.queue_contract import ClaimRequest
from waooaw.events.errors import SupersededError
from waooaw.events.outages import UnavailableError

if TYPE_CHECKING:
    from waooaw.events.bus.claiming import Claiming
    from waooaw.events.bus.served_queue import ServedQueue
    from waooaw.events.engine.queue_contract import Claimed

SEQUENCE_MAX: Final = 10_000
"""Claims that one call makes at most while it waits; it takes turns with others, and waits a minute at most."""

PATIENCE_SECONDS: Final = 2.0
"""How long the engine may wait by itself in one claim."""


class LoneClaims:
    """Makes them for one queue. They are not joined, and take turns while they wait."""

    def __init__(self, queue: ServedQueue, claiming: Claiming) -> None:
        self._queue = queue
        self._claiming = claiming
        self._waiting: dict[object, ClaimRequest] = {}

    @property
    def waiting(self) -> tuple[ClaimRequest, ...]:
        """Those under way."""
        return tuple(self._waiting.values())

    async def claim(self, member: str, limit: int, wait_seconds: float, *, claimer: str) -> ClaimedDeliveries:
        """Claim under a claimer of the call's own. Cancelling gives nothing back: whoever repeats it gets it."""
        request, call = ClaimRequest(member, limit), object()
        deadline = self._queue.clock.monotonic() + wait_seconds
        self._waiting[call] = request
        try:
            for sequence in range(1, SEQUENCE_MAX + 1):
                stirs = self._claiming.stirs
                try:
                    claimed = await self._claim(request, claimer, sequence)
                except SupersededError:
                    continue
                if claimed.leases:
                    self._claiming.give_turn()
                if claimed.leases or not await self._wait(stirs, claimed.next_due_ms, deadline):
                    return self._answer(claimed)
        finally:
            self._waiting.pop(call, None)
        raise UnavailableError("the claim was woken too often without getting anything; claim again")

    async def _claim(self, request: ClaimRequest, claimer: str, sequence: int) -> Claimed:
        queue = self._queue
        claimed = await queue.engine.claim(
            queue.bus, queue.incarnation, claimer, sequence, (request,), patience_seconds=PATIENCE_SECONDS
        )
        queue.moves.take(queue.name, claimed.moves)
        return claimed

    async def _wait(self, stirs: int, next_due_ms: int | None, deadline: float) -> bool:
        """Wait for the next turn; return whether one came in time."""
        remaining = deadline - self._queue.clock.monotonic()
        if remaining <= 0:
            return False
        try:
            async with asyncio.timeout(remaining):
                await self._claiming.turn(stirs, next_due_ms)
        except TimeoutError:
            return False
        return True

    def _answer(self, claimed: Claimed) -> ClaimedDeliveries:
        deliveries = self._claiming.build(claimed.leases, 1)[0]
        return ClaimedDeliveries(tuple(deliveries), claimed.next_due_ms)
