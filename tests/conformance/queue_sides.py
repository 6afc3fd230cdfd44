"""What the state machine of queues goes by: the sides that it compares, its subscriptions, and what it draws."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any, Final, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from tests.conformance.engines import Writer
from tests.conformance.queue_model import Letter, QueueModel, Reference, Verdict
from tests.conformance.queues import RULES
from tests.event_samples import entry
from waooaw.events.attributes import PRIORITIES
from waooaw.events.delivery import OUTCOMES
from waooaw.events.delivery_attributes import NORMAL
from waooaw.events.engine.contract import Engine
from waooaw.events.engine.deduplication_window import DeduplicationWindow
from waooaw.events.engine.queue_contract import (
    Claimed,
    ClaimRequest,
    Lease,
    Moves,
    QueueItem,
    RouteSet,
)
from waooaw.events.engine.redis import RedisEngine, RedisOptions
from waooaw.events.engine.sqlite import SqliteEngine, SqliteOptions
from waooaw.events.engine.subscription_contract import (
    Changed,
    Rules,
    SubscriptionChange,
)
from waooaw.events.errors import WowEventError
from waooaw.events.event import Entry
from waooaw.events.position import BEGINNING, Position
from waooaw.events.receipt import Receipt
from waooaw.events.retry import RetryPolicy
from waooaw.events.subscription_state import QueueState
from waooaw.events.testing import ManualClock, SequentialIdentifiers
from waooaw.events.timestamp import format_timestamp

CLAIMED_STEP_MS: Final = 10_000
"""An engine that is opened again may take the last claim for one that was so much earlier."""

_Result = TypeVar("_Result")

NAMES: Final = st.sampled_from(["plain", "keyed", "dropping"])
INDEXES: Final = st.integers(0, 10**6)

VARIANTS: Final[dict[str, tuple[Rules, ...]]] = {
    "plain": (
        replace(RULES, retry=RetryPolicy(max_attempts=3, first_seconds=2)),
        replace(RULES, lease_seconds=5.0, max_in_flight=4, max_waiting=6, retry=RetryPolicy(max_age_seconds=40)),
    ),
    "keyed": (
        replace(RULES, is_keyed=True, max_in_flight=6, retry=RetryPolicy(max_attempts=3, first_seconds=0)),
        replace(RULES, is_keyed=True, lease_seconds=5.0, max_in_flight=2, retry=RetryPolicy(max_attempts=2)),
    ),
    "dropping": (
        replace(RULES, drops_exhausted=True, retry=RetryPolicy(max_attempts=2)),
        replace(RULES, drops_exhausted=True, max_waiting=3, lease_seconds=10.0, retry=RetryPolicy(max_attempts=1)),
    ),
}
"""Rules that a subscription of a name may have; the first of a name keep more, the others lose some."""


@dataclass(frozen=True)
class Wish:
    """An event to append."""

    priority: str
    key: str
    lasts_seconds: int | None
    repeats: int | None
    """Which of the earlier ones it is again."""


WISHES: Final = st.lists(
    st.builds(
        Wish,
        st.sampled_from(PRIORITIES),
        st.sampled_from("ab"),
        st.sampled_from([None, None, None, 3, 20]),
        st.none() | st.none() | st.none() | INDEXES,
    ),
    min_size=1,
    max_size=5,
)

OUTCOME_LISTS: Final = st.lists(
    st.tuples(
        INDEXES,
        st.sampled_from(OUTCOMES),
        st.sampled_from([None, None, 0.0, 1.5, 45.0]),
        st.sampled_from([0.0, 0.5, 1.0]),
    ),
    min_size=1,
    max_size=6,
)


@dataclass
class Side:
    """One of the engines, and how it spells what the model names."""

    engine: Engine
    stack: AsyncExitStack
    writer: Writer
    spelled: dict[Reference, str] = field(default_factory=dict)
    named: dict[tuple[str, str], Reference] = field(default_factory=dict)
    """By incarnation and spelling."""
    nonces: dict[tuple[Reference, int], str] = field(default_factory=dict)
    letters: dict[Letter, str] = field(default_factory=dict)

    def note(self, incarnation: str, reference: Reference, spelled: str) -> None:
        """A reference keeps its spelling, and shares it with no other."""
        assert self.spelled.setdefault(reference, spelled) == spelled
        assert self.named.setdefault((incarnation, spelled), reference) is reference
        assert ("~" in spelled) is (reference.copy > 0)


@dataclass
class Subject:
    """A subscription under test: the model of its queue, and what was done to it."""

    name: str
    incarnation: str
    model: QueueModel
    variant: int
    leases: list[tuple[Reference, int]] = field(default_factory=list)
    claims: int = 0
    settles: int = 0
    last_claim: tuple[tuple[ClaimRequest, ...], list[Claimed]] | None = None
    last_settle: tuple[list[Verdict], tuple[int, ...]] | None = None


def route(subject: Subject, given: Sequence[Entry]) -> RouteSet:
    rules = subject.model.rules
    items = tuple(
        QueueItem(
            index,
            NORMAL if rules.is_keyed else each.delivery.priority,
            each.delivery.ordering_key if rules.is_keyed else "",
            each.delivery.expires_ms,
        )
        for index, each in enumerate(given)
    )
    return RouteSet(((subject.incarnation, rules.max_waiting),), items)


def seen(lease: Lease) -> tuple[object, ...]:
    event = lease.event
    return event.position, lease.attempt, lease.first_delivery_ms, lease.last_error, lease.until_ms, event.body


def is_good(reference: Reference, lease: int) -> bool:
    return reference.place == "leased" and reference.lease == lease


def timeless(states: Sequence[QueueState | None]) -> list[QueueState | None]:
    return [None if state is None else replace(state, claimed_ms=0) for state in states]


def total(one: Moves, other: Moves) -> Moves:
    return Moves(
        one.buried + other.buried, one.lapsed + other.lapsed, one.expired + other.expired, one.overrun + other.overrun
    )


class SideBySide(RuleBasedStateMachine):
    """Both engines open on stores of their own, and what makes calls of them. Each example has a bus of its own."""

    url = ""
    runner: asyncio.Runner
    begun = count(1)

    def __init__(self) -> None:
        super().__init__()
        self.bus = f"b{next(self.begun)}"
        self.clock = ManualClock()
        self.identifiers = SequentialIdentifiers()
        self.directory = tempfile.TemporaryDirectory()
        self.subjects: dict[str, Subject] = {}
        self.made = self.wished = 0
        self.given: list[Entry] = []
        self.events: dict[Position, bytes] = {}
        self.bodies: dict[Position, bytes] = {}
        self.last = BEGINNING
        self.sides: list[Side] = []

    def run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Run something on the loop of the engines."""
        return self.runner.run(work)

    async def _both(self, calls: Sequence[Coroutine[Any, Any, _Result]]) -> list[_Result]:
        return list(await asyncio.gather(*calls))

    def both(self, *calls: Coroutine[Any, Any, _Result]) -> list[_Result]:
        """Make one call of each engine; return both answers."""
        return self.run(self._both(calls))

    def same(self, *calls: Coroutine[Any, Any, _Result]) -> _Result:
        """Make one call of each engine; return the answer that both gave."""
        first, second = self.both(*calls)
        assert first == second
        return first

    @property
    def engines(self) -> list[Engine]:
        """Both engines."""
        return [side.engine for side in self.sides]

    def sqlite(self) -> Engine:
        """Return an engine on the file of this example."""
        return SqliteEngine(
            Path(self.directory.name) / "events.db",
            (self.bus,),
            clock=self.clock,
            identifiers=self.identifiers,
            options=SqliteOptions(reserve_bytes=0),
        )

    def redis(self) -> Engine:
        """Return an engine on the server, with the bus of this example."""
        return RedisEngine(
            self.url,
            (self.bus,),
            clock=self.clock,
            identifiers=self.identifiers,
            options=RedisOptions(
                durability={self.bus: "local"}, deduplication=DeduplicationWindow(), time_by=self.clock
            ),
        )

    async def opened(self, engine: Engine) -> Side:
        """Open an engine, and register a writer."""
        async with AsyncExitStack() as stack:
            await engine.open(stack)
            return Side(engine, stack.pop_all(), await Writer.registered(engine, self.bus))
        raise AssertionError

    def teardown(self) -> None:
        """Close both."""
        for side in self.sides:
            self.run(side.stack.aclose())
        self.directory.cleanup()

    def tick(self) -> int:
        """Let a moment pass, so that no two steps are of one; return the time."""
        self.clock.advance(0.001)
        return self.clock.now_ms()

    def entry_of(self, wish: Wish, now_ms: int) -> Entry:
        """Return an event that is wished for, or one that came before."""
        if wish.repeats is not None and self.given:
            return self.given[wish.repeats % len(self.given)]
        self.wished += 1
        members: dict[str, Any] = {"id": f"e{self.wished}", "partitionkey": wish.key}
        if wish.lasts_seconds is not None:
            members["expirytime"] = format_timestamp(now_ms + wish.lasts_seconds * 1000)
        return entry(priority=wish.priority, **members)

    async def append_to(
        self, side: Side, given: Sequence[Entry], references: Sequence[RouteSet]
    ) -> list[tuple[Position, bool]]:
        """Append by the routes as they are; return position and duplicate of each."""
        side.writer.routes_version = (await side.engine.routes(self.bus)).version
        answers = await side.writer.append(*given, references=references)
        return [(answer.position, answer.duplicate) for answer in answers if isinstance(answer, Receipt)]

    def queue(self, subject: Subject, given: Sequence[Entry], answers: Sequence[tuple[Position, bool]]) -> None:
        """Have the model queue what was stored."""
        items = []
        for each, (position, is_duplicate) in zip(given, answers, strict=True):
            if not is_duplicate:
                said, is_keyed = each.delivery, subject.model.rules.is_keyed
                reference = Reference(position, 0, said.ordering_key if is_keyed else "", said.expires_ms)
                items.append((NORMAL if is_keyed else said.priority, reference))
        subject.model.append(items)

    def change(self, given: SubscriptionChange) -> Changed:
        """Make a change, which must succeed alike."""

        async def make(engine: Engine) -> tuple[Changed | WowEventError, ...]:
            return await engine.change_subscriptions(self.bus, [given], subscriptions_max=10)

        (answer,) = self.same(*(make(engine) for engine in self.engines))
        assert isinstance(answer, Changed)
        return answer

    def one(self, name: str, fits: Callable[[QueueModel], bool]) -> Subject:
        """Return the subscription of a name; where it does not fit, one that does, if any."""
        others = [subject for subject in self.subjects.values() if fits(subject.model)]
        named = self.subjects[name]
        return named if named in others or not others else others[0]

    def place(self, index: int | None) -> Position | None:
        """Return a place in the log that an index stands for: the beginning, or an event."""
        if index is None:
            return None
        places = [BEGINNING, *self.events, self.last]
        return places[index % len(places)]
