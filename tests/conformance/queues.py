"""Subscriptions as tests use them: made, filled by appends, claimed from and settled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TypedDict, Unpack

import msgspec

from tests.conformance.engines import BUS, Writer
from tests.event_samples import entries
from waooaw.events.dead_letter import DeadLetter
from waooaw.events.delivery import Outcome
from waooaw.events.delivery_attributes import NORMAL, delivery_attributes_of
from waooaw.events.engine.contract import Engine
from waooaw.events.engine.queue_contract import (
    Claimed,
    ClaimRequest,
    FillItem,
    Lease,
    Moves,
    QueueItem,
    RouteSet,
    Settled,
    SettleRequest,
)
from waooaw.events.engine.subscription_contract import (
    Changed,
    DeleteSubscription,
    PauseSubscription,
    PutSubscription,
    Rules,
    SubscriptionChange,
)
from waooaw.events.errors import RoutesChangedError, WowEventError
from waooaw.events.event import Entry
from waooaw.events.position import Position
from waooaw.events.receipt import Receipt
from waooaw.events.retry import RetryPolicy
from waooaw.events.subscription_state import Counts, QueueState

LAPSED = "the lease ended without an outcome"


RULES = Rules(
    lease_seconds=30.0,
    max_in_flight=1000,
    max_waiting=1_000_000,
    is_keyed=False,
    retry=RetryPolicy(),
    drops_exhausted=False,
)
"""The defaults of the wire."""


class GivenRules(TypedDict, total=False):
    """What a test asks for instead."""

    lease_seconds: float
    max_in_flight: int
    max_waiting: int
    is_keyed: bool
    retry: RetryPolicy
    drops_exhausted: bool


class Said(TypedDict, total=False):
    """What an outcome may say besides."""

    delay_seconds: float | None
    chance: float
    reason: str


def incarnation_of(text: str) -> str:
    """Return an incarnation that a name of its own has."""
    return blake2b(text.encode(), digest_size=8).hexdigest()


def put(
    name: str = "work",
    *,
    definition: bytes = b"{}",
    start: Position | None = None,
    incarnation: str | None = None,
    **given: Unpack[GivenRules],
) -> PutSubscription:
    """Return the change that makes a subscription."""
    return PutSubscription(
        name=name,
        incarnation=incarnation or incarnation_of(name),
        definition=definition,
        rules=replace(RULES, **given),
        start=start,
    )


async def change(
    engine: Engine, *changes: SubscriptionChange, bus: str = BUS, subscriptions_max: int = 1000
) -> tuple[Changed | WowEventError, ...]:
    """Change subscriptions."""
    return await engine.change_subscriptions(bus, changes, subscriptions_max=subscriptions_max)


async def changed(engine: Engine, given: SubscriptionChange, bus: str = BUS) -> Changed:
    """Make one change, which must succeed."""
    (answer,) = await change(engine, given, bus=bus)
    assert isinstance(answer, Changed), answer
    return answer


class Queue:
    """One subscription, and one claimer of it with its sequences."""

    def __init__(self, engine: Engine, incarnation: str, given: Rules, *, name: str = "work", bus: str = BUS) -> None:
        self.engine = engine
        self.incarnation = incarnation
        self.rules = given
        self.name = name
        self.bus = bus
        self.claimer = "claimer"
        self.claims = 0
        self.settles = 0

    @classmethod
    async def made(
        cls,
        engine: Engine,
        name: str = "work",
        *,
        start: Position | None = None,
        incarnation: str | None = None,
        bus: str = BUS,
        **given: Unpack[GivenRules],
    ) -> Queue:
        """Make the subscription."""
        definition = put(name, start=start, incarnation=incarnation, **given)
        await changed(engine, definition, bus)
        return cls(engine, definition.incarnation, definition.rules, name=name, bus=bus)

    def seen_by(self, engine: Engine, claimer: str) -> Queue:
        """Return the same subscription as another claimer uses it."""
        other = Queue(engine, self.incarnation, self.rules, name=self.name, bus=self.bus)
        other.claimer = claimer
        return other

    # Claiming

    async def claimed(self, *requests: ClaimRequest) -> Claimed:
        """Claim under the next sequence."""
        self.claims += 1
        return await self.claimed_again(*requests)

    async def claimed_again(self, *requests: ClaimRequest) -> Claimed:
        """Claim under the last sequence once more."""
        return await self.engine.claim(self.bus, self.incarnation, self.claimer, self.claims, requests)

    async def claim(self, limit: int = 100, *, member: str = "m1") -> list[Lease]:
        """Return the leases that one member gets."""
        return list((await self.claimed(ClaimRequest(member, limit))).leases)

    async def claim_one(self) -> Lease:
        """Return the one lease that there must be."""
        (lease,) = await self.claim(1)
        return lease

    # Settling

    async def settle(self, *requests: SettleRequest) -> Settled:
        """Settle under the next sequence."""
        self.settles += 1
        return await self.settle_again(*requests)

    async def settle_again(self, *requests: SettleRequest) -> Settled:
        """Settle under the last sequence once more."""
        return await self.engine.settle(self.bus, self.incarnation, self.claimer, self.settles, requests)

    async def settle_as(self, outcome: Outcome, *leases: Lease, **said: Unpack[Said]) -> Settled:
        """Settle leases in one way; each must be good."""
        settled = await self.settle(*(request(lease, outcome, **said) for lease in leases))
        assert settled.attempts == tuple(lease.attempt for lease in leases)
        return settled

    async def ack(self, *leases: Lease) -> Settled:
        """Ack leases."""
        return await self.settle_as("ack", *leases)

    async def nack(self, *leases: Lease, **said: Unpack[Said]) -> Settled:
        """Nack leases."""
        return await self.settle_as("nack", *leases, **said)

    # Looking

    async def state(self) -> QueueState:
        """Return the queue as it stands; promise 3 must hold."""
        (state,) = await self.engine.queue_states(self.bus, [self.incarnation])
        assert state is not None
        assert state.counts.is_closed, state.counts
        return state

    async def counts(self) -> Counts:
        """Return the counts; promise 3 must hold."""
        return (await self.state()).counts

    async def dead(self) -> tuple[DeadLetter, ...]:
        """Return the dead letters."""
        return await self.engine.dead_letters(self.bus, self.incarnation, after="", limit=1000)

    async def sweep(self, *, limit: int = 1000, dead_seconds: int = 10**9, dead_max: int = 10**6) -> Moves:
        """Sweep it."""
        (moves,) = await self.engine.sweep(
            self.bus, [self.incarnation], limit=limit, dead_seconds=dead_seconds, dead_max=dead_max
        )
        return moves

    async def pause(self, *, is_paused: bool = True) -> Changed:
        """Pause it, or resume it."""
        return await changed(self.engine, PauseSubscription(name=self.name, is_paused=is_paused), self.bus)

    async def delete(self) -> Changed:
        """Delete it."""
        return await changed(self.engine, DeleteSubscription(name=self.name), self.bus)


def request(lease: Lease, outcome: Outcome = "ack", **said: Unpack[Said]) -> SettleRequest:
    """Return the request that settles a lease."""
    return msgspec.structs.replace(SettleRequest(lease.reference, lease.nonce, outcome), **said)


def route(entries: Sequence[Entry], *queues: Queue) -> list[RouteSet]:
    """Return the references of an append that puts each of its entries into each of the queues."""
    sets = []
    for is_keyed in (False, True):
        chosen = [queue for queue in queues if queue.rules.is_keyed is is_keyed]
        items = tuple(_item(index, entry, is_keyed=is_keyed) for index, entry in enumerate(entries))
        if chosen:
            sets.append(RouteSet(tuple((queue.incarnation, queue.rules.max_waiting) for queue in chosen), items))
    return sets


def _item(index: int, entry: Entry, *, is_keyed: bool) -> QueueItem:
    said = entry.delivery
    if is_keyed:
        return QueueItem(index, NORMAL, said.ordering_key, said.expires_ms)
    return QueueItem(index, said.priority, "", said.expires_ms)


@dataclass
class Feed:
    """A replica that appends what it routes to queues."""

    writer: Writer

    @classmethod
    async def begun(cls, engine: Engine, bus: str = BUS) -> Feed:
        """Register a writer."""
        return cls(await Writer.registered(engine, bus))

    async def learn(self) -> None:
        """Go by the routes as they are."""
        self.writer.routes_version = (await self.writer.engine.routes(self.writer.bus)).version

    async def append(self, *entries: Entry, to: Sequence[Queue]) -> list[Receipt]:
        """Append entries to the log and to queues, by the routes as they are."""
        references = route(entries, *to)
        try:
            return await self.writer.append(*entries, references=references)
        except RoutesChangedError as error:
            self.writer.routes_version = error.routes_version
            self.writer.sequence -= 1
            return await self.writer.append(*entries, references=references)


async def fill_next(queue: Queue, limit: int = 100) -> QueueState:
    """Do the next chunk of a fill, of all that the log has."""
    fill = (await queue.state()).fill
    assert fill is not None
    page = await queue.engine.read(queue.bus, fill.reached, through=fill.through, limit=limit)
    items = []
    for event in page.events:
        said = delivery_attributes_of(event.body)
        items.append(FillItem(event.position, said.ordering_key if queue.rules.is_keyed else "", said.expires_ms))
    reached = page.reached if len(page.events) == limit else fill.through
    return await queue.engine.fill(queue.bus, queue.incarnation, items, expected=fill.reached, reached=reached)


async def fill_all(queue: Queue, limit: int = 100) -> None:
    """Do all of a fill."""
    while (await queue.state()).fill is not None:
        await fill_next(queue, limit)


def positions(leases: Sequence[Lease]) -> list[Position]:
    """Return which events were leased, in order."""
    return [lease.event.position for lease in leases]


def at(receipts: Sequence[Receipt]) -> list[Position]:
    """Return where events are in the log."""
    return [receipt.position for receipt in receipts]


async def filled(engine: Engine, count: int, **given: Unpack[GivenRules]) -> tuple[Queue, list[int]]:
    """Return a queue in which so many wait, and where they are in the log."""
    queue = await Queue.made(engine, **given)
    receipts = await (await Feed.begun(engine)).append(*entries(count), to=[queue])
    return queue, list(at(receipts))
