"""What is kept for subscriptions that are pushed, on Redis; see `waooaw.events.engine.push_contract.PushRecords`.

Writes go out on the link for queues, as claims do, and a full server takes them: each queue holds little of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from waooaw.events.engine.push_contract import PushRecord
from waooaw.events.engine.redis import script
from waooaw.events.engine.redis.asking import Attempt
from waooaw.events.engine.redis.queues import CALL_SECONDS, deleted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waooaw.events.engine.redis.bus_log import RedisBus
    from waooaw.events.engine.redis.link import Argument


class PushStore:
    """The push records of one bus."""

    def __init__(self, bus: RedisBus) -> None:
        self._bus = bus

    async def record(self, incarnation: str) -> PushRecord:
        """Return the record of a queue."""
        queue = self._bus.keys.queue(incarnation)
        said = await self._read(script.PUSH_RECORD, (queue.counts, queue.push), self._bus.options.now_us())
        return _read_record(said)

    async def write(self, incarnation: str, value: bytes, expected: int, *, tells: bool) -> PushRecord:
        """Replace the record of a queue.

        Where an answer was lost, the next try finds what the one before wrote, and returns it as any other's.
        """
        options, queue = self._bus.options, self._bus.keys.queue(incarnation)
        channel = self._bus.keys.live if tells else ""
        arguments = (options.now_us(), expected, value, options.publish_command, channel, incarnation)
        return _read_record(await self._change(script.WRITE_PUSH_RECORD, (queue.counts, queue.push), arguments))

    async def add_attempts(self, incarnation: str, attempts: Sequence[bytes], kept: int) -> None:
        """Add attempts; a try whose answer was lost leaves them there twice."""
        queue = self._bus.keys.queue(incarnation)
        await self._change(script.ADD_PUSH_ATTEMPTS, (queue.counts, queue.attempts), (kept, *attempts))

    async def attempts(self, incarnation: str) -> tuple[bytes, ...]:
        """Return attempts, the newest first."""
        queue = self._bus.keys.queue(incarnation)
        _, attempts = await self._read(script.PUSH_ATTEMPTS, (queue.counts, queue.attempts))
        return tuple(reversed(attempts))

    async def _read(self, wanted: script.Script, keys: Sequence[str], *arguments: Argument) -> list[Any]:
        session = await self._bus.keeper.session(CALL_SECONDS)
        return _good(await self._bus.evaluate(session, wanted, keys, arguments))

    async def _change(self, wanted: script.Script, keys: Sequence[str], arguments: Sequence[Argument]) -> list[Any]:
        return _good(await self._bus.asker.queue(wanted, keys, arguments, Attempt(CALL_SECONDS)))


def _read_record(said: list[Any]) -> PushRecord:
    _, version, value, now_ms = said
    return PushRecord(value, int(version), int(now_ms))


def _good(reply: list[Any]) -> list[Any]:
    if reply[0] == b"gone":
        raise deleted()
    return reply
