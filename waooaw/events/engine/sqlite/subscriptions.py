"""The calls of subscriptions: definitions, routes, seek."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waooaw.events.engine.sqlite import queue_statements as sql
from waooaw.events.engine.sqlite.filling import drop_rows
from waooaw.events.engine.sqlite.transactions import Written
from waooaw.events.engine.subscription_contract import Changed, PutSubscription, Routes, SubscriptionChange

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waooaw.events.engine.sqlite.bus_log import BusLog
    from waooaw.events.engine.sqlite.store import Store
    from waooaw.events.errors import WowEventError


class Subscriptions:
    """The subscriptions of one store; see `waooaw.events.engine.subscription_contract.Subscriptions`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def routes(self, log: BusLog, known_version: str) -> Routes:
        """See `Subscriptions.routes`."""

        async def read() -> Written[Routes]:
            return Written(log.subscriptions.routes(log.routes_version, log.known_routes(known_version)))

        # Beside no change, so that what is read and the version in memory are of one instant.
        return await self._store.transactions.run(read, part=log.name)

    async def change(
        self, log: BusLog, changes: Sequence[SubscriptionChange], subscriptions_max: int
    ) -> tuple[Changed | WowEventError, ...]:
        """See `Subscriptions.change_subscriptions`. It goes by the end of the log: no append shares its commit."""

        async def write() -> Written[tuple[Changed | WowEventError, ...]]:
            health = self._store.health
            if any(isinstance(change, PutSubscription) for change in changes):
                health.check_room()
            health.check()
            done = log.subscriptions.change(
                changes, subscriptions_max=subscriptions_max, last=log.last, now_ms=self._store.clock.now_ms()
            )
            for number in done.removed_queues:
                await drop_rows(self._store.connection, number, sql.DELETE_ALL_ROWS)

            def take_over() -> None:
                log.subscriptions.take_over(done)
                if done.names:
                    self._store.wake(log.name, None)

            return Written(tuple(done.answers), take_over)

        return await self._store.transactions.run(write, part=log.name)
