"""Judges, by what a receiver wrote down, whether every event came, and each retry in its time. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from tests.webhooks.receiver_process import Line
from waooaw.events import RetryPolicy

SLACK_SECONDS: Final = 0.75
"""From the moment that a retry is due until it arrives: a look at the queue, a claim, a request, a busy machine."""

TAKEN_BELOW: Final = 300
"""Of a status: what it is below is a success."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A time (monotonic) in which the receiver was away, left alone by the breaker, or being caught up with."""

    begin: float
    end: float

    def overlap(self, begin: float, end: float) -> float:
        """Return how much of another stretch is in it."""
        return max(min(self.end, end) - max(self.begin, begin), 0.0)


@dataclass(slots=True)
class Judgement:
    """What came of it; the first four must be empty."""

    lost: list[str] = field(default_factory=list)
    """Events that the receiver never took."""
    strange: list[str] = field(default_factory=list)
    """Messages of events that were never published."""
    needless: list[str] = field(default_factory=list)
    """Events that came again though they had been taken, outside of every pause."""
    late: list[str] = field(default_factory=list)
    """Retries that came later than the policy lets them."""
    first_waits: list[float] = field(default_factory=list)
    """Seconds from each first failure to the second try, outside of every pause."""
    retries: int = 0

    @property
    def wrong(self) -> list[list[str]]:
        """What must not be."""
        return [self.lost, self.strange, self.needless, self.late]


def judge(
    lines: Sequence[Line], published: Mapping[str, float], policy: RetryPolicy, pauses: Sequence[Pause]
) -> Judgement:
    """Judge what a receiver wrote down of ``published`` (when, by position), retried by ``policy``.

    Tries that met nobody are in no log: of an event that was there in a pause more may have failed than is known, and
    the longest wait of all is its bound.
    """
    tries: dict[str, list[Line]] = defaultdict(list)
    for line in sorted(lines, key=lambda line: line.began):
        tries[line.position].append(line)
    taken = {line.position for line in lines if line.status < TAKEN_BELOW}
    found = Judgement(lost=sorted(published.keys() - taken), strange=sorted(tries.keys() - published.keys()))
    for position in tries.keys() & published.keys():
        each = tries[position]
        for failures, (before, after) in enumerate(pairwise(each), start=1):
            found.retries += 1
            wait = after.began - before.ended
            paused = sum(pause.overlap(before.began, after.began) for pause in pauses)
            is_counted = not any(pause.overlap(published[position], after.began) for pause in pauses)
            bound = policy.bound_seconds(failures) if is_counted else policy.cap_seconds
            told = f"{position} try {failures + 1} after {wait:.3f} s, bound {bound:g} s, paused {paused:.3f} s"
            if before.status < TAKEN_BELOW and not paused:
                found.needless.append(told)
            if wait > bound + paused + SLACK_SECONDS:
                found.late.append(told)
            if failures == 1 and is_counted:
                found.first_waits.append(wait)
    return found
