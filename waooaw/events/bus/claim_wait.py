"""One claim that a caller waits for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from waooaw.events.delivery import ClaimedDeliveries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waooaw.events.delivery import Delivery
    from waooaw.events.errors import WowEventError


class ClaimWait:
    """A wish that ends with the first deliveries it gets, or with the first claim for it after its time is over.

    Cancelling ``answered`` ends it too: what a claim under way gets for it then goes back.
    """

    def __init__(self, member: str, limit: int, *, waits: bool) -> None:
        self.member = member
        self.limit = limit
        self.answered: asyncio.Future[ClaimedDeliveries] = asyncio.get_running_loop().create_future()
        self._waits = waits

    @property
    def wanted(self) -> int:
        """See Wish."""
        return 0 if self.answered.done() else self.limit

    def end_waiting(self) -> None:
        """Be content with what the next claim brings, also with nothing."""
        self._waits = False

    def take(self, deliveries: list[Delivery], next_due_ms: int | None) -> Sequence[Delivery]:
        """See Wish."""
        if self.answered.done():
            return deliveries
        if deliveries or not self._waits:
            self.answered.set_result(ClaimedDeliveries(tuple(deliveries), next_due_ms))
        return ()

    def fail(self, error: WowEventError) -> bool:
        """See Wish: a caller hears of it, and may ask again."""
        if not self.answered.done():
            self.answered.set_exception(error)
        return False
