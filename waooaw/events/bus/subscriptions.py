"""The durable subscriptions of one bus: made, changed, looked at, moved, removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from waooaw.events.bound import Bound
    from waooaw.events.bus.event_store import EventStore
    from waooaw.events.bus.subscription_routes import KnownSubscription, SubscriptionRoutes
    from waooaw.events.clock import Clock
    from waooaw.events.engine.contract import Engine
    from waooaw.events.identifier import Identifiers
    from waooaw.events.position import Position
    from waooaw.events.subscription import SubscriptionDefinition
    from waooaw.events.subscription_state import DeliveryReport, QueueDetails, SubscriptionInfo


class Subscriptions:
    """What owners of subscriptions call. Calls of several at once are joined into fewer steps of the engine."""

    def __init__(
        self,
        engine: Engine,
        bus: str,
        routes: SubscriptionRoutes,
        store: EventStore,
        *,
        clock: Clock,
        identifiers: Identifiers,
        subscriptions_max: int,
    ) -> None:
        raise NotImplementedError

    @property
    def known(self) -> Mapping[str, KnownSubscription]:
        """All subscriptions by name, from memory: what another replica changed is here within about a second."""
        raise NotImplementedError

    def record_of(self, name: str) -> KnownSubscription:
        """Return a subscription from memory; raises `NotFoundError`."""
        raise NotImplementedError

    async def find(self, name: str) -> KnownSubscription:
        """Return a subscription, asking the engine where memory has none of the name; raises `NotFoundError`."""
        raise NotImplementedError

    async def refresh(self) -> None:
        """Take over what changed at the engine: for a `NotFoundError` of an incarnation that memory still has."""
        raise NotImplementedError

    def matching(self, event_type: str) -> tuple[KnownSubscription, ...]:
        """Return the subscriptions that an event of a type goes to now; remembered until they change."""
        raise NotImplementedError

    def watch(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` after each change of what `known` tells; return what ends it. It must not raise nor block."""
        raise NotImplementedError

    async def put(self, name: str, definition: SubscriptionDefinition) -> tuple[SubscriptionInfo, bool]:
        """Make a subscription, or replace its definition; return it, and whether it is new."""
        raise NotImplementedError

    async def info(self, name: str) -> SubscriptionInfo:
        """Return a subscription as it stands; raises `NotFoundError`."""
        raise NotImplementedError

    async def list(self) -> list[SubscriptionInfo]:
        """Return all, by name."""
        raise NotImplementedError

    async def delete(self, name: str) -> None:
        """Remove a subscription with its queue and its dead letters; raises `NotFoundError`."""
        raise NotImplementedError

    async def set_paused(self, name: str, is_paused: bool) -> SubscriptionInfo:  # noqa: FBT001 - the caller has a word
        """Stop or resume its claims; raises `NotFoundError`."""
        raise NotImplementedError

    async def seek(self, name: str, place: Bound) -> SubscriptionInfo:
        """Drop what waits, and go on from a place; raises `NotFoundError`, `InvalidParameterError` for the future."""
        raise NotImplementedError

    async def details(self, name: str) -> QueueDetails:
        """Return who holds what, and what fails; raises `NotFoundError`."""
        raise NotImplementedError

    async def deliveries_of(self, position: Position) -> list[DeliveryReport]:
        """Tell what each subscription made of an event, by name; raises as `EventStore.get`."""
        raise NotImplementedError
