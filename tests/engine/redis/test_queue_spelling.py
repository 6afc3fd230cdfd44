"""How references are spelled for scripts, and what of the live channel is a wake."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waooaw.events.engine.redis.layout import read_wake
from waooaw.events.engine.redis.queue_spelling import is_letter_id, pad_position, pad_reference, read_padded
from waooaw.events.position import END, Position, format_position

POSITIONS = st.integers(0, END).map(Position)
COPIES = st.none() | st.integers(1, 10**10 - 1)


def _reference(position: Position, copy: int | None) -> str:
    return format_position(position) if copy is None else f"{format_position(position)}~{copy}"


@given(POSITIONS, COPIES)
def test_a_reference_comes_back_as_it_was_spelled(position: Position, copy: int | None) -> None:
    """Padded for the scripts and read again, it is the same."""
    reference = _reference(position, copy)

    assert read_padded(pad_reference(reference)) == (position, reference)


@given(POSITIONS, POSITIONS, COPIES, COPIES)
def test_padded_references_are_in_the_order_of_the_log(
    one: Position, other: Position, first: int | None, second: int | None
) -> None:
    """As texts they compare as positions do, and as numbers of copies do where the position is the same."""
    padded = pad_reference(_reference(one, first)), pad_reference(_reference(other, second))

    assert (padded[0] < padded[1]) is ((one, first or 0) < (other, second or 0))
    assert padded[0].startswith(pad_position(one))


@pytest.mark.parametrize("text", ["", "x", "1-2~", "1-2~x", "1-2 ", "1_0-2", "12345678901234-1", "1-2~12345678901"])
def test_what_is_no_reference_is_in_no_queue(text: str) -> None:
    """A token that somebody made up is stale, and no error."""
    assert pad_reference(text) == ""


@pytest.mark.parametrize(
    ("text", "expected"), [("1-0", True), ("", False), ("1", False), ("-", False), ("1-0-0", False)]
)
def test_ids_of_dead_letters(text: str, expected: bool) -> None:  # noqa: FBT001 - a row of a table
    """Only what can be the id of one is asked for: Redis refuses a whole call for another."""
    assert is_letter_id(text) is expected


def test_wakes_are_told_from_frames() -> None:
    """A wake names its queue, or all; one of a later format wakes all; a frame is none."""
    spell = msgspec.msgpack.encode

    assert read_wake(spell([2, "0123456789abcdef"])) == "0123456789abcdef"
    assert read_wake(spell([2, ""])) == ""
    assert read_wake(spell([3, "0123456789abcdef"])) == ""
    assert read_wake(spell([1, "ff", 1, 2, 3, 4, 5, []])) is None
