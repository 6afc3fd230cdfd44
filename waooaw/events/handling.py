"""Running a handler for the events of a durable subscription: what it returns or raises decides what becomes of each.

Rule: a handler that returns has dealt with its event; whatever it raises is no end of the work, but for what is no
`Exception`. An event whose handling could not be stored comes again: handlers must bear to see one twice.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from waooaw.events.delivery import CLAIM_MAX, REASON_LENGTH_MAX
from waooaw.events.errors import StaleTokenError
from waooaw.events.outages import UnavailableError
from waooaw.events.position import format_position

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from waooaw.events.delivery import Delivery
    from waooaw.events.errors import WowEventError
    from waooaw.events.stream_message import StreamStatus
    from waooaw.events.subscription_interface import Consumer, Subscription

    Handler = Callable[[Delivery], Awaitable[object]]

_log = logging.getLogger("wowevent.handling")

CREDIT_PER_HANDLER: Final = 2
"""One event at work and one at hand: enough that no handler waits for the network, and little kept from others."""


class RejectError(Exception):
    """Raised by a handler: the event will never work; to the dead letters at once, with this text as the reason."""


class RetryError(Exception):
    """Raised by a handler: it failed; again after ``delay_seconds``, or as the retry policy says."""

    def __init__(self, reason: str = "", *, delay_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.delay_seconds = delay_seconds


class ReleaseError(Exception):
    """Raised by a handler: not handled, and no failure; somebody else may have the event."""


async def run_handler(
    subscription: Subscription,
    handler: Handler,
    *,
    concurrency: int = 10,
    credit: int | None = None,
    member: str = "",
    stop: asyncio.Event | None = None,
    watch: Callable[[StreamStatus], None] | None = None,
) -> None:
    """Call ``handler`` for each event of a subscription, ``concurrency`` at once, until ``stop`` is set.

    An event is acked when its handler returns. `RejectError` and `ReleaseError` reject and release it, anything else
    that is raised has it tried again, with the error's text as the reason; what is not one of this module's errors is
    logged with its traceback. After ``stop``, running handlers are waited for. Cancelling cancels them, and gives back
    their events. Raises as iterating over a consumer does, such as `NotFoundError`.
    """
    held = min(concurrency * CREDIT_PER_HANDLER, CLAIM_MAX) if credit is None else credit
    async with subscription.consume(credit=held, member=member, watch=watch) as consumer:
        await handle(consumer, handler, concurrency=concurrency, stop=stop)


def log_unsettled(delivery: Delivery, error: WowEventError) -> None:
    """Log that what became of an event could not be stored."""
    _log.warning(
        "handling.unsettled", extra={"position": format_position(delivery.stored.position), "code": error.code}
    )


async def handle(
    consumer: Consumer,
    handler: Handler,
    *,
    concurrency: int = 1,
    limit: int | None = None,
    stop: asyncio.Event | None = None,
    unsettled: Callable[[Delivery, WowEventError], None] = log_unsettled,
) -> None:
    """As `run_handler`, for a consumer that was entered; ends after ``limit`` events, too.

    ``unsettled`` is told of each event whose handling could not be stored; it comes again.
    """
    work = _Work(consumer, handler, limit, stop or asyncio.Event(), unsettled)
    workers = [asyncio.create_task(work.run(), name="handle deliveries") for _ in range(max(concurrency, 1))]
    stopping = asyncio.create_task(work.stop_idle(), name="stop handling")
    try:
        done, _ = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        await _cancel((*workers, stopping))
    for worker in done:
        worker.result()


async def _cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


class _Work:
    """What the workers of one call share."""

    def __init__(
        self,
        consumer: Consumer,
        handler: Handler,
        limit: int | None,
        stop: asyncio.Event,
        unsettled: Callable[[Delivery, WowEventError], None],
    ) -> None:
        self._consumer = consumer
        self._handler = handler
        self._left = limit
        self._stop = stop
        self._unsettled = unsettled
        self._turn = asyncio.Lock()
        self._idle: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Handle one event after another."""
        while (delivery := await self._next()) is not None:
            await self._handle(delivery)

    async def stop_idle(self) -> None:
        """End those that wait for an event, once it is time to stop."""
        await self._stop.wait()
        for worker in tuple(self._idle):
            worker.cancel()

    async def _next(self) -> Delivery | None:
        """Return the next event, None where there is none for this worker; one worker waits for it at a time."""
        worker = asyncio.current_task()
        if worker is not None:
            self._idle.add(worker)
        try:
            async with self._turn:
                if self._stop.is_set() or self._left == 0:
                    return None
                delivery = await anext(self._consumer, None)
                if delivery is not None and self._left is not None:
                    self._left -= 1
                return delivery
        except asyncio.CancelledError:
            if not self._stop.is_set():
                raise
            return None
        finally:
            if worker is not None:
                self._idle.discard(worker)

    async def _handle(self, delivery: Delivery) -> None:
        consumer = self._consumer
        try:
            outcome = await self._outcome(delivery)
            if isinstance(outcome, RejectError):
                await consumer.reject(delivery, reason=_reason(outcome))
            elif isinstance(outcome, ReleaseError):
                await consumer.release(delivery)
            elif isinstance(outcome, RetryError):
                await consumer.nack(delivery, reason=_reason(outcome), delay_seconds=outcome.delay_seconds)
            else:
                await consumer.ack(delivery)
        except (StaleTokenError, UnavailableError) as error:
            self._unsettled(delivery, error)

    async def _outcome(self, delivery: Delivery) -> Exception | None:
        try:
            await self._handler(delivery)
        except (RejectError, RetryError, ReleaseError) as asked:
            return asked
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is about its event
            position = format_position(delivery.stored.position)
            _log.warning("handling.failed", exc_info=error, extra={"position": position, "attempt": delivery.attempt})
            return RetryError(f"{type(error).__name__}: {error}")
        return None


def _reason(error: Exception) -> str:
    return str(error)[:REASON_LENGTH_MAX]
