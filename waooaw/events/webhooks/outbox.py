"""What waits to be sent to one receiver, what is under way, and what came of it.

Rule 1: no more requests are under way than this replica has slots, and none begins faster than its part of the rate.
Rule 2: while the receiver asked to wait, or its breaker is open, nothing is sent and nothing is held for long: what was
claimed goes back, without a failure, so that events do not lose their tries to a receiver that is down.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from waooaw.events.delivery import Settlement
from waooaw.events.errors import ClosedError
from waooaw.events.webhooks.allowance import BATCH_EVENTS_MAX, Allowance
from waooaw.events.webhooks.messages import message_of
from waooaw.events.webhooks.outcomes import Outcomes
from waooaw.events.webhooks.push_record import Report
from waooaw.events.webhooks.verdict import verdict_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from waooaw.events.bus.consumption import Consumption
    from waooaw.events.clock import Clock
    from waooaw.events.delivery import Delivery, Outcome
    from waooaw.events.push import PushDefinition
    from waooaw.events.push_state import BreakerState
    from waooaw.events.webhooks.messages import Message
    from waooaw.events.webhooks.sending import Reply, Sender
    from waooaw.events.webhooks.verdict import Verdict
    from waooaw.events.webhooks.webhook_metrics import WebhookMetrics

_log = logging.getLogger("wowevent.webhook")

BATCH_BYTES_MAX: Final = 256 * 1024
"""Of one request in batch mode: as large as the largest single event by default."""

KEPT_SECONDS: Final = 2.0
"""What has to wait for longer goes back to the queue, for whoever can send it."""

HOLD_CHANGE_SECONDS: Final = 0.1
"""Of the time until which nothing is sent: the clocks that it is told by differ by less from look to look."""

BUSY_SECONDS: Final = 2.0
"""After the last request: for so long slots are kept for the next."""


@dataclass(slots=True)
class Errand:
    """A request that a person asked for; nothing is settled by it."""

    message: Message
    answered: asyncio.Future[tuple[Reply, Verdict]]


@dataclass(frozen=True, slots=True)
class Sent:
    """A request that was answered, or got no answer. ``events`` is empty for an errand."""

    events: Sequence[Delivery]
    reply: Reply
    verdict: Verdict
    began_ms: int


class Outbox:
    """Of one receiver at one replica. ``sent`` hears of each delivery tried, ``changed`` that a look is due."""

    def __init__(
        self,
        push: PushDefinition,
        incarnation: str,
        sender: Sender,
        clock: Clock,
        metrics: WebhookMetrics,
        *,
        labels: Mapping[str, object],
        sent: Callable[[Sent], None],
        changed: Callable[[], None],
    ) -> None:
        self.push = push
        self.allowance = Allowance()
        self.report = Report()
        self.in_flight = 0
        self._consumption: Consumption | None = None
        self._incarnation = incarnation
        self._sender = sender
        self._clock = clock
        self._metrics = metrics
        self._labels = labels
        self._sent = sent
        self._changed = changed
        self._active_at = float("-inf")
        self._waiting: deque[Delivery] = deque()
        self._errands: deque[Errand] = deque()
        self._requests: set[asyncio.Task[None]] = set()
        self._outcomes = Outcomes(labels)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0  # uvloop's handles of what is due at once have no `when`
        metrics.breakers[self] = self._breaker_state

    def _breaker_state(self) -> BreakerState:
        return self.allowance.breaker.state(self._clock.monotonic())

    @property
    def is_connected(self) -> bool:
        """Whether it has a member that claims for it."""
        return self._consumption is not None

    def connect(self, consumption: Consumption) -> None:
        """Claim through a member, and settle by it; it is closed at the end."""
        self._consumption = consumption
        self._outcomes.settle = consumption.settle

    def disconnect(self) -> None:
        """Do without the member, which the bus ended. What is under way is still settled."""
        self._give_back()
        self._consumption = None

    # What the endpoint says -------------------------------------------------------------------------------------------

    def set_open(self, *, is_open: bool) -> None:
        """Begin or cease to deliver; what waits goes back then."""
        if is_open != self.allowance.is_open:
            self.allowance.is_open = is_open
            self.adjust()

    def set_share(self, slots: int, until: float, rate: float | None) -> None:
        """Take over what this replica may do until a monotonic time."""
        self.allowance.set_share(slots, until, rate)
        if self._waiting and not slots:
            self.allowance.lack(self._clock.monotonic())
            self._give_back()
        self.adjust()

    def hold_until(self, until: float) -> None:
        """Send nothing before a monotonic time, as the receiver asked some replica; 0: it may be sent to again."""
        before, self.allowance.held_until = self.allowance.held_until, until
        if (before == 0.0) != (until == 0.0) or abs(until - before) > HOLD_CHANGE_SECONDS:
            self.adjust()

    @property
    def is_busy(self) -> bool:
        """Whether slots are wanted."""
        is_recent = self._clock.monotonic() - self._active_at < BUSY_SECONDS
        return bool(self._waiting or self._errands or self.in_flight or is_recent)

    @property
    def held_seconds(self) -> float:
        """How long nothing is sent, because the receiver asked for that; 0 or less: not at all."""
        return self.allowance.held_until - self._clock.monotonic()

    # What comes in ----------------------------------------------------------------------------------------------------

    def add(self, deliveries: Sequence[Delivery]) -> None:
        """Take what was claimed."""
        was_idle = not self.is_busy
        self._active_at = self._clock.monotonic()
        self._waiting.extend(deliveries)
        if was_idle or not self.allowance.has_slots(self._active_at):
            self._changed()
        self.adjust()

    def add_errand(self, message: Message) -> asyncio.Future[tuple[Reply, Verdict]]:
        """Send a message that is no delivery, before what waits; return what comes of it."""
        errand = Errand(message, asyncio.get_running_loop().create_future())
        self._errands.append(errand)
        self._changed()
        self.pump()
        return errand.answered

    # Sending ----------------------------------------------------------------------------------------------------------

    def adjust(self) -> None:
        """Send what can be sent, claim what can be taken, give back what has to wait for long."""
        now = self._clock.monotonic()
        blocked = self.allowance.blocked_seconds(now)
        if self._waiting and blocked > KEPT_SECONDS:
            self._give_back()
        if self._consumption is not None:
            self._consumption.set_credit(self.allowance.credit(now, self.push))
        if 0 < blocked < float("inf"):  # by the same time as the credit: timers come some microseconds early
            self._come_again(now + blocked)
        self.pump()

    def _give_back(self) -> None:
        self._outcomes.add([Settlement(token=delivery.token, outcome="release") for delivery in self._waiting])
        self._waiting.clear()

    def pump(self) -> None:
        """Begin what may begin; come again when time alone allows more."""
        now, allowance = self._clock.monotonic(), self.allowance
        while self._errands or self._waiting:
            if self._errands and self._errands[0].answered.done():  # whoever asked for it has given up
                self._errands.popleft()
                continue
            is_errand = bool(self._errands) and allowance.errand_room(now, self.in_flight) > 0
            if not is_errand and not (self._waiting and allowance.room(now, self.in_flight) > 0):
                break
            if (seconds := allowance.pace.wait_seconds(now)) > 0:
                self._come_again(now + seconds)
                return
            allowance.pace.take(now)
            self.in_flight += 1
            self._metrics.in_flight += 1
            request = self._run_errand(self._errands.popleft()) if is_errand else self._deliver(self._take())
            task = asyncio.get_running_loop().create_task(request, name="webhook")
            self._requests.add(task)
            task.add_done_callback(self._end)

    def _come_again(self, when: float) -> None:
        loop = asyncio.get_running_loop()
        at = loop.time() + max(when - self._clock.monotonic(), 0.0)
        if self._timer is None or at < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer, self._timer_at = loop.call_at(at, self._tick), at

    def _tick(self) -> None:
        self._timer = None
        self.adjust()

    def _take(self) -> list[Delivery]:
        """Take the next request's events. What failed before goes alone: its failure is then its own."""
        first = self._waiting.popleft()
        events = [first]
        if self.push.mode == "batch" and first.attempt == 1:
            size_bytes = len(first.stored.body)
            while self._waiting and len(events) < BATCH_EVENTS_MAX and self._waiting[0].attempt == 1:
                size_bytes += len(self._waiting[0].stored.body)
                if size_bytes > BATCH_BYTES_MAX:
                    break
                events.append(self._waiting.popleft())
        return events

    async def _deliver(self, events: list[Delivery]) -> None:
        began_ms = self._clock.now_ms()
        try:
            message = message_of(self.push, self._incarnation, [delivery.stored for delivery in events])
            reply, verdict = await self._send(message)
        except Exception as error:  # a defect here must not keep an event leased for ever
            self._outcome(events, "nack", f"the bus failed to send it: {type(error).__name__}")
            raise
        self._outcome(events, verdict.outcome, verdict.reason, verdict.delay_seconds)
        self._sent(Sent(events, reply, verdict, began_ms))

    def _outcome(
        self, events: Sequence[Delivery], outcome: Outcome, reason: str, delay_seconds: float | None = None
    ) -> None:
        if outcome == "ack":
            reason = ""
        self._outcomes.add(
            [
                Settlement(token=delivery.token, outcome=outcome, delay_seconds=delay_seconds, reason=reason)
                for delivery in events
            ]
        )

    async def _run_errand(self, errand: Errand) -> None:
        try:
            answer = await self._send(errand.message)
        except BaseException:
            if not errand.answered.done():
                errand.answered.set_exception(ClosedError("the request was cut off"))
            raise
        if not errand.answered.done():
            errand.answered.set_result(answer)

    async def _send(self, message: Message) -> tuple[Reply, Verdict]:
        reply = await self._sender.post(self.push, message)
        now, now_ms = self._clock.monotonic(), self._clock.now_ms()
        verdict = verdict_of(reply, now_ms=now_ms, failures_held=self.allowance.holds)
        self._metrics.count(reply.kind, reply.status, reply.seconds)
        if verdict.attempt_outcome != "held":
            self.report.take(is_success=verdict.attempt_outcome == "delivered", now_ms=now_ms)
        self._tell_breaker(verdict, now)
        if self.allowance.take(verdict, now):
            held_until_ms = now_ms + round((self.allowance.held_until - now) * 1000)
            self.report.held_until_ms = max(self.report.held_until_ms, held_until_ms)
            self.adjust()
            self._changed()
        return reply, verdict

    def _tell_breaker(self, verdict: Verdict, now: float) -> None:
        if verdict.attempt_outcome == "delivered":
            if self.allowance.breaker.succeed():
                _log.info("webhook.breaker_closed", extra=self._labels)
                self.adjust()
                self._changed()
        elif verdict.attempt_outcome == "failed" and self.allowance.breaker.fail(now):
            seconds = self.allowance.breaker.until - now
            _log.warning("webhook.breaker_opened", extra={**self._labels, "seconds": seconds, "detail": verdict.reason})
            self.adjust()
            self._changed()

    def _end(self, task: asyncio.Task[None]) -> None:
        self._requests.discard(task)
        self.in_flight -= 1
        self._metrics.in_flight -= 1
        self._active_at = self._clock.monotonic()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("webhook.failed", exc_info=error, extra=self._labels)
        self.pump()

    # The end ----------------------------------------------------------------------------------------------------------

    async def finish(self) -> None:
        """Send nothing more, give back what waits, and return when what is under way was answered and settled."""
        self.set_open(is_open=False)
        for errand in self._errands:
            if not errand.answered.done():
                errand.answered.set_exception(ClosedError("the service is shutting down"))
        self._errands.clear()
        while self._requests:
            await asyncio.wait(self._requests)
        await self._outcomes.settled()

    async def close(self) -> None:
        """Cut what is under way, and give back all that is held."""
        self.allowance.is_open = False
        self._metrics.breakers.pop(self, None)
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for request in tuple(self._requests):
            request.cancel()
        await asyncio.gather(*self._requests, return_exceptions=True)
        await self._outcomes.close()
        if self._consumption is not None:
            consumption, self._consumption = self._consumption, None
            await consumption.close()
