"""One bus on Redis: its log, its live channel, and what this replica knows of both.

Rule 1: appends go out on one link, one after the other; a lost answer is asked for again under the same sequence.
Rule 2: what this replica knows comes from scripts' answers and frames; it is compared with the writer's node each half
second, so that a lost frame, or a history that was lost while nothing was written, is found out within one second.
Rule 3: an epoch that is new is asked for before anything of it is told to listeners.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
from redis.exceptions import MovedError, RedisError

from waooaw.events.engine.contract import Frame, Page, Tip
from waooaw.events.engine.redis import script
from waooaw.events.engine.redis.appending import WRITER_SECONDS, Appender
from waooaw.events.engine.redis.asking import Asker
from waooaw.events.engine.redis.bus_health import BusHealth
from waooaw.events.engine.redis.dead_letters import RedisDeadLetters
from waooaw.events.engine.redis.failure import reply_failure
from waooaw.events.engine.redis.layout import (
    Keys,
    exclusive,
    read_entry,
    read_epoch,
    read_frame,
    read_head,
    read_position,
    read_wake,
)
from waooaw.events.engine.redis.push_store import PushStore
from waooaw.events.engine.redis.queues import RedisQueues
from waooaw.events.engine.redis.schedule_store import ScheduleStore
from waooaw.events.engine.redis.subscription_store import SubscriptionStore
from waooaw.events.engine.redis.tracker import Tracker
from waooaw.events.engine.redis.wakes import Wakes
from waooaw.events.outages import (
    ClusterDownError,
    DurabilityUnavailableError,
    EngineBusyError,
    EngineLoadingError,
    EngineMasterDownError,
    EngineReadOnlyError,
    EngineUnavailableError,
    UnavailableError,
)
from waooaw.events.position import Position, format_position, previous_position

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from waooaw.events.cursor import Cursor
    from waooaw.events.engine.contract import LogState
    from waooaw.events.engine.deduplication_window import DeduplicationWindow
    from waooaw.events.engine.redis.layout import Head
    from waooaw.events.engine.redis.link import Argument
    from waooaw.events.engine.redis.live import LiveSubscription
    from waooaw.events.engine.redis.session import Session, SessionKeeper
    from waooaw.events.epoch import Epoch
    from waooaw.events.event import StoredEvent
    from waooaw.events.identifier import Identifiers
    from waooaw.events.receipt import Durability
    from waooaw.events.retention import TrimPlan

_log = logging.getLogger("wowevent.redis")

READ_SECONDS: Final = 5.0
"""How long a read may take, the wait for a connection included; the caller tries again or tells its client."""

STATE_SECONDS: Final = 2.0
"""How long the writer's node may take to say how a bus stands: with the pause between two comparisons, a node that
answers nothing is known to be away within 3 s, also while nobody publishes.
"""

PAGE_BYTES_MAX: Final = 4 * 1024 * 1024
"""A page ends here even below its count: 10,000 events of the largest size would be 2.5 GiB."""

RETENTION_LEASE_MS: Final = 15_000
"""Three looks of the retention job: another replica takes over when the one that trims is gone for that long."""

LEAVING: Final = (EngineReadOnlyError, EngineMasterDownError, EngineLoadingError, EngineBusyError, ClusterDownError)
"""Refusals after which the node is looked for anew; others are the same wherever it is asked from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BusOptions:
    """How one bus is kept."""

    durability: Durability
    buses: int
    """How many share the server's memory."""
    window: DeduplicationWindow
    publish_command: str
    replica: str
    now_us: Callable[[], str]
    """Microseconds since 1970 for tests, or empty: the server's clock."""


class RedisBus:
    """One bus. Made by the engine, which opens and closes it."""

    def __init__(self, bus: str, options: BusOptions, identifiers: Identifiers, random: Random) -> None:
        self.bus = bus
        self.keys = Keys(bus)
        self.tracker = Tracker(options.window)
        self.keeper: SessionKeeper
        self.live: LiveSubscription
        self.options = options
        self.identifiers = identifiers
        self.health = BusHealth(self)
        self._listeners: dict[object, Callable[[Frame | Tip], None]] = {}
        self._told = Position(0)
        self._told_epoch = 0
        self._due = Position(0)
        self.asker = Asker(self, random)
        self.appender = Appender(self)
        self.queues = RedisQueues(self)
        self.dead_letters = RedisDeadLetters(self)
        self.subscriptions = SubscriptionStore(self)
        self.push = PushStore(self)
        self.schedule = ScheduleStore(self)
        self.wakes = Wakes()

    # What is known ----------------------------------------------------------------------------------------------------

    def state(self, now_ms: int) -> LogState:
        """Return the log's state, as last heard."""
        return self.tracker.state(now_ms, self.health.examination.size_bytes_max)

    @property
    def node(self) -> str | None:
        """The node that takes writes, or None while there is none."""
        session = self.keeper.current
        return None if session is None else str(session.node)

    async def refresh(self, session: Session) -> None:
        """Ask the writer's node for the bus as it stands; make it, or mend it, or begin its epoch, where that is due.

        Raises `UnavailableError` kinds. A server that takes no writes now can still be read.
        """
        try:
            await self._refresh(session)
        except ValueError:
            message = (
                f"{self.keys.meta} or {self.keys.epochs} in Redis at {session.node} holds what no replica wrote: put "
                "it back, or delete both, which begins a new history"
            )
            raise EngineUnavailableError(message) from None

    async def _refresh(self, session: Session) -> None:
        said = await self._ask_state(session)
        if said and said[2] and self.tracker.is_past(read_head(said[0]).epoch):
            raise self._behind(session)  # one that was promoted with old data begins an epoch instead, below
        if not said or not said[2] or not self._epochs_of(said):
            try:
                await self.open(session, force=bool(said) and not self._epochs_of(said))
            except UnavailableError:
                if not said or not self._epochs_of(said):
                    raise
            said = await self._ask_state(session)
        if not said:
            message = f"the bus {self.bus!r} is not in Redis, and could not be made there"
            raise EngineUnavailableError(message)
        head = read_head(said[0])
        if said[3] != head.events:
            head = await self._recount(session, head)
        if self.tracker.take(head):
            before = self.tracker.cursor
            self.tracker.begin(head, self._epochs_of(said))
            self._tell_tip()  # in the same step: listeners never stand in an epoch that the state has left
            if before is not None:
                self._report_epoch(before)

    def _epochs_of(self, said: list[Any]) -> list[Epoch]:
        """Return the epochs of the history that is told, or none where the list lacks the one that is being written."""
        number = int(said[0][0], 16)
        if number == self.tracker.epoch:
            return list(self.tracker.epochs)
        epochs = [read_epoch(item) for item in said[1]]
        return epochs if epochs and epochs[-1].id == number else []

    async def _recount(self, session: Session, head: Head) -> Head:
        """Take over a log that was shortened behind our back; readers that stood in what is gone are told."""
        found = read_head(await self.evaluate(session, script.RECOUNT, (self.keys.meta, self.keys.log), ()))
        detail = "the log was shortened by hand; readers are told what is gone. Retention is what keeps it small"
        counted = {"events": found.events, "expected": head.events}
        _log.error("redis.log_shortened", extra={"bus": self.bus, **counted, "detail": detail})
        return found

    def _report_epoch(self, before: Cursor) -> None:
        """Tell operators of a new epoch, and loudly of one that lost what this replica knew of."""
        place, gap = self.tracker.history.resume(before)
        extra: dict[str, object] = {"bus": self.bus, "epoch": self.tracker.epoch_text}
        if gap is None or gap.reason != "epoch":
            _log.info("redis.epoch_began", extra=extra)
            return
        extra |= {"from": format_position(before.position), "to": format_position(place)}
        detail = "Redis has lost events that were accepted: readers that had them are told a gap"
        _log.error("redis.history_lost", extra=extra | {"detail": detail})

    def _behind(self, session: Session) -> EngineReadOnlyError:
        """Leave a node whose history this replica has seen go on elsewhere: to follow it would lose what came since."""
        failure = EngineReadOnlyError(
            f"Redis at {session.node} is behind: its history of bus {self.bus!r} ends in an epoch that is over. It was "
            "cut off, and another node goes on; or it was restored from a backup: then run `wowevent epoch new`"
        )
        self.keeper.drop(session, failure)
        return failure

    async def _ask_state(self, session: Session) -> list[Any]:
        keys, arguments = (self.keys.meta, self.keys.epochs, self.keys.log), (self.tracker.epoch_text,)
        said: list[Any] = await self.evaluate(session, script.STATE, keys, arguments, STATE_SECONDS)
        return said

    async def compare(self, session: Session) -> None:
        """Find out what was missed: a frame that was due at the last comparison and has not come is one."""
        await self.refresh(session)
        epoch, last = self.tracker.epoch, self.tracker.last
        if epoch != self._told_epoch or (self._told < self._due):
            self._tell_tip()
        self._due = last

    def _tell_tip(self) -> None:
        if self.tracker.epoch is not None:
            self._tell(Tip(self.tracker.epoch, self.tracker.last))

    async def open(
        self, session: Session, *, force: bool, writer: str = "", timeout_seconds: float = READ_SECONDS
    ) -> str:
        """Make the bus where there is none, begin an epoch where one is due, let a writer in; return the routes."""
        keys = (*self.keys.whole, self.keys.writer(writer))
        epoch = f"{self.identifiers.new_epoch():016x}"
        arguments = (epoch, "1" if force else "0", str(WRITER_SECONDS) if writer else "")
        return read_head(await self.evaluate(session, script.OPEN, keys, arguments, timeout_seconds)).routes_version

    async def evaluate(
        self,
        session: Session,
        wanted: script.Script,
        keys: Sequence[str],
        arguments: Sequence[Argument],
        timeout_seconds: float = READ_SECONDS,
    ) -> Any:  # noqa: ANN401 - what a script answers
        """Run a script on the link for reading; raises `UnavailableError` kinds."""
        link = session.reading
        try:
            return await link.evaluate(wanted, keys, arguments, timeout_seconds=timeout_seconds)
        except RedisError as error:
            raise self.refused(session, error) from None

    def refused(self, session: Session, error: RedisError) -> UnavailableError:
        """Return what a refusal means, and leave the node where it is the wrong one or is away."""
        failure = reply_failure(error, session.reading.where)
        if isinstance(error, MovedError) or isinstance(failure, LEAVING):
            self.keeper.drop(session, failure)
        return failure

    async def learn_epoch(self) -> None:
        """Ask for a history that an answer told of."""
        try:
            await self.refresh(await self.keeper.session(READ_SECONDS))
        except UnavailableError as error:
            # The comparison of each half second asks again; until then the history known before stands.
            _log.info("redis.history_unknown", extra={"bus": self.bus, "code": error.code, "detail": error.detail})

    # Listening --------------------------------------------------------------------------------------------------------

    def listen(self, listener: Callable[[Frame | Tip], None]) -> Callable[[], None]:
        """Call a listener with every frame from now on; return what ends it."""
        key = object()
        self._listeners[key] = listener

        def end() -> None:
            self._listeners.pop(key, None)

        return end

    async def subscribed(self) -> None:
        """Catch up with what was told before the subscription stood."""
        await self.refresh(await self.keeper.session(READ_SECONDS))
        self._due = self.tracker.last
        self._tell_tip()
        self.wakes.tell(None)

    async def received(self, message: bytes) -> None:
        """Take a message of the live channel."""
        try:
            if (woken := read_wake(message)) is not None:
                self.wakes.tell(woken or None)
                return
            told = read_frame(message)
        except msgspec.MsgspecError:
            _log.warning("redis.frame_unreadable", extra={"bus": self.bus, "detail": "the log is read instead"})
            return
        if told.epoch != self.tracker.epoch:
            await self.refresh(await self.keeper.session(READ_SECONDS))
            if told.epoch != self.tracker.epoch:
                return
        if isinstance(told, Frame):
            size_bytes = sum([len(event.body) for event in told.events])
            self.tracker.heard(told.last, len(told.events), size_bytes, told.events[0].position)
        self._tell(told)

    def _tell(self, told: Frame | Tip) -> None:
        self._told = told.last if told.epoch != self._told_epoch else max(told.last, self._told)
        self._told_epoch = told.epoch
        for listener in tuple(self._listeners.values()):
            listener(told)

    # Reading and trimming ---------------------------------------------------------------------------------------------

    async def read(self, after: Position, through: Position, limit: int, *, newest_first: bool) -> Page:
        """Return a page; see `EventLog.read`. A page of another epoch than the known one is read again in that one."""
        arguments = (exclusive(after), format_position(through), limit, "1" if newest_first else "0", PAGE_BYTES_MAX)
        while True:
            session = await self.keeper.session(READ_SECONDS)
            said = await self.evaluate(session, script.READ, (self.keys.meta, self.keys.log), arguments)
            if said and int(said[0], 16) == self.tracker.epoch:
                break
            await self.refresh(session)
        trimmed_through, last = read_position(said[1]), read_position(said[2])
        events = tuple([read_entry(item) for item in said[3]])
        cut_short = len(events) == limit or sum([len(event.body) for event in events]) >= PAGE_BYTES_MAX
        whole = after if newest_first else min(through, max(last, after))
        return Page(events, events[-1].position if cut_short and events else whole, trimmed_through)

    async def get(self, position: Position) -> StoredEvent | None:
        """Return the event at a position, or None."""
        page = await self.read(previous_position(position), position, 1, newest_first=False)
        return page.events[0] if page.events else None

    async def trim(self, plan: TrimPlan, limit: int) -> int:
        """Remove what a plan names, if this replica has the lease of retention, or can take it."""
        session = await self.keeper.session(READ_SECONDS)
        before_ms = "" if plan.before_ms is None else str(plan.before_ms)
        arguments = (
            before_ms,
            plan.excess_events,
            plan.excess_bytes,
            limit,
            self.options.replica,
            RETENTION_LEASE_MS,
            self.options.now_us(),
            *(("", "") if plan.needed_from is None else format_position(Position(plan.needed_from)).split("-")),
        )
        keys = (self.keys.meta, self.keys.log, self.keys.retention)
        try:
            # On the link of the appends: what is appended after a trim knows of it.
            said = await session.writing.evaluate(script.TRIM, keys, arguments, timeout_seconds=READ_SECONDS)
        except RedisError as error:
            raise self.refused(session, error) from None
        if not said or said[0] != b"ok":
            return 0
        if self.tracker.take(read_head(said[3])):
            await self.learn_epoch()
        return int(said[1])

    async def begin_epoch(self) -> None:
        """Begin an epoch by hand, at the durability of the bus."""
        session = await self.keeper.session(READ_SECONDS)
        await self.open(session, force=True)
        await self.refresh(session)
        if self.options.durability == "replicated":
            waited = await session.reading.call("WAIT", 1, int(STATE_SECONDS * 1000), timeout_seconds=READ_SECONDS)
            if waited < 1:
                message = "no replica of Redis confirmed the new epoch in time; it stands on the primary: do it again"
                raise DurabilityUnavailableError(message, outcome="unknown")

    async def hold_job(self, job: str, seconds: float) -> bool:
        """Take or keep a job, unless another replica has it."""
        session = await self.keeper.session(READ_SECONDS)
        arguments = (self.options.replica, max(round(seconds * 1000), 1), self.options.now_us())
        return bool(await self.evaluate(session, script.HOLD_JOB, (self.keys.job(job),), arguments))

    async def beat(self, replica: str, members: bytes, silent_ms: int) -> list[bytes]:
        """Note a replica, or (without members) take it off; return names and what they said, in turn."""
        session = await self.keeper.session(READ_SECONDS)
        arguments = (replica, members, silent_ms, self.options.now_us())
        said: list[bytes] = await self.evaluate(session, script.BEAT, (self.keys.replicas,), arguments)
        return said
