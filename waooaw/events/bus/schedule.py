"""Events for later: stored beside the log, and published when they are due.

Rule 1: an event with ``deliverat`` in the future goes on the schedule instead of into the log; streams, subscriptions
and retention meet it when it is due, as any other event.
Rule 2: one replica at a time publishes what is due. Nothing depends on it but effort: the append takes an event off the
schedule in the same step, and one that is not on it any more is not stored.
"""

from __future__ import annotations

import asyncio
import logging
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from waooaw.events.delivery_attributes import delivery_attributes_of
from waooaw.events.errors import InvalidEventError, InvalidParameterError, NotFoundError, Violation, WowEventError
from waooaw.events.event import Entry
from waooaw.events.outages import DrainingError, OverloadedError, UnavailableError
from waooaw.events.receipt import ScheduledReceipt
from waooaw.events.scheduled_event import ScheduledPage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from waooaw.events.bus.metrics import EventMetrics
    from waooaw.events.bus.publisher import Publisher
    from waooaw.events.clock import Clock
    from waooaw.events.engine.contract import Engine
    from waooaw.events.receipt import Receipt
    from waooaw.events.scheduled_event import ScheduledEvent

_log = logging.getLogger("wowevent.schedule")

AHEAD_SECONDS: Final = 366 * 86_400
"""A year: what is planned further ahead is kept by who plans it, and events of a bus are not moved to another store."""

DUE_MAX: Final = 500
"""Events taken at a time when they are due: half of an append, so that others get theirs in between."""

STEP_ENTRIES_MAX: Final = 1000
STEP_BYTES_MAX: Final = 1024 * 1024
"""What one step puts on the schedule, as for appends."""

JOB: Final = "schedule"
JOB_SECONDS: Final = 5.0
"""How long a replica that is gone keeps others from the job."""

WAIT_SECONDS: Final = 1.0
"""Between two looks: another replica may have scheduled something, or given up the job."""

PAGE_MAX: Final = 1000

_AFTER: Final = re.compile(r"([0-9]{1,15})-([0-9a-f]{32})", re.ASCII)


class _Attributes(msgspec.Struct, frozen=True, gc=False):
    type: str
    source: str
    id: str
    correlationid: str | None = None


_decode: Final = msgspec.json.Decoder(_Attributes).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleLimits:
    """How many events may be scheduled, how many bytes may wait to be, and for how long."""

    events_max: int
    waiting_bytes_max: int
    wait_seconds: float


class Schedule:
    """What waits for its ``deliverat``. `run` publishes it when it is due, until cancelled."""

    def __init__(
        self,
        engine: Engine,
        bus: str,
        publisher: Publisher,
        metrics: EventMetrics,
        *,
        clock: Clock,
        limits: ScheduleLimits,
    ) -> None:
        self._engine = engine
        self._bus = bus
        self._publisher = publisher
        self._metrics = metrics
        self._clock = clock
        self._limits = limits
        self._waiting_bytes = 0
        self._storing = asyncio.Lock()
        self._is_closed = False
        self._is_earlier = asyncio.Event()

    # Looking ----------------------------------------------------------------------------------------------------------

    async def page(self, *, after: str = "", limit: int = 100) -> ScheduledPage:
        """Return up to ``limit`` (1 to 1,000) events, the next one first, after the ``next`` of another page.

        Raises `InvalidParameterError` for an ``after`` or a ``limit`` that is none.
        """
        if not 1 <= limit <= PAGE_MAX:
            raise _wrong("limit", f"must be between 1 and {PAGE_MAX}, not {limit}")
        found = _AFTER.fullmatch(after)
        if after and found is None:
            raise _wrong("after", f"{after[:64]!r} is not the next of a page")
        place = None if found is None else (int(found[1]), found[2])
        events, total = await self._engine.scheduled_events(self._bus, after=place, limit=limit)
        if not events:
            return ScheduledPage(events, None, total)
        last = events[-1].due_ms, events[-1].id
        if len(events) < limit:  # at the end, or the page has as many bytes as one may have
            following, _ = await self._engine.scheduled_events(self._bus, after=last, limit=1)
            if not following:
                return ScheduledPage(events, None, total)
        return ScheduledPage(events, f"{last[0]}-{last[1]}", total)

    async def get(self, schedule_id: str) -> ScheduledEvent:
        """Return one; raises `NotFoundError` where it is not on the schedule (any more)."""
        event = await self._engine.scheduled_event(self._bus, schedule_id)
        if event is None:
            raise _not_scheduled(schedule_id)
        return event

    async def cancel(self, schedule_id: str) -> None:
        """Take one off the schedule, so that nobody gets it; raises `NotFoundError` as `get`."""
        if not await self._engine.cancel_scheduled(self._bus, schedule_id):
            raise _not_scheduled(schedule_id)
        _log.info("schedule.cancelled", extra={"bus": self._bus, "id": schedule_id})

    # Storing ----------------------------------------------------------------------------------------------------------

    async def divide(self, entries: Sequence[Entry]) -> list[Receipt | WowEventError]:
        """Publish the entries that are due, put the others on the schedule; answer for each, in order.

        Raises as `Publisher.publish`, before anything is taken. What the schedule refuses is an answer.
        """
        now_ms = self._clock.now_ms()
        later = [entry.delivery.due_ms > now_ms for entry in entries]
        published = iter(
            await self._publisher.publish([entry for entry, waits in zip(entries, later, strict=True) if not waits])
        )
        scheduled = iter(await self._keep([entry for entry, waits in zip(entries, later, strict=True) if waits]))
        return [next(scheduled if waits else published) for waits in later]

    async def _keep(self, entries: Sequence[Entry]) -> list[Receipt | WowEventError]:
        size_bytes = sum([len(entry.body) for entry in entries])
        self._waiting_bytes += size_bytes
        try:
            answers = await self._answers(entries, size_bytes)
        finally:
            self._waiting_bytes -= size_bytes
        for entry, answer in zip(entries, answers, strict=True):
            if isinstance(answer, WowEventError):
                self._metrics.refused(answer, entry.type)
            elif answer.duplicate:
                self._metrics.duplicates += 1
        if any(isinstance(answer, ScheduledReceipt) for answer in answers):
            self._is_earlier.set()
        return answers

    async def _answers(self, entries: Sequence[Entry], size_bytes: int) -> list[Receipt | WowEventError]:
        ahead_ms = self._clock.now_ms() + AHEAD_SECONDS * 1000
        near = [entry for entry in entries if entry.delivery.due_ms <= ahead_ms]
        answers: list[Receipt | WowEventError] = []
        bytes_max = self._limits.waiting_bytes_max
        if self._waiting_bytes > max(size_bytes, bytes_max):
            error = OverloadedError(f"more than {bytes_max} bytes of events wait to be put on the schedule")
            return [error] * len(entries)
        async with self._storing:
            for step in _steps(near):
                answers += await self._store(step)
        stored = iter(answers)
        return [next(stored) if entry.delivery.due_ms <= ahead_ms else _too_far() for entry in entries]

    async def _store(self, entries: Sequence[Entry]) -> Sequence[Receipt | WowEventError]:
        if self._is_closed:
            message = "the bus takes no more events: the service is shutting down; send it again"
            return [DrainingError(message)] * len(entries)
        try:
            return await self._engine.schedule(
                self._bus, entries, events_max=self._limits.events_max, patience_seconds=self._limits.wait_seconds
            )
        except WowEventError as error:
            return [error] * len(entries)

    async def close(self) -> None:
        """Refuse what comes from now on, and return when what was taken is answered. Closing twice is harmless."""
        self._is_closed = True
        async with self._storing:
            pass

    # Publishing what is due -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Publish what is due, until cancelled. A store that is away is tried again."""
        while True:
            due_ms = None
            try:
                due_ms = await self.publish_due()
            except UnavailableError as error:
                _log.warning("schedule.waits", extra={"bus": self._bus, "code": error.code, "detail": error.detail})
            await self._rest(due_ms)

    async def _rest(self, due_ms: int | None) -> None:
        """Wait until the next event is due, another one is scheduled, or a second is over."""
        seconds = WAIT_SECONDS
        if due_ms is not None:
            seconds = min(max((due_ms - self._clock.now_ms()) / 1000, 0.0), seconds)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._is_earlier.wait()
        self._is_earlier.clear()

    async def publish_due(self) -> int | None:
        """Publish what is due now, if this replica has the job or gets it; return when the next one is due, if known.

        Raises `UnavailableError` kinds: what was not published stays on the schedule.
        """
        while await self._engine.hold_job(self._bus, JOB, JOB_SECONDS):
            events, due_ms = await self._engine.due_events(self._bus, limit=DUE_MAX)
            if not events:
                return due_ms
            answers = await self._publisher.publish([_entry(event) for event in events])
            for event, answer in zip(events, answers, strict=True):
                if isinstance(answer, UnavailableError):
                    raise answer
                if isinstance(answer, WowEventError) and not isinstance(answer, NotFoundError):
                    await self._give_up(event, answer)
        return None

    async def _give_up(self, event: ScheduledEvent, error: WowEventError) -> None:
        """Take off what no further try can publish: nobody waits for its receipt any more, so the log tells."""
        await self._engine.cancel_scheduled(self._bus, event.id)
        extra = {"bus": self._bus, "id": event.id, "code": error.code, "detail": error.detail}
        _log.error("schedule.refused", extra=extra)


def _steps(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    step: list[Entry] = []
    size_bytes = 0
    for entry in entries:
        if step and (len(step) >= STEP_ENTRIES_MAX or size_bytes + len(entry.body) > STEP_BYTES_MAX):
            yield step
            step, size_bytes = [], 0
        step.append(entry)
        size_bytes += len(entry.body)
    if step:
        yield step


def _entry(event: ScheduledEvent) -> Entry:
    """Accept an event anew: it was found valid when it was scheduled, and limits of today do not concern it."""
    attributes = _decode(event.body)
    return Entry(
        attributes.type,
        attributes.source,
        attributes.id,
        attributes.correlationid,
        event.body,
        id_given=True,
        time_given=True,
        delivery=delivery_attributes_of(event.body),
        schedule_id=event.id,
    )


def _too_far() -> InvalidEventError:
    message = "must not lie more than a year ahead"
    return InvalidEventError(f"deliverat {message}", errors=(Violation("#/deliverat", message, "too_far_ahead"),))


def _not_scheduled(schedule_id: str) -> NotFoundError:
    return NotFoundError(f"nothing is scheduled as {schedule_id[:64]!r}; it was published, cancelled, or never there")


def _wrong(name: str, detail: str) -> InvalidParameterError:
    return InvalidParameterError(
        f"{name} {detail}", errors=(Violation(f"#/{name}", detail, InvalidParameterError.code),)
    )
