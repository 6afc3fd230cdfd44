"""Changes of subscriptions: what arrives within 20 ms is one step of the engine.

Each step moves the version of the routes, and an append that was matched by the one before is refused and made again.
Joined, subscribers that come and go by the hundred cost fifty of these a second, and not one each.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from waooaw.events.errors import WowEventError
from waooaw.events.outages import OverloadedError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from waooaw.events.bus.subscription_routes import SubscriptionRoutes
    from waooaw.events.clock import Clock
    from waooaw.events.engine.contract import Engine
    from waooaw.events.engine.subscription_contract import Changed, SubscriptionChange

JOIN_SECONDS: Final = 0.02
"""From one step to the next; the first one after a pause is made at once."""

CHANGES_MAX: Final = 100
"""Changes in one step: what the engines take."""

WAITING_MAX: Final = 10_000
"""Changes that wait: two seconds of steps."""

_Answer = asyncio.Future["Changed"]


class SubscriptionChanges:
    """Makes changes of one bus's subscriptions, one step at a time."""

    def __init__(
        self,
        engine: Engine,
        bus: str,
        routes: SubscriptionRoutes,
        clock: Clock,
        *,
        subscriptions_max: int,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._engine = engine
        self._bus = bus
        self._routes = routes
        self._clock = clock
        self._subscriptions_max = subscriptions_max
        self._sleep = sleep
        self._waiting: deque[tuple[SubscriptionChange, _Answer]] = deque()
        self._running: asyncio.Task[None] | None = None
        self._next = clock.monotonic()

    async def make(self, change: SubscriptionChange) -> Changed:
        """Make a change; this replica's routes have it afterwards. Raises what the engine answered to it.

        A cancelled call still makes its change.
        """
        if len(self._waiting) >= WAITING_MAX:
            message = f"{WAITING_MAX} changes of subscriptions wait already"
            raise OverloadedError(message)
        loop = asyncio.get_running_loop()
        answer: _Answer = loop.create_future()
        self._waiting.append((change, answer))
        if self._running is None:
            self._running = loop.create_task(self._run(), name=f"change subscriptions {self._bus}")
        return await answer

    async def close(self) -> None:
        """Return once every change that was asked for is answered."""
        if self._running is not None:
            await asyncio.shield(self._running)

    async def _run(self) -> None:
        try:
            while self._waiting:
                wait_seconds = self._next - self._clock.monotonic()
                if wait_seconds > 0:
                    await self._sleep(wait_seconds)
                self._next = self._clock.monotonic() + JOIN_SECONDS
                count = min(len(self._waiting), CHANGES_MAX)
                await self._step([self._waiting.popleft() for _ in range(count)])
        finally:
            self._running = None

    async def _step(self, taken: Sequence[tuple[SubscriptionChange, _Answer]]) -> None:
        changes = [change for change, _ in taken]
        answers: Sequence[Changed | Exception]
        try:
            answers = await self._engine.change_subscriptions(
                self._bus, changes, subscriptions_max=self._subscriptions_max
            )
        except WowEventError as error:
            answers = [error] * len(taken)
        except Exception as error:  # noqa: BLE001 - a defect in an engine must not leave its callers waiting for ever
            refusal = UnavailableError("the store failed in an unforeseen way", outcome="unknown")
            refusal.__cause__ = error
            answers = [refusal] * len(taken)
        if isinstance(answers[0], UnavailableError):  # the store is away: callers wait no longer than they have to
            self._answer(taken, answers)
            return
        try:
            with suppress(WowEventError):  # what is made is made; appends are refused until this replica knows it
                await self._routes.refresh()
        finally:
            self._answer(taken, answers)

    @staticmethod
    def _answer(taken: Sequence[tuple[SubscriptionChange, _Answer]], answers: Sequence[Changed | Exception]) -> None:
        for (_, future), answer in zip(taken, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
