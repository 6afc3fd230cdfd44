"""How pushing, and the attempts at it, are spelled: without secrets, and exactly as it is read back."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from waooaw.events.position import BEGINNING
from waooaw.events.push import MASK, PushDefinition
from waooaw.events.push_state import Attempt, PushState
from waooaw.events.push_wire import (
    PUSH_FIELDS,
    PUSH_TOLD,
    attempt_members,
    attempts_members,
    push_members,
    read_attempt,
    read_attempts,
    read_push_state,
)
from waooaw.events.subscription import SubscriptionDefinition, parse_subscription
from waooaw.events.subscription_state import Counts, QueueState, SubscriptionInfo
from waooaw.events.subscription_wire import definition_members, read_subscription, subscription_members

NOW_MS: Final = 1_764_019_200_123
SECRET: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PUSH: Final = PushDefinition(
    url="https://agent.example/events", headers={"X-Key": "k1"}, authorization="Bearer abc", secret=(SECRET,), rate=2.5
)
STATE: Final = PushState(
    state="verified",
    reason="fine",
    since_ms=NOW_MS - 3000,
    stopped="failing",
    breaker="half_open",
    held_until_ms=NOW_MS + 5000,
    allowed_per_minute=600,
    failing_since_ms=NOW_MS - 2000,
    in_flight=3,
)
ATTEMPT: Final = Attempt(
    id="a1",
    kind="delivery",
    time_ms=NOW_MS,
    seconds=0.25,
    outcome="failed",
    positions=("1-0", "1-1"),
    attempt=2,
    status=500,
    error="500 Internal Server Error: no disk",
    reply="no disk",
    replica="r1",
)


def info_of(push: PushDefinition | None, state: PushState | None = None) -> SubscriptionInfo:
    """A subscription that is pushed so."""
    members = {"patterns": ["a.*"], "push": None if push is None else push.to_members()}
    return SubscriptionInfo(
        name="a",
        incarnation="i1",
        definition=parse_subscription(members),
        state="active",
        created_ms=NOW_MS,
        receives_after=BEGINNING,
        queue=QueueState(Counts(), oldest_ms=None, oldest_dead_ms=None, claimed_ms=NOW_MS, fill=None),
        push_state=state,
    )


def test_a_push_is_told_without_its_secrets() -> None:
    """Their places have the mask, and how it goes stands beside the definition."""
    assert push_members(PUSH, STATE) == {
        "url": "https://agent.example/events",
        "mode": "binary",
        "headers": {"X-Key": MASK},
        "authorization": MASK,
        "secret": [MASK],
        "handshake": "options",
        "timeout_seconds": 30.0,
        "concurrency": 10,
        "rate": 2.5,
        "state": "verified",
        "reason": "fine",
        "since": "2025-11-24T21:19:57.123Z",
        "stopped": "failing",
        "breaker": "half_open",
        "held_until": "2025-11-24T21:20:05.123Z",
        "allowed_per_minute": 600,
        "failing_since": "2025-11-24T21:19:58.123Z",
        "in_flight": 3,
    }


def test_what_is_told_is_the_definition_and_more() -> None:
    """No member is both, and none is neither: what is put again is what is left without what is told."""
    assert set(push_members(PUSH, STATE)) == set(PUSH_FIELDS) | PUSH_TOLD
    assert not PUSH_TOLD & set(PUSH_FIELDS)
    assert set(push_members(PUSH, None)) == set(PUSH_FIELDS)


@pytest.mark.parametrize("state", [STATE, PushState(state="pending", since_ms=NOW_MS), None])
def test_a_subscription_that_is_pushed_is_read_back(state: PushState | None) -> None:
    """Its state exactly, its secrets as masks."""
    info = info_of(PUSH, state)
    members = subscription_members(info, NOW_MS)
    found = read_subscription(members)
    assert found == replace(info, definition=replace(info.definition, push=PUSH.masked()))
    assert subscription_members(found, NOW_MS) == members
    assert SECRET not in str(members)


def test_what_a_later_release_tells_is_passed_over() -> None:
    """Members that this release does not know do no harm, in the push neither."""
    members = subscription_members(info_of(PUSH, STATE), NOW_MS)
    members["push"] |= {"colour": "red"}
    assert read_subscription(members).push_state == STATE


def test_what_is_told_can_be_put_again() -> None:
    """The definition alone is left, with masks for what is kept."""
    members = definition_members(subscription_members(info_of(PUSH, STATE), NOW_MS))
    found = parse_subscription(members)
    assert isinstance(found, SubscriptionDefinition)
    assert found.push == PUSH.masked()
    assert definition_members(subscription_members(info_of(None), NOW_MS))["push"] is None


def test_no_push_is_null() -> None:
    """A subscription that members come to has the member, and nothing in it."""
    members = subscription_members(info_of(None), NOW_MS)
    assert members["push"] is None
    assert read_subscription(members) == info_of(None)


def test_a_state_that_is_cut_short_is_no_state() -> None:
    """What no service spells is refused, not guessed."""
    with pytest.raises(KeyError):
        read_push_state({"state": "verified"})


def test_an_attempt_is_read_back() -> None:
    """Every member as it was, its time as RFC 3339."""
    members = attempt_members(ATTEMPT)
    assert members == {
        "id": "a1",
        "kind": "delivery",
        "time": "2025-11-24T21:20:00.123Z",
        "seconds": 0.25,
        "outcome": "failed",
        "positions": ["1-0", "1-1"],
        "attempt": 2,
        "status": 500,
        "error": "500 Internal Server Error: no disk",
        "reply": "no disk",
        "replica": "r1",
    }
    assert read_attempt({**members, "colour": "red"}) == ATTEMPT
    assert read_attempts(attempts_members([ATTEMPT, ATTEMPT])) == [ATTEMPT, ATTEMPT]
