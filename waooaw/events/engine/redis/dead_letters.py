"""The dead letters of one bus's queues on Redis; see `waooaw.events.engine.queue_contract.Queues`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from waooaw.events.engine.redis import script
from waooaw.events.engine.redis.asking import Attempt
from waooaw.events.engine.redis.queue_spelling import is_letter_id, read_letter
from waooaw.events.engine.redis.queues import CALL_SECONDS, deleted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waooaw.events.dead_letter import DeadLetter
    from waooaw.events.engine.redis.bus_log import RedisBus
    from waooaw.events.engine.redis.link import Argument

PAGE_BYTES_MAX: Final = 4 * 1024 * 1024
"""A page ends here even below its count."""

STEP_LETTERS: Final = 100
"""Moved by one script: with events of the largest size it blocks Redis for some 30 ms."""


class RedisDeadLetters:
    """The dead letters of one bus."""

    def __init__(self, bus: RedisBus) -> None:
        self._bus = bus

    async def page(self, incarnation: str, after: str, limit: int) -> tuple[DeadLetter, ...]:
        """Return dead letters, oldest first; from the first on after what is no id."""
        keys = self._bus.keys.of_queues([incarnation])
        arguments = (after if is_letter_id(after) else "", limit, PAGE_BYTES_MAX)
        session = await self._bus.keeper.session(CALL_SECONDS)
        reply = await self._bus.evaluate(session, script.DEAD_LETTERS, keys, arguments)
        return tuple([read_letter(letter) for letter in _good(reply)])

    async def redrive(self, incarnation: str, ids: Sequence[str], delay_ms: int, spacing_ms: float) -> int:
        """Put dead letters back; the steps go on where the one before ended."""
        options = self._bus.options
        redriven = 0
        for step in _steps(ids):
            fixed: tuple[Argument, ...] = (
                options.now_us(),
                repr(delay_ms + redriven * spacing_ms),
                repr(spacing_ms),
                options.publish_command,
                self._bus.keys.live,
                incarnation,
            )
            redriven += await self._move(script.REDRIVE, incarnation, (*fixed, *step))
        return redriven

    async def purge(self, incarnation: str, ids: Sequence[str]) -> int:
        """Remove dead letters."""
        return sum([await self._move(script.PURGE, incarnation, step) for step in _steps(ids)])

    async def _move(self, wanted: script.Script, incarnation: str, arguments: Sequence[Argument]) -> int:
        # Not asked again: what is moved is not there a second time, and would not be counted.
        keys = self._bus.keys.of_queues([incarnation])
        return int(_good(await self._bus.asker.control(wanted, keys, arguments, Attempt(CALL_SECONDS))))


def _steps(ids: Sequence[str]) -> list[list[str]]:
    known = [letter_id for letter_id in ids if is_letter_id(letter_id)]
    return [known[at : at + STEP_LETTERS] for at in range(0, max(len(known), 1), STEP_LETTERS)]


def _good(reply: list[Any]) -> Any:  # noqa: ANN401 - what a script answers
    if reply[0] == b"gone":
        raise deleted()
    return reply[1]
