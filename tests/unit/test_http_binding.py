"""Binary mode: attributes in headers, data in the body, and back (CloudEvents HTTP binding 1.0.2 section 3.1)."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.event_samples import acceptance, event_json
from waooaw.events.errors import (
    EventTooLargeError,
    InvalidEventError,
    InvalidRequestError,
    MalformedJsonError,
    NumberOutOfRangeError,
    TooDeepError,
    WowEventError,
)
from waooaw.events.event import Entry
from waooaw.events.http_binding import read_binary, write_binary

ACCEPTANCE = acceptance()
HEADERS = [("ce-type", "task.created"), ("ce-source", "agent/a"), ("ce-id", "1"), ("ce-specversion", "1.0")]

WORDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=20)
ALLOWED = st.characters(exclude_categories=["Cc", "Cn", "Cs"])
VALUES = st.text(ALLOWED, min_size=1, max_size=30)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda children: st.lists(children) | st.dictionaries(TEXT, children),
    max_leaves=10,
)


def read(
    *headers: tuple[str, str], content_type: str | None = None, body: bytes = b"", key: str | None = None
) -> Entry:
    return read_binary(ACCEPTANCE, [*HEADERS, *headers], content_type, body, idempotency_key=key)


def decoded(entry: Entry) -> Any:  # noqa: ANN401 - any JSON
    return msgspec.json.decode(entry.body)


@pytest.mark.parametrize(
    ("content_type", "body", "member", "value"),
    [
        ("application/json", b'{ "a" : [1, 2.50] }', "data", {"a": [1, 2.5]}),
        ("application/json; charset=utf-8", b"null", "data", None),
        ("application/vnd.x+json", b'"text"', "data", "text"),
        ("text/json", b"1", "data", 1),
        ("text/plain", "é\n".encode(), "data", "é\n"),
        ("text/csv; charset=utf-8", b"a,b", "data", "a,b"),
        ("text/plain", b"\xff\xfe", "data_base64", "//4="),
        ("application/octet-stream", b"abc", "data_base64", "YWJj"),
        ("image/png", b"\x89PNG", "data_base64", "iVBORw=="),
        (None, b"abc", "data_base64", "YWJj"),
    ],
)
def test_data(content_type: str | None, body: bytes, member: str, value: object) -> None:
    """JSON media types carry JSON, other text a string, everything else bytes; the type is kept as it was spelled."""
    event = decoded(read(content_type=content_type, body=body))

    assert event[member] == value
    assert event.get("datacontenttype") == content_type
    assert ({"data", "data_base64"} & set(event)) == {member}


def test_no_body_is_no_data() -> None:
    """An empty body is an event without data, whatever its type."""
    for content_type in (None, "application/json", "text/plain"):
        assert {"data", "data_base64"}.isdisjoint(decoded(read(content_type=content_type)))


def test_json_in_the_body_keeps_its_spelling() -> None:
    """Numbers and escapes of a JSON body are stored as they were sent."""
    entry = read(content_type="application/json", body=b'{"n": 1.50, "s": "\\u00e9"}')

    assert b'"data":{"n":1.50,"s":"\\u00e9"}' in entry.body


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("plain", "plain"),
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € \U0001f600"),
        ('"quoted"', "quoted"),
        (r'"a \"b\" \\c"', 'a "b" \\c'),
        ('"quoted%20and%20encoded"', "quoted and encoded"),
        ("100%25", "100%"),
        ("50%", "50%"),
        ("%zz", "%zz"),
        ('"', '"'),
        ("é", "é"),
        ("%e2%82%ac", "€"),
    ],
)
def test_header_values(header: str, value: str) -> None:
    """Quotes and percent-encoding are undone (section 3.1.3.2); what is neither stays."""
    assert decoded(read(("ce-subject", header)))["subject"] == value


def test_headers_have_no_case() -> None:
    """Header names are compared without case, and only those with the prefix are attributes."""
    entry = read(("CE-Subject", "s"), ("Ce-CorrelationId", "c"), ("x-other", "o"), ("cesar", "x"))

    assert decoded(entry)["subject"] == "s"
    assert entry.correlationid == "c"
    assert {"other", "cesar", "sar"}.isdisjoint(decoded(entry))


def test_what_is_missing_is_filled_in() -> None:
    """As in JSON: ``id``, ``time`` and ``specversion``; and a key is the id."""
    headers = HEADERS[:2]

    entry = read_binary(ACCEPTANCE, headers, None, b"")
    keyed = read_binary(ACCEPTANCE, headers, None, b"", idempotency_key="k")

    assert {"id", "time", "specversion"} <= set(decoded(entry))
    assert (keyed.id, keyed.id_given) == ("k", True)


@pytest.mark.parametrize(
    ("headers", "pointer", "code"),
    [
        ([("ce-data", "x")], "#/data", "reserved_name"),
        ([("ce-datacontenttype", "text/plain")], "#/datacontenttype", "reserved_name"),
        ([("ce-my-ext", "x")], "#/my-ext", "invalid_name"),
        ([("ce-", "x")], "#/", "invalid_name"),
        ([("ce-type", "again")], "#/type", "repeated_attribute"),
        ([("CE-ID", "again")], "#/id", "repeated_attribute"),
        ([("ce-subject", "%ff")], "#/subject", "not_utf8"),
        ([("ce-subject", "a\udcff")], "#/subject", "not_utf8"),
        ([("ce-subject", "%00")], "#/subject", "forbidden_character"),
        ([("ce-subject", "")], "#/subject", "empty"),
        ([("ce-time", "yesterday")], "#/time", "not_a_timestamp"),
    ],
)
def test_bad_headers(headers: list[tuple[str, str]], pointer: str, code: str) -> None:
    """A header that breaks a rule is named by its attribute."""
    with pytest.raises(InvalidEventError) as refused:
        read(*headers)

    assert [(violation.pointer, violation.code) for violation in refused.value.errors] == [(pointer, code)]


@pytest.mark.parametrize(
    ("content_type", "body", "kind"),
    [
        ("application/json", b"{", MalformedJsonError),
        ("application/json", b"\xff", MalformedJsonError),
        ("application/json", b"1e999", NumberOutOfRangeError),
        ("application/json", b"[" * 65 + b"]" * 65, TooDeepError),
        ("text/plain", b"x" * 300_000, EventTooLargeError),
        ("text/plain; \r\n", b"", InvalidEventError),
        ("é/plain", b"", InvalidEventError),
    ],
)
def test_bad_bodies(content_type: str, body: bytes, kind: type[WowEventError]) -> None:
    """A body that is not what its type says, or too much of it, is refused."""
    with pytest.raises(kind):
        read(content_type=content_type, body=body)


@given(
    extensions=st.dictionaries(WORDS.map(lambda name: "x" + name), VALUES, max_size=5),
    subject=st.none() | VALUES,
    data=st.one_of(
        st.tuples(st.just("application/json"), st.just("data"), JSON),
        st.tuples(st.just("text/plain; charset=utf-8"), st.just("data"), TEXT.filter(bool)),
        st.tuples(st.just("image/png"), st.just("data_base64"), st.sampled_from(["AAEC", "/w=="])),
        st.just((None, None, None)),
    ),
)
def test_written_and_read_back(
    extensions: dict[str, str], subject: str | None, data: tuple[str | None, str | None, object]
) -> None:
    """An event written as headers and body is read back as the same event; any proxy passes its headers."""
    content_type, member, value = data
    members: dict[str, object] = {"id": "1", "time": "2026-01-31T12:00:00Z", "specversion": "1.0", **extensions}
    members |= {} if subject is None else {"subject": subject}
    members |= {} if content_type is None else {"datacontenttype": content_type}
    members |= {} if member is None else {member: value}
    stored = ACCEPTANCE.one(event_json(**members)).body

    headers, body = write_binary(stored)

    assert all(
        line.isascii() and line.isprintable() and " " not in line
        for name, line in headers.items()
        if name != "Content-Type"
    )
    assert read_binary(ACCEPTANCE, headers.items(), headers.get("Content-Type"), body).body == _in_order(stored)


def _in_order(body: bytes) -> bytes:
    """Return the event with its members in the order in which binary mode reads them."""
    members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    last = ("datacontenttype", "data", "data_base64")
    ordered = {name: raw for name, raw in members.items() if name not in last}
    ordered |= {name: members[name] for name in last if name in members}
    return msgspec.json.encode(ordered)


def test_values_that_are_not_text_are_written_as_text() -> None:
    """Booleans and integers are spelled as the type system says (section "Type System"): ``true``, ``-7``."""
    headers, body = write_binary(ACCEPTANCE.one(event_json(flag=True, off=False, number=-7)).body)

    assert (headers["ce-flag"], headers["ce-off"], headers["ce-number"]) == ("true", "false", "-7")
    assert body == b""


def test_json_data_without_a_type_gets_one() -> None:
    """JSON that was published without a media type is written as ``application/json``."""
    headers, body = write_binary(ACCEPTANCE.one(event_json(data={"a": 1})).body)

    assert (headers["Content-Type"], body) == ("application/json", b'{"a":1}')


@pytest.mark.parametrize(
    ("members", "body"),
    [
        ({"datacontenttype": "text/plain", "data": "é"}, "é".encode()),
        ({"datacontenttype": "text/plain", "data": {"a": 1}}, b'{"a":1}'),
        ({"datacontenttype": "application/json", "data": "text"}, b'"text"'),
        ({"data": "text"}, b'"text"'),
        ({"data": None}, b"null"),
        ({"data_base64": "AP8="}, b"\x00\xff"),
        ({"datacontenttype": "application/json", "data_base64": "eyB9"}, b"{ }"),
    ],
)
def test_written_bodies(members: dict[str, object], body: bytes) -> None:
    """The body is the data itself: text for text, JSON for JSON, bytes for bytes."""
    assert write_binary(ACCEPTANCE.one(event_json(**members)).body)[1] == body


@given(
    st.lists(st.tuples(st.text(max_size=10).map(lambda name: "ce-" + name), st.text(max_size=20))),
    st.binary(max_size=50),
)
def test_any_headers(headers: list[tuple[str, str]], body: bytes) -> None:
    """Any headers and body are accepted or refused in words."""
    for content_type in (None, "application/json", "text/plain"):
        with suppress(InvalidRequestError):
            read_binary(ACCEPTANCE, headers, content_type, body)
