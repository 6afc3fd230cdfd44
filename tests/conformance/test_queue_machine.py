"""Queues of sqlite and Redis side by side against a model: whatever is done, in any order, 0 differences.

Both engines have one clock and get the same calls. After each step every queue stands as the model's does, and the sum
of promise 3 closes. Nonces and the numbers in references are each engine's own: they are compared by what they name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test

from tests.conformance.queue_model import Letter, QueueModel, Reference, Verdict
from tests.conformance.queue_sides import (
    CLAIMED_STEP_MS,
    INDEXES,
    NAMES,
    OUTCOME_LISTS,
    VARIANTS,
    WISHES,
    Side,
    SideBySide,
    Subject,
    Wish,
    is_good,
    route,
    seen,
    timeless,
    total,
)
from tests.conformance.queues import put
from tests.redis_servers.shared import TopologyFactory
from waooaw.events.delivery import Outcome
from waooaw.events.delivery_attributes import NORMAL, delivery_attributes_of
from waooaw.events.engine.contract import Engine
from waooaw.events.engine.queue_contract import (
    Claimed,
    ClaimRequest,
    FillItem,
    Moves,
    Settled,
    SettleRequest,
)
from waooaw.events.engine.subscription_contract import (
    DeleteSubscription,
    PauseSubscription,
)
from waooaw.events.position import BEGINNING, Position
from waooaw.events.retention import TrimPlan

EXAMPLES: Final = 125
STEPS: Final = 50
"""Of one example, at most: in all about 5,800."""

STEPS_MIN: Final = 5000
"""What must have been done, so that passing means something."""


class QueueMachine(SideBySide):
    """What can be done to queues, one rule each."""

    steps = 0

    # Begin and end --------------------------------------------------------------------------------------------------

    @initialize(variants=st.tuples(*[st.sampled_from([0, 1])] * 3), start=st.none() | INDEXES, wishes=WISHES)
    def begin(self, variants: tuple[int, int, int], start: int | None, wishes: list[Wish]) -> None:
        """Open both, with some history and a subscription of each kind."""
        self.sides = [self.run(self.opened(self.sqlite())), self.run(self.opened(self.redis()))]
        self.append(wishes, set())
        for name, variant in zip(VARIANTS, variants, strict=True):
            self.put(name, variant, start)

    @rule(which=st.sampled_from([0, 1]))
    def restart(self, which: int) -> None:
        """Close one of them and open its store again: nothing is lost but the writer.

        Time passes, so that the new one is not kept from trimming by the old one, which had taken that on.
        """
        self.clock.advance(16)
        before = self.sides[which]
        self.run(before.stack.aclose())
        after = self.run(self.opened(self.redis() if which else self.sqlite()))
        after.spelled, after.named, after.nonces = before.spelled, before.named, before.nonces
        after.letters = before.letters
        self.sides[which] = after
        for subject in self.subjects.values():
            subject.last_claim = subject.last_settle = None

    # The log --------------------------------------------------------------------------------------------------------

    @rule(wishes=WISHES, to=st.sets(NAMES, min_size=1))
    def append(self, wishes: list[Wish], to: set[str]) -> None:
        """Append events to the log and to queues."""
        now_ms = self.tick()
        given = [self.entry_of(wish, now_ms) for wish in wishes]
        subjects = [self.subjects[name] for name in sorted(to)]
        references = [route(subject, given) for subject in subjects]
        answers = self.same(*(self.append_to(side, given, references) for side in self.sides))
        for subject in subjects:
            self.queue(subject, given, answers)
        for each, answer in zip(given, answers, strict=True):
            if not answer[1]:
                self.given.append(each)
                self.events[answer[0]] = self.bodies[answer[0]] = each.body
                self.last = max(self.last, answer[0])

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

    @rule(name=NAMES, variant=st.sampled_from([0, 1]), start=st.none() | INDEXES)
    def put(self, name: str, variant: int, start: int | None) -> None:
        """Make a subscription, or give it other rules."""
        now_ms = self.tick()
        given = VARIANTS[name][variant]
        subject = self.subjects.get(name)
        place = None if subject is not None else self.place(start)
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

    @rule(name=NAMES, variant=st.sampled_from([0, 1]), start=st.none() | INDEXES)
    def use_again(self, name: str, variant: int, start: int | None) -> None:
        """Delete a subscription with all that it has, and use its name again."""
        incarnation = self.subjects.pop(name).incarnation
        assert self.change(DeleteSubscription(name=name)).is_deleted
        assert self.same(*(each.queue_states(self.bus, [incarnation]) for each in self.engines)) == (None,)
        self.put(name, variant, start)

    @rule(name=NAMES, is_paused=st.booleans())
    def pause(self, name: str, is_paused: bool) -> None:  # noqa: FBT001 - a value that is drawn
        """Pause a subscription, or resume it."""
        assert self.change(PauseSubscription(name=name, is_paused=is_paused)).record.is_paused is is_paused
        self.subjects[name].model.is_paused = is_paused

    # Claim and settle -----------------------------------------------------------------------------------------------

    @rule(name=NAMES, limits=st.lists(st.integers(1, 6), min_size=1, max_size=3))
    def claim(self, name: str, limits: list[int]) -> None:
        """Claim for one to three members."""
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
            assert [seen(lease) for lease in claimed.leases] == [self._expected(each) for each in taken.references]
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
        subject = self.subjects[name]
        if subject.last_claim is not None:
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
        subject = self.subjects[name]
        if not subject.leases:
            return
        now_ms = self.tick()
        subject.settles += 1
        good = [lease for lease in subject.leases if is_good(*lease)] or subject.leases
        verdicts = []
        for index, outcome, delay_seconds, chance in chosen:
            leases = subject.leases if index % 5 == 0 else good
            lease = leases[index // 5 % len(leases)]
            verdicts.append(Verdict(*lease, outcome, delay_seconds, chance, f"reason {subject.settles}"))
        answers = self.both(*(self._settle(side, subject, verdicts) for side in self.sides))
        attempts, moves = subject.model.settle(verdicts, now_ms), subject.model.moves()
        assert [(settled.attempts, settled.moves) for settled in answers] == [(attempts, moves)] * 2
        subject.last_settle = (verdicts, attempts)

    async def _settle(self, side: Side, subject: Subject, verdicts: Sequence[Verdict]) -> Settled:
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

    @rule(name=NAMES, limit=st.integers(1, 9), seconds=st.sampled_from([0, 0, 4, 11, 31]), chosen=OUTCOME_LISTS)
    def work(self, name: str, limit: int, seconds: int, chosen: list[tuple[int, Outcome, float | None, float]]) -> None:
        """Claim, take some time, and settle."""
        self.claim(name, [limit])
        self.clock.advance(seconds)
        self.settle(name, chosen)

    @rule(wishes=WISHES, seconds=st.sampled_from([0, 0, 4, 11, 31]), chosen=OUTCOME_LISTS)
    def bring(self, wishes: list[Wish], seconds: int, chosen: list[tuple[int, Outcome, float | None, float]]) -> None:
        """Append, claim and settle in all."""
        self.append(wishes, set(VARIANTS))
        for name in VARIANTS:
            self.work(name, len(chosen), seconds, chosen)

    @rule(name=NAMES)
    def settle_again(self, name: str) -> None:
        """Ask for the last settle's answer once more: it is the same, and nothing moves."""
        subject = self.subjects[name]
        if subject.last_settle is not None:
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
            sums = [total(one, other) for one, other in zip(sums, moves, strict=True)]
            if before == await engine.queue_states(self.bus, incarnations):
                return sums
        raise AssertionError("sweeps do not come to an end")

    # Fill and seek --------------------------------------------------------------------------------------------------

    @rule(name=NAMES, index=INDEXES)
    def seek(self, name: str, index: int) -> None:
        """Go to another place of the log."""
        subject, start = self.subjects[name], self.place(index) or BEGINNING
        states = self.both(*(engine.seek(self.bus, subject.incarnation, start) for engine in self.engines))
        subject.model.seek(start, self.last)
        assert timeless(states) == timeless([subject.model.state()] * 2)

    @rule(name=NAMES, limit=st.integers(1, 5), is_late=st.booleans())
    def fill(self, name: str, limit: int, is_late: bool) -> None:  # noqa: FBT001 - a value that is drawn
        """Do a step of a fill, or one that comes too late."""
        subject = self.one(name, lambda model: model.fill_reached is not None)
        reached = subject.model.fill_reached
        if reached is None:
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
        assert timeless(states) == timeless([subject.model.state()] * 2)

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
        subject = self.one(name, lambda model: bool(model.dead))
        if not (letters := self._letters(subject, indexes)):
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
        subject = self.one(name, lambda model: bool(model.dead))
        if not (letters := self._letters(subject, indexes)):
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
        subject = self.subjects[name]
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
        type(self).steps += 1
        incarnations = [subject.incarnation for subject in subjects]
        both = self.both(*(engine.queue_states(self.bus, incarnations) for engine in self.engines))
        expected = tuple(subject.model.state() for subject in subjects)
        assert list(map(timeless, both)) == [timeless(expected)] * 2
        for states in both:
            for state, known in zip(states, expected, strict=True):
                assert state is not None
                assert 0 <= known.claimed_ms - state.claimed_ms <= CLAIMED_STEP_MS
        assert all(state.counts.is_closed for state in expected)


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
        assert Machine.steps >= STEPS_MIN


async def _url(redis_topology: TopologyFactory) -> str:
    return (await redis_topology("redis")).url
