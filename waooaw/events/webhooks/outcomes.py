"""What became of deliveries that were sent, settled together: while one settle is in flight what comes forms the next.

Rule: what a receiver answered is settled as it was answered, also after the store was away for a while. The leases run
on meanwhile, so nobody else sends these events.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from waooaw.events.delivery import CLAIM_MAX, Settlement
from waooaw.events.errors import NotFoundError, WowEventError
from waooaw.events.outages import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

_log = logging.getLogger("wowevent.webhook")

RESETTLE_SECONDS: Final = 1.0
"""Between two tries to settle with a store that is away."""


class Outcomes:
    """Of one receiver. ``settle`` is set before the first outcome comes."""

    def __init__(self, labels: Mapping[str, object]) -> None:
        self.settle: Callable[[Sequence[Settlement]], Awaitable[object]] | None = None
        self._labels = labels
        self._waiting: list[Settlement] = []
        self._settling: asyncio.Task[None] | None = None

    def add(self, settlements: Sequence[Settlement]) -> None:
        """Settle these soon."""
        self._waiting += settlements
        if self._settling is None and self._waiting and self.settle is not None:
            self._settling = asyncio.get_running_loop().create_task(self._run(self.settle), name="settle webhook")

    async def _run(self, settle: Callable[[Sequence[Settlement]], Awaitable[object]]) -> None:
        try:
            while self._waiting:
                settlements = self._waiting[:CLAIM_MAX]
                try:
                    await settle(settlements)
                except UnavailableError as error:
                    extra = {**self._labels, "code": error.code, "detail": error.detail}
                    _log.warning("webhook.unsettled", extra=extra)
                    await asyncio.sleep(RESETTLE_SECONDS)
                    continue
                except NotFoundError:
                    pass  # the subscription is no more, and nothing of it is left to settle
                except WowEventError as error:
                    _log.error("webhook.failed", exc_info=error, extra=self._labels)
                del self._waiting[: len(settlements)]
        finally:
            self._settling = None

    async def settled(self) -> None:
        """Return when all that was said is settled."""
        while self._settling is not None:
            await asyncio.wait([self._settling])

    async def close(self) -> None:
        """End, with what is settled so far."""
        if self._settling is not None:
            self._settling.cancel()
            await asyncio.gather(self._settling, return_exceptions=True)
