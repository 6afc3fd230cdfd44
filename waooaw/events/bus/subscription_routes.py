"""Which queues an event goes to: the subscriptions of one bus, kept in memory under their version.

Rule 1: an append names the version that its references were made by; the engine refuses every other one. What this
replica has not heard of is therefore never missed, and hearing late costs one append more.
Rule 2: each queue is in one route set of an append, so that it gets its references in the order of the log.
Rule 3: a bus without subscriptions pays for none.
Rule 4: a definition of a later release, as there is one while replicas are upgraded, still gets its events: they are
queued by its patterns, and the replicas that can read the rest do with them what it says.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from waooaw.events.delivery_attributes import NORMAL
from waooaw.events.engine.queue_contract import QueueItem, RouteSet
from waooaw.events.errors import NotFoundError, WowEventError
from waooaw.events.outages import UnavailableError
from waooaw.events.pattern import PatternMemo
from waooaw.events.subscription import parse_routing, parse_subscription

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AsyncExitStack

    from waooaw.events.engine.contract import Engine
    from waooaw.events.engine.subscription_contract import Routes, SubscriptionRecord
    from waooaw.events.event import Entry
    from waooaw.events.subscription import SubscriptionDefinition

_log = logging.getLogger("wowevent.subscription")

REFERENCES_MAX: Final = 50_000
"""References of one append: what one atomic step of an engine makes in some 15 ms."""

Queue = tuple[str, int]
"""An incarnation with its ``max_waiting``."""


@dataclass(frozen=True, slots=True)
class KnownSubscription:
    """A subscription as this replica knows it."""

    record: SubscriptionRecord
    definition: SubscriptionDefinition


class Matched:
    """What a type of event goes to. Types that go to the same subscriptions share one."""

    __slots__ = ("count", "keyed", "plain", "subscriptions")

    def __init__(self, subscriptions: tuple[KnownSubscription, ...]) -> None:
        self.subscriptions = subscriptions
        self.count = len(subscriptions)
        records = [known.record for known in subscriptions]
        self.plain: tuple[Queue, ...] = tuple([(r.incarnation, r.max_waiting) for r in records if not r.is_keyed])
        self.keyed: tuple[Queue, ...] = tuple([(r.incarnation, r.max_waiting) for r in records if r.is_keyed])


class SubscriptionRoutes:
    """The subscriptions of one bus. `open` begins to follow what other replicas change."""

    def __init__(self, engine: Engine, bus: str) -> None:
        self._engine = engine
        self._bus = bus
        self.known: dict[str, KnownSubscription] = {}
        """By name; changed in place."""
        self.version = ""
        """What an append has to name; empty before the first `refresh`."""
        self._memo: PatternMemo[Matched] = PatternMemo(self._find)
        self._shared: dict[tuple[str, ...], Matched] = {}
        self._listeners: dict[object, Callable[[], None]] = {}
        self._refreshing = asyncio.Lock()
        self._begun = self._succeeded = 0
        self._following: asyncio.Task[None] | None = None
        self._is_woken = False

    def open(self, stack: AsyncExitStack) -> None:
        """Follow the engine's wakes until the stack is left."""
        stack.push_async_callback(self._close, self._engine.listen_to_wakes(self._bus, self._wake))

    async def _close(self, stop_listening: Callable[[], None]) -> None:
        stop_listening()
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)

    # Following what changes -------------------------------------------------------------------------------------------

    def _wake(self, incarnation: str | None) -> None:
        if incarnation is not None:
            return
        self._is_woken = True
        if self._following is None:
            self._following = asyncio.get_running_loop().create_task(self._follow(), name=f"routes {self._bus}")

    async def _follow(self) -> None:
        try:
            while self._is_woken:
                self._is_woken = False
                with suppress(UnavailableError):  # the next append, or the next second, asks again
                    await self.refresh()
        finally:
            self._following = None

    async def refresh(self) -> None:
        """Return once memory has what the engine had at the call, or later. Calls at the same time share the effort.

        Raises `UnavailableError` kinds; memory stays as it was.
        """
        wanted = self._begun + 1
        async with self._refreshing:
            if self._succeeded >= wanted:
                return
            self._begun += 1
            begun = self._begun
            self._take(await self._engine.routes(self._bus, self.version))
            self._succeeded = begun

    def _take(self, routes: Routes) -> None:
        if routes.version == self.version:
            return
        before = dict(self.known) if routes.is_whole else self.known
        if routes.is_whole:
            self.known.clear()
        for name in routes.gone:
            self.known.pop(name, None)
        for record in routes.subscriptions:
            known = self._read(record, before.get(record.name))
            if known is not None:
                self.known[record.name] = known
        self.version = routes.version
        self._memo.clear()
        self._shared.clear()
        for listener in tuple(self._listeners.values()):
            listener()

    def _read(self, record: SubscriptionRecord, before: KnownSubscription | None) -> KnownSubscription | None:
        if before is not None and before.record.definition == record.definition:
            return KnownSubscription(record, before.definition)
        try:
            members = msgspec.json.decode(record.definition)
            try:
                return KnownSubscription(record, parse_subscription(members))
            except WowEventError as error:
                self._tell_unreadable(record.name, error)
                return KnownSubscription(record, parse_routing(members, is_keyed=record.is_keyed))
        except (msgspec.DecodeError, WowEventError) as error:
            # One record that a hand changed must not keep the others from their events.
            self._tell_unreadable(record.name, error)
            return None

    def _tell_unreadable(self, name: str, error: Exception) -> None:
        extra = {"bus": self._bus, "subscription": name, "detail": str(error)}
        _log.error("subscription.unreadable", extra=extra)

    def watch(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` after each change of `known`; return what ends it. It must not raise nor block."""
        listeners, key = self._listeners, object()
        listeners[key] = listener

        def end() -> None:
            listeners.pop(key, None)

        return end

    def record_of(self, name: str) -> KnownSubscription:
        """Return a subscription from memory; raises `NotFoundError`."""
        known = self.known.get(name)
        if known is None:
            message = f"no subscription {name[:128]!r}"
            raise NotFoundError(message)
        return known

    # Matching ---------------------------------------------------------------------------------------------------------

    def matching(self, event_type: str) -> tuple[KnownSubscription, ...]:
        """Return the subscriptions that events of a type go to."""
        return self._memo(event_type).subscriptions

    def match(self, entries: Iterable[Entry]) -> list[Matched]:
        """Return what each entry goes to; nothing at all where there are no subscriptions."""
        if not self.known:
            return []
        memo = self._memo
        return [memo(entry.type) for entry in entries]

    def _find(self, event_type: str) -> Matched:
        found = [known for known in self.known.values() if known.definition.patterns.matches(event_type)]
        names = tuple([known.record.incarnation for known in found])
        matched = self._shared.get(names)
        if matched is None:
            matched = self._shared[names] = Matched(tuple(found))
        return matched


def fitting(matched: Sequence[Matched]) -> int:
    """Return how many of the first entries one append takes with their references: at least one."""
    room = REFERENCES_MAX
    for index, item in enumerate(matched):
        room -= item.count
        if room < 0:
            return max(index, 1)
    return len(matched)


def route_sets(entries: Sequence[Entry], matched: Sequence[Matched]) -> tuple[RouteSet, ...]:
    """Return the references that entries make: queues that get the same ones share a set."""
    indexes: dict[Matched, list[int]] = {}
    for index, item in enumerate(matched):
        if item.count:
            indexes.setdefault(item, []).append(index)
    if not indexes:
        return ()
    found = [
        RouteSet(queues, _plain_items(entries, places))
        for queues, places in _share([(item.plain, places) for item, places in indexes.items()])
    ]
    found += [
        RouteSet(queues, _keyed_items(entries, places))
        for queues, places in _share([(item.keyed, places) for item, places in indexes.items()])
    ]
    return tuple(found)


def _share(parts: list[tuple[tuple[Queue, ...], list[int]]]) -> Iterable[tuple[tuple[Queue, ...], list[int]]]:
    """Turn sets of queues that overlap into sets that do not, each with all the places that its queues have."""
    parts = [part for part in parts if part[0]]
    if len(parts) <= 1:
        return parts
    membership: dict[Queue, list[int]] = {}
    for ordinal, (queues, _) in enumerate(parts):
        for queue in queues:
            membership.setdefault(queue, []).append(ordinal)
    together: dict[tuple[int, ...], list[Queue]] = {}
    for queue, ordinals in membership.items():
        together.setdefault(tuple(ordinals), []).append(queue)
    return [
        (tuple(queues), sorted([place for ordinal in ordinals for place in parts[ordinal][1]]))
        for ordinals, queues in together.items()
    ]


def _plain_items(entries: Sequence[Entry], places: list[int]) -> tuple[QueueItem, ...]:
    deliveries = [(index, entries[index].delivery) for index in places]
    return tuple([QueueItem(index, delivery.priority, "", delivery.expires_ms) for index, delivery in deliveries])


def _keyed_items(entries: Sequence[Entry], places: list[int]) -> tuple[QueueItem, ...]:
    """Order by key ignores priority: all of a keyed queue wait in one list."""
    deliveries = [(index, entries[index].delivery) for index in places]
    return tuple(
        [QueueItem(index, NORMAL, delivery.ordering_key, delivery.expires_ms) for index, delivery in deliveries]
    )
