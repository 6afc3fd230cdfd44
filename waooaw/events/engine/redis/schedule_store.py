"""Events for later on one bus on Redis; see `waooaw.events.engine.schedule_contract.Schedule`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from waooaw.events.engine.redis import script
from waooaw.events.engine.redis.appending import reused
from waooaw.events.engine.redis.asking import Attempt
from waooaw.events.engine.redis.layout import digest_of, identity_of
from waooaw.events.engine.redis.queues import CALL_SECONDS
from waooaw.events.outages import EngineUnavailableError, ScheduleFullError
from waooaw.events.position import make_position
from waooaw.events.receipt import ScheduledReceipt
from waooaw.events.scheduled_event import ScheduledEvent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waooaw.events.engine.redis.bus_log import RedisBus
    from waooaw.events.engine.redis.link import Argument
    from waooaw.events.errors import WowEventError
    from waooaw.events.event import Entry

PAGE_BYTES_MAX: Final = 4 * 1024 * 1024
"""A page ends here even below its count."""


class ScheduleStore:
    """Events beside the log of one bus."""

    def __init__(self, bus: RedisBus) -> None:
        self._bus = bus

    async def add(
        self, entries: Sequence[Entry], events_max: int, patience_seconds: float
    ) -> tuple[ScheduledReceipt | WowEventError, ...]:
        """Store entries until they are due."""
        keys = self._bus.keys
        ids = [identity_of(entry).hex() for entry in entries]
        arguments: list[Argument] = [events_max]
        for entry, schedule_id in zip(entries, ids, strict=True):
            arguments += (schedule_id, entry.delivery.due_ms, digest_of(entry), entry.body)
        attempt = Attempt(patience_seconds)
        reply = await self._bus.asker.append(
            script.SCHEDULE, (keys.meta, keys.schedule, keys.scheduled), lambda: arguments, attempt
        )
        if reply[0] == b"no_bus":
            await self._bus.learn_epoch()
            message = "the bus was not in Redis; it is made anew, try again"
            raise EngineUnavailableError(message, outcome=attempt.outcome)
        return tuple([self._receipt(*told) for told in zip(entries, ids, reply[1], strict=True)])

    def _receipt(self, entry: Entry, schedule_id: str, told: bytes) -> ScheduledReceipt | WowEventError:
        became, due = told[:1], told[1:]
        if became == b"r":
            return reused(entry)
        if became == b"f":
            message = "as many events are scheduled as may be; publish it when it is due, or cancel some"
            return ScheduleFullError(message)
        due_ms = int(due)
        # An id that the bus made is found again only where an answer was lost.
        return ScheduledReceipt(
            entry.id,
            make_position(due_ms),
            self._bus.options.durability,
            duplicate=became == b"d" and entry.id_given,
            schedule_id=schedule_id,
            due_ms=due_ms,
        )

    async def due(self, limit: int) -> tuple[tuple[ScheduledEvent, ...], int | None]:
        """Return what is due, and when the next one is."""
        events, following = await self._read("due", limit, PAGE_BYTES_MAX, self._bus.options.now_us())
        return _read_events(events), int(following) if following else None

    async def page(self, after: tuple[int, str] | None, limit: int) -> tuple[tuple[ScheduledEvent, ...], int]:
        """Return events by time and id, and how many there are in all."""
        place: tuple[Argument, ...] = ("", "") if after is None else after
        events, total = await self._read("page", limit, PAGE_BYTES_MAX, *place)
        return _read_events(events), int(total)

    async def get(self, schedule_id: str) -> ScheduledEvent | None:
        """Return one, or None."""
        said = await self._read("one", schedule_id)
        return _read_event(said) if said else None

    async def cancel(self, schedule_id: str) -> bool:
        """Remove one."""
        keys = self._bus.keys
        attempt = Attempt(CALL_SECONDS)
        reply = await self._bus.asker.control(
            script.CANCEL_SCHEDULED, (keys.meta, keys.schedule, keys.scheduled), (schedule_id,), attempt
        )
        return bool(reply[1])

    async def _read(self, *arguments: Argument) -> Any:  # noqa: ANN401 - what a script answers
        session = await self._bus.keeper.session(CALL_SECONDS)
        keys = (self._bus.keys.schedule, self._bus.keys.scheduled)
        return await self._bus.evaluate(session, script.SCHEDULED, keys, arguments)


def _read_events(said: list[list[bytes]]) -> tuple[ScheduledEvent, ...]:
    return tuple([_read_event(item) for item in said])


def _read_event(said: list[bytes]) -> ScheduledEvent:
    schedule_id, due_ms, body = said
    return ScheduledEvent(schedule_id.decode(), int(due_ms), body)
