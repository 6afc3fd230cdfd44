"""Media types and the choice between them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waooaw.events.errors import UnsupportedMediaTypeError
from waooaw.events.media_type import HEADER_CHARACTERS_MAX, MediaType, negotiate

JSON = "application/json"
TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
METRICS = (JSON, TEXT, OPENMETRICS)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
"""What Prometheus 3 sends: types with a parameter that is not offered, then older ones that are."""

TOKENS = st.text("abcxyzABC019!#$&^_.+-", min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("text", "essence", "parameters"),
    [
        ("application/json", "application/json", ()),
        (" Application/JSON\t", "application/json", ()),
        ("text/plain;charset=UTF-8", "text/plain", (("charset", "UTF-8"),)),
        ('text/plain \t; Charset="utf-8" ;', "text/plain", (("charset", "utf-8"),)),
        ('a/b; x="q;,\\"\\\\é"; y=', "", None),
        ('a/b; x="q;,\\"\\\\é"; y=1', "a/b", (("x", 'q;,"\\é'), ("y", "1"))),
        ('a/b; x=""', "a/b", (("x", ""),)),
        ("a/b;;; x=1;", "a/b", (("x", "1"),)),
        ("a/b; x=1; X=2", "a/b", (("x", "1"),)),
        ("", "", None),
        ("json", "", None),
        ("a/", "", None),
        ("/b", "", None),
        ("a/b/c", "", None),
        ("a /b", "", None),
        ("a/b, c/d", "", None),
        ("a/b,", "", None),
        ("a/b x=1", "", None),
        ("a/b; x", "", None),
        ("a/b; x =1", "", None),
        ("a/b; x= 1", "", None),
        ('a/b; x="1', "", None),
        ('a/b; x="1"2', "", None),
        ('a/b; x="\x00"', "", None),
        ("a/b\n", "", None),
        ("é/b", "", None),
        ("a/b; x=" + "1" * HEADER_CHARACTERS_MAX, "", None),
    ],
)
def test_the_grammar(text: str, essence: str, parameters: tuple[tuple[str, str], ...] | None) -> None:
    """What RFC 9110 calls a media type is read, names in lower case; anything else is refused as unsupported."""
    if parameters is None:
        with pytest.raises(UnsupportedMediaTypeError):
            MediaType.parse(text)
    else:
        parsed = MediaType.parse(text)
        assert (essence, parameters) == (parsed.essence, parsed.parameters)


@given(kind=TOKENS, subtype=TOKENS, name=TOKENS, value=st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_quoting_is_undone(kind: str, subtype: str, name: str, value: str) -> None:
    """Whatever printable text a quoted string carries comes out as it was before quoting."""
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    parsed = MediaType.parse(f'{kind}/{subtype}; {name}="{quoted}"')
    assert value == parsed.parameter(name.lower())
    assert f"{kind}/{subtype}".lower() == parsed.essence


@pytest.mark.parametrize(
    ("text", "is_json", "is_text"),
    [
        ("application/json; charset=utf-8", True, False),
        ("application/cloudevents+JSON", True, False),
        ("text/json", True, True),
        ("text/csv", False, True),
        ("application/jsonp", False, False),
        ("application/x-ndjson", False, False),
        ("application/json+xml", False, False),
    ],
)
def test_kinds(text: str, is_json: bool, is_text: bool) -> None:  # noqa: FBT001 - a row of a table
    """JSON is told by the subtype or its suffix, text by the type."""
    parsed = MediaType.parse(text)
    assert (is_json, is_text) == (parsed.is_json, parsed.is_text)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("text/html, */*;q=0.1", JSON),
        ("application/json", JSON),
        ("APPLICATION/JSON", JSON),
        ("text/plain", TEXT),
        ("text/*", TEXT),
        ("text/*;q=0.5, application/json;q=0.4", TEXT),
        ("*/*, application/json;q=0", TEXT),
        ("application/*;q=0.2, application/openmetrics-text", OPENMETRICS),
        ("*/*;q=0.9, application/json;q=0.1", TEXT),
        ("text/plain;version=0.0.4", TEXT),
        ('text/plain;version="0.0.4"', TEXT),
        ("text/plain;version=1.0.0", None),
        ("text/plain;charset=UTF-8", TEXT),
        ("text/plain, text/plain;version=0.0.4;q=0", None),
        ("text/plain;q=0.2;version=0.0.4, application/json;q=0.1", TEXT),
        (", ,text/plain, ,", TEXT),
        ("application/json;q=0.001, text/plain;q=0.002", TEXT),
        ("image/png", None),
        ("application/json;q=0", None),
        ("application/json;q=0.000", None),
        ("*/json", None),
        ("application/json;q=2", None),
        ("application/json;q=1.001", None),
        ("application/json;q=0.1234", None),
        ("application/json;q=-1", None),
        ("application/json;q=", None),
        ("application/json, text", None),
        ("application/json text/plain", None),
        (
            PROMETHEUS_3,
            TEXT,
        ),
        ("application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75", OPENMETRICS),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", JSON),
    ],
)
def test_the_choice(accept: str | None, expected: str | None) -> None:
    """Quality, then the order offered, decides; the most specific range speaks for a type; 0 and errors exclude."""
    assert expected == negotiate(accept, METRICS)


def test_the_order_of_the_header_does_not_matter() -> None:
    """Between types of one quality the service's order decides, also where the client names another first."""
    assert negotiate("text/plain, application/json", [JSON, TEXT]) == JSON
    assert negotiate("application/json, text/plain", [TEXT, JSON]) == TEXT


def test_nothing_offered() -> None:
    """Where nothing is offered nothing is chosen."""
    assert negotiate(None, []) is None


@given(st.text('ab/*;q=0.1, "\\', max_size=30))
def test_any_header_gets_an_answer(accept: str) -> None:
    """No header makes negotiation fail: the answer is an offer or None."""
    assert negotiate(accept, ["a/b", "b/a"]) in {"a/b", "b/a", None}
