"""Judges what members wrote down: was each event handled as decided, and never by two at a time without a reason."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tests.fault.work.decisions import decide, ends_dead


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a journal."""

    time: float
    member: str
    what: str
    serial: int
    """Of the delivery, within its process."""
    event_id: str
    attempt: int
    outcome: str


@dataclass(slots=True)
class Delivered:
    """One delivery, from its beginning to what became of it. ``ended`` is when its lease was certainly over."""

    member: str
    began: float
    attempt: int
    settled: str | None = None
    """What was said of it, where that was answered ok."""
    said: str | None = None
    ended: float | None = None
    is_stale: bool = False
    """Whether its token was refused: its lease was over when it was settled, perhaps when it was begun."""


@dataclass(slots=True)
class Verdict:
    """What was wrong; empty where nothing was."""

    unexplained: list[str] = field(default_factory=list)
    """Events that came again though their delivery had been settled for good."""
    overlapping: list[str] = field(default_factory=list)
    """Events, or keys, that were in two hands at once."""
    undecided: list[str] = field(default_factory=list)
    """Events that did not end as decided."""


def read_journal(text: str) -> list[Line]:
    """Read a journal; a last line that a kill cut is left out."""
    lines = []
    for line in text.splitlines(keepends=True):
        if line.endswith("\n"):
            time, member, what, serial, event_id, attempt, outcome = line.split()
            lines.append(Line(float(time), member, what, int(serial), event_id, int(attempt), outcome))
    return lines


def deliveries(journals: Mapping[str, Iterable[Line]], kills: Mapping[str, float]) -> dict[str, list[Delivered]]:
    """Return the deliveries of each event, in order of their beginning.

    ``journals`` are those of processes, ``kills`` when those that were killed ended.
    """
    found: dict[str, list[Delivered]] = defaultdict(list)
    for process, lines in journals.items():
        for event_id, delivery in _deliveries_of(lines, kills.get(process)):
            found[event_id].append(delivery)
    for each in found.values():
        each.sort(key=lambda delivery: delivery.began)
    return found


def _deliveries_of(lines: Iterable[Line], killed: float | None) -> list[tuple[str, Delivered]]:
    begun: dict[int, tuple[str, Delivered]] = {}
    for line in lines:
        if line.what == "begin":
            begun[line.serial] = (line.event_id, Delivered(line.member, line.time, line.attempt))
        elif line.what == "broke":
            for _, delivery in begun.values():
                if delivery.member == line.member:
                    _end(delivery, line.time)
        elif line.what in {"settle", "done", "stale"}:
            _note(begun[line.serial][1], line)
    if killed is not None:
        for _, delivery in begun.values():
            _end(delivery, killed)
    return list(begun.values())


def _note(delivery: Delivered, line: Line) -> None:
    if line.what == "done":
        delivery.settled = line.outcome
    elif line.what == "stale":
        delivery.is_stale = True
    else:
        delivery.said = line.outcome
        _end(delivery, line.time)


def _end(delivery: Delivered, at: float) -> None:
    if delivery.ended is None:
        delivery.ended = at


def judge(
    found: Mapping[str, list[Delivered]],
    published: Iterable[str],
    dead: Mapping[str, tuple[str, int]],
    *,
    lease_seconds: float,
    max_attempts: int,
) -> Verdict:
    """Judge what became of all that was published; ``dead`` has reason and attempts of each dead letter by event."""
    verdict = Verdict()
    for event_id in published:
        each = found.get(event_id, [])
        for one, other in itertools.pairwise(each):
            if one.settled in {"ack", "reject"}:
                verdict.unexplained.append(event_id)
            if not is_over(one, other.began, lease_seconds):
                verdict.overlapping.append(event_id)
        if not ended_as_decided(event_id, each, dead.get(event_id), max_attempts):
            verdict.undecided.append(event_id)
    return verdict


def is_over(delivery: Delivered, at: float, lease_seconds: float) -> bool:
    """Tell whether a delivery's lease was over at a time: settled, its member gone or cut off, or lapsed."""
    if delivery.ended is not None and delivery.ended <= at:
        return True
    return at >= delivery.began + lease_seconds


def ended_as_decided(event_id: str, each: list[Delivered], died: tuple[str, int] | None, max_attempts: int) -> bool:
    """Tell whether an event ended where its handlers, and the lapses that count as failures, put it."""
    if died is None:
        return not ends_dead(event_id) and any(one.said == "ack" for one in each)
    reason, attempts = died
    if reason == "rejected":
        return decide(event_id, 1) == "reject"
    is_poison = ends_dead(event_id) and decide(event_id, 1) == "nack"
    return is_poison and reason == "max_attempts" and attempts == max_attempts


def judge_order(
    found: Mapping[str, list[Delivered]], keys: Mapping[str, list[str]], *, lease_seconds: float
) -> list[str]:
    """Return the keys of which two events were in hands at once, or one was begun before an earlier one had ended.

    ``keys`` has the events of each key in the order of the log. An event has ended when its last delivery is over.
    """
    wrong = []
    for key, events in keys.items():
        for one, other in itertools.pairwise(event for event in events if event in found):
            last, first = found[one][-1], found[other][0]
            if not is_over(last, first.began, lease_seconds):
                wrong.append(key)
                break
    return wrong
