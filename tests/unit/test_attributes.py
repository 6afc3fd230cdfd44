"""The rules of attributes: what CloudEvents 1.0.2 allows, less what the bus cannot route."""

from __future__ import annotations

import pytest

from waooaw.events.attributes import TYPE_LENGTH_MAX, event_error, find_violations, is_attribute_name
from waooaw.events.errors import InvalidEventError, TypeUnsupportedError

VALID: dict[str, object] = {"type": "task.created", "source": "agent/a"}

ALLOWED: list[tuple[str, object]] = [
    ("type", "a"),
    ("type", "A" * TYPE_LENGTH_MAX),
    ("type", "com.example/v1:made_by#1~!$%&()+,;<=>@^`{|}"),
    ("source", "a"),
    ("source", "https://example.com/a?b=c#d"),
    ("source", "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66"),
    ("source", "/cloudevents/spec/pull/123"),
    ("source", "agent%20a"),
    ("id", "1"),
    ("id", "é ☃ \U0001f600"),
    ("id", " "),
    ("specversion", "1.0"),
    ("subject", "a b/c"),
    ("time", "2026-01-31T12:00:00Z"),
    ("time", "2026-01-31t12:00:00.123456789z"),
    ("time", "2026-01-31T12:00:00+05:30"),
    ("datacontenttype", "application/json"),
    ("datacontenttype", 'text/plain; charset="utf-8" ; q=1'),
    ("dataschema", "https://example.com/schema#v1"),
    ("dataschema", "urn:a"),
    ("priority", "critical"),
    ("priority", "low"),
    ("partitionkey", "customer 7"),
    ("correlationid", "c"),
    ("expirytime", "2026-01-31T12:00:00Z"),
    ("deliverat", "2026-01-31T12:00:00+01:00"),
    ("ext1", "text"),
    ("ext1", ""),
    ("ext1", True),
    ("ext1", 0),
    ("ext1", 2**31 - 1),
    ("ext1", -(2**31)),
    ("averylongnameofanextensionthatisstillallowed", "x"),
]

REFUSED: list[tuple[str, object, str]] = [
    ("type", "", "empty"),
    ("type", 1, "not_a_string"),
    ("type", ["a"], "not_a_string"),
    ("type", "a b", "type_unsupported"),
    ("type", "a*", "type_unsupported"),
    ("type", "a?", "type_unsupported"),
    ("type", "a[b]", "type_unsupported"),
    ("type", "a\\b", "type_unsupported"),
    ("type", 'a"b', "type_unsupported"),
    ("type", "a'b", "type_unsupported"),
    ("type", "é", "type_unsupported"),
    ("type", "a\n", "type_unsupported"),
    ("type", "a" * (TYPE_LENGTH_MAX + 1), "type_unsupported"),
    ("source", "", "empty"),
    ("source", 1, "not_a_string"),
    ("source", "a b", "not_a_uri_reference"),
    ("source", "a\n", "not_a_uri_reference"),
    ("source", "é", "not_a_uri_reference"),
    ("source", "100%", "not_a_uri_reference"),
    ("source", "a%zz", "not_a_uri_reference"),
    ("source", "a|b", "not_a_uri_reference"),
    ("id", "", "empty"),
    ("id", 7, "not_a_string"),
    ("id", "a\x00", "forbidden_character"),
    ("id", "a\x85", "forbidden_character"),
    ("id", "\ufdd0", "forbidden_character"),
    ("id", "\U0001ffff", "forbidden_character"),
    ("id", "\ud800", "forbidden_character"),
    ("specversion", "0.3", "unsupported_version"),
    ("specversion", "1.0.2", "unsupported_version"),
    ("specversion", 1.0, "unsupported_version"),
    ("subject", "", "empty"),
    ("subject", "a\tb", "forbidden_character"),
    ("time", "yesterday", "not_a_timestamp"),
    ("time", "2026-01-31", "not_a_timestamp"),
    ("time", "2026-02-30T12:00:00Z", "not_a_timestamp"),
    ("time", "2026-01-31T12:00:00", "not_a_timestamp"),
    ("time", 1769860800, "not_a_string"),
    ("datacontenttype", "json", "not_a_media_type"),
    ("datacontenttype", "", "not_a_media_type"),
    ("datacontenttype", "a/b;", "not_a_media_type"),
    ("datacontenttype", "a/b; c=\r\nd", "not_a_media_type"),
    ("dataschema", "/relative", "not_a_uri"),
    ("dataschema", "", "not_a_uri"),
    ("dataschema", "https:", "not_a_uri"),
    ("dataschema", "https://a b", "not_a_uri"),
    ("priority", "urgent", "not_a_priority"),
    ("priority", 1, "not_a_priority"),
    ("priority", ["low"], "not_a_priority"),
    ("deliverat", "tomorrow", "not_a_timestamp"),
    ("deliverat", 1769860800, "not_a_string"),
    ("expirytime", "soon", "not_a_timestamp"),
    ("partitionkey", "", "empty"),
    ("ext1", 1.5, "invalid_value"),
    ("ext1", 2**31, "invalid_value"),
    ("ext1", -(2**31) - 1, "invalid_value"),
    ("ext1", {"a": 1}, "invalid_value"),
    ("ext1", [1], "invalid_value"),
    ("ext1", "a\x07", "forbidden_character"),
    ("Ext", "x", "invalid_name"),
    ("my-ext", "x", "invalid_name"),
    ("my_ext", "x", "invalid_name"),
    ("", "x", "invalid_name"),
    ("é", "x", "invalid_name"),
    ("a b", "x", "invalid_name"),
]


@pytest.mark.parametrize(("name", "value"), ALLOWED)
def test_allowed(name: str, value: object) -> None:
    """A value that the specification allows, and the bus can route, passes."""
    assert find_violations(VALID | {name: value}) == []


@pytest.mark.parametrize(("name", "value", "code"), REFUSED)
def test_refused(name: str, value: object, code: str) -> None:
    """A value outside its rule is named with its pointer and a stable code; no other attribute is."""
    (violation,) = find_violations(VALID | {name: value})

    assert (violation.pointer, violation.code) == (f"#/{name}", code)
    assert violation.detail


def test_every_violation_is_found() -> None:
    """All that is wrong with an event is told at once, in the order of its attributes."""
    violations = find_violations({"id": "", "time": "x", "Bad": 1, "deliverat": "x"})

    assert [(violation.pointer, violation.code) for violation in violations] == [
        ("#/source", "required"),
        ("#/type", "required"),
        ("#/id", "empty"),
        ("#/time", "not_a_timestamp"),
        ("#/Bad", "invalid_name"),
        ("#/deliverat", "not_a_timestamp"),
    ]


def test_a_pointer_escapes_and_is_bounded() -> None:
    """A name with slashes and tildes is escaped (RFC 6901), and a long one is cut."""
    violations = find_violations(VALID | {"a/~b": 1, "X" * 1000: 1})

    assert [violation.pointer for violation in violations] == ["#/a~1~0b", "#/" + "X" * 64]


@pytest.mark.parametrize(
    ("attributes", "kind"),
    [
        ({"type": "a*"}, TypeUnsupportedError),
        ({"id": ""}, InvalidEventError),
        ({"type": "a*", "id": ""}, InvalidEventError),
        ({"type": "a*", "deliverat": "x"}, InvalidEventError),
    ],
)
def test_the_error_is_the_most_telling(attributes: dict[str, object], kind: type[Exception]) -> None:
    """An event with one special fault has that fault's code; with several kinds it is just invalid."""
    error = event_error(find_violations(VALID | attributes))

    assert type(error) is kind
    assert len(error.errors) == len(attributes)


@pytest.mark.parametrize(("name", "is_name"), [("a", True), ("a1", True), ("1", True), ("", False), ("A", False)])
def test_names(name: str, *, is_name: bool) -> None:
    """Names are lower-case letters and digits of ASCII; other scripts have digits too."""
    assert is_attribute_name(name) is is_name
    assert not is_attribute_name(name + "\u0661")
