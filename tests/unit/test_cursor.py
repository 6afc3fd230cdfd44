"""Cursors: an opaque token that is read back whole, or refused."""

from __future__ import annotations

import re
import string
from base64 import urlsafe_b64decode, urlsafe_b64encode
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waooaw.events.cursor import TOKEN_LENGTH, Cursor, decode_cursor, encode_cursor
from waooaw.events.errors import InvalidCursorError
from waooaw.events.position import END, Position

CURSORS = st.builds(Cursor, st.integers(0, 2**64 - 1), st.integers(0, END).map(Position))
SAMPLE = Cursor(0x0123456789ABCDEF, Position(1_849_708_196_659_200_000))


@given(st.text(), CURSORS)
def test_token_and_back(bus: str, cursor: Cursor) -> None:
    """Every cursor of every bus is read back from its token, which needs no escaping in a URL, header or JSON."""
    token = encode_cursor(bus, cursor)

    assert decode_cursor(bus, token) == cursor
    assert re.fullmatch(rf"[A-Za-z0-9_-]{{{TOKEN_LENGTH}}}", token)


def test_tokens_are_stable() -> None:
    """A token that a client kept is read by every later release."""
    assert encode_cursor("default", SAMPLE) == "AcUitTkBI0VniavN7xmre84AAAAAT3NvVw"


def test_every_mutation_of_one_character_is_refused() -> None:
    """Any one character that changed, to any other, makes the token invalid: never another place."""
    token = encode_cursor("default", SAMPLE)
    characters = string.printable + "é=\x00"
    for place, was in enumerate(token):
        for character in characters:
            if character != was:
                with pytest.raises(InvalidCursorError):
                    decode_cursor("default", token[:place] + character + token[place + 1 :])


@given(CURSORS, st.integers(0, TOKEN_LENGTH - 1), st.sampled_from(string.ascii_letters + string.digits + "-_"))
def test_any_mutation_of_any_token_is_refused(cursor: Cursor, place: int, character: str) -> None:
    """The same for any cursor."""
    token = encode_cursor("default", cursor)
    mutated = token[:place] + character + token[place + 1 :]
    if mutated != token:
        with pytest.raises(InvalidCursorError):
            decode_cursor("default", mutated)


@pytest.mark.parametrize(
    "change",
    [
        lambda token: token[:-1],
        lambda token: token + "A",
        lambda token: token + "=",
        lambda token: token + "==",
        lambda token: " " + token,
        lambda token: token + "\n",
        lambda token: token.lower(),
        lambda token: token[::-1],
        lambda _: "",
        lambda _: "x" * 10_000,
        lambda _: "é" * TOKEN_LENGTH,
    ],
)
def test_other_texts_are_refused(change: object) -> None:
    """What is longer, shorter or otherwise spelled is refused; the error repeats no more than a part of it."""
    assert callable(change)
    with pytest.raises(InvalidCursorError) as refused:
        decode_cursor("default", change(encode_cursor("default", SAMPLE)))

    assert (refused.value.code, refused.value.status) == ("invalid_cursor", 400)
    assert len(refused.value.detail) < 300


@given(st.text(max_size=60))
def test_any_text(text: str) -> None:
    """Any text is a cursor or is refused; nothing else leaves."""
    try:
        cursor = decode_cursor("default", text)
    except InvalidCursorError:
        return
    assert encode_cursor("default", cursor) == text


def test_a_cursor_of_another_bus_is_refused() -> None:
    """A token names its bus: given to another one it is an error, not a place."""
    with pytest.raises(InvalidCursorError, match="another bus"):
        decode_cursor("other", encode_cursor("default", SAMPLE))


def test_a_later_format_is_told() -> None:
    """A whole token of a format that this release does not know says so."""
    body = b"\x02" + urlsafe_b64decode(encode_cursor("default", SAMPLE) + "==")[1:-4]
    token = urlsafe_b64encode(body + crc32(body).to_bytes(4)).decode().rstrip("=")

    with pytest.raises(InvalidCursorError, match="format 2"):
        decode_cursor("default", token)
