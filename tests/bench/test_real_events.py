"""The events of the benchmarks on Redis are real ones, made small."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.errors import BenchError
from bench.real_events import EVENT_BYTES_MAX, cut, real_events
from bench.stage_loops import acceptance
from tests.interoperability.github_events import LINES


def test_they_differ_and_are_small() -> None:
    """A hundred of them, none over the size and most near it; more than there are is an error."""
    events = real_events(100)

    assert len(set(events)) == 100
    assert max(map(len, events)) <= EVENT_BYTES_MAX
    assert sum(map(len, events)) / 100 > 0.9 * EVENT_BYTES_MAX
    with pytest.raises(BenchError, match="different events"):
        real_events(10_000)


def test_the_bus_accepts_them_and_gives_them_ids() -> None:
    """Without ids of their own, one sent again is a new event."""
    first, again = (acceptance().one(real_events(1)[0]) for _ in range(2))

    assert first.id != again.id
    assert not first.id_given


def test_nothing_in_them_is_made_up() -> None:
    """Each member is the original's, and only ids and what did not fit are gone."""
    for line in LINES:
        original, event = json.loads(line), json.loads(cut(line))
        assert original.keys() - event.keys() == {"id"}
        assert all(original[name] == value for name, value in event.items() if name != "data")
        assert _holds(original["data"], event["data"])


def _holds(original: dict[str, Any], kept: dict[str, Any]) -> bool:
    """Whether `kept` is a part of `original`, objects in it likewise."""
    return all(
        original[name] == value or (isinstance(value, dict) and value.items() <= original[name].items())
        for name, value in kept.items()
    )
