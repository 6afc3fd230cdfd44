"""A receiver is asked for its consent: by one replica at a time, again where it gave no answer."""

from __future__ import annotations

import asyncio
import logging
from math import ceil
from typing import TYPE_CHECKING

from waooaw.events.errors import NotFoundError
from waooaw.events.outages import UnavailableError
from waooaw.events.webhooks import push_record
from waooaw.events.webhooks.handshake import consent_of
from waooaw.events.webhooks.push_record import endpoint_of
from waooaw.events.webhooks.shared_record import SharedRecord, always

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from waooaw.events.push import PushDefinition
    from waooaw.events.webhooks.handshake import Answer
    from waooaw.events.webhooks.push_record import PushRecord
    from waooaw.events.webhooks.sending import Reply
    from waooaw.events.webhooks.surroundings import Surroundings

_log = logging.getLogger("wowevent.webhook")


class Consent:
    """Of one receiver, which is that of the ``current`` definition.

    ``asked`` hears of each handshake: the reply, when it began, and what it means.
    """

    def __init__(
        self,
        around: Surroundings,
        shared: SharedRecord,
        labels: Mapping[str, object],
        *,
        current: Callable[[], PushDefinition],
        asked: Callable[[Reply, int, Answer], None],
        changed: Callable[[], None],
    ) -> None:
        self._around = around
        self._shared = shared
        self._labels = labels
        self._current = current
        self._asked = asked
        self._changed = changed
        self._asking: asyncio.Task[PushRecord] | None = None
        self._asked_of = ""

    def ask_if_due(self, push: PushDefinition, record: PushRecord, now_ms: int) -> None:
        """Begin to ask where it is time for that and nobody does."""
        is_due = push.handshake == "options" and record.state == "pending" and record.next_try_ms <= now_ms
        if is_due and self._asking is None:
            self._begin(push, is_due=True)

    async def ask_now(self, push: PushDefinition) -> PushRecord:
        """Ask, or wait for the question that this replica has under way; return the record as it is then.

        Raises `NotFoundError` and `UnavailableError` kinds. Cancelling the call leaves the question on its way.
        """
        while self._asking is not None:
            asking, is_the_same = self._asking, self._asked_of == endpoint_of(push)
            await asyncio.wait([asking])
            if is_the_same and not asking.cancelled():
                return asking.result()
        return await asyncio.shield(self._begin(push, is_due=False))

    async def close(self) -> None:
        """Cut a question that is under way."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    def _begin(self, push: PushDefinition, *, is_due: bool) -> asyncio.Task[PushRecord]:
        asking = asyncio.get_running_loop().create_task(self._ask(push, is_due=is_due), name="webhook handshake")
        self._asking, self._asked_of = asking, endpoint_of(push)
        asking.add_done_callback(self._end)
        return asking

    def _end(self, asking: asyncio.Task[PushRecord]) -> None:
        if self._asking is asking:
            self._asking = None
        if not asking.cancelled() and (error := asking.exception()) is not None:
            if isinstance(error, UnavailableError | NotFoundError):
                _log.warning("webhook.unshared", extra={**self._labels, "detail": str(error)})
            else:
                _log.error("webhook.failed", exc_info=error, extra=self._labels)
        self._changed()

    async def _ask(self, push: PushDefinition, *, is_due: bool) -> PushRecord:
        is_mine = False

        def take(record: PushRecord, now_ms: int) -> PushRecord:
            nonlocal is_mine
            is_mine = not is_due or (record.state == "pending" and record.next_try_ms <= now_ms)
            return push_record.asking(record, push.timeout_seconds, now_ms) if is_mine else record

        record = await self._shared.change(push, take)
        if not is_mine:
            return record
        began_ms = self._around.clock.now_ms()
        rate = None if push.rate is None else ceil(push.rate * 60)
        reply = await self._around.sender.options(push, requests_per_minute=rate)
        answer = consent_of(reply, self._around.origin)
        self._asked(reply, began_ms, answer)
        return await self._keep(push, answer)

    async def _keep(self, push: PushDefinition, answer: Answer) -> PushRecord:
        """Keep an answer, unless the owner gave the subscription another receiver meanwhile."""
        before: PushRecord | None = None

        def take(record: PushRecord, now_ms: int) -> PushRecord:
            nonlocal before
            before = record
            return push_record.answered(record, answer.state, answer.reason, answer.allowed_per_minute, now_ms)

        if endpoint_of(self._current()) != endpoint_of(push):
            return self._shared.record(push)
        record = await self._shared.change(push, take, tells=always)
        extra = {**self._labels, "detail": record.reason}
        if record.state == "verified":
            _log.info("webhook.verified", extra=extra)
        elif record.state == "refused":
            _log.warning("webhook.refused", extra=extra)
        elif before is None or before.reason != record.reason:
            _log.warning("webhook.unanswered", extra=extra)
        return record
