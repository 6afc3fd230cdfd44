"""What one receiver takes is shared by the replicas, and never more than it takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waooaw.events.webhooks.push_record import Limits, PushRecord
from waooaw.events.webhooks.sharing import SHARE_SECONDS, is_news, rate_of, shared

NOW = 1_000_000
SHARE_MS = round(SHARE_SECONDS * 1000)


def _renew(
    record: PushRecord, replica: str, limits: Limits, *, wanted: int = 1000, held: int = 0, now_ms: int = NOW
) -> PushRecord:
    return shared(record, replica, wanted=wanted, held=held, limits=limits, breaker="closed", now_ms=now_ms)


def _slots(record: PushRecord) -> dict[str, int]:
    return {name: share.slots for name, share in record.shares.items()}


def test_one_replica_alone_gets_all() -> None:
    """A replica alone has all slots, and the whole rate."""
    record = _renew(PushRecord("e"), "a", Limits(64, 100.0))
    assert _slots(record) == {"a": 64}
    assert rate_of(record.shares["a"], Limits(64, 100.0)) == 100.0


def test_replicas_with_work_get_equal_parts() -> None:
    """The one that had all gives up at its next renewal what is not its part, and the other gets it."""
    limits = Limits(10, None)
    record = _renew(PushRecord("e"), "a", limits)
    record = _renew(record, "b", limits)
    assert _slots(record) == {"a": 10, "b": 0}
    record = _renew(record, "a", limits)
    record = _renew(record, "b", limits)
    assert _slots(record) == {"a": 5, "b": 5}


def test_a_replica_keeps_the_slots_of_its_requests() -> None:
    """A slot with a request on it is given up when that has ended, and no other request begins on it."""
    limits = Limits(10, None)
    record = _renew(_renew(PushRecord("e"), "a", limits), "b", limits)
    record = _renew(record, "a", limits, held=9)
    assert (record.shares["a"].part, record.shares["a"].slots) == (5, 9)
    record = _renew(record, "b", limits)
    assert _slots(record) == {"a": 9, "b": 1}
    assert _slots(_renew(_renew(record, "a", limits, held=5), "b", limits)) == {"a": 5, "b": 5}


def test_one_slot_goes_to_one_replica() -> None:
    """A concurrency of one is one over all replicas."""
    limits = Limits(1, None)
    record = PushRecord("e")
    for name in ("c", "b", "a", "c", "b", "a"):
        record = _renew(record, name, limits)
        assert sum(_slots(record).values()) == 1


def test_a_share_that_ended_is_free() -> None:
    """A replica that died is missed for no longer than its share."""
    limits = Limits(4, None)
    record = _renew(PushRecord("e"), "dead", limits, held=4)
    assert _slots(_renew(record, "a", limits, now_ms=NOW + SHARE_MS - 1))["a"] == 0
    assert _slots(_renew(record, "a", limits, now_ms=NOW + SHARE_MS)) == {"a": 4}


def test_whoever_wants_nothing_and_has_no_request_leaves() -> None:
    """An idle replica keeps no slot from the others."""
    limits = Limits(4, None)
    record = _renew(PushRecord("e"), "a", limits)
    assert _slots(_renew(record, "a", limits, wanted=0)) == {}


def test_a_replica_without_a_slot_is_news_once_and_what_is_given_up_is() -> None:
    """Whoever has slots looks at once then, and so does whoever waits for them."""
    limits = Limits(4, None)
    alone = _renew(PushRecord("e"), "a", limits)
    assert not is_news(PushRecord("e"), alone, "a")
    came = _renew(alone, "b", limits)
    assert is_news(alone, came, "b")
    assert not is_news(came, _renew(came, "b", limits), "b")
    gave = _renew(came, "a", limits)
    assert is_news(came, gave, "a")
    assert not is_news(gave, _renew(gave, "a", limits), "a")
    assert is_news(gave, _renew(gave, "a", limits, wanted=0), "a")


@pytest.mark.parametrize(("wanted", "expected"), [(2, {"a": 2, "b": 8}), (0, {"b": 10})])
def test_what_one_does_not_want_the_other_gets(wanted: int, expected: dict[str, int]) -> None:
    """Slots go where the work is."""
    limits = Limits(10, None)
    record = _renew(PushRecord("e"), "a", limits, wanted=wanted)
    assert _slots(_renew(record, "b", limits)) == expected


@given(
    concurrency=st.integers(1, 40),
    steps=st.lists(
        st.tuples(st.sampled_from("abcde"), st.integers(0, 50), st.floats(0, 1), st.integers(0, 3000)),
        min_size=1,
        max_size=60,
    ),
)
def test_shares_that_run_are_never_more_than_the_receiver_takes(
    concurrency: int, steps: list[tuple[str, int, float, int]]
) -> None:
    """Whoever renews when, wants what and has how many requests of its slots: the sum holds at every moment."""
    limits, record, now = Limits(concurrency, 50.0), PushRecord("e"), NOW
    for name, wanted, part, passed in steps:
        now += passed
        mine = record.shares.get(name)
        held = 0 if mine is None or mine.until_ms <= now else int(mine.slots * part)
        record = _renew(record, name, limits, wanted=wanted, held=held, now_ms=now)
        live = [share for share in record.shares.values() if share.until_ms > now]
        assert sum(share.slots for share in live) <= concurrency
        assert sum(rate_of(share, limits) or 0.0 for share in live) <= 50.0 + 1e-6
        if name in record.shares:
            assert record.shares[name].slots >= max(held, record.shares[name].part)


@given(concurrency=st.integers(1, 40), replicas=st.integers(1, 8))
def test_after_two_rounds_all_that_have_work_have_equal_parts(concurrency: int, replicas: int) -> None:
    """However it began, replicas that all have work come to parts that differ by one at most, and use all."""
    limits, record = Limits(concurrency, None), PushRecord("e")
    for _ in range(3):
        for number in range(replicas):
            record = _renew(record, f"r{number}", limits)
    slots = sorted(_slots(record).values())
    assert sum(slots) == concurrency
    assert slots[-1] - slots[0] <= 1
