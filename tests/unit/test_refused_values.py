"""Values that are refused at the edge of the core, and how much is said of them."""

from __future__ import annotations

import math

import pytest

from waooaw.events.attributes import VIOLATIONS_MAX, find_violations
from waooaw.events.errors import InvalidEventError
from waooaw.events.event import Event


def test_violations_are_bounded() -> None:
    """An event of a thousand bad names is answered with a few of them: no answer grows with what is wrong."""
    found = find_violations({"type": "a", "source": "/b"} | {f"A{number}": {} for number in range(1000)})

    assert len(found) == VIOLATIONS_MAX


@pytest.mark.parametrize("data", [math.nan, {"a": [1, {"b": -math.inf}]}, (None, math.inf), object(), "\ud800"])
def test_data_that_json_cannot_carry_is_refused(data: object) -> None:
    """NaN, infinities, foreign objects and lone surrogates are errors of ours, never silently null."""
    with pytest.raises(InvalidEventError) as refused:
        Event(type="a", source="/b", data=data).to_json()

    assert refused.value.errors[0].pointer == "#/data"


def test_null_in_data_stays() -> None:
    """None is null, also beside text that says so."""
    assert b'"data":{"a":null,"b":"null"}' in Event(type="a", source="/b", data={"a": None, "b": "null"}).to_json()
