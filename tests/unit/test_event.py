"""Events as agents hold them: to JSON and back, with any data."""

from __future__ import annotations

from base64 import b64encode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.event_samples import event_json
from waooaw.events.errors import InvalidEventError, InvalidRequestError
from waooaw.events.event import NO_DATA, Event, StoredEvent, split_data
from waooaw.events.position import Position

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
DATA = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda children: st.lists(children) | st.dictionaries(TEXT, children),
    max_leaves=20,
)
WORDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=20)
CORE = {"id", "source", "type", "datacontenttype", "dataschema", "subject", "time", "data", "specversion"}
RULED = CORE | {"priority", "deliverat", "expirytime", "partitionkey", "correlationid", "causationid", "traceparent"}

EVENTS = st.builds(
    Event,
    type=WORDS,
    source=WORDS,
    id=st.none() | WORDS,
    time=st.none() | st.just("2026-01-31T12:00:00.5+01:00"),
    subject=st.none() | WORDS,
    datacontenttype=st.none() | st.sampled_from(["application/json", "text/plain; charset=utf-8"]),
    dataschema=st.none() | st.just("urn:schema:1"),
    extensions=st.dictionaries(
        WORDS.filter(lambda name: name not in RULED), WORDS | st.booleans() | st.integers(-(2**31), 2**31 - 1)
    ),
    data=st.just(NO_DATA) | DATA | st.binary(),
)


@given(EVENTS)
def test_to_json_and_back(event: Event) -> None:
    """An event comes back from its JSON as it was, whatever its data."""
    assert Event.from_json(event.to_json()) == event


@given(EVENTS)
def test_a_stored_event_is_the_event(event: Event) -> None:
    """What the log holds is decoded to the event that was sent."""
    stored = StoredEvent(Position(1), event.type, event.source, None, event.to_json())

    assert stored.event == event


def test_json_form() -> None:
    """The JSON format of CloudEvents: attributes and extensions side by side, nothing that is not set."""
    event = Event(type="t", source="s", id="1", extensions={"priority": "low", "n": 1, "flag": True}, data={"a": None})

    assert msgspec.json.decode(event.to_json()) == {
        "specversion": "1.0",
        "id": "1",
        "source": "s",
        "type": "t",
        "priority": "low",
        "n": 1,
        "flag": True,
        "data": {"a": None},
    }


def test_no_data_is_not_null() -> None:
    """An event without data has no member ``data``; one with ``None`` has ``null``."""
    without, null = Event(type="t", source="s"), Event(type="t", source="s", data=None)

    assert b'"data"' not in without.to_json()
    assert b'"data":null' in null.to_json()
    assert Event.from_json(without.to_json()).data is NO_DATA
    assert Event.from_json(null.to_json()).data is None


def test_bytes_are_base64() -> None:
    """Binary data travels as ``data_base64`` and comes back as bytes, also where there are none."""
    assert b'"data_base64":"AP8="' in Event(type="t", source="s", data=b"\x00\xff").to_json()
    assert Event.from_json(event_json(data_base64="")).data == b""


@pytest.mark.parametrize("text", [b"[]", b"1", b"null", b'"x"', b"{", b"\xff", b'{"type":1,"source":"s"}', b"{}"])
def test_what_is_no_event_is_refused(text: bytes) -> None:
    """Bytes that are no event are the caller's fault, as an error of ours."""
    with pytest.raises(InvalidRequestError):
        Event.from_json(text)


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"data": 1, "data_base64": "AA=="}, "conflicting_data"),
        ({"data": None, "data_base64": "AA=="}, "conflicting_data"),
        ({"data_base64": 1}, "not_a_string"),
        ({"data_base64": "A"}, "not_base64"),
        ({"data_base64": "AA=A"}, "not_base64"),
        ({"data_base64": "A A="}, "not_base64"),
        ({"data_base64": "A-_="}, "not_base64"),
        ({"data_base64": "é"}, "not_base64"),
    ],
)
def test_bad_data(members: dict[str, object], code: str) -> None:
    """``data`` and ``data_base64`` exclude one another, and the latter is Base64 of RFC 4648 section 4."""
    with pytest.raises(InvalidEventError) as refused:
        split_data(members)

    assert [(violation.pointer, violation.code) for violation in refused.value.errors] == [("#/data_base64", code)]


def test_null_attributes_are_unset() -> None:
    """``null`` is as good as not given (JSON format 1.0.2 section 2.2); ``data_base64: null`` too."""
    event = Event.from_json(event_json(id=None, subject=None, ext=None, data_base64=None, data=5))

    assert event == Event(type="task.created", source="agent/a", data=5)


@given(st.binary())
def test_binary_data(data: bytes) -> None:
    """Any bytes are what comes out of their Base64."""
    assert split_data({"data_base64": b64encode(data).decode()}) == ({}, data)


def test_events_are_values() -> None:
    """Equal events are equal, and none can be changed."""
    event = Event(type="t", source="s")

    assert event == Event(type="t", source="s")
    with pytest.raises(AttributeError):
        event.type = "u"  # type: ignore[misc]  # what the test is about
