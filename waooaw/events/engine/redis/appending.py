"""Appending to one bus on Redis: one script, asked again under its sequence until it is answered or time is over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import NoScriptError, RedisError

from waooaw.events.engine.contract import Registration
from waooaw.events.engine.redis import script
from waooaw.events.engine.redis.layout import FRAME_BODY_BYTES_MAX, read_answer, read_head, spell_entries
from waooaw.events.errors import IdReusedError, RoutesChangedError, SupersededError, Violation
from waooaw.events.outages import (
    DurabilityUnavailableError,
    EngineDeniedError,
    EngineUnavailableError,
    UnavailableError,
    UnsafeEngineError,
    WriterUnknownError,
)
from waooaw.events.position import Position
from waooaw.events.receipt import Receipt

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from waooaw.events.engine.redis.bus_log import RedisBus
    from waooaw.events.engine.redis.link import Argument
    from waooaw.events.engine.redis.session import Session
    from waooaw.events.errors import WowEventError
    from waooaw.events.event import Entry

WRITER_SECONDS: Final = 24 * 3600
"""How long a writer that appends nothing is remembered: longer than any process sleeps and wakes with work in hand."""

SAMPLES: Final = 64
"""The time of one id in so many is kept, to tell how far back the window of ids reaches: to about two percent."""

TRY_SECONDS_MIN: Final = 0.2
"""A try gets this long even where patience is over: less would break links that are only busy."""

RETRY_SECONDS: Final = (0.02, 0.06)
"""Between two tries of an append that was refused for a while: a slot that moves, a failover that is going on."""


class Appender:
    """Appends to one bus, for the writers that this replica registered."""

    def __init__(self, bus: RedisBus, random: Random) -> None:
        self._bus = bus
        self._random = random
        self._writers: set[str] = set()

    async def register(self, patience_seconds: float) -> Registration:
        """Make the caller a writer."""
        attempt = _Attempt(asyncio.get_running_loop().time() + patience_seconds)
        session = await self._bus.keeper.session(patience_seconds)
        writer = self._bus.identifiers.new_token()
        seconds = max(attempt.remaining_seconds, TRY_SECONDS_MIN)
        routes_version = await self._bus.open(session, force=False, writer=writer, timeout_seconds=seconds)
        self._writers.add(writer)
        return Registration(writer, routes_version)

    async def append(
        self, writer: str, sequence: int, routes_version: str, entries: Sequence[Entry], patience_seconds: float
    ) -> tuple[Receipt | WowEventError, ...]:
        """Store entries; see `EventLog.append`."""
        if writer not in self._writers:
            message = "this writer is not registered; register again; what it had in flight may be stored"
            raise WriterUnknownError(message, outcome="unknown")
        attempt = _Attempt(asyncio.get_running_loop().time() + patience_seconds)
        keys = (*self._bus.keys.whole, self._bus.keys.writer(writer))
        spelled = spell_entries(entries)
        while True:
            try:
                reply = await self._try_append(attempt, keys, (sequence, routes_version, *self._fixed(), *spelled))
                break
            except UnavailableError as error:
                self._after_failure(attempt, error)
            await asyncio.sleep(self._random.uniform(*RETRY_SECONDS))
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

    async def _try_append(self, attempt: _Attempt, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:  # noqa: ANN401 - what the script answers
        session = await self._bus.keeper.session(attempt.remaining_seconds)
        if (problem := self._refused_in_advance()) is not None:
            raise problem
        link = session.writing
        seconds = attempt.try_seconds
        command = ("EVALSHA", script.APPEND.digest, len(keys), *keys, *arguments)
        try:
            try:
                reply, confirmed = await self._send(session, command, seconds)
            except NoScriptError:
                await link.call("SCRIPT", "LOAD", script.APPEND.text, timeout_seconds=seconds)
                reply, confirmed = await self._send(session, command, seconds)
        except RedisError as error:
            raise self._bus.refused(session, error) from None
        if confirmed is not None and reply[0] == b"ok" and confirmed < 1:
            message = "no replica of Redis confirmed the write in time; look at INFO replication, and publish again"
            raise DurabilityUnavailableError(message, outcome="unknown")
        return reply

    def _refused_in_advance(self) -> UnavailableError | None:
        """Return what an append is refused with before it is sent: one that is stopped half-way is not taken back."""
        health = self._bus.health
        if (problem := health.examination.problem) is not None:
            return problem
        refusal = health.refusal
        return EngineDeniedError(refusal.detail) if isinstance(refusal, EngineDeniedError) else None

    async def _send(self, session: Session, command: Sequence[Argument], seconds: float) -> tuple[Any, int | None]:
        """Send an append, and right behind it on the same link the question how many replicas have it."""
        link = session.writing
        answer = link.send(*command, timeout_seconds=seconds)
        if self._bus.options.durability != "replicated":
            return await answer, None
        waited = link.send("WAIT", 1, max(int(seconds * 1000), 1), timeout_seconds=seconds * 2 + 0.5)
        # Together: where a node that became a replica refuses both, both refusals are heard.
        reply, confirmed = await asyncio.gather(answer, waited)
        return reply, confirmed

    def _after_failure(self, attempt: _Attempt, error: UnavailableError) -> None:
        """Decide whether an append is tried again: return, or raise what the publisher is told."""
        attempt.may_be_stored |= error.outcome == "unknown"
        passing = isinstance(error, (EngineUnavailableError, DurabilityUnavailableError)) and not isinstance(
            error, EngineDeniedError
        )
        if passing and attempt.remaining_seconds > 0:
            return
        if self._bus.keeper.current is not None and not isinstance(error, UnsafeEngineError):
            self._bus.health.refusal = error  # the server is there, and refuses
        outcome = "unknown" if attempt.may_be_stored else "not_stored"
        raise type(error)(error.detail, retry_after_seconds=error.retry_after_seconds, outcome=outcome) from None

    async def _read_reply(
        self, reply: list[Any], writer: str, sequence: int, entries: Sequence[Entry], attempt: _Attempt
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
        raise WriterUnknownError(message, outcome="unknown" if attempt.may_be_stored else "not_stored")

    def _answers(self, text: bytes, entries: Sequence[Entry]) -> tuple[Receipt | WowEventError, ...]:
        answer = read_answer(text)
        durability = self._bus.options.durability
        position = answer.first
        answers: list[Receipt | WowEventError] = []
        for index, entry in enumerate(entries):
            if index not in answer.exceptions:
                answers.append(Receipt(entry.id, position, durability))
                position = Position(position + 1)
            elif (earlier := answer.exceptions[index]) is not None:
                answers.append(Receipt(entry.id, earlier, durability, duplicate=True))
            else:
                answers.append(_reused(entry))
        return tuple(answers)

    async def forget_writers(self) -> None:
        """Take this replica's writers out of Redis, so that nothing is left of a replica that ended well."""
        session = self._bus.keeper.current
        if session is not None and self._writers:
            writers, self._writers = self._writers, set()
            keys = [self._bus.keys.writer(writer) for writer in writers]
            await session.reading.call("DEL", *keys, timeout_seconds=1.0)


class _Attempt:
    """One append, over all its tries."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self.may_be_stored = False

    @property
    def remaining_seconds(self) -> float:
        """What is left of the publisher's patience."""
        return max(self._deadline - asyncio.get_running_loop().time(), 0.0)

    @property
    def try_seconds(self) -> float:
        """How long this try may take: half of what is left, so that a dead link leaves time for another one."""
        return max(self.remaining_seconds / 2, TRY_SECONDS_MIN)


def _reused(entry: Entry) -> IdReusedError:
    detail = f"source {entry.source!r} gave the id {entry.id!r} to another event; a new event needs a new id"
    return IdReusedError(detail, errors=(Violation("#/id", "was used for other content", IdReusedError.code),))
