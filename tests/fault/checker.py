"""What the store and the streams must show, given what the clients were told. Pure: histories in, verdicts out.

Each broken promise has its own class, after the checkers of Jepsen: lost, twice, unexpected, out of order. To these
come an event that changed (`altered`) and a receipt that named another place than the event has (`misplaced`).
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.fault.history import Key, Operation


class Stored(NamedTuple):
    """One event as the store shows it."""

    position: int
    key: Key
    content: str
    type: str


class Received(NamedTuple):
    """One event as a stream delivered it."""

    position: int
    key: Key


class Reached(NamedTuple):
    """A cursor on a stream: everything that matches at or before the position was delivered."""

    position: int


class Told(NamedTuple):
    """A gap on a stream: what lies after ``start`` up to ``end`` is not delivered."""

    start: int
    end: int
    reason: str


Item = Received | Reached | Told


@dataclass(slots=True)
class StoreVerdict:
    """What is wrong with a store. Each list names the events concerned."""

    lost: list[Key] = field(default_factory=list)
    twice: list[Key] = field(default_factory=list)
    unexpected: list[Key] = field(default_factory=list)
    out_of_order: list[Key] = field(default_factory=list)
    altered: list[Key] = field(default_factory=list)
    misplaced: list[Key] = field(default_factory=list)


def check_store(operations: Iterable[Operation], stored: Sequence[Stored]) -> StoreVerdict:
    """Judge a whole store, read from its first event to its last.

    Lost: promised, and not there. Twice: there more than once. Unexpected: never sent, or never anything but refused.
    Out of order: before an event with a smaller position, or before an earlier event of the same source.
    """
    known = {operation.key: operation for operation in operations}
    order = {key: index for index, key in enumerate(known)}
    verdict = StoreVerdict()
    places: dict[Key, int] = {}
    last_position, last_of_source = 0, dict[str, int]()
    for event in stored:
        operation = known.get(event.key)
        if operation is None or not operation.may_be_stored:
            verdict.unexpected.append(event.key)
            continue
        if event.key in places:
            verdict.twice.append(event.key)
            continue
        places[event.key] = event.position
        index = order[event.key]
        if event.position <= last_position or index < last_of_source.get(event.key.source, -1):
            verdict.out_of_order.append(event.key)
        last_position = max(last_position, event.position)
        last_of_source[event.key.source] = max(index, last_of_source.get(event.key.source, -1))
        if event.content != operation.content:
            verdict.altered.append(event.key)
        if any(position != event.position for position in operation.positions):
            verdict.misplaced.append(event.key)
    verdict.lost = [key for key, operation in known.items() if operation.accepted and key not in places]
    return verdict


@dataclass(slots=True)
class StreamVerdict:
    """What is wrong with one connection of a stream, and what it was told that it does not get."""

    missed: list[Key] = field(default_factory=list)
    twice: list[Key] = field(default_factory=list)
    unexpected: list[Key] = field(default_factory=list)
    out_of_order: list[Key] = field(default_factory=list)
    told: list[Key] = field(default_factory=list)
    delivered: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether each matching event came once, in order, or was told as a gap."""
        return not (self.missed or self.twice or self.unexpected or self.out_of_order)


class _Walk:
    """One connection's items against the log, from the front."""

    def __init__(self, log: Sequence[Stored], start: int) -> None:
        self._log = log
        self._positions = [event.position for event in log]
        self._next = bisect_right(self._positions, start)
        self._seen: set[int] = set()
        self._missed: dict[int, Key] = {}
        self.verdict = StreamVerdict()

    def receive(self, item: Received) -> None:
        index = bisect_right(self._positions, item.position) - 1
        if index < 0 or self._log[index].position != item.position or self._log[index].key != item.key:
            self.verdict.unexpected.append(item.key)
        elif index in self._seen:
            self.verdict.twice.append(item.key)
        else:
            self._seen.add(index)
            self.verdict.delivered += 1
            if index < self._next:
                self._missed.pop(index, None)
                self.verdict.out_of_order.append(item.key)
            else:
                self._miss_until(index)
                self._next = index + 1

    def reach(self, position: int) -> None:
        self._miss_until(bisect_right(self._positions, position))

    def tell(self, item: Told) -> None:
        self.reach(item.start)
        end = bisect_right(self._positions, item.end)
        self.verdict.told += [event.key for event in self._log[self._next : end]]
        self._next = max(self._next, end)

    def _miss_until(self, index: int) -> None:
        for missed in range(self._next, index):
            self._missed[missed] = self._log[missed].key
        self._next = max(self._next, index)

    def finish(self) -> StreamVerdict:
        self.verdict.missed = [self._missed[index] for index in sorted(self._missed)]
        return self.verdict


def check_stream(log: Sequence[Stored], start: int, items: Iterable[Item]) -> StreamVerdict:
    """Judge one connection that began after the position ``start``. ``log`` is all that matches its pattern, in order.

    What the connection did not live to see is no fault of it: nothing after its last item is expected.
    """
    walk = _Walk(log, start)
    for item in items:
        if isinstance(item, Received):
            walk.receive(item)
        elif isinstance(item, Reached):
            walk.reach(item.position)
        else:
            walk.tell(item)
    return walk.finish()
