"""Queues of sqlite and Redis side by side against a model: whatever is done, in any order, 0 differences.

Both engines have one clock and get the same calls. After each step every queue stands as the model's does, and the sum
of promise 3 closes. Nonces and the numbers in references are each engine's own: they are compared by what they name.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any, Final, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.conformance.engines import Writer
from tests.conformance.queue_model import Letter, QueueModel, Reference, Verdict
from tests.conformance.queues import RULES, put
from tests.event_samples import entry
from tests.redis_servers.shared import TopologyFactory
from waooaw.events.attributes import PRIORITIES
from waooaw.events.delivery import OUTCOMES, Outcome
from waooaw.events.delivery_attributes import NORMAL, delivery_attributes_of
from waooaw.events.engine.contract import Engine
from waooaw.events.engine.deduplication_window import DeduplicationWindow
from waooaw.events.engine.queue_contract import (
    Claimed,
    ClaimRequest,
    FillItem,
    Lease,
    Moves,
    QueueItem,
    RouteSet,
    SettleRequest,
)
from waooaw.events.engine.redis import RedisEngine, RedisOptions
from waooaw.events.engine.sqlite import SqliteEngine, SqliteOptions
from waooaw.events.engine.subscription_contract import (
    Changed,
    DeleteSubscription,
    PauseSubscription,
    Rules,
    SubscriptionChange,
)
from waooaw.events.errors import WowEventError
from waooaw.events.event import Entry
from waooaw.events.position import BEGINNING, Position
from waooaw.events.receipt import Receipt
from waooaw.events.retention import TrimPlan
from waooaw.events.retry import RetryPolicy
from waooaw.events.testing import ManualClock, SequentialIdentifiers
from waooaw.events.timestamp import format_timestamp

EXAMPLES: Final = 125
STEPS: Final = 50
"""Steps of one example; with `EXAMPLES` a little over 6,000, of which some end early."""

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


class QueueMachine(RuleBasedStateMachine):
    """Drives both engines and the model. ``begun`` numbers the examples: each has a bus of its own."""

    url = ""
    runner: asyncio.Runner
    begun = count(1)

    def __init__(self) -> None:
        super().__init__()
        self.bus = f"b{next(self.begun)}"
        self.clock = ManualClock()
        self.directory = tempfile.TemporaryDirectory()
        self.subjects: dict[str, Subject] = {}
        self.made = 0
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

    # Begin and end --------------------------------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        """Open both."""
        self.sides = [self.run(self._open(self._sqlite())), self.run(self._open(self._redis()))]

    def _sqlite(self) -> Engine:
        return SqliteEngine(
            Path(self.directory.name) / "events.db",
            (self.bus,),
            clock=self.clock,
            identifiers=SequentialIdentifiers(),
            options=SqliteOptions(reserve_bytes=0),
        )

    def _redis(self) -> Engine:
        return RedisEngine(
            self.url,
            (self.bus,),
            clock=self.clock,
            identifiers=SequentialIdentifiers(),
            options=RedisOptions(
                durability={self.bus: "local"}, deduplication=DeduplicationWindow(), time_by=self.clock
            ),
        )

    async def _open(self, engine: Engine) -> Side:
        async with AsyncExitStack() as stack:
            await engine.open(stack)
            return Side(engine, stack.pop_all(), await Writer.registered(engine, self.bus))
        raise AssertionError

    def teardown(self) -> None:
        """Close both."""
        for side in self.sides:
            self.run(side.stack.aclose())
        self.directory.cleanup()

    @rule(which=st.sampled_from([0, 1]))
    def restart(self, which: int) -> None:
        """Close one of them and open its store again: nothing is lost but the writer."""
        before = self.sides[which]
        self.run(before.stack.aclose())
        after = self.run(self._open(self._redis() if which else self._sqlite()))
        after.spelled, after.named, after.nonces = before.spelled, before.named, before.nonces
        after.letters = before.letters
        self.sides[which] = after
        for subject in self.subjects.values():
            subject.last_claim = subject.last_settle = None

    # The log --------------------------------------------------------------------------------------------------------

    def tick(self) -> int:
        """Let a moment pass, so that no two steps are of one; return the time."""
        self.clock.advance(0.001)
        return self.clock.now_ms()

    @rule(wishes=WISHES, to=st.sets(NAMES, min_size=1))
    def append(self, wishes: list[Wish], to: set[str]) -> None:
        """Append events to the log and to queues."""
        now_ms = self.tick()
        given = [self._entry(wish, now_ms) for wish in wishes]
        subjects = [self.subjects[name] for name in sorted(to) if name in self.subjects]
        references = [_route(subject, given) for subject in subjects]
        answers = self.same(*(self._append(side, given, references) for side in self.sides))
        for subject in subjects:
            self._queue(subject, given, answers)
        for each, answer in zip(given, answers, strict=True):
            if not answer[1]:
                self.given.append(each)
                self.events[answer[0]] = self.bodies[answer[0]] = each.body
                self.last = max(self.last, answer[0])

    def _entry(self, wish: Wish, now_ms: int) -> Entry:
        if wish.repeats is not None and self.given:
            return self.given[wish.repeats % len(self.given)]
        members: dict[str, Any] = {"id": f"e{len(self.given)}-{now_ms}-{id(wish)}", "partitionkey": wish.key}
        if wish.lasts_seconds is not None:
            members["expirytime"] = format_timestamp(now_ms + wish.lasts_seconds * 1000)
        return entry(priority=wish.priority, **members)

    async def _append(
        self, side: Side, given: Sequence[Entry], references: Sequence[RouteSet]
    ) -> list[tuple[Position, bool]]:
        side.writer.routes_version = (await side.engine.routes(self.bus)).version
        answers = await side.writer.append(*given, references=references)
        return [(answer.position, answer.duplicate) for answer in answers if isinstance(answer, Receipt)]

    def _queue(self, subject: Subject, given: Sequence[Entry], answers: Sequence[tuple[Position, bool]]) -> None:
        items = []
        for each, (position, is_duplicate) in zip(given, answers, strict=True):
            if not is_duplicate:
                said, is_keyed = each.delivery, subject.model.rules.is_keyed
                reference = Reference(position, 0, said.ordering_key if is_keyed else "", said.expires_ms)
                items.append((NORMAL if is_keyed else said.priority, reference))
        subject.model.append(items)

    @rule(events=st.integers(1, 4))
    def trim(self, events: int) -> None:
        """Have the log lose its oldest events, needed or not."""
        plan = TrimPlan(excess_events=events)
        removed = self.same(*(engine.trim(self.bus, plan, limit=100) for engine in self.engines))
        for position in sorted(self.events)[:removed]:
            del self.events[position]
        assert removed in {events, 0} or not self.events

    @rule(seconds=st.sampled_from([0.25, 1, 2, 5, 5, 10, 31, 60]))
    def pass_time(self, seconds: float) -> None:
        """Let time pass: leases lapse, retries are due, events expire."""
        self.clock.advance(seconds)

    # Subscriptions --------------------------------------------------------------------------------------------------

    def change(self, given: SubscriptionChange) -> Changed:
        """Make a change, which must succeed alike."""

        async def make(engine: Engine) -> tuple[Changed | WowEventError, ...]:
            return await engine.change_subscriptions(self.bus, [given], subscriptions_max=10)

        (answer,) = self.same(*(make(engine) for engine in self.engines))
        assert isinstance(answer, Changed)
        return answer

    @rule(name=NAMES, variant=st.sampled_from([0, 1]), start=st.none() | INDEXES)
    def put(self, name: str, variant: int, start: int | None) -> None:
        """Make a subscription, or give it other rules."""
        now_ms = self.tick()
        given = VARIANTS[name][variant]
        subject = self.subjects.get(name)
        place = None if subject is not None else self._place(start)
        self.made += 1
        answer = self.change(replace(put(name, incarnation=f"{self.made:016x}", start=place), rules=given))
        assert answer.is_new is (subject is None)
        assert answer.record.incarnation == (f"{self.made:016x}" if subject is None else subject.incarnation)
        if subject is None:
            model = QueueModel(given, now_ms, place, self.last, self.events.__contains__)
            self.subjects[name] = Subject(name, answer.record.incarnation, model, variant)
            assert (answer.record.after, answer.record.created_ms) == (self.last, now_ms)
        else:
            subject.model.rules, subject.variant = given, variant

    def _place(self, index: int | None) -> Position | None:
        """Return a place in the log that an index stands for: the beginning, or an event."""
        if index is None:
            return None
        places = [BEGINNING, *self.events, self.last]
        return places[index % len(places)]

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        """Delete a subscription with all that it has."""
        subject = self.subjects.pop(name, None)
        if subject is not None:
            assert self.change(DeleteSubscription(name=name)).is_deleted
            incarnations = [subject.incarnation]
            assert self.same(*(each.queue_states(self.bus, incarnations) for each in self.engines)) == (None,)

    @rule(name=NAMES, is_paused=st.booleans())
    def pause(self, name: str, is_paused: bool) -> None:  # noqa: FBT001 - a value that is drawn
        """Pause a subscription, or resume it."""
        subject = self.subjects.get(name)
        if subject is not None:
            assert self.change(PauseSubscription(name=name, is_paused=is_paused)).record.is_paused is is_paused
            subject.model.is_paused = is_paused

    # Claim and settle -----------------------------------------------------------------------------------------------

    @rule(name=NAMES, limits=st.lists(st.integers(1, 6), min_size=1, max_size=3))
    def claim(self, name: str, limits: list[int]) -> None:
        """Claim for one to three members."""
        if name not in self.subjects:
            return
        subject, now_ms = self.subjects[name], self.tick()
        subject.claims += 1
        requests = tuple(ClaimRequest(f"m{index}", limit) for index, limit in enumerate(limits))
        turns = [index for turn in range(max(limits)) for index, limit in enumerate(limits) if turn < limit]
        answers = self.both(*(self._claim(side, subject, requests) for side in self.sides))
        taken = subject.model.claim(now_ms, sum(limits), lambda place: f"m{turns[place]}")
        moves = subject.model.moves()
        for side, claimed in zip(self.sides, answers, strict=True):
            assert claimed.is_paused is taken.is_paused
            assert claimed.next_due_ms == taken.next_due_ms
            assert claimed.moves == moves
            assert [lease.request for lease in claimed.leases] == turns[: len(taken.references)]
            assert [_seen(lease) for lease in claimed.leases] == [self._expected(each) for each in taken.references]
            for lease, reference in zip(claimed.leases, taken.references, strict=True):
                side.note(subject.incarnation, reference, lease.reference)
                side.nonces[reference, reference.lease] = lease.nonce
        subject.leases += [(reference, reference.lease) for reference in taken.references]
        subject.last_claim = (requests, answers)

    def _expected(self, reference: Reference) -> tuple[object, ...]:
        return (
            reference.position,
            reference.failures + 1,
            reference.first_delivery_ms,
            reference.last_error,
            reference.at_ms,
            self.bodies[reference.position],
        )

    async def _claim(self, side: Side, subject: Subject, requests: Sequence[ClaimRequest]) -> Claimed:
        return await side.engine.claim(self.bus, subject.incarnation, "claimer", subject.claims, requests)

    @rule(name=NAMES)
    def claim_again(self, name: str) -> None:
        """Ask for the last claim's answer once more: it is the same, and nothing moves.

        A lease may be missing whose event neither the log nor a copy has any more: nobody could work on it.
        """
        subject = self.subjects.get(name)
        if subject is not None and subject.last_claim is not None:
            requests, before = subject.last_claim
            again = self.both(*(self._claim(side, subject, requests) for side in self.sides))
            for first, second in zip(before, again, strict=True):
                gone = {lease.reference for lease in first.leases} - {lease.reference for lease in second.leases}
                assert second.leases == tuple(lease for lease in first.leases if lease.reference not in gone)
                assert not any(lease.event.position in self.events for lease in first.leases if lease.reference in gone)
                assert second.moves == Moves()

    @rule(name=NAMES, chosen=OUTCOME_LISTS)
    def settle(self, name: str, chosen: list[tuple[int, Outcome, float | None, float]]) -> None:
        """Settle leases, the latest ones mostly, stale ones among them."""
        subject = self.subjects.get(name)
        if subject is None or not subject.leases:
            return
        now_ms = self.tick()
        subject.settles += 1
        recent = subject.leases[-8:]
        verdicts = [
            Verdict(*recent[index % len(recent)], outcome, delay_seconds, chance, f"reason {subject.settles}")
            for index, outcome, delay_seconds, chance in chosen
        ]
        answers = self.both(*(self._settle(side, subject, verdicts) for side in self.sides))
        attempts, moves = subject.model.settle(verdicts, now_ms), subject.model.moves()
        assert [(settled.attempts, settled.moves) for settled in answers] == [(attempts, moves)] * 2
        subject.last_settle = (verdicts, attempts)

    async def _settle(self, side: Side, subject: Subject, verdicts: Sequence[Verdict]) -> Any:  # noqa: ANN401 - both
        requests = [
            SettleRequest(
                side.spelled[verdict.reference],
                side.nonces[verdict.reference, verdict.lease],
                verdict.outcome,
                verdict.delay_seconds,
                verdict.chance,
                verdict.reason,
            )
            for verdict in verdicts
        ]
        return await side.engine.settle(self.bus, subject.incarnation, "claimer", subject.settles, requests)

    @rule(name=NAMES)
    def settle_again(self, name: str) -> None:
        """Ask for the last settle's answer once more: it is the same, and nothing moves."""
        subject = self.subjects.get(name)
        if subject is not None and subject.last_settle is not None:
            verdicts, attempts = subject.last_settle
            for settled in self.both(*(self._settle(side, subject, verdicts) for side in self.sides)):
                assert (settled.attempts, settled.moves) == (attempts, Moves())

    @rule(dead_seconds=st.sampled_from([60, 10**6, 10**6]), dead_max=st.sampled_from([2, 10**6, 10**6]))
    def sweep(self, dead_seconds: int, dead_max: int) -> None:
        """Sweep all queues until nothing moves; what moved in all is the same."""
        now_ms = self.tick()
        subjects = list(self.subjects.values())
        swept = self.both(*(self._sweep(engine, subjects, dead_seconds, dead_max) for engine in self.engines))
        for subject, *both in zip(subjects, *swept, strict=True):
            subject.model.sweep(now_ms, now_ms - dead_seconds * 1000, dead_max)
            moves = subject.model.moves()
            assert both == [moves, moves]

    async def _sweep(
        self, engine: Engine, subjects: Sequence[Subject], dead_seconds: int, dead_max: int
    ) -> list[Moves]:
        incarnations = [subject.incarnation for subject in subjects]
        sums = [Moves()] * len(incarnations)
        for _ in range(100):
            before = await engine.queue_states(self.bus, incarnations)
            moves = await engine.sweep(self.bus, incarnations, limit=1000, dead_seconds=dead_seconds, dead_max=dead_max)
            sums = [_sum(one, other) for one, other in zip(sums, moves, strict=True)]
            if before == await engine.queue_states(self.bus, incarnations):
                return sums
        raise AssertionError("sweeps do not come to an end")

    # Fill and seek --------------------------------------------------------------------------------------------------

    @rule(name=NAMES, index=INDEXES)
    def seek(self, name: str, index: int) -> None:
        """Go to another place of the log."""
        subject = self.subjects.get(name)
        if subject is not None:
            self.tick()
            start = self._place(index) or BEGINNING
            states = self.both(*(engine.seek(self.bus, subject.incarnation, start) for engine in self.engines))
            subject.model.seek(start, self.last)
            assert states == [subject.model.state()] * 2

    @rule(name=NAMES, limit=st.integers(1, 5), is_late=st.booleans())
    def fill(self, name: str, limit: int, is_late: bool) -> None:  # noqa: FBT001 - a value that is drawn
        """Do a step of a fill, or one that comes too late."""
        subject = self.subjects.get(name)
        if subject is None or (reached := subject.model.fill_reached) is None:
            return
        through = subject.model.fill_through
        found = [position for position in sorted(self.events) if reached < position <= through][:limit]
        end = found[-1] if len(found) == limit else through
        items, references = [], []
        for position in found:
            said = delivery_attributes_of(self.events[position])
            key = said.ordering_key if subject.model.rules.is_keyed else ""
            items.append(FillItem(position, key, said.expires_ms))
            references.append(Reference(position, 0, key, said.expires_ms))
        expected = Position(reached - 1) if is_late else reached
        states = self.both(
            *(
                engine.fill(self.bus, subject.incarnation, items, expected=expected, reached=end)
                for engine in self.engines
            )
        )
        if not is_late:
            subject.model.fill(references, end)
        assert states == [subject.model.state()] * 2

    # Dead letters ---------------------------------------------------------------------------------------------------

    def _learn_letters(self, subject: Subject) -> None:
        """Compare the dead letters, and learn their ids."""
        asked = (engine.dead_letters(self.bus, subject.incarnation, after="", limit=1000) for engine in self.engines)
        for side, letters in zip(self.sides, self.both(*asked), strict=True):
            for found, letter in zip(letters, subject.model.dead, strict=True):
                died = letter.reference
                assert (found.reason, found.attempts, found.member) == (letter.reason, died.failures, died.member)
                assert (found.first_failure_ms, found.last_failure_ms) == (died.first_failure_ms, died.last_failure_ms)
                assert (found.last_error, found.stored.position) == (died.last_error, died.position)
                assert found.stored.body == self.bodies[died.position]
                assert found.reference == side.spelled[died]
                assert side.letters.setdefault(letter, found.id) == found.id

    def _letters(self, subject: Subject, indexes: Sequence[int]) -> list[Letter]:
        self._learn_letters(subject)
        dead = subject.model.dead
        return list(dict.fromkeys(dead[index % len(dead)] for index in indexes)) if dead else []

    @rule(
        name=NAMES,
        indexes=st.lists(INDEXES, min_size=1, max_size=4),
        delay_ms=st.sampled_from([0, 0, 5000]),
        spacing_ms=st.sampled_from([0, 1000]),
    )
    def redrive(self, name: str, indexes: list[int], delay_ms: int, spacing_ms: int) -> None:
        """Put dead letters back."""
        subject = self.subjects.get(name)
        if subject is None or not (letters := self._letters(subject, indexes)):
            return
        now_ms = self.tick()
        redriven = self.same(
            *(
                side.engine.redrive(
                    self.bus,
                    subject.incarnation,
                    [*(side.letters[letter] for letter in letters), "1-1"],
                    delay_ms=delay_ms,
                    spacing_ms=spacing_ms,
                )
                for side in self.sides
            )
        )
        assert redriven == len(letters)
        subject.model.redrive(letters, now_ms, delay_ms, spacing_ms)

    @rule(name=NAMES, indexes=st.lists(INDEXES, min_size=1, max_size=2))
    def purge(self, name: str, indexes: list[int]) -> None:
        """Destroy dead letters."""
        subject = self.subjects.get(name)
        if subject is None or not (letters := self._letters(subject, indexes)):
            return
        purged = self.same(
            *(
                side.engine.purge(self.bus, subject.incarnation, [*(side.letters[letter] for letter in letters), "1-1"])
                for side in self.sides
            )
        )
        assert purged == len(letters)
        subject.model.purge(letters)

    # Looking --------------------------------------------------------------------------------------------------------

    @rule(name=NAMES, index=INDEXES)
    def look(self, name: str, index: int) -> None:
        """Who holds what, what fails, what the log is needed for, and where an event is."""
        subject = self.subjects.get(name)
        if subject is None:
            return
        model, incarnation = subject.model, subject.incarnation
        details = self.same(*(engine.queue_details(self.bus, incarnation) for engine in self.engines))
        assert details == model.details()
        needed = self.same(*(engine.oldest_needed(self.bus, [incarnation]) for engine in self.engines))
        assert needed == model.needed()
        self._learn_letters(subject)
        if self.bodies:
            position = list(self.bodies)[index % len(self.bodies)]
            said = delivery_attributes_of(self.bodies[position])
            priority = NORMAL if model.rules.is_keyed else said.priority
            report = self.same(
                *(engine.find_reference(self.bus, incarnation, position, priority) for engine in self.engines)
            )
            found = None if report is None else (report.state, report.attempts)
            assert found == model.find(position, priority)

    @invariant()
    def all_stand_alike(self) -> None:
        """Every queue stands as the model's, on both sides, and nothing is missing in its counts."""
        subjects = list(self.subjects.values())
        if not subjects:
            return
        incarnations = [subject.incarnation for subject in subjects]
        both = self.both(*(engine.queue_states(self.bus, incarnations) for engine in self.engines))
        expected = tuple(subject.model.state() for subject in subjects)
        assert both == [expected, expected]
        assert all(state.counts.is_closed for state in expected)


def _route(subject: Subject, given: Sequence[Entry]) -> RouteSet:
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


def _seen(lease: Lease) -> tuple[object, ...]:
    event = lease.event
    return event.position, lease.attempt, lease.first_delivery_ms, lease.last_error, lease.until_ms, event.body


def _sum(one: Moves, other: Moves) -> Moves:
    return Moves(
        one.buried + other.buried, one.lapsed + other.lapsed, one.expired + other.expired, one.overrun + other.overrun
    )


def test_queues_do_what_the_model_does(redis_topology: TopologyFactory) -> None:
    """Append, claim, settle each way, lapse, expire, fill, seek, redrive, purge, trim, restart, in any order."""
    with asyncio.Runner() as runner:
        url = runner.run(_url(redis_topology))

        class Machine(QueueMachine):
            """With the servers of this run."""

        Machine.url, Machine.runner = url, runner
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                print_blob=True,
            ),
        )


async def _url(redis_topology: TopologyFactory) -> str:
    return (await redis_topology("redis")).url
