"""The queues of one bus on Redis; see `waooaw.events.engine.queue_contract.Queues`.

Claims and settles go out on a link of their own, where they wait neither for slow reads nor for replicas. Each is one
script; an answer that is lost is asked for again under the same sequence.
"""

from __future__ import annotations

from hashlib import shake_128
from typing import TYPE_CHECKING, Any, Final

from waooaw.events.delivery import CLAIM_MAX
from waooaw.events.engine.queue_contract import KEY_CLAIMER, Claimed, Moves, Settled
from waooaw.events.engine.redis import script
from waooaw.events.engine.redis.asking import Attempt
from waooaw.events.engine.redis.queue_spelling import (
    pad_position,
    read_claimed,
    read_moves,
    read_padded,
    read_queue_details,
    read_queue_state,
    read_reference_report,
    spell_fill,
    spell_settles,
)
from waooaw.events.errors import NotFoundError, SupersededError
from waooaw.events.position import Position

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waooaw.events.engine.queue_contract import ClaimRequest, FillItem, ReferenceReport, SettleRequest
    from waooaw.events.engine.redis.bus_log import RedisBus
    from waooaw.events.engine.redis.link import Argument
    from waooaw.events.subscription_state import QueueDetails, QueueState

CLAIM_BYTES_MAX: Final = 4 * 1024 * 1024
"""A claim ends here even below its count."""

ANSWER_SECONDS: Final = 3600
"""How long what a claimer was answered is kept for the case that it asks again."""

KEY_ANSWER_SECONDS: Final = 600
"""The same where the claimer is a client's key: one more for each call. An hour of them is most of a busy store."""

CALL_SECONDS: Final = 5.0
"""How long a call may take that nobody gave a patience for, the wait for a connection included."""

DETAILS_MAX: Final = 20
LOOKED_AT_MAX: Final = 500
"""References with copies that are looked at for those that fail: redriven ones have copies, too, and no failures."""

NONCE_BYTES: Final = 8


class RedisQueues:
    """The queues of one bus."""

    def __init__(self, bus: RedisBus) -> None:
        self._bus = bus

    async def claim(
        self,
        incarnation: str,
        claimer: str,
        sequence: int,
        requests: Sequence[ClaimRequest],
        patience_seconds: float,
    ) -> Claimed:
        """Lease references to members."""
        wished = min(sum([request.limit for request in requests]), CLAIM_MAX)
        # One random token, stretched: as unguessable as the token, 16 digits for each lease, and none twice.
        seed = f"{self._bus.identifiers.new_token()} {incarnation} {sequence} {claimer}".encode()
        arguments: list[Argument] = [
            sequence,
            self._bus.options.now_us(),
            CLAIM_BYTES_MAX,
            _answer_seconds(claimer),
            shake_128(seed).hexdigest(NONCE_BYTES * wished),
        ]
        for request in requests:
            arguments += (request.member, request.limit)
        keys = self._keys(incarnation, claimer, "claim")
        reply = await self._bus.asker.queue(script.CLAIM, keys, arguments, Attempt(patience_seconds))
        return read_claimed(_good(reply))

    async def settle(
        self,
        incarnation: str,
        claimer: str,
        sequence: int,
        requests: Sequence[SettleRequest],
        patience_seconds: float,
    ) -> Settled:
        """Settle deliveries."""
        options = self._bus.options
        arguments = (
            sequence,
            options.now_us(),
            _answer_seconds(claimer),
            options.publish_command,
            self._bus.keys.live,
            incarnation,
            spell_settles(requests),
        )
        keys = self._keys(incarnation, claimer, "settle")
        reply = await self._bus.asker.queue(script.SETTLE, keys, arguments, Attempt(patience_seconds))
        _, attempts, moves = _good(reply)
        return Settled(tuple([int(attempt) for attempt in attempts.split()]), read_moves(moves))

    async def sweep(
        self, incarnations: Sequence[str], limit: int, dead_seconds: int, dead_max: int
    ) -> tuple[Moves, ...]:
        """Do for queues what a claim would do where nobody claims."""
        options = self._bus.options
        arguments: tuple[Argument, ...] = (
            options.now_us(),
            limit,
            dead_seconds * 1000,
            dead_max,
            options.publish_command,
            self._bus.keys.live,
            *incarnations,
        )
        reply = await self._bus.asker.queue(script.SWEEP, self._keys_of(incarnations), arguments, Attempt(CALL_SECONDS))
        return tuple([read_moves(moves) for moves in reply])

    async def states(self, incarnations: Sequence[str]) -> tuple[QueueState | None, ...]:
        """Return queues as they stand."""
        reply = await self._read(script.QUEUE_STATES, self._keys_of(incarnations), len(incarnations))
        return tuple([read_queue_state(said) if said else None for said in reply])

    async def details(self, incarnation: str) -> QueueDetails:
        """Return who holds what, and what fails."""
        reply = await self._read(script.QUEUE_DETAILS, self._keys_of([incarnation]), DETAILS_MAX, LOOKED_AT_MAX)
        _, leases, failing = _good(reply)
        return read_queue_details(leases, failing)

    async def find_reference(self, incarnation: str, position: Position, priority: int) -> ReferenceReport | None:
        """Tell where the newest reference to an event is."""
        reply = await self._read(script.FIND_REFERENCE, self._keys_of([incarnation]), pad_position(position), priority)
        said = _good(reply)
        return None if said[0] == b"none" else read_reference_report(said[1:])

    async def oldest_needed(self, incarnations: Sequence[str]) -> Position | None:
        """Return the oldest position that queues need the log for."""
        needed, after = await self._read(script.OLDEST_NEEDED, self._keys_of(incarnations), len(incarnations))
        found = []
        if needed:
            found.append(read_padded(needed.decode())[0])
        if after:
            found.append(Position(read_padded(after.decode())[0] + 1))
        return min(found, default=None)

    async def fill(
        self, incarnation: str, items: Sequence[FillItem], expected: Position, reached: Position
    ) -> QueueState:
        """Add references to the list of a fill, which notes how far it came: asking again does nothing twice."""
        options = self._bus.options
        arguments = (
            options.publish_command,
            self._bus.keys.live,
            incarnation,
            pad_position(expected),
            pad_position(reached),
            spell_fill(items),
        )
        reply = await self._bus.asker.queue(script.FILL, self._keys_of([incarnation]), arguments, Attempt(CALL_SECONDS))
        if not reply:
            raise deleted()
        return read_queue_state(reply)

    async def _read(self, wanted: script.Script, keys: Sequence[str], *arguments: Argument) -> Any:  # noqa: ANN401 - what a script answers
        session = await self._bus.keeper.session(CALL_SECONDS)
        return await self._bus.evaluate(session, wanted, keys, arguments)

    def _keys(self, incarnation: str, claimer: str, kind: str) -> tuple[str, ...]:
        queue = self._bus.keys.queue(incarnation)
        return (self._bus.keys.log, self._bus.keys.meta, *queue.whole, queue.answer(kind, claimer))

    def _keys_of(self, incarnations: Sequence[str]) -> list[str]:
        return self._bus.keys.of_queues(incarnations)


def _answer_seconds(claimer: str) -> int:
    return KEY_ANSWER_SECONDS if claimer.startswith(KEY_CLAIMER) else ANSWER_SECONDS


def deleted() -> NotFoundError:
    """Return what a call on a queue that is not there any more is told."""
    return NotFoundError("the subscription was deleted")


def _good(reply: list[Any]) -> list[Any]:
    """Return an answer; raise what a script refused with."""
    if reply[0] == b"gone":
        raise deleted()
    if reply[0] == b"superseded":
        message = f"a later call of this claimer, {int(reply[1])}, was answered"
        raise SupersededError(message)
    return reply
