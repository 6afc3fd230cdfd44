"""Asking Redis for one change until it is answered: tried again for as long as the caller has patience.

A script that is asked again must know that it was asked before (by a sequence, or by what it finds done), because an
answer that is lost says nothing of what was done.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import NoScriptError, RedisError

from waooaw.events.outages import (
    DurabilityUnavailableError,
    EngineDeniedError,
    EngineUnavailableError,
    UnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from waooaw.events.engine.redis.bus_log import RedisBus
    from waooaw.events.engine.redis.link import Argument, Link
    from waooaw.events.engine.redis.script import Script
    from waooaw.events.engine.redis.session import Session

TRY_SECONDS_MIN: Final = 0.2
"""A try gets this long even where patience is over: less would break links that are only busy."""

RETRY_SECONDS: Final = (0.02, 0.06)
"""Between two tries of what was refused for a while: a slot that moves, a failover that is going on."""


class Attempt:
    """One call, over all its tries. ``may_be_done`` tells whether one of them can have had its effect."""

    def __init__(self, patience_seconds: float) -> None:
        self._deadline = asyncio.get_running_loop().time() + patience_seconds
        self.may_be_done = False

    @property
    def remaining_seconds(self) -> float:
        """What is left of the caller's patience."""
        return max(self._deadline - asyncio.get_running_loop().time(), 0.0)

    @property
    def try_seconds(self) -> float:
        """How long this try may take: half of what is left, so that a dead link leaves time for another one."""
        return max(self.remaining_seconds / 2, TRY_SECONDS_MIN)

    @property
    def outcome(self) -> str:
        """What is known of the call where it has failed."""
        return "unknown" if self.may_be_done else "not_stored"

    def failed(self, error: UnavailableError) -> None:
        """Note that a try failed: return where there is to be another one, or raise what the caller is told."""
        self.may_be_done |= error.outcome == "unknown"
        passing = isinstance(error, (EngineUnavailableError, DurabilityUnavailableError)) and not isinstance(
            error, EngineDeniedError
        )
        if not passing or self.remaining_seconds <= 0:
            raise type(error)(
                error.detail, retry_after_seconds=error.retry_after_seconds, outcome=self.outcome
            ) from None


class Asker:
    """Runs scripts of one bus that change something."""

    def __init__(self, bus: RedisBus, random: Random) -> None:
        self._bus = bus
        self._random = random

    async def append(
        self, script: Script, keys: Sequence[str], arguments: Callable[[], Sequence[Argument]], attempt: Attempt
    ) -> Any:  # noqa: ANN401 - what the script answers
        """Run a script that adds, on the writing link and at the bus's durability; raises `UnavailableError` kinds.

        ``arguments`` are made anew for each try.
        """
        while True:
            try:
                session = await self._bus.keeper.session(attempt.remaining_seconds)
                if (problem := self._refused_in_advance()) is not None:
                    raise problem
                return await self._confirmed(session, script, keys, arguments(), attempt.try_seconds)
            except UnavailableError as error:
                attempt.failed(error)
            await self.pause()

    async def control(
        self, script: Script, keys: Sequence[str], arguments: Sequence[Argument], attempt: Attempt
    ) -> Any:  # noqa: ANN401 - as above
        """Run a script that changes what is kept, or takes away, once: on the writing link, at the bus's durability."""
        session = await self._bus.keeper.session(attempt.remaining_seconds)
        return await self._confirmed(session, script, keys, arguments, attempt.try_seconds)

    async def queue(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument], attempt: Attempt) -> Any:  # noqa: ANN401 - as above
        """Run a script on the link for queues until it is answered: it waits neither for readers nor for replicas."""
        while True:
            try:
                session = await self._bus.keeper.session(attempt.remaining_seconds)
                seconds = attempt.try_seconds
                try:
                    return await session.queueing.evaluate(script, keys, arguments, timeout_seconds=seconds)
                except RedisError as error:
                    raise self._bus.refused(session, error) from None
            except UnavailableError as error:
                attempt.failed(error)
            await self.pause()

    async def pause(self) -> None:
        """Wait between two tries."""
        await asyncio.sleep(self._random.uniform(*RETRY_SECONDS))

    async def _confirmed(
        self, session: Session, script: Script, keys: Sequence[str], arguments: Sequence[Argument], seconds: float
    ) -> Any:  # noqa: ANN401 - as above
        link = session.writing
        command = ("EVALSHA", script.digest, len(keys), *keys, *arguments)
        try:
            try:
                reply, confirmed = await self._send(link, command, seconds)
            except NoScriptError:
                await link.call("SCRIPT", "LOAD", script.text, timeout_seconds=seconds)
                reply, confirmed = await self._send(link, command, seconds)
        except RedisError as error:
            raise self._bus.refused(session, error) from None
        if confirmed is not None and confirmed < 1 and isinstance(reply, list) and reply[0] == b"ok":
            message = "no replica of Redis confirmed the write in time; look at INFO replication, and try again"
            raise DurabilityUnavailableError(message, outcome="unknown")
        return reply

    async def _send(self, link: Link, command: Sequence[Argument], seconds: float) -> tuple[Any, int | None]:
        """Send a script, and right behind it on the same link the question how many replicas have what it wrote."""
        answer = link.send(*command, timeout_seconds=seconds)
        if self._bus.options.durability != "replicated":
            return await answer, None
        waited = link.send("WAIT", 1, max(int(seconds * 1000), 1), timeout_seconds=seconds * 2 + 0.5)
        # Together: where a node that became a replica refuses both, both refusals are heard.
        reply, confirmed = await asyncio.gather(answer, waited)
        return reply, confirmed

    def _refused_in_advance(self) -> UnavailableError | None:
        """Return what an append is refused with before it is sent: one that is stopped half-way is not taken back."""
        health = self._bus.health
        if (problem := health.examination.problem) is not None:
            return problem
        refusal = health.refusal
        return EngineDeniedError(refusal.detail) if isinstance(refusal, EngineDeniedError) else None
