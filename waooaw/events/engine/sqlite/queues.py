"""The calls of queues: each in a transaction of its own, many in one commit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

from waooaw.events.engine.queue_contract import Claimed, Moves, ReferenceReport, Settled
from waooaw.events.engine.sqlite import filling, queue_reading
from waooaw.events.engine.sqlite import queue_statements as sql
from waooaw.events.engine.sqlite.claiming import Claim
from waooaw.events.engine.sqlite.last_answers import ANSWER_BYTES, LastAnswers
from waooaw.events.engine.sqlite.queue_change import QueueChange
from waooaw.events.engine.sqlite.queue_row import QueueRow, find_queue
from waooaw.events.engine.sqlite.reference import WAITING, Held
from waooaw.events.engine.sqlite.settling import Settling
from waooaw.events.engine.sqlite.sweeping import Sweep
from waooaw.events.engine.sqlite.transactions import Written
from waooaw.events.errors import NotFoundError
from waooaw.events.event import StoredEvent
from waooaw.events.position import Position

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from waooaw.events.dead_letter import DeadLetter
    from waooaw.events.engine.queue_contract import ClaimRequest, FillItem, SettleRequest
    from waooaw.events.engine.sqlite.bus_log import BusLog
    from waooaw.events.engine.sqlite.store import Store
    from waooaw.events.subscription_state import QueueDetails, QueueState

_Result = TypeVar("_Result")

CLAIMED_STEP_MS: Final = 10_000
"""That somebody claimed is written this often where nothing else is; in between it is known in memory."""


class Queues:
    """The queues of one store; see `waooaw.events.engine.queue_contract.Queues`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._answers = LastAnswers()

    # Claim and settle -------------------------------------------------------------------------------------------------

    async def claim(
        self, log: BusLog, incarnation: str, claimer: str, sequence: int, requests: Sequence[ClaimRequest]
    ) -> Claimed:
        """See `Queues.claim`."""
        part = ("claim", log.name, incarnation, claimer)

        async def write() -> Written[Claimed]:
            change = self._open(log, incarnation)
            kept: Claimed | None = self._answers.find(part, sequence)
            if kept is not None:
                return Written(kept)
            self._store.health.check()
            queue, now_ms = change.queue, change.now_ms
            if now_ms - queue.claimed_ms >= CLAIMED_STEP_MS:
                queue.claimed_ms = now_ms
            claimed = await Claim(change, requests, self._store.identifiers).run()
            change.write()

            def take_over() -> None:
                log.subscriptions.note_claim(queue.number, now_ms)
                told = Claimed(claimed.leases, claimed.next_due_ms, claimed.is_paused)
                size_bytes = sum(len(lease.event.body) + ANSWER_BYTES for lease in claimed.leases)
                self._answers.keep(part, sequence, told, size_bytes, now_ms)

            return Written(claimed, take_over)

        return await self._store.transactions.run(write, part=part)

    async def settle(
        self, log: BusLog, incarnation: str, claimer: str, sequence: int, requests: Sequence[SettleRequest]
    ) -> Settled:
        """See `Queues.settle`."""
        part = ("settle", log.name, incarnation, claimer)

        async def write() -> Written[Settled]:
            change = self._open(log, incarnation)
            kept: Settled | None = self._answers.find(part, sequence)
            if kept is not None:
                return Written(kept)
            self._store.health.check()
            settling = Settling(change)
            settled = await settling.run(requests)

            def take_over() -> None:
                self._answers.keep(part, sequence, Settled(settled.attempts), len(requests) * 8, change.now_ms)
                if settling.makes_claimable:
                    self._store.wake(log.name, incarnation)

            return Written(settled, take_over)

        return await self._store.transactions.run(write, part=part)

    async def sweep(
        self, log: BusLog, incarnations: Sequence[str], *, limit: int, dead_seconds: int, dead_max: int
    ) -> tuple[Moves, ...]:
        """See `Queues.sweep`."""

        async def write() -> Written[tuple[Moves, ...]]:
            self._store.health.check()
            swept: list[Moves] = []
            woken: list[str] = []
            for incarnation in incarnations:
                try:
                    sweep = Sweep(self._open(log, incarnation), limit)
                except NotFoundError:
                    swept.append(Moves())
                    continue
                swept.append(sweep.run(dead_seconds=dead_seconds, dead_max=dead_max))
                if sweep.makes_claimable:
                    woken.append(incarnation)
                await asyncio.sleep(0)
            return Written(tuple(swept), lambda: self._store.wake(log.name, *woken))

        return await self._store.transactions.run(write)

    def _open(self, log: BusLog, incarnation: str) -> QueueChange:
        """Begin a change of a queue inside a transaction; raises `NotFoundError`."""
        number = log.subscriptions.queue_number(incarnation)
        queue = find_queue(self._store.connection, number)
        if queue is None:  # deleted in the commit that this call is part of
            message = "the subscription was deleted"
            raise NotFoundError(message)
        return QueueChange(self._store.connection, log.sql("{log}"), queue, self._store.clock.now_ms())

    # Fills ------------------------------------------------------------------------------------------------------------

    async def fill(
        self, log: BusLog, incarnation: str, items: Sequence[FillItem], expected: Position, reached: Position
    ) -> QueueState:
        """See `Queues.fill`."""

        async def write() -> Written[QueueState]:
            self._store.health.check_room()
            queue = self._open(log, incarnation).queue
            filling.fill(self._store.connection, queue, items, expected, reached)
            return Written(self._state(log, queue), lambda: self._store.wake(log.name, incarnation))

        return await self._store.transactions.run(write)

    async def seek(self, log: BusLog, incarnation: str, start: Position) -> QueueState:
        """See `Subscriptions.seek`. It decides by the end of the log, so it shares no commit with an append."""

        async def write() -> Written[QueueState]:
            self._store.health.check()
            queue = self._open(log, incarnation).queue
            await filling.seek(self._store.connection, queue, start, log.last)
            return Written(self._state(log, queue), lambda: self._store.wake(log.name, incarnation))

        return await self._store.transactions.run(write, part=log.name)

    # Reading ----------------------------------------------------------------------------------------------------------

    async def queue_states(self, log: BusLog, incarnations: Sequence[str]) -> tuple[QueueState | None, ...]:
        """See `Queues.queue_states`."""
        numbers = [log.subscriptions.number_of(incarnation) for incarnation in incarnations]

        def read(connection: sqlite3.Connection) -> tuple[QueueState | None, ...]:
            queues = queue_reading.find_queues(connection, numbers)
            return tuple(None if queue is None else self._state(log, queue, connection) for queue in queues)

        return await self._store.read(read)

    def _state(self, log: BusLog, queue: QueueRow, connection: sqlite3.Connection | None = None) -> QueueState:
        claimed_ms = log.subscriptions.claimed_ms(queue.number)
        return queue_reading.queue_state(connection or self._store.connection, queue, claimed_ms)

    async def queue_details(self, log: BusLog, incarnation: str) -> QueueDetails:
        """See `Queues.queue_details`."""
        return await self._read_queue(log, incarnation, queue_reading.queue_details)

    async def find_reference(
        self, log: BusLog, incarnation: str, position: Position, priority: int
    ) -> ReferenceReport | None:
        """See `Queues.find_reference`."""
        return await self._read_queue(
            log,
            incarnation,
            lambda connection, queue: queue_reading.find_reference(connection, queue, position, priority, log.last),
        )

    async def oldest_needed(self, log: BusLog, incarnations: Sequence[str]) -> Position | None:
        """See `Queues.oldest_needed`."""
        numbers = [log.subscriptions.number_of(incarnation) for incarnation in incarnations]

        def read(connection: sqlite3.Connection) -> Position | None:
            queues = [queue for queue in queue_reading.find_queues(connection, numbers) if queue is not None]
            needed = [queue_reading.oldest_needed(connection, queue) for queue in queues]
            oldest = min((position for position in needed if position is not None), default=None)
            return None if oldest is None else Position(oldest)

        return await self._store.read(read)

    async def dead_letters(self, log: BusLog, incarnation: str, after: str, limit: int) -> tuple[DeadLetter, ...]:
        """See `Queues.dead_letters`."""
        return await self._read_queue(
            log,
            incarnation,
            lambda connection, queue: queue_reading.dead_letters(connection, queue.number, after, limit),
        )

    async def _read_queue(
        self, log: BusLog, incarnation: str, read: Callable[[sqlite3.Connection, QueueRow], _Result]
    ) -> _Result:
        number = log.subscriptions.queue_number(incarnation)

        def read_one(connection: sqlite3.Connection) -> _Result:
            queue = find_queue(connection, number)
            if queue is None:
                message = "the subscription was deleted"
                raise NotFoundError(message)
            return read(connection, queue)

        return await self._store.read(read_one)

    # Dead letters -----------------------------------------------------------------------------------------------------

    async def redrive(self, log: BusLog, incarnation: str, ids: Sequence[str], delay_ms: int, spacing_ms: float) -> int:
        """See `Queues.redrive`."""

        async def write() -> Written[int]:
            self._store.health.check_room()
            change = self._open(log, incarnation)
            queue, connection, redriven = change.queue, change.connection, 0
            for letter_id in dict.fromkeys(ids):
                place = (queue.number, *queue_reading.parse_letter_id(letter_id))
                row = connection.execute(sql.FIND_LETTER, place).fetchone()
                if row is None:
                    continue
                position, key, expires_ms, *event = row
                connection.execute(sql.DROP_LETTER, place)
                at_ms = change.now_ms + delay_ms + round(spacing_ms * redriven)
                held = Held(queue.number, 1, position, queue.next_copy(), WAITING, at_ms, key, expires_ms)
                change.count("dead", "waiting")
                change.add_copied(held, StoredEvent(position, *event))
                redriven += 1
            change.write()
            return Written(redriven, lambda: self._store.wake(log.name, incarnation))

        return await self._store.transactions.run(write)

    async def purge(self, log: BusLog, incarnation: str, ids: Sequence[str]) -> int:
        """See `Queues.purge`."""

        async def write() -> Written[int]:
            self._store.health.check()
            change = self._open(log, incarnation)
            number, connection = change.queue.number, change.connection
            places = [(number, *queue_reading.parse_letter_id(letter_id)) for letter_id in ids]
            purged = sum(connection.execute(sql.DROP_LETTER, place).rowcount for place in places)
            change.count("dead", "dropped", purged)
            change.write()
            return Written(purged)

        return await self._store.transactions.run(write)
