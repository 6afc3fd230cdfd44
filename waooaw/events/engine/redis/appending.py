"""Appending to one bus on Redis: one script, asked again under its sequence until it is answered or time is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from waooaw.events.engine.contract import Registration
from waooaw.events.engine.redis import script
from waooaw.events.engine.redis.asking import TRY_SECONDS_MIN, Attempt
from waooaw.events.engine.redis.layout import FRAME_BODY_BYTES_MAX, read_answer, read_head, spell_entries
from waooaw.events.engine.redis.queue_spelling import spell_planned, spell_references
from waooaw.events.errors import IdReusedError, NotFoundError, RoutesChangedError, SupersededError, Violation
from waooaw.events.outages import UnavailableError, UnsafeEngineError, WriterUnknownError
from waooaw.events.position import Position
from waooaw.events.receipt import Receipt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waooaw.events.engine.queue_contract import RouteSet
    from waooaw.events.engine.redis.bus_log import RedisBus
    from waooaw.events.engine.redis.link import Argument
    from waooaw.events.errors import WowEventError
    from waooaw.events.event import Entry

WRITER_SECONDS: Final = 24 * 3600
"""How long a writer that appends nothing is remembered: longer than any process sleeps and wakes with work in hand."""

SAMPLES: Final = 64
"""The time of one id in so many is kept, to tell how far back the window of ids reaches: to about two percent."""


class Appender:
    """Appends to one bus, for the writers that this replica registered."""

    def __init__(self, bus: RedisBus) -> None:
        self._bus = bus
        self._writers: set[str] = set()

    async def register(self, patience_seconds: float) -> Registration:
        """Make the caller a writer."""
        attempt = Attempt(patience_seconds)
        session = await self._bus.keeper.session(patience_seconds)
        writer = self._bus.identifiers.new_token()
        seconds = max(attempt.remaining_seconds, TRY_SECONDS_MIN)
        routes_version = await self._bus.open(session, force=False, writer=writer, timeout_seconds=seconds)
        self._writers.add(writer)
        return Registration(writer, routes_version)

    async def append(
        self,
        writer: str,
        sequence: int,
        routes_version: str,
        entries: Sequence[Entry],
        *,
        references: Sequence[RouteSet],
        patience_seconds: float,
    ) -> tuple[Receipt | WowEventError, ...]:
        """Store entries; see `EventLog.append`."""
        if writer not in self._writers:
            message = "this writer is not registered; register again; what it had in flight may be stored"
            raise WriterUnknownError(message, outcome="unknown")
        attempt = Attempt(patience_seconds)
        bus_keys = self._bus.keys
        keys = [*bus_keys.whole, bus_keys.writer(writer)]
        spelled: tuple[Argument, ...] = spell_entries(entries)
        planned = spell_planned(entries)
        if planned:
            keys += (bus_keys.schedule, bus_keys.scheduled)
        if references or planned:
            for route_set in references:
                for incarnation, _ in route_set.queues:
                    keys += bus_keys.queue(incarnation).appended
            spelled = (*spelled, planned, *spell_references(references))
        try:
            reply = await self._bus.asker.append(
                script.APPEND, keys, lambda: (sequence, routes_version, *self._fixed(), *spelled), attempt
            )
        except UnavailableError as error:
            if self._bus.keeper.current is not None and not isinstance(error, UnsafeEngineError):
                self._bus.health.refusal = error  # the server is there, and refuses
            raise
        self._bus.health.refusal = None
        return await self._read_reply(reply, writer, sequence, entries, attempt)

    def _fixed(self) -> tuple[Argument, ...]:
        window = self._bus.options.window
        return (
            self._bus.tracker.seen_ms,
            self._bus.options.now_us(),
            f"{self._bus.identifiers.new_epoch():016x}",
            window.seconds * 1000,
            window.ids_max,
            max(window.ids_max // SAMPLES, 1),
            self._bus.options.publish_command,
            self._bus.keys.live,
            WRITER_SECONDS,
            FRAME_BODY_BYTES_MAX,
        )

    async def _read_reply(
        self, reply: list[Any], writer: str, sequence: int, entries: Sequence[Entry], attempt: Attempt
    ) -> tuple[Receipt | WowEventError, ...]:
        match reply:
            case [b"ok", answer, said]:
                if self._bus.tracker.take(read_head(said)):
                    await self._bus.learn_epoch()
                return self._answers(answer, entries)
            case [b"routes", version]:
                message = f"matched against other routes than {version.decode()}, which hold now"
                raise RoutesChangedError(message, routes_version=version.decode())
            case [b"superseded", last]:
                message = f"append {sequence} came after {int(last)} was stored"
                raise SupersededError(message)
        self._writers.discard(writer)
        if reply[0] == b"no_bus":
            await self._bus.learn_epoch()
        message = "Redis does not know this writer any more: it was away for a day, or Redis has lost its data"
        raise WriterUnknownError(message, outcome=attempt.outcome)

    def _answers(self, text: bytes, entries: Sequence[Entry]) -> tuple[Receipt | WowEventError, ...]:
        answer = read_answer(text)
        durability = self._bus.options.durability
        position = answer.first
        answers: list[Receipt | WowEventError] = []
        for index, entry in enumerate(entries):
            if index not in answer.exceptions:
                answers.append(Receipt(entry.id, position, durability))
                position = Position(position + 1)
                continue
            earlier = answer.exceptions[index]
            if isinstance(earlier, int):
                answers.append(Receipt(entry.id, Position(earlier), durability, duplicate=True))
            else:
                answers.append(reused(entry) if earlier == "reused" else _not_scheduled(entry))
        return tuple(answers)

    async def forget_writers(self) -> None:
        """Take this replica's writers out of Redis, so that nothing is left of a replica that ended well."""
        session = self._bus.keeper.current
        if session is not None and self._writers:
            writers, self._writers = self._writers, set()
            keys = [self._bus.keys.writer(writer) for writer in writers]
            await session.reading.call("DEL", *keys, timeout_seconds=1.0)


def reused(entry: Entry) -> IdReusedError:
    """Return the answer for an entry whose id was used for other content."""
    detail = f"source {entry.source!r} gave the id {entry.id!r} to another event; a new event needs a new id"
    return IdReusedError(detail, errors=(Violation("#/id", "was used for other content", IdReusedError.code),))


def _not_scheduled(entry: Entry) -> NotFoundError:
    return NotFoundError(f"{entry.schedule_id} is not scheduled any more: it was published or cancelled")
