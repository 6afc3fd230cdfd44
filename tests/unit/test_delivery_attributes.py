"""What the attributes of an event say about its delivery."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.event_samples import entry
from waooaw.events.attributes import PRIORITIES
from waooaw.events.delivery_attributes import (
    PRIORITY_LEVELS,
    DeliveryAttributes,
    delivery_attributes_of,
    ordering_key,
)

TIMES = st.sampled_from(["2026-01-31T12:00:00.250Z", "1970-01-01T00:00:00Z", "0000-01-01T00:00:00Z"])
MEMBERS = st.fixed_dictionaries(
    {"source": st.sampled_from(["agent/a", "/b", "urn:" + "x" * 300])},
    optional={
        "priority": st.sampled_from(PRIORITIES),
        "partitionkey": st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=400),
        "expirytime": TIMES,
        "deliverat": TIMES,
    },
)


def test_an_event_without_them_is_normal_and_ordered_by_its_source() -> None:
    """Most events name no priority, key or time: they are normal, never expire, and are due at once."""
    assert entry(source="agent/a").delivery == DeliveryAttributes(2, ordering_key("agent/a"), 0, 0)


def test_each_attribute_is_read() -> None:
    """Priority, key, expiry and due time of an accepted event, in numbers."""
    found = entry(
        priority="critical",
        partitionkey="order-7",
        expirytime="2026-01-31T12:00:00.250+01:00",
        deliverat="2026-01-31T10:00:00Z",
    ).delivery

    assert found == DeliveryAttributes(0, ordering_key("order-7"), 1_769_857_200_250, 1_769_853_600_000)


def test_the_order_of_priorities() -> None:
    """Every priority that an event may name has its list, the most urgent one first."""
    assert list(PRIORITY_LEVELS) == list(PRIORITIES)
    assert list(PRIORITY_LEVELS.values()) == [0, 1, 2, 3]


@pytest.mark.parametrize("time", ["1970-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "0000-01-01T00:00:00Z"])
def test_a_time_long_past_is_still_a_time(time: str) -> None:
    """An expiry at the beginning of Unix time has passed; it is not taken for none."""
    found = entry(expirytime=time, deliverat=time).delivery

    assert (found.expires_ms, found.due_ms) == (1, 1)


@given(MEMBERS)
def test_the_log_says_the_same_as_the_acceptance(members: dict[str, object]) -> None:
    """What is read from an event in the log, as by a fill, is what was read when it was accepted."""
    given_entry = entry(**members)

    assert delivery_attributes_of(given_entry.body) == given_entry.delivery


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_key_is_sixteen_hexadecimal_digits(text: str) -> None:
    """Of one form whatever the text, and the same for the same text."""
    key = ordering_key(text)

    assert len(key) == 16
    assert set(key) <= set("0123456789abcdef")
    assert ordering_key(text) == key


def test_keys_differ() -> None:
    """Different texts have different keys, also long ones that differ at the end."""
    texts = [*map(str, range(1000)), "x" * 300 + "a", "x" * 300 + "b"]

    assert len({ordering_key(text) for text in texts}) == len(texts)
