"""How an engine keeps the definitions of durable subscriptions; common rules: `waooaw.events.engine.queue_contract`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from waooaw.events.errors import WowEventError
    from waooaw.events.position import Position
    from waooaw.events.retry import RetryPolicy
    from waooaw.events.subscription_state import QueueState


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What of a definition the queue itself goes by. Kept with the queue, so that all replicas go by the same."""

    lease_seconds: float
    max_in_flight: int
    max_waiting: int
    is_keyed: bool
    retry: RetryPolicy
    drops_exhausted: bool


@dataclass(frozen=True, slots=True)
class SubscriptionRecord:
    """A subscription as the engine keeps it.

    ``incarnation`` (16 hexadecimal digits) tells it from earlier ones of its name. Its live side receives what came
    after ``after``, the end of the log when it was made. ``definition`` is the bus's own, and opaque here.
    """

    name: str
    incarnation: str
    definition: bytes
    created_ms: int
    after: Position
    is_paused: bool
    max_waiting: int
    is_keyed: bool


@dataclass(frozen=True, slots=True)
class Routes:
    """The subscriptions of a bus, and the version that an append has to name.

    ``is_whole``: all there are. Else only those that changed since the version asked with, and ``gone`` the names that
    are no more.
    """

    version: str
    subscriptions: tuple[SubscriptionRecord, ...]
    gone: tuple[str, ...] = ()
    is_whole: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PutSubscription:
    """Make a subscription, or replace the definition of the one that has the name.

    ``incarnation`` is what it gets if it is made. ``start`` (None: now): a new one also gets history after this
    position, by a fill up to the end of the log; on an existing one it raises. ``rules.is_keyed`` of an existing one
    cannot change.
    """

    name: str
    incarnation: str
    definition: bytes
    rules: Rules
    start: Position | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseSubscription:
    """Stop or resume its claims."""

    name: str
    is_paused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteSubscription:
    """Remove a subscription with its queue and its dead letters.

    With ``unclaimed_since_ms`` only if no claim came after that time (engine's clock); otherwise it stays, unharmed.
    """

    name: str
    unclaimed_since_ms: int | None = None


SubscriptionChange = PutSubscription | PauseSubscription | DeleteSubscription


@dataclass(frozen=True, slots=True)
class Changed:
    """What became of a change. ``record`` is the subscription as it is, or was before it was deleted."""

    record: SubscriptionRecord
    is_new: bool = False
    is_deleted: bool = False


class Subscriptions(Protocol):
    """The definitions, in the bus's own slot: they and the version of the routes change in one step."""

    async def routes(self, bus: str, known_version: str = "") -> Routes:
        """Return the subscriptions of a bus; those that changed since ``known_version`` where the engine knows that."""
        ...

    async def change_subscriptions(
        self, bus: str, changes: Sequence[SubscriptionChange], *, subscriptions_max: int, patience_seconds: float = 2.0
    ) -> tuple[Changed | WowEventError, ...]:
        """Change subscriptions in one atomic step, at the durability of the bus; answer for each, in order.

        From the answer on, no append is accepted that was matched without them. At most 100 changes. Answers that are
        errors: `NotFoundError`; `SubscriptionExistsError` (``start`` given for an existing one); `OrderingFixedError`;
        `TooManySubscriptionsError` (a new one beyond ``subscriptions_max``). A put or a pause that changes nothing, and
        a delete that was not done, move no version.
        """
        ...

    async def seek(self, bus: str, incarnation: str, start: Position) -> QueueState:
        """Drop what waits or is scheduled, and fill the queue with history after ``start`` up to the end of the log.

        Leases stay as they are. A fill that was under way ends. What is dropped is counted ``dropped``.
        """
        ...

    def listen_to_wakes(self, bus: str, listener: Callable[[str | None], None]) -> Callable[[], None]:
        """Call ``listener`` with the incarnation of one in which something became claimable, but not by an append.

        None stands for all queues, and for changed routes. Wakes may be lost. Returns what ends it.
        """
        ...
