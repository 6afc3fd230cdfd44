"""``from`` and ``to``: every form of a place, and what it means against a log."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waooaw.events.bound import EARLIEST, NOW, After, At, Bound, parse_bound, resolve_end, resolve_start
from waooaw.events.cursor import Cursor, encode_cursor
from waooaw.events.epoch import Epoch, History
from waooaw.events.errors import InvalidCursorError, InvalidRequestError
from waooaw.events.position import BEGINNING, END, MILLISECONDS_MAX, Position, format_position, make_position

NOON_MS = 1_769_860_800_000  # 2026-01-31T12:00:00Z
HISTORY = History((Epoch(1, BEGINNING), Epoch(2, Position(100))), Position(300), Position(50))


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("2026-01-31T12:00:00Z", NOON_MS),
        ("2026-01-31t12:00:00z", NOON_MS),
        ("2026-01-31T12:00:00.123Z", NOON_MS + 123),
        ("2026-01-31T12:00:00.123999Z", NOON_MS + 123),
        ("2026-01-31T13:00:00+01:00", NOON_MS),
        ("2026-01-31T13:00:00 01:00", NOON_MS),
        ("2026-01-31T11:00:00-01:00", NOON_MS),
        ("1969-12-31T23:59:59Z", 0),
        ("0001-01-01T00:00:00Z", 0),
        ("9999-12-31T23:59:59Z", MILLISECONDS_MAX),
    ],
)
def test_times(text: str, milliseconds: int) -> None:
    """A time is the first position of its millisecond, in the range of a log; a space may stand where ``+`` belongs."""
    assert parse_bound("default", text) == At(make_position(milliseconds), is_time=True)


def test_words() -> None:
    """The two names."""
    assert parse_bound("default", "earliest") is EARLIEST
    assert parse_bound("default", "now") is NOW


@given(st.integers(0, END).map(Position))
def test_positions(position: Position) -> None:
    """A position names itself."""
    assert parse_bound("default", format_position(position)) == At(position)


@given(st.integers(0, 2**64 - 1), st.integers(0, END).map(Position))
def test_cursors(epoch: int, position: Position) -> None:
    """A cursor names what comes after it, and is of its bus."""
    cursor = Cursor(epoch, position)
    token = encode_cursor("default", cursor)

    assert parse_bound("default", token) == After(cursor)
    with pytest.raises(InvalidCursorError):
        parse_bound("other", token)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "latest",
        "EARLIEST",
        "2026-01-31",
        "2026-01-31 12:00:00Z",
        "12:00",
        "15m",
        "-1",
        "1764019200",
        "2026-13-01T00:00:00Z",
    ],
)
def test_what_is_no_place(text: str) -> None:
    """Anything else is refused, with 400."""
    with pytest.raises(InvalidRequestError) as refused:
        parse_bound("default", text)

    assert refused.value.status == 400


@given(st.text(max_size=60))
def test_any_text(text: str) -> None:
    """Any text is a place or is refused; nothing else leaves."""
    with suppress(InvalidRequestError):
        parse_bound("default", text)


@pytest.mark.parametrize(
    ("bound", "place", "reason"),
    [
        (EARLIEST, 50, None),
        (NOW, 300, None),
        (At(Position(120)), 119, None),
        (At(Position(51)), 50, None),
        (At(Position(50)), 50, "retention"),
        (At(Position(0)), 50, "retention"),
        (At(Position(900)), 899, None),
        (At(Position(120), is_time=True), 119, None),
        (At(Position(10), is_time=True), 50, None),
        (At(Position(0), is_time=True), 50, None),
        (At(Position(900), is_time=True), 899, None),
        (After(Cursor(2, Position(120))), 120, None),
        (After(Cursor(1, Position(99))), 99, None),
        (After(Cursor(1, Position(101))), 100, "epoch"),
        (After(Cursor(2, Position(20))), 50, "retention"),
        (After(Cursor(7, Position(120))), 50, "epoch"),
    ],
)
def test_where_a_read_starts(bound: Bound, place: int, reason: str | None) -> None:
    """A start is the place after which reading goes on; what is missing after a place that was named is a gap."""
    position, gap = resolve_start(bound, HISTORY)

    assert (position, None if gap is None else gap.reason) == (place, reason)
    assert gap is None or gap.end.position == place


@pytest.mark.parametrize(
    ("bound", "place"),
    [
        (EARLIEST, 0),
        (NOW, 300),
        (At(Position(120)), 119),
        (At(Position(120), is_time=True), 119),
        (At(Position(0)), 0),
        (After(Cursor(9, Position(120))), 120),
    ],
)
def test_where_a_read_ends(bound: Bound, place: int) -> None:
    """An end is exclusive, but for a cursor, which stands between two events."""
    assert resolve_end(bound, HISTORY) == place
