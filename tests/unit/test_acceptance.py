"""Acceptance: what publishers send becomes entries, or errors that say where and why; nothing else is changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.event_samples import acceptance, event_json
from waooaw.events.acceptance import Acceptance, AcceptanceLimits, Accepted, content_of
from waooaw.events.errors import (
    BatchTooLargeError,
    EventTooLargeError,
    InvalidEventError,
    InvalidParameterError,
    InvalidRequestError,
    MalformedJsonError,
    NumberOutOfRangeError,
    TooDeepError,
    TypeUnsupportedError,
    WowEventError,
)
from waooaw.events.event import Entry
from waooaw.events.identifier import RandomIdentifiers
from waooaw.events.testing import ManualClock
from waooaw.events.timestamp import format_timestamp

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
DATA = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda children: st.lists(children) | st.dictionaries(TEXT, children),
)
REAL_EVENTS = (Path(__file__).parents[1] / "data" / "github" / "events.ndjson").read_bytes()

FILLED = {
    "specversion": "1.0",
    "id": "00000000-0000-7000-8000-000000000001",
    "time": format_timestamp(ManualClock().now_ms()),
}


@pytest.fixture
def accept() -> Acceptance:
    return acceptance()


def decoded(entry: Entry) -> Any:  # noqa: ANN401 - any JSON
    return msgspec.json.decode(entry.body)


# What is filled in, and what stays -----------------------------------------------------------------------------------


def test_what_is_missing_is_filled_in(accept: Acceptance) -> None:
    """``id``, ``time`` of acceptance and ``specversion`` are added; what the publisher gave stays."""
    entry = accept.one(event_json())

    assert decoded(entry) == FILLED | {"type": "task.created", "source": "agent/a"}
    assert (entry.id_given, entry.time_given) == (False, False)


def test_filled_times_follow_the_clock() -> None:
    """Events of one millisecond share their time; the next millisecond, and a clock set back, are seen at once."""
    clock = ManualClock(now_ms=0)
    accept = acceptance(clock=clock)

    def filled() -> str:
        return str(decoded(accept.one(event_json()))["time"])

    assert [filled(), filled()] == ["1970-01-01T00:00:00.000Z"] * 2
    clock.advance(0.001)
    assert [filled(), filled()] == ["1970-01-01T00:00:00.001Z"] * 2
    clock.set_wall(0)
    assert filled() == "1970-01-01T00:00:00.000Z"


def test_what_is_given_is_not_changed(accept: Acceptance) -> None:
    """An event that has everything is stored as it was sent, byte by byte."""
    text = (
        b'{"id":"1","time":"2026-01-31T12:00:00+01:00","specversion":"1.0","type":"t","source":"s","x":1,"data":1.50}'
    )

    entry = accept.one(text)

    assert entry.body == text
    assert (entry.id, entry.id_given, entry.time_given) == ("1", True, True)


def test_null_attributes_go(accept: Acceptance) -> None:
    """A ``null`` attribute is not stored and is filled in where one is missing; ``data: null`` stays."""
    entry = accept.one(event_json(id=None, time=None, subject=None, ext=None, data_base64=None, data=None))

    assert {"subject", "ext", "data_base64"}.isdisjoint(decoded(entry))
    assert decoded(entry)["data"] is None
    assert decoded(entry)["id"] == FILLED["id"]
    assert not entry.id_given


def test_what_the_bus_looks_at(accept: Acceptance) -> None:
    """The entry names type, source, id and conversation as the body has them."""
    entry = accept.one(event_json(type="a.b", source="urn:x", id="i", correlationid="c"))

    assert (entry.type, entry.source, entry.id, entry.correlationid) == ("a.b", "urn:x", "i", "c")


@given(data=DATA, indent=st.none() | st.integers(0, 2), ascii_only=st.booleans())
def test_any_data_survives(data: object, indent: int | None, *, ascii_only: bool) -> None:
    """Any JSON value in ``data`` is stored with the bytes it was sent with, apart from white space."""
    members = {"type": "t", "source": "s", "data": data}

    entry = _SHARED.one(json.dumps(members, indent=indent, ensure_ascii=ascii_only).encode())

    stored = json.dumps(data, separators=(",", ":"), ensure_ascii=ascii_only).encode()
    assert entry.body.endswith(b'"data":%b}' % stored)
    assert decoded(entry)["data"] == data


_SHARED = acceptance()


def test_the_real_events(accept: Acceptance) -> None:
    """All 273 events of GitHub's webhooks pass, as lines and one by one, and their data comes out equal to the byte."""
    lines = REAL_EVENTS.splitlines()
    results = accept.lines(REAL_EVENTS)

    assert len(results) == len(lines) == 273
    for line, entry in zip(lines, results, strict=True):
        assert isinstance(entry, Entry)
        assert decoded(entry)["data"] == json.loads(line)["data"]
        raw = msgspec.json.decode(line, type=dict[str, msgspec.Raw])["data"]
        stored = msgspec.json.decode(entry.body, type=dict[str, msgspec.Raw])["data"]
        assert bytes(stored) == msgspec.json.format(bytes(raw), indent=-1)


# Bad input ------------------------------------------------------------------------------------------------------------

ONE = '{"type":"t","source":"s",%s}'

BAD: dict[str, tuple[bytes, type[WowEventError], str, str]] = {
    "not JSON": (b"event", MalformedJsonError, "malformed_json", ""),
    "nothing": (b"", MalformedJsonError, "malformed_json", ""),
    "not UTF-8": (b'{"type":"\xff"}', MalformedJsonError, "malformed_json", ""),
    "NaN": ((ONE % '"data":NaN').encode(), MalformedJsonError, "malformed_json", ""),
    "a lone surrogate": ((ONE % '"data":"\\ud800"').encode(), MalformedJsonError, "malformed_json", ""),
    "an array": (b"[]", InvalidEventError, "invalid_event", "#"),
    "a string": (b'"event"', InvalidEventError, "invalid_event", "#"),
    "null": (b"null", InvalidEventError, "invalid_event", "#"),
    "a number": (b"1", InvalidEventError, "invalid_event", "#"),
    "2^64": ((ONE % f'"data":{{"x":[{2**64}]}}').encode(), NumberOutOfRangeError, "number_out_of_range", "#/data/x/0"),
    "-2^63-1": ((ONE % f'"data":[{-(2**63) - 1}]').encode(), NumberOutOfRangeError, "number_out_of_range", "#/data/0"),
    "1e999": ((ONE % '"data":{"a":1e999}').encode(), NumberOutOfRangeError, "number_out_of_range", "#/data/a"),
    "no type": (b'{"source":"s"}', InvalidEventError, "invalid_event", "#/type"),
    "no source": (b'{"type":"t"}', InvalidEventError, "invalid_event", "#/source"),
    "a null type": (b'{"type":null,"source":"s"}', InvalidEventError, "invalid_event", "#/type"),
    "an empty id": ((ONE % '"id":""').encode(), InvalidEventError, "invalid_event", "#/id"),
    "a number as id": ((ONE % '"id":1').encode(), InvalidEventError, "invalid_event", "#/id"),
    "a type with a star": (b'{"type":"t*","source":"s"}', TypeUnsupportedError, "type_unsupported", "#/type"),
    "a source with a space": (b'{"type":"t","source":"s s"}', InvalidEventError, "invalid_event", "#/source"),
    "a name with a capital": (
        (ONE % '"traceParent":"x"').encode(),
        InvalidEventError,
        "invalid_event",
        "#/traceParent",
    ),
    "an object as extension": ((ONE % '"x":{}').encode(), InvalidEventError, "invalid_event", "#/x"),
    "a float as extension": ((ONE % '"x":1.5').encode(), InvalidEventError, "invalid_event", "#/x"),
    "both data": (
        (ONE % '"data":1,"data_base64":"AA=="').encode(),
        InvalidEventError,
        "invalid_event",
        "#/data_base64",
    ),
    "bad Base64": ((ONE % '"data_base64":"!"').encode(), InvalidEventError, "invalid_event", "#/data_base64"),
    "deliverat": (
        (ONE % '"deliverat":"tomorrow"').encode(),
        InvalidEventError,
        "invalid_event",
        "#/deliverat",
    ),
    "an attribute twice": ((ONE % '"type":"u"').encode(), MalformedJsonError, "malformed_json", "#"),
    "data twice": ((ONE % '"data":1,"data":2').encode(), MalformedJsonError, "malformed_json", "#"),
    "an escaped name": ((ONE % '"\\u0069d":"1"').encode(), MalformedJsonError, "malformed_json", "#"),
}


@pytest.mark.parametrize(("text", "kind", "code", "pointer"), BAD.values(), ids=BAD.keys())
def test_bad_input(accept: Acceptance, text: bytes, kind: type[WowEventError], code: str, pointer: str) -> None:
    """Each fault is a 400 of its own kind, with the place where there is one."""
    with pytest.raises(kind) as refused:
        accept.one(text)

    assert type(refused.value) is kind
    assert (refused.value.code, refused.value.status) == (code, 400)
    assert [violation.pointer for violation in refused.value.errors] == ([pointer] if pointer else [])


def test_depth(accept: Acceptance) -> None:
    """The event itself is the first of its 64 levels."""
    accept.one((ONE % f'"data":{"[" * 63}{"]" * 63}').encode())

    with pytest.raises(TooDeepError):
        accept.one((ONE % f'"data":{"[" * 64}{"]" * 64}').encode())


def test_names_in_data_are_free(accept: Acceptance) -> None:
    """Inside ``data`` names may repeat and be escaped: they are not ours to judge."""
    text = (ONE % '"data":{"a":1,"a":2,"\\u0061":3}').encode()

    assert accept.one(text).body.endswith(b'"data":{"a":1,"a":2,"\\u0061":3}}')


def test_the_size_of_an_event() -> None:
    """What counts is the JSON that is stored: with what is filled in, without white space."""
    accept = acceptance(AcceptanceLimits(event_bytes_max=1000))
    filled = len(accept.one(event_json(data="")).body)

    accept.one(event_json(data="x" * (1000 - filled)) + b" " * 5000)
    with pytest.raises(EventTooLargeError) as refused:
        accept.one(event_json(data="x" * (1001 - filled)))

    assert (refused.value.code, refused.value.status) == ("event_too_large", 413)


def test_the_default_size_is_256_kib(accept: Acceptance) -> None:
    """A quarter of a mebibyte is the limit where none is set."""
    accept.one(event_json(data="x" * (262_144 - 200)))

    with pytest.raises(EventTooLargeError):
        accept.one(event_json(data="x" * 262_144))


# Batches --------------------------------------------------------------------------------------------------------------


def test_a_batch(accept: Acceptance) -> None:
    """Each event of a batch stands for itself, in its place."""
    good = b'{"type":"t","source":"s"}'
    text = b'[%b, 1, {"type":"t"}, {"type":"t","source":"s","data":1e999}, %b]' % (good, good)

    results = accept.batch(text)

    assert [type(result) for result in results] == [
        Entry,
        InvalidEventError,
        InvalidEventError,
        NumberOutOfRangeError,
        Entry,
    ]
    assert [result.id for result in results if isinstance(result, Entry)] == [
        "00000000-0000-7000-8000-000000000001",
        "00000000-0000-7000-8000-000000000002",
    ]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b"", MalformedJsonError),
        (b"[", MalformedJsonError),
        (b'[{"type":"t"},]', MalformedJsonError),
        (b"[1] [2]", MalformedJsonError),
        (b"\xff", MalformedJsonError),
        (b"{}", InvalidRequestError),
        (b'"x"', InvalidRequestError),
        (b"null", InvalidRequestError),
        (b"[" * 100_000, TooDeepError),
    ],
)
def test_what_is_no_batch(accept: Acceptance, text: bytes, kind: type[WowEventError]) -> None:
    """What cannot be taken apart is refused whole."""
    with pytest.raises(kind) as refused:
        accept.batch(text)

    assert type(refused.value) is kind
    assert refused.value.status == 400


def test_an_empty_batch(accept: Acceptance) -> None:
    """A batch of nothing has no results."""
    assert accept.batch(b"[]") == []
    assert accept.lines(b"") == []


def test_the_size_of_a_batch(accept: Acceptance) -> None:
    """A thousand events pass, one more does not, in both forms; a body full of nothing is refused before it is read."""
    forms: list[tuple[Callable[[bytes], list[Accepted]], Callable[[int], bytes]]] = [
        (accept.batch, lambda count: b"[" + b",".join([event_json()] * count) + b"]"),
        (accept.lines, lambda count: b"\n".join([event_json()] * count)),
        (accept.batch, lambda count: b"[" + b",".join([b"0"] * count) + b"]"),
    ]
    for read, text in forms:
        assert len(read(text(1000))) == 1000
        with pytest.raises(BatchTooLargeError) as refused:
            read(text(1001))
        assert (refused.value.code, refused.value.status) == ("batch_too_large", 413)


def test_too_many_empty_lines(accept: Acceptance) -> None:
    """Empty lines are passed over, but not for ever."""
    assert len(accept.lines(event_json() + b"\n" * 1500)) == 1
    with pytest.raises(BatchTooLargeError):
        accept.lines(b"\n" * 1_000_000)


def test_lines(accept: Acceptance) -> None:
    """An event a line; ends of lines of either kind, and empty lines, do not matter; bad lines fail alone."""
    text = event_json(data=1) + b"\r\n\n  \n{bad\n" + event_json(data=2) + b"\n" + event_json(data=3)

    results = accept.lines(text)

    assert [decoded(result)["data"] if isinstance(result, Entry) else type(result) for result in results] == [
        1,
        MalformedJsonError,
        2,
        3,
    ]


# Idempotency keys -----------------------------------------------------------------------------------------------------


def test_a_key_is_the_id_of_an_event_without_one(accept: Acceptance) -> None:
    """The key becomes the id, as if it had been given; an event with an id keeps its own."""
    without = accept.one(event_json(), idempotency_key="k-1")
    null = accept.one(event_json(id=None), idempotency_key="k-1")
    own = accept.one(event_json(id="mine"), idempotency_key="k-1")

    assert [(entry.id, entry.id_given) for entry in (without, null, own)] == [
        ("k-1", True),
        ("k-1", True),
        ("mine", True),
    ]
    assert decoded(without)["id"] == "k-1"


def test_a_key_of_a_batch_counts_on(accept: Acceptance) -> None:
    """In a batch the key is followed by the place of the event, refused ones counted."""
    text = b"[%b,1,%b,%b]" % (event_json(), event_json(id="mine"), event_json())

    results = accept.batch(text, idempotency_key="k")

    assert [result.id for result in results if isinstance(result, Entry)] == ["k/0", "mine", "k/3"]


@pytest.mark.parametrize("key", ["", "k" * 261, "é", "a\nb", "\x7f"])
def test_bad_keys(accept: Acceptance, key: str) -> None:
    """A key that cannot be an id is refused."""
    with pytest.raises(InvalidParameterError):
        accept.one(event_json(), idempotency_key=key)


# Content --------------------------------------------------------------------------------------------------------------


def test_content_is_every_member_as_it_was_spelled(accept: Acceptance) -> None:
    """Order does not matter, spelling does; a time counts only where it was given."""
    one = accept.one(b'{"type":"t","source":"s","id":"1","data":{"n":1.0}}').body
    reordered = accept.one(b'{"data":{"n":1.0},"id":"1","source":"s","type":"t"}').body
    spelled = accept.one(b'{"type":"t","source":"s","id":"1","data":{"n":1}}').body

    assert content_of(one, time_given=False) == content_of(reordered, time_given=False)
    assert content_of(one, time_given=False) != content_of(spelled, time_given=False)
    assert "time" in content_of(one, time_given=True)
    assert "time" not in content_of(one, time_given=False)


def test_ids_that_are_filled_in_are_unique() -> None:
    """A thousand events without ids get a thousand."""
    accept = acceptance(identifiers=RandomIdentifiers())

    results = accept.several([event_json()] * 1000)

    assert len({result.id for result in results if isinstance(result, Entry)}) == 1000


@given(st.binary(max_size=300) | st.text().map(str.encode))
def test_any_bytes(text: bytes) -> None:
    """Any body is accepted or refused in words, in every form; nothing else leaves."""
    for read in (_SHARED.batch, _SHARED.lines):
        try:
            results = read(text)
        except InvalidRequestError:
            continue
        assert all(isinstance(result, (Entry, InvalidRequestError)) for result in results)
