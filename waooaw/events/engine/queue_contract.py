"""What an engine must do for durable subscriptions: the promises that the conformance suite holds every engine to.

A subscription has a *queue*: references to events of the log. A reference is in one of these places, and every count of
promise 3 is the number of references that are there, or went there:

    waiting    fresh in the queue; behind a busy one of its key; released; redriven
    leased     claimed by a member, until the lease lapses
    scheduled  failed, waiting for its next try
    gone       acked, dead, expired, overrun or dropped

A reference is spelled as the position (``1764019200123-0``), or ``position~n`` for those that a fill or a redrive made:
``n`` is drawn from a counter of the queue, so that no two references of a queue are ever spelled alike.

Common to all methods: as in `waooaw.events.engine.contract`; besides:

* Time is the engine's own (Redis: its server's; sqlite: the injected clock), one for all replicas.
* A reference changes its count when a call moves it, not when a time passes. ``matched = acked + waiting + leased +
  scheduled + dead + expired + overrun + dropped`` holds after every call.
* An unknown incarnation raises `NotFoundError`: the subscription was deleted, also where its name is used again.
* ``claimer`` and ``sequence`` are to `claim` and `settle` what writer and sequence are to an append: the last sequence
  again gives the same answer and changes nothing, an older one raises `SupersededError`. Each kind of call, each queue
  and each claimer have a sequence of their own, which need not be registered, and are remembered for an hour; those
  whose claimer begins with `KEY_CLAIMER` for ten minutes at least, for each is a claimer of one call or a few. One call
  in flight under one claimer; where an answer is lost the engine asks again until ``patience_seconds`` are over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from waooaw.events.delivery import Outcome
from waooaw.events.event import StoredEvent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waooaw.events.dead_letter import DeadLetter
    from waooaw.events.position import Position
    from waooaw.events.retry import DeadReason
    from waooaw.events.subscription_state import DeliveryState, QueueDetails, QueueState

KEY_CLAIMER: Final = "key:"
"""What a claimer begins with that is a client's ``Idempotency-Key``."""


@dataclass(frozen=True, slots=True)
class QueueItem:
    """One reference to be made: of the entry ``index`` of an append.

    ``priority`` 0 (most urgent) to 3; ``key``: 16 hexadecimal digits, empty in queues without order; ``expires_ms``:
    Unix milliseconds from when on nobody gets it, 0 for never.
    """

    index: int
    priority: int
    key: str
    expires_ms: int


@dataclass(frozen=True, slots=True)
class RouteSet:
    """Queues that get the same references of an append, in the order of the entries.

    For keyed queues every ``priority`` must be the same. ``queues`` are incarnations with their ``max_waiting``.
    """

    queues: tuple[tuple[str, int], ...]
    items: tuple[QueueItem, ...]


@dataclass(frozen=True, slots=True)
class FillItem:
    """One reference that a fill makes, of an event of the log."""

    position: Position
    key: str
    expires_ms: int


class Lease(msgspec.Struct, frozen=True, gc=False):
    """One reference handed out. ``request`` is the index of the request in the claim that it answers."""

    request: int
    reference: str
    nonce: str
    attempt: int
    first_delivery_ms: int
    last_error: str | None
    until_ms: int
    event: StoredEvent


@dataclass(frozen=True, slots=True)
class Burial:
    """A reference that went to the dead letters, or was dropped instead (``on_exhausted``), for the log line."""

    position: Position
    reason: DeadReason
    attempts: int
    last_error: str
    member: str
    is_dropped: bool


@dataclass(frozen=True, slots=True)
class Moves:
    """What a call moved besides what it was asked for: told once, and not again when its answer is repeated."""

    buried: tuple[Burial, ...] = ()
    lapsed: int = 0
    expired: int = 0
    overrun: int = 0

    @property
    def total(self) -> int:
        """How many references were moved."""
        return len(self.buried) + self.lapsed + self.expired + self.overrun


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """One member's wish: up to ``limit`` deliveries."""

    member: str
    limit: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a claim got, for each request.

    ``next_due_ms``: when something will be claimable that is not yet, by time alone (None: nothing is known of); not
    after now means that more is claimable at once.
    """

    leases: tuple[Lease, ...]
    next_due_ms: int | None
    is_paused: bool = False
    moves: Moves = Moves()


class SettleRequest(msgspec.Struct, frozen=True, gc=False):
    """One outcome. ``delay_seconds``: see `waooaw.events.delivery.Settlement`. ``chance`` (0 to 1) is the jitter."""

    reference: str
    nonce: str
    outcome: Outcome
    delay_seconds: float | None = None
    chance: float = 1.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Settled:
    """What a settle did: for each request whether its token was good, and the attempt that it settled (0 if not)."""

    attempts: tuple[int, ...]
    moves: Moves = Moves()


@dataclass(frozen=True, slots=True)
class ReferenceReport:
    """Where a reference to an event is."""

    state: DeliveryState
    attempts: int
    member: str
    last_error: str | None


class Queues(Protocol):
    """The queues of subscriptions."""

    async def claim(
        self,
        bus: str,
        incarnation: str,
        claimer: str,
        sequence: int,
        requests: Sequence[ClaimRequest],
        *,
        patience_seconds: float = 2.0,
    ) -> Claimed:
        """Lease references to members: up to 1,000 in all, in turns over the requests, ended early at 4 MiB of events.

        * No more than ``max_in_flight`` are leased at any time, over all replicas. A paused queue gives nothing.
        * Due ones (lapsed, retries, released, redriven; by the time at which they became due, those of one moment in
          log order) and fresh ones half and half while both are there: each time the kind that was not taken last,
          also from claim to claim; what one half does not use the other gets.
        * While a fill is under way or what it made waits, only that is fresh. Then by priority: of fifteen that are
          taken eight are critical, four high, two normal and one low, in turns that go on from claim to claim
          (1 2 1 3 1 2 1 4 1 2 1 3 1 2 1); a priority that has none leaves its turn to the most urgent that has. Within
          one priority in log order.
        * Keyed: in log order; one whose key has a reference leased, scheduled or otherwise not settled is set behind it
          (still waiting) and comes when that one is settled for good; within the same claim after all else.
        * A lease that lapsed counts as a failure (error ``the lease ended without an outcome``), and its reference is
          handed out at once or goes to the dead letters. An event that expired is not handed out: ``expired``. One that
          the log has no more is ``overrun``, unless the reference carries its copy.
        * What failed once carries a copy of its event from then on, so that it does not pin the log.
        * A repeated claim may leave out a lease whose event is kept nowhere any more: nobody could work on it.
        """
        ...

    async def settle(
        self,
        bus: str,
        incarnation: str,
        claimer: str,
        sequence: int,
        requests: Sequence[SettleRequest],
        *,
        patience_seconds: float = 2.0,
    ) -> Settled:
        """Settle up to 1,000 deliveries. A token is good until a settle, claim or sweep moves its reference.

        * ack: gone. reject: dead, reason ``rejected``, whatever ``on_exhausted`` says. release: waiting, claimable at
          once, no failure counted. extend: the lease ends after the delay (None: the subscription's) from now.
        * nack: one failure more. Exhausted (`RetryPolicy.exhausted`; age since first delivery): dead, or dropped
          under ``drops_exhausted``. Else scheduled, after ``delay_seconds`` or ``chance`` times the policy's bound.
        * A dead letter is written before its reference goes.
        """
        ...

    async def sweep(
        self, bus: str, incarnations: Sequence[str], *, limit: int, dead_seconds: int, dead_max: int
    ) -> tuple[Moves, ...]:
        """Do for up to 100 queues what a claim would do where nobody claims; at most ``limit`` references each.

        Lapsed leases become due at once (a failure; scheduled) or dead, expired events and those the log has no more
        go from the fronts of the lists and from what is due; dead letters older than ``dead_seconds``, and the oldest
        beyond ``dead_max``, are dropped. A queue that is not there any more: empty `Moves`.
        """
        ...

    async def queue_states(self, bus: str, incarnations: Sequence[str]) -> tuple[QueueState | None, ...]:
        """Return queues as they stand; None for one that is not there any more."""
        ...

    async def queue_details(self, bus: str, incarnation: str) -> QueueDetails:
        """Return who holds what, and what fails."""
        ...

    async def find_reference(
        self, bus: str, incarnation: str, position: Position, priority: int
    ) -> ReferenceReport | None:
        """Tell where the newest reference to an event of the log is; None where no call has claimed it or put it there.

        ``priority`` is the one that its event has in this queue. Neither in the queue nor dead: ``settled``.
        """
        ...

    async def oldest_needed(self, bus: str, incarnations: Sequence[str]) -> Position | None:
        """Return the oldest position that queues still need the log for, running fills included; None for none."""
        ...

    async def fill(
        self, bus: str, incarnation: str, items: Sequence[FillItem], *, expected: Position, reached: Position
    ) -> QueueState:
        """Add up to 1,000 references to the fill's list, and note how far the log was looked at, in one step.

        Nothing is done where the fill has not reached exactly ``expected``: the state that is returned tells. At
        ``through`` it is over.
        """
        ...

    # Dead letters ---------------------------------------------------------------------------------------------------

    async def dead_letters(self, bus: str, incarnation: str, *, after: str, limit: int) -> tuple[DeadLetter, ...]:
        """Return up to ``limit`` (1 to 1,000) dead letters, oldest first, after an id (empty: from the first)."""
        ...

    async def redrive(
        self, bus: str, incarnation: str, ids: Sequence[str], *, delay_ms: int = 0, spacing_ms: float = 0.0
    ) -> int:
        """Put up to 1,000 dead letters back into their queue, to be tried anew; return how many were there.

        Each becomes waiting (dead - 1, waiting + 1) with its own copy, no failures, and is due after ``delay_ms`` plus
        ``spacing_ms`` for each before it. In a keyed queue it waits behind a busy one of its key. At the durability of
        the bus.
        """
        ...

    async def purge(self, bus: str, incarnation: str, ids: Sequence[str]) -> int:
        """Remove up to 1,000 dead letters for good (dead - 1, dropped + 1); return how many were there."""
        ...
