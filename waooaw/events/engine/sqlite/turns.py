"""Whose turn it is in a claim: of the priorities, of due and fresh references, of the members. Decided here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

PRIORITY_TURNS: Final = (0, 1, 0, 2, 0, 1, 0, 3, 0, 1, 0, 2, 0, 1, 0)
"""Of fifteen that are taken eight are critical, four high, two normal and one low."""


def priority_of_turn(turn: int, filled: Collection[int]) -> int:
    """Return the list whose turn it is, of those with something in it; the most urgent has the turns of empty ones."""
    wanted = PRIORITY_TURNS[turn]
    return wanted if wanted in filled else min(filled)


def turn_after(turn: int) -> int:
    """Return the next turn."""
    return (turn + 1) % len(PRIORITY_TURNS)


def next_with_room(rooms: Sequence[int], last: int) -> int:
    """Return the first index after ``last``, round about, that has room; one has."""
    count = len(rooms)
    return next(index % count for index in range(last + 1, last + 1 + count) if rooms[index % count] > 0)
