"""Epochs: what a cursor of an older stretch of history still means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waooaw.events.cursor import Cursor
from waooaw.events.epoch import Epoch, Gap, History
from waooaw.events.position import BEGINNING, Position


def at(place: int) -> Position:
    return Position(place)


HISTORY = History((Epoch(1, BEGINNING), Epoch(2, at(100)), Epoch(3, at(100)), Epoch(4, at(200))), at(300), at(50))
"""Four epochs: to 100, to 100 (nothing was written), to 200, and on to 300; trimmed through 50."""


@pytest.mark.parametrize(
    ("epoch", "position", "place", "gap"),
    [
        (4, 300, 300, None),
        (4, 250, 250, None),
        (4, 100, 100, None),
        (4, 301, 300, "epoch"),
        (3, 200, 200, None),
        (3, 201, 200, "epoch"),
        (2, 100, 100, None),
        (2, 101, 100, "epoch"),
        (1, 100, 100, None),
        (1, 101, 100, "epoch"),
        (1, 50, 50, None),
        (1, 49, 50, "retention"),
        (1, 0, 50, "retention"),
        (4, 10, 50, "retention"),
        (9, 250, 50, "epoch"),
        (9, 0, 50, "epoch"),
    ],
)
def test_resume(epoch: int, position: int, place: int, gap: str | None) -> None:
    """At or before the end of its epoch a cursor goes on; past it, of an unknown epoch, or trimmed, it has a gap."""
    cursor = Cursor(epoch, at(position))

    expected = None if gap is None else Gap(cursor, Cursor(4, at(place)), gap)  # type: ignore[arg-type]  # the two reasons
    assert HISTORY.resume(cursor) == (place, expected)


def test_an_epoch_whose_end_was_trimmed() -> None:
    """A lost end that retention has passed is a gap up to where the log begins."""
    history = History((Epoch(1, BEGINNING), Epoch(2, at(100))), at(300), at(150))

    position, gap = history.resume(Cursor(1, at(120)))

    assert (position, gap) == (150, Gap(Cursor(1, at(120)), Cursor(2, at(150)), "epoch"))


def test_the_end_of_an_epoch() -> None:
    """Each epoch ends where the next one begins, the current one at the last event; of others nothing is known."""
    assert [HISTORY.end_of(epoch) for epoch in (1, 2, 3, 4, 5)] == [100, 100, 200, 300, None]


def test_the_current_epoch() -> None:
    """Cursors are handed out in the newest epoch."""
    assert HISTORY.current == Epoch(4, at(200))
    assert HISTORY.cursor(at(120)) == Cursor(4, at(120))


@given(st.integers(0, 6), st.integers(0, 400))
def test_where_reading_goes_on(epoch: int, position: int) -> None:
    """Reading goes on within the log, no later than the cursor unless a gap says so, and a gap is always told."""
    place, gap = HISTORY.resume(Cursor(epoch, at(position)))

    assert HISTORY.trimmed_through <= place <= HISTORY.last
    if gap is None:
        assert place == position
    else:
        assert gap.start == Cursor(epoch, at(position))
        assert gap.end == HISTORY.cursor(place)
        assert HISTORY.resume(gap.end) == (place, None)
