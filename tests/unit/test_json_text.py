"""Reading JSON: what is let through is safe for every other parser, and nothing but white space changes."""

from __future__ import annotations

import json
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waooaw.events.errors import (
    EventTooLargeError,
    InvalidRequestError,
    MalformedJsonError,
    NumberOutOfRangeError,
    TooDeepError,
)
from waooaw.events.json_text import INTEGER_MAX, INTEGER_MIN, read_json

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(INTEGER_MIN, INTEGER_MAX)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda children: st.lists(children) | st.dictionaries(TEXT, children),
)


@given(value=VALUES, indent=st.none() | st.integers(0, 3), ascii_only=st.booleans())
def test_any_value_is_read(value: object, indent: int | None, *, ascii_only: bool) -> None:
    """Every JSON value is read as the standard library reads it, however it is laid out; its text loses white space."""
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()

    read, minified = read_json(text)

    assert read == value
    assert minified == json.dumps(value, separators=(",", ":"), ensure_ascii=ascii_only).encode()


@pytest.mark.parametrize(
    "spelling",
    ["1.0", "1.10", "1e5", "1E+5", "-0", "-0.0", "0.1000000000000000055511151231257827", "18446744073709551615"],
)
def test_numbers_keep_their_spelling(spelling: str) -> None:
    """A number is stored as it was written: a reader with another number type loses nothing to us."""
    _, minified = read_json(b'{ "n" : %b }' % spelling.encode())

    assert minified == b'{"n":%b}' % spelling.encode()


def test_strings_keep_their_spelling() -> None:
    """Escapes stay escapes and characters stay characters."""
    text = b'["\\u00e9","\xc3\xa9","\\/","/","\\n","a  b"]'

    assert read_json(text)[1] == text


BROKEN = {
    "nothing": b"",
    "white space": b" \n",
    "a word": b"event",
    "cut": b'{"a":',
    "a comma too many": b"[1,]",
    "a comma too few": b"[1 2]",
    "two texts": b"{} {}",
    "single quotes": b"{'a':1}",
    "no quotes": b"{a:1}",
    "a comment": b"[1/**/]",
    "NaN": b"[NaN]",
    "Infinity": b"[Infinity]",
    "-Infinity": b"[-Infinity]",
    "a leading zero": b"[01]",
    "a leading plus": b"[+1]",
    "hexadecimal": b"[0x10]",
    "no digits": b"[-]",
    "an empty fraction": b"[1.]",
    "an empty exponent": b"[1e]",
    "a control character": b'["\x01"]',
    "a line in a string": b'["\n"]',
    "an unknown escape": b'["\\x41"]',
    "half an escape": b'["\\u12"]',
    "a lone high surrogate": b'["\\ud800"]',
    "a lone low surrogate": b'["\\udc00"]',
    "surrogates the wrong way round": b'["\\udc00\\ud800"]',
    "a surrogate in UTF-8": b'["\xed\xa0\x80"]',
    "a byte that is not UTF-8": b'["\xff"]',
    "an overlong form": b'["\xc0\xaf"]',
    "Latin-1": b'["\xe9"]',
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "a NUL at the end": b"{}\x00",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_no_json_is_refused(text: bytes) -> None:
    """Everything outside RFC 8259 is refused as malformed, with a sentence."""
    with pytest.raises(MalformedJsonError) as refused:
        read_json(text)

    assert (refused.value.code, refused.value.status) == ("malformed_json", 400)
    assert refused.value.detail


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")])
def test_depth(opening: bytes, closing: bytes) -> None:
    """64 levels are read and 65 are not, of arrays, objects and both; so are a hundred thousand."""
    levels = opening.count(b"[") + opening.count(b"{")
    read_json(opening * (64 // levels) + b"1" + closing * (64 // levels))

    for count in (65, 100_000):
        with pytest.raises(TooDeepError) as refused:
            read_json(opening * (-(-count // levels)) + b"1" + closing * (-(-count // levels)))
        assert refused.value.code == "too_deep"


def test_width_is_not_depth() -> None:
    """Thousands of small objects beside one another are no nesting."""
    read_json(b"[" + b"{}," * 5000 + b"{}]")


def test_brackets_in_strings_are_not_depth() -> None:
    """A string of brackets is a string."""
    read_json(b'["' + b"[{" * 5000 + b'"]')


@pytest.mark.parametrize(
    ("number", "is_read"),
    [
        (2**64 - 1, True),
        (2**64, False),
        (-(2**63), True),
        (-(2**63) - 1, False),
        (10**400, False),
        ("1e308", True),
        ("1e309", False),
        ("-1e999", False),
        ("123456789012345678901234567890.5", True),
        ("1e-999", True),
    ],
)
@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        ("%s", "#"),
        ("[0,%s]", "#/1"),
        ('{"a":{"b":[1,{"c":%s}]}}', "#/a/b/1/c"),
        ('{"a/b":{"~":%s}}', "#/a~1b/~0"),
    ],
)
def test_numbers_that_fit_nowhere(number: object, text: str, pointer: str, *, is_read: bool) -> None:
    """What does not fit in 64 bits or a double is refused, and the place is named (RFC 6901)."""
    given_text = (text % number).encode()
    if is_read:
        read_json(given_text)
        return

    with pytest.raises(NumberOutOfRangeError) as refused:
        read_json(given_text)

    assert [violation.pointer for violation in refused.value.errors] == [pointer]
    assert refused.value.code == "number_out_of_range"


def test_digits_in_strings_are_no_numbers() -> None:
    """A long run of digits in a string, or in a key, is text."""
    assert read_json(b'{"99999999999999999999999":"99999999999999999999999"}')[0]


def test_the_bound_in_bytes_is_without_white_space() -> None:
    """White space costs nothing; a byte too many is refused."""
    text = b'{ "a" : "xxx" }'

    assert read_json(text, bytes_max=11)[1] == b'{"a":"xxx"}'
    with pytest.raises(EventTooLargeError):
        read_json(text, bytes_max=10)


@given(st.binary(max_size=200))
def test_any_bytes(text: bytes) -> None:
    """Any bytes are read or refused as the caller's fault; no other error leaves."""
    try:
        value, minified = read_json(text)
    except InvalidRequestError:
        return
    assert msgspec.json.decode(minified) == value


@given(VALUES, st.data())
def test_any_cut_text(value: object, data: st.DataObject) -> None:
    """A text that is cut, or has a byte changed, is read or refused; no other error leaves."""
    text = bytearray(json.dumps(value).encode())
    place = data.draw(st.integers(0, len(text) - 1))
    text[place] = data.draw(st.integers(0, 255))
    for changed in (bytes(text), bytes(text[:place])):
        try:
            read, minified = read_json(changed)
        except InvalidRequestError:
            continue
        assert read_json(minified) == (read, minified)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_are_exact(number: float) -> None:
    """A double comes out as the same double."""
    read, _ = read_json(repr(number).encode())

    assert isinstance(read, (int, float))
    assert read == number
    assert math.isfinite(read)
