"""A subscription as its owner writes it: defaults, limits, and all that is wrong told at once."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.test_retry import POLICIES
from waooaw.events.attributes import VIOLATIONS_MAX
from waooaw.events.cursor import Cursor, encode_cursor
from waooaw.events.errors import (
    InvalidParameterError,
    InvalidPatternError,
    InvalidRequestError,
    NotAvailableFieldError,
    UnknownParameterError,
)
from waooaw.events.pattern import PATTERNS_MAX, PatternSet
from waooaw.events.position import Position
from waooaw.events.push import PushDefinition
from waooaw.events.retry import DEFAULT_RETRY, PUSH_RETRY, RetryPolicy
from waooaw.events.subscription import (
    SubscriptionDefinition,
    check_definition,
    check_name,
    parse_subscription,
)

LEAST: dict[str, Any] = {"patterns": ["task.*"]}

DEFINITIONS = st.builds(
    SubscriptionDefinition,
    patterns=st.lists(st.sampled_from(["a", "task.*", "[ab]?"]), min_size=1).map(PatternSet.parse),
    start=st.sampled_from(["now", "earliest", "1764019200123-0", "2026-01-31T12:00:00Z"]),
    ordering=st.sampled_from(["none", "key"]),
    max_in_flight=st.integers(1, 100_000),
    max_waiting=st.integers(1, 10_000_000),
    lease_seconds=st.floats(1, 3600),
    expires_after_seconds=st.none() | st.floats(60, 31_536_000),
    retry=POLICIES,
    on_exhausted=st.sampled_from(["dead_letter", "drop"]),
)


def test_the_defaults_are_those_of_the_shape() -> None:
    """Patterns alone make a subscription; the rest is as the wire documents it."""
    assert parse_subscription(LEAST).to_members() == {
        "patterns": ["task.*"],
        "filter": None,
        "ordering": "none",
        "max_in_flight": 1000,
        "max_waiting": 1_000_000,
        "lease_seconds": 30,
        "expires_after_seconds": None,
        "retry": {
            "max_attempts": 5,
            "first_seconds": 1,
            "factor": 2,
            "cap_seconds": 300,
            "max_age_seconds": None,
        },
        "on_exhausted": "dead_letter",
        "push": None,
    }


@given(DEFINITIONS)
def test_what_is_written_is_read_back(definition: SubscriptionDefinition) -> None:
    """A definition that is within its limits is read back from its members as it was."""
    check_definition(definition)

    assert parse_subscription(definition.to_members() | {"from": definition.start}) == definition


def test_what_is_absent_has_its_default() -> None:
    """Also inside ``retry``: a member that is not given is not taken from anywhere else."""
    found = parse_subscription(LEAST | {"retry": {"max_attempts": 2}, "lease_seconds": 5})

    assert found == SubscriptionDefinition(
        patterns=PatternSet.parse(["task.*"]), lease_seconds=5.0, retry=RetryPolicy(max_attempts=2)
    )


@pytest.mark.parametrize(
    "place",
    [
        "now",
        "earliest",
        "1764019200123-0",
        "2026-01-31T12:00:00Z",
        "2026-01-31T12:00:00 01:00",
        encode_cursor("default", Cursor(7, Position(9))),
    ],
)
def test_every_place_is_a_start(place: str) -> None:
    """``from`` takes what it takes everywhere."""
    assert parse_subscription(LEAST | {"from": place}).start == place


OUTSIDE: list[tuple[str, Any]] = [
    ("from", ""),
    ("from", "yesterday"),
    ("from", None),
    ("from", 1764019200123),
    ("from", ["now"]),
    ("ordering", "keys"),
    ("ordering", None),
    ("ordering", ["key"]),
    ("max_in_flight", 0),
    ("max_in_flight", 100_001),
    ("max_in_flight", 10.0),
    ("max_in_flight", True),
    ("max_in_flight", "10"),
    ("max_in_flight", None),
    ("max_waiting", 0),
    ("max_waiting", 10_000_001),
    ("max_waiting", 1e3),
    ("lease_seconds", 0.5),
    ("lease_seconds", 3600.5),
    ("lease_seconds", math.nan),
    ("lease_seconds", True),
    ("lease_seconds", None),
    ("lease_seconds", 10**400),
    ("expires_after_seconds", 59),
    ("expires_after_seconds", math.inf),
    ("expires_after_seconds", False),
    ("on_exhausted", "dead"),
    ("retry", None),
    ("retry", []),
    ("retry", False),
    ("retry/max_attempts", 0),
    ("retry/max_attempts", 1001),
    ("retry/max_attempts", 2.0),
    ("retry/max_attempts", True),
    ("retry/first_seconds", -1),
    ("retry/first_seconds", 2_592_001),
    ("retry/first_seconds", math.nan),
    ("retry/factor", 0.99),
    ("retry/factor", 101),
    ("retry/cap_seconds", math.inf),
    ("retry/cap_seconds", None),
    ("retry/max_age_seconds", -math.inf),
    ("retry/max_age_seconds", "1"),
    ("patterns", None),
    ("patterns", "task.*"),
    ("patterns", [1]),
    ("patterns", {"task.*": 1}),
]


def _with(name: str, value: object) -> dict[str, Any]:
    outer, _, inner = name.partition("/")
    return LEAST | {outer: {inner: value} if inner else value}


@pytest.mark.parametrize(("name", "value"), OUTSIDE)
def test_a_value_outside_its_rule(name: str, value: object) -> None:
    """It is refused with its place and a sentence; nothing is rounded, cut or taken for something else."""
    with pytest.raises(InvalidParameterError) as refused:
        parse_subscription(_with(name, value))

    (violation,) = refused.value.errors
    assert (violation.pointer, violation.code) == (f"#/{name}", "invalid_parameter")
    assert violation.detail in str(refused.value)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("max_in_flight", (1, 100_000)),
        ("max_waiting", (1, 10_000_000)),
        ("lease_seconds", (1, 1.5, 3600)),
        ("expires_after_seconds", (None, 60, 31_536_000)),
        ("retry/max_attempts", (1, 1000)),
        ("retry/first_seconds", (0, 0.001, 2_592_000)),
        ("retry/factor", (1, 1.5, 100)),
        ("retry/cap_seconds", (0, 2_592_000)),
        ("retry/max_age_seconds", (None, 0, 2_592_000)),
        ("filter", (None,)),
        ("push", (None,)),
    ],
)
def test_the_ends_of_each_range_are_inside(name: str, values: tuple[object, ...]) -> None:
    """The first and the last value that a rule names are allowed."""
    for value in values:
        members = parse_subscription(_with(name, value)).to_members()
        outer, _, inner = name.partition("/")
        assert (members[outer][inner] if inner else members[outer]) == value


def test_what_comes_later_is_not_available() -> None:
    """A field of the design that is not served yet says so, instead of being passed over."""
    with pytest.raises(NotAvailableFieldError) as refused:
        parse_subscription(LEAST | {"filter": {}})

    assert [(found.pointer, found.code) for found in refused.value.errors] == [("#/filter", "not_available")]


def test_what_is_pushed_is_tried_for_longer() -> None:
    """A receiver may be away for a night: what a definition with push does not say of retries has other defaults."""
    push = {"url": "https://agent.example/"}
    assert parse_subscription(LEAST | {"push": push}).retry == PUSH_RETRY
    assert parse_subscription(LEAST | {"push": push, "retry": {"max_attempts": 3}}).retry == replace(
        PUSH_RETRY, max_attempts=3
    )
    assert (
        SubscriptionDefinition(patterns=PatternSet.parse(["*"]), push=PushDefinition(url=push["url"])).retry
        == PUSH_RETRY
    )
    assert parse_subscription(LEAST | {"push": None}).retry == DEFAULT_RETRY


@pytest.mark.parametrize("pointer", ["#/leaseSeconds", "#/retry/attempts", "#/a~1~0b"])
def test_an_unknown_field(pointer: str) -> None:
    """It is refused with what there is."""
    name = pointer[2:].replace("~1", "/").replace("~0", "~") if "~" in pointer else ""
    members = LEAST | {name: 1} if name else _with(pointer[2:], 1)

    with pytest.raises(UnknownParameterError) as refused:
        parse_subscription(members)

    (violation,) = refused.value.errors
    assert (violation.pointer, violation.code) == (pointer, "unknown_parameter")


@pytest.mark.parametrize(
    ("patterns", "pointer", "code"),
    [
        ([], "#/patterns", "pattern_count"),
        (["a"] * (PATTERNS_MAX + 1), "#/patterns", "pattern_count"),
        (["a", ""], "#/patterns/1", "pattern_empty"),
        (["a[", "b"], "#/patterns/0", "pattern_class"),
    ],
)
def test_patterns_have_the_limits_of_a_pattern_set(patterns: list[str], pointer: str, code: str) -> None:
    """A bad pattern is told as everywhere, with its place in the list."""
    with pytest.raises(InvalidPatternError) as refused:
        parse_subscription({"patterns": patterns})

    assert [(found.pointer, found.code) for found in refused.value.errors] == [(pointer, code)]


@pytest.mark.parametrize("members", [None, [], "task.*", 7])
def test_what_is_no_object(members: object) -> None:
    """A definition is an object."""
    with pytest.raises(InvalidParameterError) as refused:
        parse_subscription(members)

    assert [found.pointer for found in refused.value.errors] == ["#"]


def test_patterns_are_required() -> None:
    """A subscription to nothing in particular is nobody's wish."""
    with pytest.raises(InvalidParameterError) as refused:
        parse_subscription({})

    assert [(found.pointer, found.detail) for found in refused.value.errors] == [("#/patterns", "is required")]


def test_all_that_is_wrong_is_told() -> None:
    """Wrong, unknown and not yet served fields together, each with its own code; one error for them all."""
    with pytest.raises(InvalidParameterError) as refused:
        parse_subscription(
            {
                "patterns": ["["],
                "filter": "x",
                "colour": "red",
                "max_in_flight": 0,
                "retry": {"max_attempts": 0, "cap": 1},
            }
        )

    assert [(found.pointer, found.code) for found in refused.value.errors] == [
        ("#/patterns/0", "pattern_class"),
        ("#/filter", "not_available"),
        ("#/colour", "unknown_parameter"),
        ("#/max_in_flight", "invalid_parameter"),
        ("#/retry/max_attempts", "invalid_parameter"),
        ("#/retry/cap", "unknown_parameter"),
    ]


def test_what_is_told_is_bounded() -> None:
    """No answer grows with what is wrong."""
    with pytest.raises(InvalidRequestError) as refused:
        parse_subscription(LEAST | {f"field{number}" * 50: 1 for number in range(1000)})

    assert len(refused.value.errors) == VIOLATIONS_MAX
    assert len(refused.value.detail) < 10_000


def test_a_definition_made_in_python_has_the_same_limits() -> None:
    """What was not read from JSON is checked as well."""
    with pytest.raises(InvalidParameterError) as refused:
        check_definition(SubscriptionDefinition(patterns=PatternSet.parse(["a"]), max_waiting=0))

    assert [found.pointer for found in refused.value.errors] == ["#/max_waiting"]


@pytest.mark.parametrize("name", ["a", "7", "invoices.eu-west_1", "A" * 128])
def test_a_name(name: str) -> None:
    """Letters, digits, dots, dashes and underscores, up to 128."""
    check_name(name)


@pytest.mark.parametrize("name", ["", ".a", "-a", "_a", "a b", "a/b", "a\n", "é", "A" * 129, "a\x00"])
def test_no_name(name: str) -> None:
    """What a path, a log line or a label could take for something else is refused."""
    with pytest.raises(InvalidParameterError) as refused:
        check_name(name)

    assert [found.pointer for found in refused.value.errors] == ["#/name"]
