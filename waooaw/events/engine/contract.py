"""What an engine must do for the bus: the promises, in words, that the conformance suite holds every engine to.

Common to all methods:

* Thread: call from the event loop that opened the engine. Blocking work goes to the engine's own threads.
* Errors: only kinds of `WowEventError` leave an engine.
* Cancellation: a cancelled write still happens whole or not at all; repeat it under its sequence to learn which. A
  cancelled read leaves nothing behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from waooaw.events.engine.push_contract import PushRecords
from waooaw.events.engine.queue_contract import Queues
from waooaw.events.engine.schedule_contract import Jobs, Schedule
from waooaw.events.engine.subscription_contract import Subscriptions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AsyncExitStack

    from waooaw.events.engine.queue_contract import RouteSet
    from waooaw.events.epoch import History
    from waooaw.events.errors import WowEventError
    from waooaw.events.event import Entry, StoredEvent
    from waooaw.events.position import Position
    from waooaw.events.receipt import Durability, Receipt
    from waooaw.events.retention import TrimPlan


@dataclass(frozen=True, slots=True)
class Registration:
    """What a replica gets when it registers as a writer of a bus."""

    writer: str
    routes_version: str


@dataclass(frozen=True, slots=True)
class Frame:
    """What one append put into the log, as told to those who listen.

    ``previous`` is the position before the first of ``events`` in the log: a listener whose last position is another
    one has missed a frame and reads the log. ``accepted_at`` is the Unix time in seconds at which they got them.
    """

    epoch: int
    previous: Position
    events: tuple[StoredEvent, ...]
    accepted_at: float

    @property
    def last(self) -> Position:
        """The position of the newest event."""
        return self.events[-1].position


@dataclass(frozen=True, slots=True)
class Tip:
    """Where a log ends, told without its events: a listener that stands elsewhere reads the log.

    Listeners get one when frames may have been lost, and for events too large to travel in a frame. ``epoch`` is the
    one that is being written: where it is new to a listener, history may have been lost (see `History.resume`).
    """

    epoch: int
    last: Position


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a log: ``events`` in the order asked for, and how far the log was looked at.

    Everything between the start of the read and ``reached`` (inclusive) was looked at. ``trimmed_through`` was taken in
    the same instant as the events: a reader that stands before it has lost what lay between.
    """

    events: tuple[StoredEvent, ...]
    reached: Position
    trimmed_through: Position


@dataclass(frozen=True, slots=True)
class LogState:
    """A log as it stands: history, the first position held (None if it holds nothing), and its size."""

    history: History
    first: Position | None
    events: int
    size_bytes: int
    deduplication_seconds: float
    """How far back a repeated id is recognised now: the window, or less where the count or retention cut it short."""
    size_bytes_max: int | None = None
    """What the engine itself has room for, where it knows; retention keeps the log below it."""


@dataclass(frozen=True, slots=True)
class EngineState:
    """How an engine does: ``problem`` is what publishes are refused with now, since a wall-clock time in ms."""

    problem: WowEventError | None = None
    since_ms: int | None = None


@dataclass(frozen=True, slots=True)
class ReplicaRecord:
    """What a replica said of itself, and when (Unix milliseconds, by the engine's clock)."""

    replica: str
    seen_ms: int
    members: bytes
    """A JSON object."""


class EventLog(Protocol):
    """The append-only record of accepted events, one a bus."""

    async def register(self, bus: str, *, patience_seconds: float = 2.0) -> Registration:
        """Make the caller a writer of a bus. A writer keeps at most one append in flight.

        ``patience_seconds`` is how long the engine may wait for its store.
        """
        ...

    async def append(
        self,
        bus: str,
        writer: str,
        sequence: int,
        routes_version: str,
        entries: Sequence[Entry],
        *,
        references: Sequence[RouteSet] = (),
        patience_seconds: float = 2.0,
    ) -> tuple[Receipt | WowEventError, ...]:
        """Store entries in one atomic step and answer for each, in order, once they are durable.

        ``patience_seconds`` is how long the engine may wait for its store, and try again under the same sequence.

        * ``sequence`` grows by one with each append of a writer. The last one again: the same answer, nothing stored.
          An older one: `SupersededError`. A writer that is not registered: `WriterUnknownError`; its outcome is
          ``not_stored`` where this sequence cannot have come before.
        * ``routes_version`` other than the current one: `RoutesChangedError` with the current one, nothing stored.
        * Positions grow in the order of ``entries`` and are greater than every earlier one, whatever the clock does.
        * An entry whose ``source`` and given ``id`` are in the deduplication window, or earlier in ``entries``, is not
          stored: it is answered the first receipt with ``duplicate`` true, or `IdReusedError` if the content differs.
        * Each entry that is stored is put into the queues that ``references`` name for it (matched + 1, waiting + 1),
          in the order of the log; one that is not stored goes nowhere. What a queue has beyond ``max_waiting`` after
          that leaves it again, the oldest of the least urgent priority first: ``overrun``. Items x queues are 50,000 at
          most. A queue that is not there any more gets nothing.
        * An entry with ``schedule_id`` is taken off the schedule in the same step, stored or a duplicate; one that is
          not on it any more is not stored: `NotFoundError`.
        * What is stored is told to listeners in one `Frame`, after it is durable; an append that stores nothing tells
          nothing.
        * An append that fails raises and has stored nothing, or says in ``outcome`` that it is unknown.
        """
        ...

    async def begin_epoch(self, bus: str) -> None:
        """Begin an epoch by hand, at the end of the log: what the one who restores a backup does last."""
        ...

    async def read(
        self, bus: str, after: Position, *, through: Position, limit: int, newest_first: bool = False
    ) -> Page:
        """Return up to ``limit`` (1 to 10,000) events with ``after`` < position ≤ ``through``, oldest or newest first.

        Only events whose append was answered, or can no longer fail, are seen.
        """
        ...

    async def get(self, bus: str, position: Position) -> StoredEvent | None:
        """Return the event at a position, or None."""
        ...

    def state(self, bus: str) -> LogState:
        """Return the log's state, from memory. Another replica may have heard of more, for a moment."""
        ...

    async def refresh(self, bus: str) -> None:
        """Have `state` tell all that the store holds at the call."""
        ...

    async def trim(self, bus: str, plan: TrimPlan, *, limit: int) -> int:
        """Remove up to ``limit`` of the oldest events that a plan names, in one atomic step; return how many went.

        `Page.trimmed_through` moves with it, so that no reader passes the place without being told.
        """
        ...


class LiveChannel(Protocol):
    """Carries frames from appends to listeners, in order. It may lose some; the log decides."""

    def listen(self, bus: str, listener: Callable[[Frame | Tip], None]) -> Callable[[], None]:
        """Call ``listener`` with every frame from now on; return what ends it (harmless twice).

        Where frames may have been lost, a `Tip` comes within about a second. The listener must not raise nor block.
        """
        ...


class Replicas(Protocol):
    """Who serves from this store."""

    async def beat(self, replica: str, members: bytes) -> tuple[ReplicaRecord, ...]:
        """Say that a replica lives, and what it says of itself; return all that beat in the last 10 s, by name."""
        ...

    async def leave(self, replica: str) -> None:
        """Take a replica off the list at once. One that is not on it is no error."""
        ...


class Engine(EventLog, LiveChannel, Subscriptions, Queues, PushRecords, Schedule, Jobs, Replicas, Protocol):
    """One store behind a service."""

    @property
    def name(self) -> str:
        """What operators call it: ``sqlite``, ``memory``, ``redis``."""
        ...

    @property
    def location(self) -> str:
        """Where the events are, without secrets."""
        ...

    def durability_of(self, bus: str) -> Durability:
        """Return the level that the receipts of a bus name."""
        ...

    async def open(self, stack: AsyncExitStack) -> None:
        """Start, and register the undoing on the stack. Raises `StartupError` kinds, with nothing left behind."""
        ...

    def engine_state(self, bus: str) -> EngineState:
        """Return how the engine does for a bus, from memory: never blocks."""
        ...

    def details(self) -> dict[str, object]:
        """Return versions, sizes and warnings for people, from memory."""
        ...
