"""The receiver of one subscription, as this replica serves it: asked for its consent, given its part, paused at last.

Rule 1: nothing is delivered before the receiver consented; without a handshake it proves itself slowly.
Rule 2: what holds for all replicas is in the shared record: each renews its part of it every second while it is at
work, and reports what it saw.
Rule 3: a receiver that is gone, or only fails for days, has its subscription paused, with an event on the bus.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Final

from waooaw.events.errors import NotFoundError, WowEventError
from waooaw.events.event import Event
from waooaw.events.outages import UnavailableError
from waooaw.events.position import format_position
from waooaw.events.push_state import Attempt
from waooaw.events.timestamp import format_timestamp
from waooaw.events.webhooks import push_record
from waooaw.events.webhooks.attempt_log import AttemptLog
from waooaw.events.webhooks.handshake import consent_of
from waooaw.events.webhooks.outbox import Outbox
from waooaw.events.webhooks.push_record import PushRecord, Report, endpoint_of, is_deliverable, limits_of
from waooaw.events.webhooks.shared_record import SharedRecord
from waooaw.events.webhooks.sharing import RENEW_SECONDS, SHARE_SECONDS, rate_of, shared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waooaw.events.bus.event_bus import EventBus
    from waooaw.events.bus.subscription_routes import KnownSubscription
    from waooaw.events.clock import Clock
    from waooaw.events.engine.contract import Engine
    from waooaw.events.identifier import Identifiers
    from waooaw.events.position import Position
    from waooaw.events.push import PushDefinition
    from waooaw.events.push_state import AttemptKind, AttemptOutcome, Stopped
    from waooaw.events.webhooks.dialing import Dialer
    from waooaw.events.webhooks.outbox import Sent
    from waooaw.events.webhooks.sending import Reply, Sender
    from waooaw.events.webhooks.webhook_metrics import WebhookMetrics

_log = logging.getLogger("wowevent.webhook")

MEMBER: Final = "webhook"
"""The name of the member that a receiver is, in leases and dead letters."""

LOOK_SECONDS: Final = 30.0
"""Between two looks at the record of a receiver that has nothing to do: wakes tell what happens in between."""

WAKE_SECONDS: Final = 0.2
"""From a wake to the look: a queue with many retries wakes often, and one look is enough."""

REPAIR_SECONDS: Final = 5.0
"""Until the next step after one that failed in an unforeseen way."""

STOPPED_TYPE: Final = "wowevent.subscription.stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all endpoints of a bus share."""

    event_bus: EventBus
    engine: Engine
    sender: Sender
    dialer: Dialer
    replica: str
    origin: str
    clock: Clock
    identifiers: Identifiers
    metrics: WebhookMetrics


class Endpoint:
    """One receiver. `open` begins; `finish` and `close` end it."""

    def __init__(self, around: Surroundings, known: KnownSubscription, push: PushDefinition) -> None:
        self.known = known
        self.push = push
        self._around = around
        self._labels = {"bus": around.event_bus.name, "subscription": known.record.name}
        incarnation = known.record.incarnation
        self._shared = SharedRecord(around.engine, around.event_bus.name, incarnation, around.clock)
        self.attempts = AttemptLog(around.engine, around.event_bus.name, incarnation)
        self.outbox = Outbox(
            push,
            incarnation,
            around.sender,
            around.clock,
            around.metrics,
            labels=self._labels,
            sent=self._hear,
            changed=self.stir,
        )
        self._endpoint = endpoint_of(push)
        self._stirred = asyncio.Event()
        self._waking: asyncio.TimerHandle | None = None
        self._running: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[PushRecord] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._is_stale = True
        self._looked_at = float("-inf")
        self._is_leaving = False

    def open(self) -> None:
        """Begin."""
        self._running = asyncio.get_running_loop().create_task(self._run(), name=f"webhook {self.known.record.name}")

    def update(self, known: KnownSubscription, push: PushDefinition) -> None:
        """Take over what its owner changed."""
        is_changed = known != self.known
        self.known, self.push = known, push
        if not is_changed:
            return
        self.outbox.push = push
        if (endpoint := endpoint_of(push)) != self._endpoint:
            self._endpoint = endpoint
            self.outbox.forget_past()
        self._open_outbox()
        self._is_stale = True
        self.stir()

    def stir(self) -> None:
        """Look after it soon."""
        self._stirred.set()

    def wake(self) -> None:
        """Hear that something of its queue or its record changed elsewhere."""
        self._is_stale = True
        if self._waking is None:
            self._waking = asyncio.get_running_loop().call_later(WAKE_SECONDS, self._woken)

    def _woken(self) -> None:
        self._waking = None
        self.stir()

    @property
    def record(self) -> PushRecord:
        """What is known of the receiver, from memory."""
        return self._shared.record(self.push)

    def now_ms(self) -> int:
        """Return the engine's time, in which the record tells its times."""
        return self._shared.now_ms()

    async def read(self) -> PushRecord:
        """Return what is known of the receiver; raises `NotFoundError` and `UnavailableError` kinds."""
        return await self._shared.read(self.push)

    async def clear_stop(self) -> None:
        """Begin without a past, as somebody resumed the subscription. Raises as `read`."""
        await self._shared.read(self.push)
        self.outbox.forget_past()
        await self._shared.change(self.push, lambda record, _: push_record.resumed(record), tells=True)
        self.stir()

    # Steps ------------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self._stirred.clear()
            try:
                seconds = await self._step()
            except NotFoundError:  # deleted a moment ago: whoever follows the subscriptions closes this
                seconds = LOOK_SECONDS
            except UnavailableError as error:
                seconds = RENEW_SECONDS
                extra = self._labels | {"code": error.code, "detail": error.detail}
                _log.warning("webhook.unshared", extra=extra)
            except Exception:  # noqa: BLE001 - one receiver's trouble stays with it, and is looked after again
                seconds = REPAIR_SECONDS
                _log.exception("webhook.failed", extra=self._labels)
            try:
                async with asyncio.timeout(seconds):
                    await self._stirred.wait()
            except TimeoutError:
                continue

    async def _step(self) -> float:
        """Report, renew, and do what the record asks for; return after how many seconds to come again."""
        outbox, clock = self.outbox, self._around.clock
        is_stale, self._is_stale = self._is_stale, False
        now = clock.monotonic()
        if is_stale or now - self._looked_at >= LOOK_SECONDS:
            await self._shared.read(self.push)
            self._looked_at = now
        record = self._shared.record(self.push)
        if outbox.is_busy or outbox.report != Report() or self._around.replica in record.shares:
            record = await self._renew()
        self._follow(record)
        if outbox.is_busy:
            return RENEW_SECONDS
        if record.state == "pending" and self.push.handshake == "options":
            return max((record.next_try_ms - self.now_ms()) / 1000, RENEW_SECONDS)
        return LOOK_SECONDS

    async def _renew(self) -> PushRecord:
        outbox, around = self.outbox, self._around
        report, outbox.report = outbox.report, Report()
        began = around.clock.monotonic()
        wants = outbox.is_busy and not self._is_leaving

        def decide(record: PushRecord, now_ms: int) -> PushRecord:
            record = push_record.reported(record, self.push, report, now_ms)
            limits = limits_of(record, self.push)
            return shared(
                record,
                around.replica,
                wanted=limits.concurrency if wants else 0,
                held=outbox.in_flight,
                limits=limits,
                breaker=outbox.breaker.state(around.clock.monotonic()),
                now_ms=now_ms,
            )

        try:
            record = await self._shared.change(self.push, decide, tells=report.held_until_ms > 0)
        except WowEventError:
            outbox.report = report.followed_by(outbox.report)
            raise
        share = record.shares.get(around.replica)
        limits = limits_of(record, self.push)
        if share is None:
            outbox.set_share(0, 0.0, None)
        else:
            outbox.set_share(share.slots, began + SHARE_SECONDS, rate_of(share, limits))
        return record

    def _follow(self, record: PushRecord) -> None:
        """Do what the record asks for."""
        now_ms = self.now_ms()
        if record.held_until_ms > now_ms:
            self.outbox.hold_until(self._around.clock.monotonic() + (record.held_until_ms - now_ms) / 1000)
        self._open_outbox()
        if (
            record.state == "pending"
            and self.push.handshake == "options"
            and self._asking is None
            and record.next_try_ms <= now_ms
            and not self._is_leaving
        ):
            self._ask_soon(is_due=True)
        if push_record.is_failing_too_long(record, now_ms) and not self.known.record.is_paused:
            self._stop_soon("failing", "nothing but failures for five days")

    def _open_outbox(self) -> None:
        """Deliver, or cease to: by the receiver's consent, and by what the owner of the subscription wants."""
        is_open = (
            not self._is_leaving
            and not self.known.record.is_paused
            and self._stopping is None
            and is_deliverable(self.record, self.push)
        )
        if is_open and self.outbox.consumption is None:
            self.outbox.consumption = self._around.event_bus.deliveries.consume(
                self.known.record.name, member=MEMBER, credit=0, deliver=self.outbox.add, ended=self._ended
            )
        self.outbox.set_open(is_open=is_open)

    def _ended(self, error: WowEventError) -> None:  # noqa: ARG002 - it is closed by whoever follows the subscriptions
        self.outbox.set_open(is_open=False)

    # Consent ----------------------------------------------------------------------------------------------------------

    def _ask_soon(self, *, is_due: bool) -> asyncio.Task[PushRecord]:
        if self._asking is None:
            self._asking = asyncio.get_running_loop().create_task(self._ask(is_due=is_due), name="webhook handshake")
            self._asking.add_done_callback(self._asked)
        return self._asking

    def _asked(self, asking: asyncio.Task[PushRecord]) -> None:
        self._asking = None
        if not asking.cancelled() and (error := asking.exception()) is not None:
            is_expected = isinstance(error, UnavailableError | NotFoundError)
            _log.log(
                logging.WARNING if is_expected else logging.ERROR,
                "webhook.failed",
                exc_info=None if is_expected else error,
                extra=self._labels | {"detail": str(error)},
            )
        self.stir()

    async def _ask(self, *, is_due: bool) -> PushRecord:
        """Ask the receiver for its consent, unless another replica does so now."""
        push, is_mine = self.push, False

        def take(record: PushRecord, now_ms: int) -> PushRecord:
            nonlocal is_mine
            is_mine = not is_due or (record.state == "pending" and record.next_try_ms <= now_ms)
            return push_record.asking(record, push.timeout_seconds, now_ms) if is_mine else record

        record = await self._shared.change(push, take)
        if not is_mine:
            return record
        began_ms = self._around.clock.now_ms()
        asked_rate = None if push.rate is None else ceil(push.rate * 60)
        reply = await self._around.sender.options(push, requests_per_minute=asked_rate)
        answer = consent_of(reply, self._around.origin)
        outcome: AttemptOutcome = "delivered" if answer.state == "verified" else "failed"
        self.attempts.add(partial(self.attempt, "handshake", reply, began_ms, answer.reason, outcome))
        if endpoint_of(self.push) != endpoint_of(push):  # its owner gave it another one meanwhile
            return self.record
        before = self.record
        record = await self._shared.change(
            push,
            lambda record, now_ms: push_record.answered(
                record, answer.state, answer.reason, answer.allowed_per_minute, now_ms
            ),
            tells=True,
        )
        extra = self._labels | {"detail": record.reason}
        if record.state == "verified":
            _log.info("webhook.verified", extra=extra)
        elif record.state == "refused":
            _log.warning("webhook.refused", extra=extra)
        elif before.reason != record.reason:
            _log.warning("webhook.unanswered", extra=extra)
        return record

    async def ask(self) -> PushRecord:
        """Ask the receiver for its consent now; return the record with its answer. Raises as `read`."""
        await self._shared.read(self.push)
        if self.push.handshake == "none":
            return self.record
        record = await asyncio.shield(self._ask_soon(is_due=False))
        self._open_outbox()
        return record

    # What came of requests --------------------------------------------------------------------------------------------

    def _hear(self, sent: Sent) -> None:
        verdict = sent.verdict
        build = partial(
            self.attempt,
            "delivery",
            sent.reply,
            sent.began_ms,
            verdict.reason,
            verdict.attempt_outcome,
            positions=[delivery.stored.position for delivery in sent.events],
            attempt=sent.events[0].attempt,
        )
        self.attempts.add(build)
        if verdict.is_gone:
            self._stop_soon("gone", verdict.reason)

    def attempt(
        self,
        kind: AttemptKind,
        reply: Reply,
        began_ms: int,
        reason: str | None,
        outcome: AttemptOutcome,
        *,
        positions: Sequence[Position] = (),
        attempt: int = 1,
    ) -> Attempt:
        """Return what is told of one request."""
        return Attempt(
            id=self._around.identifiers.new_token(),
            kind=kind,
            time_ms=began_ms,
            seconds=round(reply.seconds, 6),
            outcome=outcome,
            positions=tuple([format_position(position) for position in positions]),
            attempt=attempt,
            status=reply.status,
            error=None if outcome == "delivered" else reason,
            reply=reply.body.decode("utf-8", "replace"),
            replica=self._around.replica,
        )

    # The bus pauses it ------------------------------------------------------------------------------------------------

    def _stop_soon(self, why: Stopped, detail: str) -> None:
        if self._stopping is None and not self._is_leaving:
            self._stopping = asyncio.get_running_loop().create_task(self._stop(why, detail), name="stop webhook")
            self._stopping.add_done_callback(self._stopped)
            self.outbox.set_open(is_open=False)

    def _stopped(self, stopping: asyncio.Task[None]) -> None:
        self._stopping = None
        if not stopping.cancelled() and (error := stopping.exception()) is not None:
            is_expected = isinstance(error, UnavailableError | NotFoundError)
            _log.error(
                "webhook.failed",
                exc_info=None if is_expected else error,
                extra=self._labels | {"detail": f"the subscription could not be paused: {error}"},
            )
        self._open_outbox()  # not paused after all: the next answer of that kind tries again
        self.stir()

    async def _stop(self, why: Stopped, detail: str) -> None:
        name, around = self.known.record.name, self._around
        await self._shared.read(self.push)
        record = await self._shared.change(
            self.push, lambda record, now_ms: push_record.stopped(record, why, now_ms), tells=True
        )
        await around.event_bus.subscriptions.set_paused(name, is_paused=True)
        since_ms = record.failing_since_ms if why == "failing" and record.failing_since_ms else record.stopped_ms
        data = {"subscription": name, "reason": why, "detail": detail, "since": format_timestamp(since_ms)}
        # All replicas that see it give the same id, and one event is stored.
        event_id = f"{self.known.record.incarnation}.{record.stopped_ms}"
        source = f"/buses/{around.event_bus.name}/subscriptions/{name}"
        event = Event(type=STOPPED_TYPE, source=source, id=event_id, subject=name, data=data)
        receipt = await around.event_bus.publish(event)
        if not receipt.duplicate:
            around.metrics.stopped[why] += 1
            _log.error("webhook.stopped", extra=self._labels | {"reason": why, "detail": detail})

    # The end ----------------------------------------------------------------------------------------------------------

    async def finish(self) -> None:
        """Send nothing more; return when what is under way was answered, and the share is given up."""
        self._is_leaving = True
        await self.outbox.finish()
        try:
            await self._renew()
        except (UnavailableError, NotFoundError):  # the share ends by itself
            return

    async def close(self) -> None:
        """End, cutting what is under way. Closing twice is harmless."""
        self._is_leaving = True
        if self._waking is not None:
            self._waking.cancel()
            self._waking = None
        tasks = [task for task in (self._running, self._asking, self._stopping) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.outbox.close()
        await self.attempts.close()
