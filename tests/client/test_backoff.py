"""Waits between tries, and the ids that make tries harmless."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waooaw.events.batch import BATCH_BYTES_MAX, BATCH_EVENTS_MAX, cut_batches
from waooaw.events.client.backoff import WAIT_SECONDS_MIN, Backoff
from waooaw.events.client.publishing import with_id
from waooaw.events.errors import InvalidEventError, MalformedJsonError
from waooaw.events.testing import SequentialIdentifiers

BACKOFF = Backoff(first_seconds=0.5, cap_seconds=8.0)


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_a_wait_is_within_its_bounds(failures: int, chance: float) -> None:
    """A wait is never under its floor, nor over the cap, nor over the bound of its failure."""
    wait_seconds = BACKOFF.wait_seconds(failures, chance)

    assert WAIT_SECONDS_MIN <= wait_seconds <= min(8.0, 0.5 * 2 ** min(failures - 1, 10))


def test_the_bound_doubles_up_to_the_cap() -> None:
    """With the worst chance, waits double and then stay."""
    assert [BACKOFF.wait_seconds(failures, 1.0) for failures in range(1, 7)] == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0]


def test_what_the_service_asks_for_wins() -> None:
    """A wait is never shorter than what the service asked for."""
    assert BACKOFF.wait_seconds(1, 0.0, at_least=60) == 60


def test_an_event_without_id_gets_one_and_stays_as_it_was_spelled() -> None:
    """Only the id is added, and white space goes: numbers and strings keep their spelling."""
    text = b'{ "type": "a", "data": {"price": 1.10, "name": "\\u00fc"}, "id": null }'

    assert with_id(text, SequentialIdentifiers()) == (
        b'{"id":"00000000-0000-7000-8000-000000000001","type":"a","data":{"price":1.10,"name":"\\u00fc"}}'
    )


def test_an_event_with_an_id_keeps_it() -> None:
    """A given id is what a retry is recognised by."""
    assert with_id(b'{"type":"a","id":"7"}', SequentialIdentifiers()) == b'{"type":"a","id":"7"}'


@pytest.mark.parametrize(("text", "kind"), [(b"nope", MalformedJsonError), (b"[1]", InvalidEventError)])
def test_what_is_no_event_is_refused_before_it_is_sent(text: bytes, kind: type[Exception]) -> None:
    """A line that is no JSON object raises the class that the service would."""
    with pytest.raises(kind):
        with_id(text, SequentialIdentifiers())


@given(st.lists(st.integers(0, BATCH_BYTES_MAX // 3), max_size=30), st.integers(0, 2500))
def test_batches_keep_order_and_limits(sizes: list[int], small: int) -> None:
    """Joined again, the batches are the events; none is empty or over a limit."""
    block = memoryview(bytes(BATCH_BYTES_MAX))
    texts = [bytes(block[:size]) for size in sizes[:4]] + [msgspec.json.encode(number) for number in range(small)]
    batches = list(cut_batches(texts))

    assert [text for batch in batches for text in batch] == texts
    assert all(1 <= len(batch) <= BATCH_EVENTS_MAX for batch in batches)
    assert all(sum(len(text) + 1 for text in batch) <= BATCH_BYTES_MAX for batch in batches)
