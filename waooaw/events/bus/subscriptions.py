"""The durable subscriptions of one bus: made, changed, looked at, moved, removed."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from waooaw.events.bound import At, Earliest, Now, parse_bound, resolve_start
from waooaw.events.bus.subscription_routes import KnownSubscription
from waooaw.events.delivery_attributes import NORMAL, delivery_attributes_of
from waooaw.events.engine.subscription_contract import DeleteSubscription, PauseSubscription, PutSubscription, Rules
from waooaw.events.errors import InvalidParameterError, NotFoundError, Violation
from waooaw.events.position import BEGINNING, END, position_milliseconds
from waooaw.events.subscription import check_definition, check_name
from waooaw.events.subscription_state import DeliveryReport, SubscriptionInfo

if TYPE_CHECKING:
    import builtins
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from waooaw.events.bound import Bound
    from waooaw.events.bus.event_store import EventStore
    from waooaw.events.bus.subscription_changes import SubscriptionChanges
    from waooaw.events.bus.subscription_routes import SubscriptionRoutes
    from waooaw.events.clock import Clock
    from waooaw.events.engine.contract import Engine
    from waooaw.events.event import StoredEvent
    from waooaw.events.identifier import Identifiers
    from waooaw.events.position import Position
    from waooaw.events.subscription import SubscriptionDefinition
    from waooaw.events.subscription_state import QueueDetails, QueueState

_log = logging.getLogger("wowevent.subscription")

STATES_MAX: Final = 100
"""Queues that one question to the engine is about."""

REPORTS_AT_ONCE: Final = 50
"""Questions about one event that are on their way to the engine at a time."""

_Result = TypeVar("_Result")


class Subscriptions:
    """What owners of subscriptions call. Everything that asks the engine raises `UnavailableError` kinds."""

    def __init__(
        self,
        engine: Engine,
        bus: str,
        routes: SubscriptionRoutes,
        changes: SubscriptionChanges,
        store: EventStore,
        *,
        clock: Clock,
        identifiers: Identifiers,
    ) -> None:
        self._engine = engine
        self._bus = bus
        self._routes = routes
        self._changes = changes
        self._store = store
        self._clock = clock
        self._identifiers = identifiers
        self.fill_wanted: Callable[[str], None] = lambda _: None
        """Called with the incarnation of a subscription that history has to be put into."""

    # From memory ------------------------------------------------------------------------------------------------------

    @property
    def known(self) -> Mapping[str, KnownSubscription]:
        """All subscriptions by name, from memory: what another replica changed is here within about a second."""
        return self._routes.known

    def record_of(self, name: str) -> KnownSubscription:
        """Return a subscription from memory; raises `NotFoundError`."""
        return self._routes.record_of(name)

    def matching(self, event_type: str) -> tuple[KnownSubscription, ...]:
        """Return the subscriptions that an event of a type goes to now; remembered until they change."""
        return self._routes.matching(event_type)

    def watch(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` after each change of `known`; return what ends it. It must not raise nor block."""
        return self._routes.watch(listener)

    # Finding ----------------------------------------------------------------------------------------------------------

    async def refresh(self) -> None:
        """Take over what changed at the engine: for a `NotFoundError` of an incarnation that memory still has."""
        await self._routes.refresh()

    async def find(self, name: str) -> KnownSubscription:
        """Return a subscription, asking the engine where memory has none of the name; raises `NotFoundError`."""
        known = self._routes.known.get(name)
        if known is None:
            await self._routes.refresh()
            return self._routes.record_of(name)
        return known

    async def call(self, name: str, ask: Callable[[str], Awaitable[_Result]]) -> tuple[KnownSubscription, _Result]:
        """Ask the engine about the incarnation that has a name; raises `NotFoundError` where there is none.

        Memory may still have one that was deleted, and the name may be used again: then the new one is asked about.
        """
        known = await self.find(name)
        try:
            return known, await ask(known.record.incarnation)
        except NotFoundError:
            await self._routes.refresh()
            again = self._routes.record_of(name)
            if again.record.incarnation == known.record.incarnation:
                raise
            return again, await ask(again.record.incarnation)

    # Changing ---------------------------------------------------------------------------------------------------------

    async def put(self, name: str, definition: SubscriptionDefinition) -> tuple[SubscriptionInfo, bool]:
        """Make a subscription, or replace its definition; return it, and whether it is new.

        From the answer on it misses no event that matches, whichever replica it is published at. Raises
        `InvalidRequestError` kinds, `SubscriptionExistsError`, `OrderingFixedError`, `TooManySubscriptionsError`.
        """
        check_name(name)
        check_definition(definition)
        start = parse_bound(self._bus, definition.start)
        before = self._routes.known.get(name)
        changed = await self._changes.make(
            PutSubscription(
                name=name,
                incarnation=f"{self._identifiers.new_epoch():016x}",
                definition=msgspec.json.encode(definition.to_members()),
                rules=_rules(definition),
                start=None if isinstance(start, Now) else await self._place_before(start, "#/from"),
            )
        )
        record = changed.record
        if changed.is_new:
            self._tell("created", name, patterns=definition.to_members()["patterns"], start=definition.start)
        elif before is None or before.record.definition != record.definition:
            self._tell("changed", name)
        state = await self._state(record.incarnation)
        if state.fill is not None:
            self.fill_wanted(record.incarnation)
        return _info(KnownSubscription(record, replace(definition, start="now")), state), changed.is_new

    async def delete(self, name: str) -> None:
        """Remove a subscription with its queue and its dead letters; raises `NotFoundError`."""
        await self._changes.make(DeleteSubscription(name=name))
        self._tell("deleted", name)

    async def expire(self, name: str, unclaimed_since_ms: int) -> bool:
        """Remove a subscription that nobody claimed from since a time of the engine's clock; tell whether it went."""
        try:
            changed = await self._changes.make(DeleteSubscription(name=name, unclaimed_since_ms=unclaimed_since_ms))
        except NotFoundError:
            return False
        if changed.is_deleted:
            self._tell("expired", name)
        return changed.is_deleted

    async def set_paused(self, name: str, is_paused: bool) -> SubscriptionInfo:  # noqa: FBT001 - the callers' name says it
        """Stop or resume its claims; matching and queueing go on. Raises `NotFoundError`."""
        before = self._routes.known.get(name)
        changed = await self._changes.make(PauseSubscription(name=name, is_paused=is_paused))
        if before is None or before.record.is_paused != is_paused:
            self._tell("paused" if is_paused else "resumed", name)
        known = await self.find(name)
        state = await self._state(changed.record.incarnation)
        return _info(KnownSubscription(changed.record, known.definition), state)

    async def seek(self, name: str, place: Bound) -> SubscriptionInfo:
        """Drop what waits, and go on from a place in the log. What is leased stays leased.

        Raises `NotFoundError`, and `InvalidParameterError` for a place in the future.
        """
        await self.find(name)
        start = END if isinstance(place, Now) else await self._place_before(place, "#/to")
        known, state = await self.call(name, lambda incarnation: self._engine.seek(self._bus, incarnation, start))
        self._tell("sought", name, dropped=state.counts.dropped)
        if state.fill is not None:
            self.fill_wanted(known.record.incarnation)
        return _info(known, state)

    async def _place_before(self, bound: Bound, pointer: str) -> Position:
        """Return the position after which a reader starting at a bound reads; nothing lies in the future."""
        if isinstance(bound, Earliest):
            return BEGINNING
        await self._engine.refresh(self._bus)
        history = self._store.state().history
        position, _ = resolve_start(bound, history)
        if isinstance(bound, At) and position_milliseconds(bound.position) > max(
            self._clock.now_ms(), position_milliseconds(history.last)
        ):
            message = "must not lie in the future"
            violation = Violation(pointer, message, InvalidParameterError.code)
            raise InvalidParameterError(f"{pointer[2:]} {message}", errors=(violation,))
        return position

    def _tell(self, what: str, name: str, **extra: object) -> None:
        _log.info("subscription.%s", what, extra={"bus": self._bus, "subscription": name, **extra})

    # Looking ----------------------------------------------------------------------------------------------------------

    async def info(self, name: str) -> SubscriptionInfo:
        """Return a subscription as it stands; raises `NotFoundError`."""
        return _info(*await self.call(name, self._state))

    async def list(self) -> builtins.list[SubscriptionInfo]:
        """Return all, by name."""
        await self._routes.refresh()
        subscriptions = [self._routes.known[name] for name in sorted(self._routes.known)]
        states = await self.states([known.record.incarnation for known in subscriptions])
        return [_info(known, state) for known, state in zip(subscriptions, states, strict=True) if state is not None]

    async def states(self, incarnations: Sequence[str]) -> builtins.list[QueueState | None]:
        """Return queues as they stand; None for one that is not there any more."""
        states: builtins.list[QueueState | None] = []
        for start in range(0, len(incarnations), STATES_MAX):
            states += await self._engine.queue_states(self._bus, incarnations[start : start + STATES_MAX])
        return states

    async def _state(self, incarnation: str) -> QueueState:
        (state,) = await self._engine.queue_states(self._bus, [incarnation])
        if state is None:
            message = "the subscription was deleted"
            raise NotFoundError(message)
        return state

    async def details(self, name: str) -> QueueDetails:
        """Return who holds what, and what fails; raises `NotFoundError`."""
        _, details = await self.call(name, lambda incarnation: self._engine.queue_details(self._bus, incarnation))
        return details

    async def deliveries_of(self, position: Position) -> builtins.list[DeliveryReport]:
        """Tell what each subscription made of an event, by name; raises as `EventStore.get`.

        By the definition as it is now: one that matched by an earlier one counts as not matching, but for what is
        queued since before the change of one that matches still.
        """
        event = await self._store.get(position)
        await self._routes.refresh()
        subscriptions = [self._routes.known[name] for name in sorted(self._routes.known)]
        reports: builtins.list[DeliveryReport] = []
        for start in range(0, len(subscriptions), REPORTS_AT_ONCE):
            some = subscriptions[start : start + REPORTS_AT_ONCE]
            reports += await asyncio.gather(*[self._report(known, event) for known in some])
        return reports

    async def _report(self, known: KnownSubscription, event: StoredEvent) -> DeliveryReport:
        record = known.record
        if not known.definition.patterns.matches(event.type):
            return DeliveryReport(record.name, matched=False, why="pattern")
        priority = NORMAL if record.is_keyed else delivery_attributes_of(event.body).priority
        try:
            found = await self._engine.find_reference(self._bus, record.incarnation, event.position, priority)
        except NotFoundError:
            found = None
        if found is None:
            is_older = event.position <= record.after
            return DeliveryReport(record.name, matched=False, why="created_later" if is_older else "pattern")
        return DeliveryReport(
            record.name,
            matched=True,
            state=found.state,
            attempts=found.attempts,
            member=found.member or None,
            last_error=found.last_error,
        )


def _rules(definition: SubscriptionDefinition) -> Rules:
    return Rules(
        lease_seconds=definition.lease_seconds,
        max_in_flight=definition.max_in_flight,
        max_waiting=definition.max_waiting,
        is_keyed=definition.ordering == "key",
        retry=definition.retry,
        drops_exhausted=definition.on_exhausted == "drop",
    )


def _info(known: KnownSubscription, queue: QueueState) -> SubscriptionInfo:
    record = known.record
    return SubscriptionInfo(
        name=record.name,
        incarnation=record.incarnation,
        definition=known.definition,
        state="paused" if record.is_paused else "filling" if queue.fill is not None else "active",
        created_ms=record.created_ms,
        receives_after=record.after,
        queue=queue,
    )
