"""The checker finds each kind of fault in histories made up for it, and none in whole ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.fault.checker import (
    Item,
    Reached,
    Received,
    Stored,
    StoreVerdict,
    StreamVerdict,
    Told,
    check_store,
    check_stream,
)
from tests.fault.history import History, Key

A, B, C, D = (Key("agent", number) for number in range(4))
OTHER = Key("other", 0)


@pytest.fixture
def told(tmp_path: Path) -> Iterator[History]:
    """A history of three accepted events at 10, 20 and 30, and a fourth that is open."""
    with History(tmp_path / "history", count().__next__) as history:
        for key, position in ((A, 10), (B, 20), (C, 30)):
            history.begin(key, key.id)
            history.accept(key, position, duplicate=False)
        history.begin(D, D.id)
        yield history


def stored(key: Key, position: int, content: str | None = None) -> Stored:
    return Stored(position, key, key.id if content is None else content, "fault")


WHOLE = [stored(A, 10), stored(B, 20), stored(C, 30)]


def verdict(history: History, events: list[Stored]) -> StoreVerdict:
    return check_store(history.operations.values(), events)


@pytest.mark.parametrize("rest", [[], [stored(D, 40)]], ids=["absent", "stored"])
def test_store_may_or_may_not_hold_what_is_unknown(told: History, rest: list[Stored]) -> None:
    """An event of unknown outcome is no fault, stored or not."""
    told.lose(D, "connection lost")
    assert verdict(told, WHOLE + rest) == StoreVerdict()


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([stored(A, 10), stored(C, 30)], StoreVerdict(lost=[B])),
        ([*WHOLE, stored(B, 40)], StoreVerdict(twice=[B])),
        ([*WHOLE, stored(OTHER, 40)], StoreVerdict(unexpected=[OTHER])),
        ([*WHOLE, stored(D, 40)], StoreVerdict(unexpected=[D])),
        ([stored(B, 20), stored(A, 10), stored(C, 30)], StoreVerdict(out_of_order=[A])),
        ([stored(B, 10), stored(A, 20), stored(C, 30)], StoreVerdict(out_of_order=[A], misplaced=[B, A])),
        ([stored(A, 10), stored(B, 20, "x"), stored(C, 30)], StoreVerdict(altered=[B])),
        ([stored(A, 10), stored(B, 21), stored(C, 30)], StoreVerdict(misplaced=[B])),
    ],
    ids=["lost", "twice", "never-sent", "refused", "positions", "order-of-a-source", "altered", "misplaced"],
)
def test_store_faults_are_told_apart(told: History, events: list[Stored], expected: StoreVerdict) -> None:
    """Each broken promise of a store is found, and named as what it is. The fourth event was refused."""
    told.refuse(D, "storage_full")
    assert verdict(told, events) == expected


def test_store_order_is_kept_between_events_of_one_source_only(told: History) -> None:
    """Sources do not wait for each other: only within one the order of sending counts."""
    told.lose(D, "connection lost")
    told.begin(OTHER, OTHER.id)
    told.accept(OTHER, 5, duplicate=False)
    assert verdict(told, [stored(OTHER, 5), *WHOLE]) == StoreVerdict()


LOG = [stored(key, position) for key, position in ((A, 10), (B, 20), (C, 30), (D, 40))]
GOT = {event.key: Received(event.position, event.key) for event in LOG}


@pytest.mark.parametrize(
    ("start", "items", "expected"),
    [
        (0, [GOT[A], GOT[B]], StreamVerdict(delivered=2)),
        (10, [GOT[B], Reached(25), GOT[C]], StreamVerdict(delivered=2)),
        (0, [Told(0, 20, "retention"), GOT[C]], StreamVerdict(told=[A, B], delivered=1)),
        (0, [GOT[A], Told(10, 35, "retention"), GOT[D]], StreamVerdict(told=[B, C], delivered=2)),
        (0, [GOT[A], GOT[C]], StreamVerdict(missed=[B], delivered=2)),
        (0, [GOT[A], Reached(30), GOT[D]], StreamVerdict(missed=[B, C], delivered=2)),
        (0, [GOT[A], Told(20, 30, "retention")], StreamVerdict(missed=[B], told=[C], delivered=1)),
        (0, [GOT[A], GOT[A], GOT[B]], StreamVerdict(twice=[A], delivered=2)),
        (10, [GOT[A], GOT[B]], StreamVerdict(out_of_order=[A], delivered=2)),
        (0, [GOT[B], GOT[A], GOT[C]], StreamVerdict(out_of_order=[A], delivered=3)),
        (0, [Reached(10), GOT[A]], StreamVerdict(out_of_order=[A], delivered=1)),
        (0, [GOT[A], Received(15, B)], StreamVerdict(unexpected=[B], delivered=1)),
        (0, [GOT[A], Received(20, C)], StreamVerdict(unexpected=[C], delivered=1)),
    ],
    ids=[
        "whole",
        "whole-from-a-cursor",
        "gap-at-the-start",
        "gap-on-the-way",
        "missed",
        "cursor-too-far",
        "gap-too-late",
        "twice",
        "before-its-start",
        "swapped",
        "late",
        "nowhere",
        "other-event",
    ],
)
def test_stream_faults_are_told_apart(start: int, items: list[Item], expected: StreamVerdict) -> None:
    """Each broken promise of a stream is found, and named as what it is; a gap that is told is none."""
    found = check_stream(LOG, start, items)
    assert found == expected
    assert found.is_whole == (not (expected.missed or expected.twice or expected.unexpected or expected.out_of_order))


def test_history_sends_again_what_is_unknown_until_it_is_known(told: History) -> None:
    """What got no answer is unresolved until an attempt is answered; its first attempt still may be stored."""
    assert told.unresolved("agent") == [D]
    told.lose(D, "connection lost")
    assert told.unresolved("agent") == [D]
    told.begin(D, D.id)
    told.refuse(D, "storage_full")
    assert told.unresolved("agent") == [D]
    told.begin(D, D.id)
    told.accept(D, 40, duplicate=True)
    assert told.unresolved("agent") == []
    assert (told.accepted, told.in_flight, told.operations[D].repeats) == (4, 0, 1)


@pytest.mark.parametrize(
    "mistake",
    [
        lambda history: history.begin(A, "other content"),
        lambda history: history.accept(A, 10, duplicate=False),
    ],
    ids=["other-content", "answered-twice"],
)
def test_history_refuses_what_no_client_may_do(told: History, mistake: Callable[[History], None]) -> None:
    """An answer to nothing, and an event sent again with other content, are mistakes of the client and stop the run."""
    with pytest.raises(ValueError, match="agent"):
        mistake(told)


def test_history_writes_each_step_as_it_happens(told: History, tmp_path: Path) -> None:
    """The file has every step in order, for whoever looks into a failed run."""
    told.lose(D, "connection lost")
    told.__exit__()
    lines = (tmp_path / "history").read_text("ascii").splitlines()
    assert [line.split('"step": "')[1].split('"')[0] for line in lines] == ["begin", "ok"] * 3 + ["begin", "unknown"]
