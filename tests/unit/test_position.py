"""Positions: one integer inside, ``<ms>-<sequence>`` outside, and always growing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waooaw.events.errors import InvalidParameterError
from waooaw.events.position import (
    BEGINNING,
    END,
    MILLISECONDS_MAX,
    SEQUENCE_BITS,
    Position,
    format_position,
    is_position,
    make_position,
    next_position,
    parse_position,
    position_milliseconds,
    previous_position,
)

POSITIONS = st.integers(0, END).map(Position)


@given(POSITIONS)
def test_text_and_back(position: Position) -> None:
    """Every position is read back from its text."""
    assert parse_position(format_position(position)) == position
    assert is_position(format_position(position))


@pytest.mark.parametrize(
    ("milliseconds", "sequence", "text"),
    [
        (0, 0, "0-0"),
        (1764019200123, 0, "1764019200123-0"),
        (1, 2**20 - 1, "1-1048575"),
        (2**42 - 1, 0, "4398046511103-0"),
    ],
)
def test_spelling(milliseconds: int, sequence: int, text: str) -> None:
    """The wire form, and what of it is the time."""
    position = make_position(milliseconds, sequence)

    assert format_position(position) == text
    assert parse_position(text) == position
    assert position_milliseconds(position) == milliseconds


@given(POSITIONS, POSITIONS)
def test_order(one: Position, two: Position) -> None:
    """Positions are ordered as their two numbers are."""
    parts = [tuple(map(int, format_position(position).split("-"))) for position in (one, two)]

    assert (one < two) is (parts[0] < parts[1])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "1",
        "1-",
        "-1",
        "1-1-1",
        "a-1",
        "1-a",
        " 1-1",
        "1-1\n",
        "1_0-1",
        "+1-0",
        "\u0661-0",
        "1-12345678",
        "1" * 14 + "-0",
    ],
)
def test_what_is_no_position(text: str) -> None:
    """Anything of another form is refused, whole."""
    assert not is_position(text)
    with pytest.raises(InvalidParameterError):
        parse_position(text)


@pytest.mark.parametrize("text", [f"{MILLISECONDS_MAX + 1}-0", f"0-{2**SEQUENCE_BITS}", "9999999999999-0"])
def test_out_of_range(text: str) -> None:
    """What has the form and no place in a log is refused: it would be read as another position."""
    with pytest.raises(InvalidParameterError, match="out of range"):
        parse_position(text)


@given(st.integers(0, END - 1).map(Position), st.integers(0, MILLISECONDS_MAX))
def test_the_next_position_is_later(last: Position, now_ms: int) -> None:
    """Whatever the clock says, the next position is after the last one; it is the clock's time where that is later."""
    position = next_position(last, now_ms)

    assert position > last
    assert position == max(last + 1, make_position(now_ms))


def test_a_full_millisecond_runs_over() -> None:
    """After the last place of a millisecond comes the first of the next one."""
    last = make_position(5, 2**SEQUENCE_BITS - 1)

    assert next_position(last, 5) == make_position(6)


@given(POSITIONS)
def test_the_previous_position(position: Position) -> None:
    """Nothing lies between a position and the one before it; before the beginning there is nothing."""
    assert previous_position(position) == max(position - 1, BEGINNING)


def test_a_position_fits_in_a_rowid() -> None:
    """Every position is a signed 64-bit integer."""
    assert END < 2**63
