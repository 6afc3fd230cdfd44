"""The receiver of one subscription, as this replica serves it: asked for its consent, given its part, paused at last.

Rule 1: nothing is delivered before the receiver consented; without a handshake it proves itself slowly.
Rule 2: what holds for all replicas is in the shared record: each renews its part of it every second while it is at
work, and reports what it saw.
Rule 3: a receiver that is gone, or only fails for days, has its subscription paused, with an event on the bus.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from waooaw.events.errors import NotFoundError, WowEventError
from waooaw.events.outages import UnavailableError
from waooaw.events.position import format_position
from waooaw.events.push_state import Attempt
from waooaw.events.webhooks import push_record
from waooaw.events.webhooks.attempt_log import AttemptLog
from waooaw.events.webhooks.consent import Consent
from waooaw.events.webhooks.outbox import Outbox
from waooaw.events.webhooks.push_record import PushRecord, Report, endpoint_of, is_deliverable, limits_of
from waooaw.events.webhooks.shared_record import SharedRecord, always
from waooaw.events.webhooks.sharing import (
    GIVING_SECONDS,
    MARGIN_SECONDS,
    RENEW_SECONDS,
    SHARE_SECONDS,
    is_news,
    rate_of,
    shared,
)
from waooaw.events.webhooks.stopping import Stopping

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waooaw.events.bus.subscription_routes import KnownSubscription
    from waooaw.events.position import Position
    from waooaw.events.push import PushDefinition
    from waooaw.events.push_state import AttemptKind, AttemptOutcome, PushState, Stopped
    from waooaw.events.webhooks.handshake import Answer
    from waooaw.events.webhooks.outbox import Sent
    from waooaw.events.webhooks.sending import Reply
    from waooaw.events.webhooks.surroundings import Surroundings

_log = logging.getLogger("wowevent.webhook")

MEMBER: Final = "webhook"
"""The name of the member that a receiver is, in leases and dead letters."""

LOOK_SECONDS: Final = 30.0
"""Between two looks at the record of a receiver that has nothing to do: wakes tell what happens in between."""

WAKE_SECONDS: Final = 0.2
"""From a wake to the look: a queue with many retries wakes often, and one look is enough."""

REPAIR_SECONDS: Final = 5.0
"""Until the next step after one that failed in an unforeseen way."""


class Endpoint:
    """One receiver. `open` begins; `finish` and `close` end it."""

    def __init__(self, around: Surroundings, known: KnownSubscription, push: PushDefinition) -> None:
        self.known = known
        self.push = push
        self._around = around
        self._labels = {"bus": around.event_bus.name, "subscription": known.record.name}
        incarnation = known.record.incarnation
        self._shared = SharedRecord(
            around.engine, around.event_bus.name, incarnation, around.clock, writer=around.replica
        )
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
        self._consent = Consent(
            around,
            self._shared,
            self._labels,
            current=lambda: self.push,
            asked=self._note_handshake,
            changed=self.stir,
        )
        self._stopping = Stopping(around, self._shared, self._labels, ended=self._go_on)
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
            self.outbox.allowance.forget_past()
        if not self._may_deliver:
            self.outbox.set_open(is_open=False)
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

    def told(self, record: PushRecord) -> PushState:
        """Return a record as people see it, with this replica's part as it is now."""
        share = record.shares.get(self._around.replica)
        if share is not None:
            breaker = self.outbox.allowance.breaker.state(self._around.clock.monotonic())
            share = msgspec.structs.replace(share, held=self.outbox.in_flight, breaker=breaker)
            record = msgspec.structs.replace(record, shares=record.shares | {self._around.replica: share})
        return push_record.push_state_of(record, self.push, self.now_ms())

    async def read(self) -> PushRecord:
        """Return what is known of the receiver; raises `NotFoundError` and `UnavailableError` kinds."""
        return await self._shared.read(self.push)

    async def clear_stop(self) -> None:
        """Begin without a past, as somebody resumed the subscription. Raises as `read`."""
        await self._shared.read(self.push)
        self.outbox.allowance.forget_past()
        await self._shared.change(self.push, lambda record, _: push_record.resumed(record), tells=always)
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
        share = record.shares.get(self._around.replica)
        if share is not None and share.slots > share.part:
            return GIVING_SECONDS
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
            record = shared(
                record,
                around.replica,
                wanted=limits.concurrency if wants else 0,
                held=outbox.in_flight,
                limits=limits,
                breaker=outbox.allowance.breaker.state(around.clock.monotonic()),
                now_ms=now_ms,
            )
            share = record.shares.get(around.replica)
            # Before it is written: others may take what is given up at once.
            outbox.allowance.restrict(0 if share is None else share.part)
            return record

        try:
            record = await self._shared.change(
                self.push,
                decide,
                tells=lambda before, after: report.held_until_ms > 0 or is_news(before, after, around.replica),
            )
        except WowEventError:
            outbox.report = report.followed_by(outbox.report)
            raise
        share = record.shares.get(around.replica)
        limits = limits_of(record, self.push)
        if share is None:
            outbox.set_share(0, 0.0, None)
        else:
            outbox.set_share(share.part, began + SHARE_SECONDS - MARGIN_SECONDS, rate_of(share, limits))
        return record

    def _follow(self, record: PushRecord) -> None:
        """Do what the record asks for."""
        now_ms = self.now_ms()
        if not self.outbox.report.held_until_ms:  # what it was asked to here is in the record, too
            held_seconds = (record.held_until_ms - now_ms) / 1000
            self.outbox.hold_until(self._around.clock.monotonic() + held_seconds if held_seconds > 0 else 0.0)
        self._open_outbox()
        if not self._is_leaving:
            self._consent.ask_if_due(self.push, record, now_ms)
            if push_record.is_failing_too_long(record, now_ms) and not self.known.record.is_paused:
                self._stop("failing", "nothing but failures for five days")

    @property
    def _may_deliver(self) -> bool:
        """By the receiver's consent, and by what the owner of the subscription wants."""
        return (
            not self._is_leaving
            and not self.known.record.is_paused
            and not self._stopping.is_under_way
            and is_deliverable(self.record, self.push)
        )

    def _open_outbox(self) -> None:
        """Deliver, or cease to."""
        is_open = self._may_deliver
        if is_open and not self.outbox.is_connected:
            consumption = self._around.event_bus.deliveries.consume(
                self.known.record.name, member=MEMBER, credit=0, deliver=self.outbox.add, ended=self._ended
            )
            self.outbox.connect(consumption)
        self.outbox.set_open(is_open=is_open)

    def _ended(self, error: WowEventError) -> None:
        """Take another member, unless the subscription is no more: then nobody looks after this for long."""
        self.outbox.disconnect()
        if not isinstance(error, NotFoundError):
            self.stir()

    async def ask(self) -> PushRecord:
        """Ask the receiver for its consent now; return the record with its answer. Raises as `read`."""
        await self._shared.read(self.push)
        if self.push.handshake == "none":
            return self.record
        record = await self._consent.ask_now(self.push)
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
            self._stop("gone", verdict.reason)

    def _note_handshake(self, reply: Reply, began_ms: int, answer: Answer) -> None:
        outcome: AttemptOutcome = "delivered" if answer.state == "verified" else "failed"
        self.attempts.add(partial(self.attempt, "handshake", reply, began_ms, answer.reason, outcome))

    def _stop(self, why: Stopped, detail: str) -> None:
        if not self._is_leaving:
            self._stopping.begin(self.known.record, self.push, why, detail)
            self.outbox.set_open(is_open=False)

    def _go_on(self) -> None:
        self._open_outbox()
        self.stir()

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
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        await self._consent.close()
        await self._stopping.close()
        await self.outbox.close()
        await self.attempts.close()
