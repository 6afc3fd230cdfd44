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

from waooaw.events.delivery import CLAIM_MAX, Settlement
from waooaw.events.errors import ClosedError
from waooaw.events.webhooks.breaker import Breaker
from waooaw.events.webhooks.messages import message_of
from waooaw.events.webhooks.outcomes import Outcomes
from waooaw.events.webhooks.pace import Pace
from waooaw.events.webhooks.push_record import Report
from waooaw.events.webhooks.verdict import verdict_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from waooaw.events.bus.consumption import Consumption
    from waooaw.events.clock import Clock
    from waooaw.events.delivery import Delivery, Outcome
    from waooaw.events.push import PushDefinition
    from waooaw.events.webhooks.messages import Message
    from waooaw.events.webhooks.sending import Reply, Sender
    from waooaw.events.webhooks.verdict import Verdict
    from waooaw.events.webhooks.webhook_metrics import WebhookMetrics

_log = logging.getLogger("wowevent.webhook")

BATCH_EVENTS_MAX: Final = 100
BATCH_BYTES_MAX: Final = 256 * 1024
"""Of one request in batch mode: as large as the largest single event by default."""

IDLE_CREDIT_MAX: Final = 16
"""Deliveries that are claimed before this replica has slots: enough to begin with, few enough to wait a moment."""

CREDIT_PER_SLOT: Final = 2
"""One is under way while the next is claimed."""

CREDIT_SECONDS: Final = 2.0
"""Of a slow rate, no more is claimed than is sent in this time."""

KEPT_SECONDS: Final = 2.0
"""What has to wait for longer goes back to the queue, for whoever can send it."""

LACKING_SECONDS: Final = 1.0
"""Until this replica claims again where all slots were with others: those are at work, and it is not needed."""

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
        self.breaker = Breaker()
        self.pace = Pace()
        self.report = Report()
        self._consumption: Consumption | None = None
        self.in_flight = 0
        self._incarnation = incarnation
        self._sender = sender
        self._clock = clock
        self._metrics = metrics
        self._labels = labels
        self._sent = sent
        self._changed = changed
        self._is_open = False
        self._slots = 0
        self._slots_until = 0.0
        self._rate: float | None = None
        self._held_until = 0.0
        self._holds = 0
        self._lacking_until = 0.0
        self._active_at = float("-inf")
        self._waiting: deque[Delivery] = deque()
        self._errands: deque[Errand] = deque()
        self._requests: set[asyncio.Task[None]] = set()
        self._outcomes = Outcomes(labels)
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_connected(self) -> bool:
        """Whether it has a member that claims for it."""
        return self._consumption is not None

    def connect(self, consumption: Consumption) -> None:
        """Claim through a member, and settle by it; it is closed at the end."""
        self._consumption = consumption
        self._outcomes.settle = consumption.settle

    # What the endpoint says -------------------------------------------------------------------------------------------

    def set_open(self, *, is_open: bool) -> None:
        """Begin or cease to deliver; what waits goes back then."""
        if is_open != self._is_open:
            self._is_open = is_open
            self.adjust()

    def set_share(self, slots: int, until: float, rate: float | None) -> None:
        """Take over what this replica may do until a monotonic time."""
        self._slots, self._slots_until, self._rate = slots, until, rate
        self.pace.set_rate(rate)
        if slots:
            self._lacking_until = 0.0
        elif self._waiting:
            self._lacking_until = self._clock.monotonic() + LACKING_SECONDS
            self._give_back()
        self.adjust()

    def hold_until(self, until: float) -> None:
        """Send nothing before a monotonic time: the receiver asked for that, here or at another replica."""
        if until > self._held_until:
            self._held_until = until
            self.adjust()

    def forget_past(self) -> None:
        """The receiver is another one, or begins anew."""
        self.breaker.reset()
        self._held_until, self._holds = 0.0, 0

    @property
    def is_busy(self) -> bool:
        """Whether slots are wanted."""
        is_recent = self._clock.monotonic() - self._active_at < BUSY_SECONDS
        return bool(self._waiting or self._errands or self.in_flight or is_recent)

    @property
    def held_seconds(self) -> float:
        """How long nothing is sent, because the receiver asked for that; 0 or less: not at all."""
        return self._held_until - self._clock.monotonic()

    # What comes in ----------------------------------------------------------------------------------------------------

    def add(self, deliveries: Sequence[Delivery]) -> None:
        """Take what was claimed."""
        was_idle = not self.is_busy
        self._active_at = self._clock.monotonic()
        self._waiting.extend(deliveries)
        if was_idle or self._clock.monotonic() >= self._slots_until:
            self._changed()
        self.adjust()

    def add_errand(self, message: Message) -> asyncio.Future[tuple[Reply, Verdict]]:
        """Send a message that is no delivery, before what waits; return what comes of it."""
        errand = Errand(message, asyncio.get_running_loop().create_future())
        self._errands.append(errand)
        self._changed()
        self.pump()
        return errand.answered

    # Whether, and how much --------------------------------------------------------------------------------------------

    def adjust(self) -> None:
        """Send what can be sent, claim what can be taken, give back what has to wait for long."""
        blocked = self._blocked_seconds(self._clock.monotonic())
        if self._waiting and blocked > KEPT_SECONDS:
            self._give_back()
        if self._consumption is not None:
            self._consumption.set_credit(0 if blocked > 0 else self._credit())
        self.pump()

    def _give_back(self) -> None:
        self._outcomes.add([Settlement(token=delivery.token, outcome="release") for delivery in self._waiting])
        self._waiting.clear()

    def _blocked_seconds(self, now: float) -> float:
        """Return for how long nothing is sent at all; infinity where nobody knows."""
        if not self._is_open:
            return float("inf")
        until = max(self._held_until, self._lacking_until)
        if self.breaker.state(now) == "open":
            until = max(until, self.breaker.until)
        return until - now

    def _credit(self) -> int:
        now = self._clock.monotonic()
        if self.breaker.state(now) == "half_open":
            return 1
        slots = self._slots if now < self._slots_until else 0
        events = BATCH_EVENTS_MAX if self.push.mode == "batch" else 1
        credit = (slots or min(self.push.concurrency, IDLE_CREDIT_MAX)) * CREDIT_PER_SLOT * events
        if self._rate is not None:
            credit = min(credit, max(round(self._rate * events * CREDIT_SECONDS), 1))
        return min(credit, CLAIM_MAX)

    def _room(self, now: float) -> int:
        """Return how many deliveries may begin now."""
        if not self._is_open or now < self._held_until or now >= self._slots_until:
            return 0
        state = self.breaker.state(now)
        if state == "closed":
            return self._slots - self.in_flight
        return 0 if state == "open" or self.in_flight else min(self._slots, 1)

    def _errand_room(self, now: float) -> int:
        """Return how many errands may begin now: they try a receiver whose breaker is open, too."""
        return 0 if now < self._held_until or now >= self._slots_until else self._slots - self.in_flight

    # Sending ----------------------------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Begin what may begin; come again when time alone allows more."""
        now = self._clock.monotonic()
        while self._errands or self._waiting:
            if self._errands and self._errands[0].answered.done():  # whoever asked for it has given up
                self._errands.popleft()
                continue
            is_errand = bool(self._errands) and self._errand_room(now) > 0
            if not is_errand and not (self._waiting and self._room(now) > 0):
                break
            if (seconds := self.pace.wait_seconds(now)) > 0:
                self._come_again(now + seconds)
                return
            self.pace.take(now)
            self.in_flight += 1
            self._metrics.in_flight += 1
            request = self._run_errand(self._errands.popleft()) if is_errand else self._deliver(self._take())
            task = asyncio.get_running_loop().create_task(request, name="webhook")
            self._requests.add(task)
            task.add_done_callback(self._end)
        blocked = self._blocked_seconds(now)
        if self._is_open and blocked > 0:
            self._come_again(now + blocked)

    def _come_again(self, when: float) -> None:
        loop = asyncio.get_running_loop()
        at = loop.time() + max(when - self._clock.monotonic(), 0.0)
        if self._timer is None or at < self._timer.when():
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_at(at, self._tick)

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
        except asyncio.CancelledError:
            errand.answered.cancel()
            raise
        if not errand.answered.done():
            errand.answered.set_result(answer)

    async def _send(self, message: Message) -> tuple[Reply, Verdict]:
        reply = await self._sender.post(self.push, message)
        now, now_ms = self._clock.monotonic(), self._clock.now_ms()
        is_held = now < self._held_until
        verdict = verdict_of(reply, now_ms=now_ms, failures_held=self._holds)
        self._metrics.count(reply.kind, reply.status, reply.seconds)
        is_success = verdict.attempt_outcome == "delivered"
        if verdict.attempt_outcome != "held":
            self.report.take(is_success=is_success, now_ms=now_ms)
        if is_success:
            self._holds = 0
        elif verdict.hold_seconds is not None and not is_held:
            self._holds += 1
        self._tell_breaker(verdict, now)
        if verdict.hold_seconds is not None:
            until_ms = now_ms + round(verdict.hold_seconds * 1000)
            self.report.held_until_ms = max(self.report.held_until_ms, until_ms)
            self.hold_until(now + verdict.hold_seconds)
            self._changed()
        return reply, verdict

    def _tell_breaker(self, verdict: Verdict, now: float) -> None:
        if verdict.attempt_outcome == "delivered":
            if self.breaker.succeed():
                _log.info("webhook.breaker_closed", extra=self._labels)
                self.adjust()
                self._changed()
        elif verdict.attempt_outcome == "failed" and self.breaker.fail(now):
            seconds = self.breaker.until - now
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
        self._is_open = False
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
