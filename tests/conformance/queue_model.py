"""A queue in plain Python, after the words of the contract: lists, and one step after the other.

What the contract leaves open and the engines agree on: due and fresh references alternate, so that the one comes of
which the last one taken was not; references that became due in one moment come in the order of the log; what a freed
key brings comes after all else that a claim could take.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from waooaw.events.delivery import Outcome
from waooaw.events.engine.queue_contract import Burial, Moves
from waooaw.events.engine.subscription_contract import Rules
from waooaw.events.position import Position, position_milliseconds
from waooaw.events.retry import DeadReason
from waooaw.events.subscription_state import Counts, DeliveryState, FillState, Holding, QueueDetails, QueueState

LAPSED: Final = "the lease ended without an outcome"
TURNS: Final = (0, 1, 0, 2, 0, 1, 0, 3, 0, 1, 0, 2, 0, 1, 0)
FILL: Final = 4
SHOWN: Final = 20

Place = Literal["waiting", "leased", "scheduled"]


@dataclass(eq=False)
class Reference:
    """One reference, wherever it is. ``copy`` tells those of one event apart; 0 is the one that an append made."""

    position: Position
    copy: int
    key: str
    expires_ms: int
    place: Place = "waiting"
    at_ms: int = 0
    lease: int = 0
    member: str = ""
    failures: int = 0
    first_delivery_ms: int = 0
    first_failure_ms: int = 0
    last_failure_ms: int = 0
    last_error: str | None = None
    has_event: bool = False
    """Whether it carries its own copy of the event."""

    @property
    def order(self) -> tuple[Position, int]:
        """Where it is in the order of the log."""
        return self.position, self.copy


@dataclass(eq=False)
class Letter:
    """A dead letter, as its reference was when it died."""

    reference: Reference
    reason: DeadReason
    died_ms: int


@dataclass(eq=False)
class Taken:
    """What a claim takes, in its order, and what it says besides."""

    references: list[Reference] = field(default_factory=list)
    next_due_ms: int | None = None
    is_paused: bool = False


@dataclass(frozen=True)
class Verdict:
    """One outcome for a lease."""

    reference: Reference
    lease: int
    outcome: Outcome
    delay_seconds: float | None
    chance: float
    reason: str


class QueueModel:
    """One queue. ``has_event`` tells whether the log holds an event."""

    def __init__(
        self, rules: Rules, now_ms: int, start: Position | None, last: Position, has_event: Callable[[Position], bool]
    ) -> None:
        self.rules = rules
        self.is_paused = False
        self.claimed_ms = now_ms
        self.count = dict.fromkeys(Counts.__struct_fields__, 0)
        self.lists: list[list[Reference]] = [[] for _ in range(5)]
        self.held: list[Reference] = []
        self.parked: list[Reference] = []
        self.dead: list[Letter] = []
        self.fill_reached: Position | None = None
        self.fill_through = last
        self.history_from = last
        self._has_event = has_event
        self._turn = 0
        self._is_due_next = True
        self._copies = 0
        self._leases = 0
        self._brought = False
        self._now_ms = now_ms
        self._moved = {"lapsed": 0, "expired": 0, "overrun": 0}
        self._buried: list[Burial] = []
        if start is not None:
            self._begin_fill(start, last)

    # What it tells --------------------------------------------------------------------------------------------------

    def state(self) -> QueueState:
        """Return the queue as it stands."""
        waiting = [reference for each in self.lists for reference in each]
        oldest = min((reference.position for reference in (*waiting, *self.held, *self.parked)), default=None)
        fill = None
        if self.fill_reached is not None:
            fill = FillState(self.fill_reached, self.fill_through, len(self.lists[FILL]))
        return QueueState(
            Counts(**self.count),
            None if oldest is None else position_milliseconds(oldest),
            self.dead[0].died_ms if self.dead else None,
            self.claimed_ms,
            fill,
        )

    def moves(self) -> Moves:
        """Return what was moved since the last call of this."""
        told = Moves(tuple(self._buried), **self._moved)
        self._moved = dict.fromkeys(self._moved, 0)
        self._buried = []
        return told

    def details(self) -> QueueDetails:
        """Return who holds what, and what fails."""
        leases = sorted(
            (each for each in self.held if each.place == "leased"), key=lambda each: (each.at_ms, *each.order)
        )
        tried = (each for each in self.held if each.failures and each.has_event)
        failing = sorted(tried, key=lambda each: each.order)
        return QueueDetails(tuple(map(_holding, leases[:SHOWN])), tuple(map(_holding, failing[:SHOWN])))

    def needed(self) -> Position | None:
        """Return the oldest event that the log must keep for it."""
        listed = [reference for each in self.lists for reference in each]
        needed = [each.position for each in (*listed, *self.held, *self.parked) if not each.has_event]
        if self.fill_reached is not None:
            needed.append(Position(self.fill_reached + 1))
        return min(needed, default=None)

    def find(self, position: Position, priority: int) -> tuple[DeliveryState, int] | None:
        """Return where the newest reference to an event is, and its attempts."""
        found: list[tuple[int, DeliveryState, int]] = [
            (each.copy, each.place, each.failures + (each.place == "leased"))
            for each in self.held
            if each.position == position
        ]
        waiting = (*self.lists[priority], *self.lists[FILL], *self.parked)
        found += [(each.copy, "waiting", 0) for each in waiting if each.position == position]
        found += [
            (each.reference.copy, "dead", each.reference.failures)
            for each in self.dead
            if each.reference.position == position
        ]
        if found:
            return max(found)[1:]
        is_to_come = self.fill_reached is not None and self.fill_reached < position <= self.fill_through
        return None if position <= self.history_from or is_to_come else ("settled", 0)

    # What puts references into it -----------------------------------------------------------------------------------

    def append(self, items: Sequence[tuple[int, Reference]]) -> None:
        """Put new references into their lists; what is too much leaves again, the oldest of the least urgent first."""
        for priority, reference in items:
            self.lists[priority].append(reference)
        self.count["matched"] += len(items)
        self.count["waiting"] += len(items)
        for priority in (3, 2, 1, 0) if items else ():
            while self.lists[priority] and self.count["waiting"] > self.rules.max_waiting:
                self.lists[priority].pop(0)
                self._count("waiting", "overrun")

    def fill(self, references: Sequence[Reference], reached: Position) -> None:
        """Do a step of the fill."""
        for reference in references:
            reference.copy = self._next_copy()
            self.lists[FILL].append(reference)
        self.count["matched"] += len(references)
        self.count["waiting"] += len(references)
        self.fill_reached = reached if reached < self.fill_through else None

    def seek(self, start: Position, last: Position) -> None:
        """Drop all that is not leased, and begin anew."""
        self.lists = [[] for _ in range(5)]
        self.parked = []
        self.held = [reference for reference in self.held if reference.place == "leased"]
        for place in ("waiting", "scheduled"):
            self.count["dropped"] += self.count[place]
            self.count[place] = 0
        self._begin_fill(start, last)

    def _begin_fill(self, start: Position, last: Position) -> None:
        self.fill_reached = start if start < last else None
        self.fill_through = last
        self.history_from = min(self.history_from, start)

    def redrive(self, letters: Sequence[Letter], now_ms: int, delay_ms: int, spacing_ms: int) -> None:
        """Put dead letters back."""
        for index, letter in enumerate(letters):
            self.dead.remove(letter)
            self._count("dead", "waiting")
            died = letter.reference
            reference = Reference(died.position, self._next_copy(), died.key, died.expires_ms, has_event=True)
            reference.at_ms = now_ms + delay_ms + index * spacing_ms
            (self.parked if self._is_busy(reference.key) else self.held).append(reference)

    def purge(self, letters: Sequence[Letter]) -> None:
        """Destroy dead letters."""
        for letter in letters:
            self.dead.remove(letter)
            self._count("dead", "dropped")

    # Claims ---------------------------------------------------------------------------------------------------------

    def claim(self, now_ms: int, limit: int, members: Callable[[int], str]) -> Taken:
        """Lease references; ``members`` names the member of each by its index."""
        self.claimed_ms = self._now_ms = now_ms
        if self.is_paused:
            return Taken(is_paused=True)
        taken = Taken()
        self._brought = True
        while self._brought:
            self._brought = False
            self._claim_round(now_ms, limit, taken.references, members)
        taken.next_due_ms = self._next_due(now_ms)
        return taken

    def _claim_round(self, now_ms: int, limit: int, taken: list[Reference], members: Callable[[int], str]) -> None:
        due = sorted(
            (each for each in self.held if each.at_ms <= now_ms and each not in taken),
            key=lambda each: (each.at_ms, *each.order),
        )
        while len(taken) < limit:
            is_full = self.count["leased"] >= self.rules.max_in_flight
            first_due = next((each for each in due if each.place == "leased" or not is_full), None)
            fresh = None if is_full else self._fresh_list()
            if first_due is not None and (fresh is None or self._is_due_next):
                due.remove(first_due)
                is_taken, reference = self._take_due(first_due, now_ms), first_due
            elif fresh is not None:
                reference = self.lists[fresh].pop(0)
                is_taken = self._take_fresh(reference, now_ms)
                if is_taken and fresh != FILL:
                    self._turn = (self._turn + 1) % len(TURNS)
            else:
                return
            if is_taken:
                self._is_due_next = reference is not first_due
                self._lease(reference, now_ms, members(len(taken)))
                taken.append(reference)
        self._brought = False

    def _fresh_list(self) -> int | None:
        if self.lists[FILL]:
            return FILL
        filled = [number for number in range(4) if self.lists[number]]
        if self.fill_reached is not None or not filled:
            return None
        return TURNS[self._turn] if TURNS[self._turn] in filled else filled[0]

    def _take_due(self, reference: Reference, now_ms: int) -> bool:
        if reference.place == "leased":
            return self._lapse(reference, now_ms)
        if self._is_expired(reference, now_ms):
            self._leave(reference, "expired")
        elif not self._is_there(reference):
            self._leave(reference, "overrun")
        else:
            self._count(reference.place, "leased")
            return True
        return False

    def _take_fresh(self, reference: Reference, now_ms: int) -> bool:
        if self._is_expired(reference, now_ms):
            self._move("expired")
            self._count("waiting", "expired")
        elif self._is_busy(reference.key):
            self.parked.append(reference)
        elif not self._is_there(reference):
            self._move("overrun")
            self._count("waiting", "overrun")
        else:
            self._count("waiting", "leased")
            self.held.append(reference)
            return True
        return False

    def _lapse(self, reference: Reference, now_ms: int) -> bool:
        """Count a lapse; tell whether the reference may be leased anew at once."""
        self._fail(reference, LAPSED, now_ms)
        if self._bury_exhausted(reference, now_ms):
            return False
        if self._is_expired(reference, now_ms):
            self._leave(reference, "expired")
            return False
        if not self._is_there(reference):
            self._leave(reference, "overrun")
            return False
        self._move("lapsed")
        reference.has_event = True
        if self.count["leased"] > self.rules.max_in_flight:
            self._put_back(reference, "scheduled", now_ms)
            return False
        return True

    def _lease(self, reference: Reference, now_ms: int, member: str) -> None:
        self._leases += 1
        reference.place, reference.lease, reference.member = "leased", self._leases, member
        reference.at_ms = now_ms + round(self.rules.lease_seconds * 1000)
        reference.first_delivery_ms = reference.first_delivery_ms or now_ms

    def _next_due(self, now_ms: int) -> int | None:
        is_full = self.count["leased"] >= self.rules.max_in_flight
        times = [each.at_ms for each in self.held if each.place == "leased" or not is_full]
        if not is_full and self._fresh_list() is not None:
            times.append(now_ms)
        return min(times, default=None)

    # Outcomes -------------------------------------------------------------------------------------------------------

    def settle(self, verdicts: Sequence[Verdict], now_ms: int) -> tuple[int, ...]:
        """Settle in order; return the attempts, 0 for stale tokens."""
        self._now_ms = now_ms
        return tuple(self._settle(verdict, now_ms) for verdict in verdicts)

    def _settle(self, verdict: Verdict, now_ms: int) -> int:
        reference = verdict.reference
        if reference not in self.held or reference.place != "leased" or reference.lease != verdict.lease:
            return 0
        attempt = reference.failures + 1
        if verdict.outcome == "ack":
            self._count("leased", "acked")
            self._remove(reference)
        elif verdict.outcome == "release":
            self._put_back(reference, "waiting", now_ms)
        elif verdict.outcome == "extend":
            seconds = self.rules.lease_seconds if verdict.delay_seconds is None else verdict.delay_seconds
            reference.at_ms = now_ms + round(seconds * 1000)
        else:
            self._fail(reference, verdict.reason, now_ms)
            if verdict.outcome == "reject":
                self._bury(reference, "rejected", now_ms, is_dropped=False)
            elif not self._bury_exhausted(reference, now_ms):
                seconds = verdict.chance * self.rules.retry.bound_seconds(reference.failures)
                if verdict.delay_seconds is not None:
                    seconds = verdict.delay_seconds
                reference.has_event = reference.has_event or self._has_event(reference.position)
                self._put_back(reference, "scheduled", now_ms + round(seconds * 1000))
        return attempt

    # Sweeps ---------------------------------------------------------------------------------------------------------

    def sweep(self, now_ms: int, dead_before_ms: int, dead_max: int) -> None:
        """Do all that sweeps do until nothing moves any more."""
        self._now_ms = now_ms
        is_moving = True
        while is_moving:
            before = dict(self.count)
            self._sweep(now_ms, dead_before_ms, dead_max)
            is_moving = self.count != before

    def _sweep(self, now_ms: int, dead_before_ms: int, dead_max: int) -> None:
        due = sorted((each for each in self.held if each.at_ms <= now_ms), key=lambda each: (each.at_ms, *each.order))
        for reference in due:
            if reference.place == "leased" and self._lapse(reference, now_ms):
                self._put_back(reference, "scheduled", now_ms)
            elif reference in self.held and self._is_expired(reference, now_ms):
                self._leave(reference, "expired")
            elif reference in self.held and not self._is_there(reference):
                self._leave(reference, "overrun")
        for listed in self.lists:
            while listed and (self._is_expired(listed[0], now_ms) or not self._is_there(listed[0])):
                gone = "expired" if self._is_expired(listed.pop(0), now_ms) else "overrun"
                self._move(gone)
                self._count("waiting", gone)
        self.purge([letter for letter in self.dead if letter.died_ms < dead_before_ms])
        self.purge(self.dead[: max(len(self.dead) - dead_max, 0)])

    # Small parts ----------------------------------------------------------------------------------------------------

    def _count(self, before: str, after: str) -> None:
        self.count[before] -= 1
        self.count[after] += 1

    def _move(self, name: str) -> None:
        self._moved[name] += 1

    def _next_copy(self) -> int:
        self._copies += 1
        return self._copies

    def _is_there(self, reference: Reference) -> bool:
        return reference.has_event or self._has_event(reference.position)

    def _is_expired(self, reference: Reference, now_ms: int) -> bool:
        return 0 < reference.expires_ms <= now_ms

    def _is_busy(self, key: str) -> bool:
        return key != "" and any(each.key == key for each in self.held)

    def _put_back(self, reference: Reference, place: Place, at_ms: int) -> None:
        self._count(reference.place, place)
        reference.place, reference.at_ms = place, at_ms

    def _fail(self, reference: Reference, error: str, now_ms: int) -> None:
        reference.failures += 1
        reference.first_failure_ms = reference.first_failure_ms or now_ms
        reference.last_failure_ms, reference.last_error = now_ms, error

    def _bury_exhausted(self, reference: Reference, now_ms: int) -> bool:
        age_seconds = (now_ms - reference.first_delivery_ms) / 1000
        reason = self.rules.retry.exhausted(reference.failures, age_seconds)
        if reason is not None:
            self._bury(reference, reason, now_ms, is_dropped=self.rules.drops_exhausted)
        return reason is not None

    def _bury(self, reference: Reference, reason: DeadReason, now_ms: int, *, is_dropped: bool) -> None:
        if not is_dropped and not self._is_there(reference):
            self._leave(reference, "overrun")
            return
        error = reference.last_error or ""
        self._buried.append(Burial(reference.position, reason, reference.failures, error, reference.member, is_dropped))
        self._count("leased", "dropped" if is_dropped else "dead")
        if not is_dropped:
            self.dead.append(Letter(reference, reason, now_ms))
        self._remove(reference)

    def _leave(self, reference: Reference, gone: Literal["expired", "overrun"]) -> None:
        self._move(gone)
        self._count(reference.place, gone)
        self._remove(reference)

    def _remove(self, reference: Reference) -> None:
        """Let go of a reference that is held; the next one behind its key comes, at once or at its own time."""
        self.held.remove(reference)
        behind = [each for each in self.parked if each.key == reference.key]
        if behind:
            following = min(behind, key=lambda each: each.order)
            self.parked.remove(following)
            self.held.append(following)
            following.at_ms = max(following.at_ms, self._now_ms)
            self._brought = True


def _holding(reference: Reference) -> Holding:
    return Holding(
        reference.position,
        reference.place,
        reference.member,
        reference.failures,
        reference.at_ms,
        reference.last_error,
    )
