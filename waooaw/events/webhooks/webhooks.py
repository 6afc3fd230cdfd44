"""The webhooks of one bus: a receiver for each subscription that is pushed, and what people ask about them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from waooaw.events.errors import ConflictError, NoPushError, PushUnverifiedError
from waooaw.events.event import Event, StoredEvent
from waooaw.events.outages import OverloadedError
from waooaw.events.position import make_position
from waooaw.events.webhooks.endpoint import Endpoint
from waooaw.events.webhooks.messages import message_of
from waooaw.events.webhooks.push_record import is_deliverable

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from waooaw.events.bus.subscription_routes import KnownSubscription
    from waooaw.events.position import Position
    from waooaw.events.push import PushDefinition
    from waooaw.events.push_state import Attempt, AttemptKind, PushState
    from waooaw.events.webhooks.surroundings import Surroundings

TEST_TYPE: Final = "wowevent.webhook.test"

ERRAND_SECONDS: Final = 10.0
"""How long a test waits for its turn, before it gives up; its answer may take the time-out of the receiver longer."""


class Webhooks:
    """Follows the subscriptions of a bus from `open` on; leaving the stack ends it.

    Calls that name a subscription raise `NotFoundError`, and `UnavailableError` kinds where they ask the engine.
    """

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._endpoints: dict[str, Endpoint] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._is_leaving = False

    def open(self, stack: AsyncExitStack) -> None:
        """Begin to serve the receivers that there are, and those that come."""
        around = self._around
        stack.push_async_callback(self._close)
        stack.callback(around.event_bus.subscriptions.watch(self._follow))
        stack.callback(around.engine.listen_to_wakes(around.event_bus.name, self._wake))
        self._follow()

    async def finish(self) -> None:
        """Send nothing more; return when the requests under way were answered, and their events settled."""
        self._is_leaving = True
        await asyncio.gather(*[endpoint.finish() for endpoint in self._endpoints.values()])

    async def _close(self) -> None:
        self._is_leaving = True
        endpoints = list(self._endpoints.values())
        self._endpoints.clear()
        await asyncio.gather(*[endpoint.close() for endpoint in endpoints], *self._closing)

    # Following the subscriptions --------------------------------------------------------------------------------------

    def _follow(self) -> None:
        if self._is_leaving:
            return
        wanted: dict[str, tuple[KnownSubscription, PushDefinition]] = {}
        for known in self._around.event_bus.subscriptions.known.values():
            if known.definition.push is not None:
                wanted[known.record.incarnation] = known, known.definition.push
        for incarnation in self._endpoints.keys() - wanted.keys():
            self._end(self._endpoints.pop(incarnation))
        for incarnation, (known, push) in wanted.items():
            endpoint = self._endpoints.get(incarnation)
            if endpoint is None:
                endpoint = self._endpoints[incarnation] = Endpoint(self._around, known, push)
                endpoint.open()
            else:
                endpoint.update(known, push)

    def _end(self, endpoint: Endpoint) -> None:
        closing = asyncio.get_running_loop().create_task(endpoint.close(), name="close webhook")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    def _wake(self, incarnation: str | None) -> None:
        if incarnation is not None and (endpoint := self._endpoints.get(incarnation)) is not None:
            endpoint.wake()

    # What people ask --------------------------------------------------------------------------------------------------

    async def check(self, push: PushDefinition) -> None:
        """Raise `AddressRefusedError` for a receiver that is not called, by its URL or by what its name stands for."""
        await self._around.dialer.check(push.url)

    def state_of(self, known: KnownSubscription) -> PushState | None:
        """Return how pushing goes, as this replica last saw it; None for what is not pushed."""
        endpoint = self._endpoints.get(known.record.incarnation)
        if endpoint is None or known.definition.push is None:
            return None
        return endpoint.told(endpoint.record)

    async def state(self, name: str) -> PushState | None:
        """Return how pushing goes; None for what is not pushed."""
        known = await self._around.event_bus.subscriptions.find(name)
        if known.definition.push is None:
            return None
        endpoint = await self._endpoint(name)
        return endpoint.told(await endpoint.read())

    async def verify(self, name: str) -> PushState:
        """Judge the address again, and ask the receiver for its consent now; return how that ended.

        Raises `NoPushError` and `AddressRefusedError`.
        """
        endpoint = await self._endpoint(name)
        await self.check(endpoint.push)
        return endpoint.told(await endpoint.ask())

    async def test(self, name: str) -> Attempt:
        """Send an event that is in no log; return what came of it. Nothing else is changed by it.

        Raises `NoPushError`, `PushUnverifiedError`, `ConflictError` while the receiver wants to be left alone.
        """
        endpoint = await self._endpoint(name)
        around = self._around
        event_id = around.identifiers.new_event_id()
        event = Event(
            type=TEST_TYPE,
            source=f"/buses/{around.event_bus.name}/subscriptions/{name}",
            id=event_id,
            subject=name,
            data={"subscription": name, "detail": "A test: no event of the log, and nothing is waited for."},
        )
        entry = around.event_bus.acceptance.one(event.to_json())
        stored = StoredEvent(
            make_position(around.clock.now_ms()), entry.type, entry.source, entry.correlationid, entry.body
        )
        return await self._send(endpoint, stored, "test", message_id=event_id)

    async def redeliver(self, name: str, position: Position) -> Attempt:
        """Send one event of the log again, at once and beside its queue: nothing is settled by it.

        Raises as `test`, and as `EventStore.get`.
        """
        endpoint = await self._endpoint(name)
        stored = await self._around.event_bus.store.get(position)
        return await self._send(endpoint, stored, "redelivery", position=position)

    async def attempts(self, name: str) -> list[Attempt]:
        """Return the last attempts over all replicas, the newest first. Raises `NoPushError`."""
        endpoint = await self._endpoint(name)
        return await endpoint.attempts.read()

    async def resumed(self, name: str) -> None:
        """Let a subscription that was resumed begin without its past; harmless for one that is not pushed."""
        known = await self._around.event_bus.subscriptions.find(name)
        if known.definition.push is not None:
            await (await self._endpoint(name)).clear_stop()

    # Errands ----------------------------------------------------------------------------------------------------------

    async def _endpoint(self, name: str) -> Endpoint:
        known = await self._around.event_bus.subscriptions.find(name)
        endpoint = self._endpoints.get(known.record.incarnation)
        if known.definition.push is None or endpoint is None:
            message = f"the subscription {name} has no push: its members claim, or connect"
            raise NoPushError(message)
        return endpoint

    async def _send(
        self,
        endpoint: Endpoint,
        stored: StoredEvent,
        kind: AttemptKind,
        *,
        message_id: str | None = None,
        position: Position | None = None,
    ) -> Attempt:
        """Send one event outside the queue, in a slot of the receiver's own."""
        record = await endpoint.read()
        if not is_deliverable(record, endpoint.push):
            why = endpoint.told(record).reason
            message = f"the receiver has not consented, and gets nothing: {why}; POST …/verify asks it again"
            raise PushUnverifiedError(message)
        held_seconds = max(endpoint.outbox.held_seconds, (record.held_until_ms - endpoint.now_ms()) / 1000)
        if held_seconds > 0:
            message = f"the receiver asked to be left alone for {held_seconds:.0f} s more"
            raise ConflictError(message, retry_after_seconds=max(round(held_seconds), 1))
        message_to_send = message_of(endpoint.push, endpoint.known.record.incarnation, [stored])
        if message_id is not None:
            message_to_send = replace(message_to_send, id=message_id)
        began_ms = self._around.clock.now_ms()
        answered = endpoint.outbox.add_errand(message_to_send)
        try:
            async with asyncio.timeout(ERRAND_SECONDS + endpoint.push.timeout_seconds):
                reply, verdict = await answered
        except TimeoutError:
            message = "all that the receiver takes at a time is under way; try again"
            raise OverloadedError(message) from None
        positions = () if position is None else (position,)
        attempt = endpoint.attempt(kind, reply, began_ms, verdict.reason, verdict.attempt_outcome, positions=positions)
        endpoint.attempts.add(lambda: attempt)
        return attempt
