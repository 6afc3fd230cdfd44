"""The bus pauses a subscription itself: its receiver is gone, or did nothing but fail for days. The bus is told."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from waooaw.events.errors import NotFoundError
from waooaw.events.event import Event
from waooaw.events.outages import UnavailableError
from waooaw.events.timestamp import format_timestamp
from waooaw.events.webhooks import push_record
from waooaw.events.webhooks.shared_record import SharedRecord, always

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from waooaw.events.engine.subscription_contract import SubscriptionRecord
    from waooaw.events.push import PushDefinition
    from waooaw.events.push_state import Stopped
    from waooaw.events.webhooks.surroundings import Surroundings

_log = logging.getLogger("wowevent.webhook")

STOPPED_TYPE: Final = "wowevent.subscription.stopped"

RETELL_SECONDS: Final = 1.0
"""Between two tries to store that event while the store is away."""


class Stopping:
    """Of one receiver. ``ended`` is called when a stop was done, or failed."""

    def __init__(
        self,
        around: Surroundings,
        shared: SharedRecord,
        labels: Mapping[str, object],
        *,
        ended: Callable[[], None],
    ) -> None:
        self._around = around
        self._shared = shared
        self._labels = labels
        self._ended = ended
        self._stopping: asyncio.Task[None] | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether the subscription is being paused."""
        return self._stopping is not None

    def begin(self, record: SubscriptionRecord, push: PushDefinition, why: Stopped, detail: str) -> None:
        """Pause the subscription soon, unless that is under way."""
        if self._stopping is None:
            stop = self._stop(record, push, why, detail)
            self._stopping = asyncio.get_running_loop().create_task(stop, name="stop webhook")
            self._stopping.add_done_callback(self._end)

    async def close(self) -> None:
        """Cut what is under way."""
        if self._stopping is not None:
            self._stopping.cancel()
            await asyncio.gather(self._stopping, return_exceptions=True)

    def _end(self, stopping: asyncio.Task[None]) -> None:
        self._stopping = None
        if not stopping.cancelled() and (error := stopping.exception()) is not None:
            is_expected = isinstance(error, UnavailableError | NotFoundError)
            detail = f"the subscription could not be paused; the next answer of that kind tries again: {error}"
            _log.error(
                "webhook.failed", exc_info=None if is_expected else error, extra={**self._labels, "detail": detail}
            )
        self._ended()

    async def _stop(self, subscription: SubscriptionRecord, push: PushDefinition, why: Stopped, detail: str) -> None:
        name, around = subscription.name, self._around
        await self._shared.read(push)
        record = await self._shared.change(
            push, lambda record, now_ms: push_record.stopped(record, why, now_ms), tells=always
        )
        await around.event_bus.subscriptions.set_paused(name, is_paused=True)
        since_ms = record.failing_since_ms if why == "failing" and record.failing_since_ms else record.stopped_ms
        data = {"subscription": name, "reason": why, "detail": detail, "since": format_timestamp(since_ms)}
        # All replicas that see it give the same id, and one event is stored.
        event = Event(
            type=STOPPED_TYPE,
            source=f"/buses/{around.event_bus.name}/subscriptions/{name}",
            id=f"{subscription.incarnation}.{record.stopped_ms}",
            subject=name,
            data=data,
        )
        if not await self._is_told_already(event):
            around.metrics.stopped[why] += 1
            _log.error("webhook.stopped", extra={**self._labels, "reason": why, "detail": detail})

    async def _is_told_already(self, event: Event) -> bool:
        """Publish the event, however long the store is away; return whether another replica was first.

        It is told after it is done: whoever resumes at once because of it would else be too early.
        """
        while True:
            try:
                return (await self._around.event_bus.publish(event)).duplicate
            except UnavailableError as error:
                extra = {**self._labels, "code": error.code, "detail": f"the event could not be stored yet: {error}"}
                _log.warning("webhook.untold", extra=extra)
            await asyncio.sleep(RETELL_SECONDS)
