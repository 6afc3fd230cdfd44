"""Settles that are joined: while one message is unanswered, what comes forms the next.

A member that settles event by event then costs as few messages as one that settles many at once, without a timer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from waooaw.events.delivery import CLAIM_MAX

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from waooaw.events.delivery import Settlement
    from waooaw.events.errors import WowEventError

    Results = list[WowEventError | None]
    Request = tuple[Sequence[Settlement], asyncio.Future[Results]]


class JoinedSettles:
    """Sends what is submitted by ``send``, which takes up to `CLAIM_MAX` settlements and returns a result for each."""

    def __init__(self, send: Callable[[list[Settlement]], Awaitable[Results]]) -> None:
        self._send = send
        self._waiting: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None

    async def submit(self, settlements: Sequence[Settlement]) -> Results:
        """Settle up to `CLAIM_MAX` deliveries; raises what ``send`` raises. Cancelled, it settles all the same."""
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Results] = loop.create_future()
        self._waiting.append((settlements, answered))
        if self._task is None:
            self._task = loop.create_task(self._work(), name="settle")
        return await answered

    async def flush(self, seconds: float) -> None:
        """Wait until all that was submitted is answered, so long at most."""
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=seconds)

    async def _work(self) -> None:
        while self._waiting:
            requests = self._take()
            joined = [settlement for settlements, _ in requests for settlement in settlements]
            try:
                results = await self._send(joined)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is for those who wait for an answer
                for _, answered in requests:
                    if not answered.done():
                        answered.set_exception(error)
                continue
            begin = 0
            for settlements, answered in requests:
                end = begin + len(settlements)
                if not answered.done():
                    answered.set_result(results[begin:end])
                begin = end
        self._task = None

    def _take(self) -> list[Request]:
        """Return the requests that fit in one message, in their order; at least one."""
        taken: list[Request] = []
        count = 0
        while self._waiting and (not taken or count + len(self._waiting[0][0]) <= CLAIM_MAX):
            request = self._waiting.popleft()
            taken.append(request)
            count += len(request[0])
        return taken
