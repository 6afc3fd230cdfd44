"""How the pushing of a subscription, and the last attempts, are spelled in JSON, and read back.

Rule: what is told of a definition is masked here, so that no caller can forget it.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from waooaw.events.push import PushDefinition
from waooaw.events.push_state import Attempt, PushState
from waooaw.events.timestamp import format_timestamp, parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PUSH_FIELDS: Final = tuple(field.name for field in fields(PushDefinition))
"""What a definition has below ``push``."""

PUSH_TOLD: Final = frozenset(
    (
        *("state", "reason", "since", "stopped", "breaker"),
        *("held_until", "allowed_per_minute", "failing_since", "in_flight"),
    )
)
"""What a service tells below ``push`` besides the definition: no definition has these."""

_SAME: Final = ("state", "reason", "stopped", "breaker", "allowed_per_minute", "in_flight")
"""Members of the state that the wire has as they are; the others are times."""


def push_members(push: PushDefinition, state: PushState | None) -> dict[str, Any]:
    """Spell how a subscription is pushed, without its secrets, and how that goes where somebody knows."""
    members = push.masked().to_members()
    return members if state is None else members | _state_members(state)


def _state_members(state: PushState) -> dict[str, Any]:
    return {
        "state": state.state,
        "reason": state.reason,
        "since": format_timestamp(state.since_ms),
        "stopped": state.stopped,
        "breaker": state.breaker,
        "held_until": _spelled(state.held_until_ms),
        "allowed_per_minute": state.allowed_per_minute,
        "failing_since": _spelled(state.failing_since_ms),
        "in_flight": state.in_flight,
    }


def push_definition_members(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a definition has, of what a service tells of a push."""
    return {name: members[name] for name in PUSH_FIELDS if name in members}


def read_push_state(members: Mapping[str, Any]) -> PushState | None:
    """Read how pushing goes; None where nobody told it.

    Raises KeyError, TypeError, ValueError or a `WowEventError` for what no service spells.
    """
    if "state" not in members:
        return None
    return PushState(
        since_ms=parse_timestamp(members["since"]),
        held_until_ms=_milliseconds(members["held_until"]),
        failing_since_ms=_milliseconds(members["failing_since"]),
        **{name: members[name] for name in _SAME},
    )


def attempts_members(attempts: Sequence[Attempt]) -> dict[str, Any]:
    """Spell the last attempts, in the order given."""
    return {"items": [attempt_members(attempt) for attempt in attempts]}


def attempt_members(attempt: Attempt) -> dict[str, Any]:
    """Spell one attempt."""
    return {
        "id": attempt.id,
        "kind": attempt.kind,
        "time": format_timestamp(attempt.time_ms),
        "seconds": attempt.seconds,
        "outcome": attempt.outcome,
        "positions": list(attempt.positions),
        "attempt": attempt.attempt,
        "status": attempt.status,
        "error": attempt.error,
        "reply": attempt.reply,
        "replica": attempt.replica,
    }


def read_attempts(members: Mapping[str, Any]) -> list[Attempt]:
    """Read attempts; raises as `read_push_state`."""
    return [read_attempt(item) for item in members["items"]]


def read_attempt(members: Mapping[str, Any]) -> Attempt:
    """Read one attempt; members of later releases are passed over. Raises as `read_push_state`."""
    known = {name: members[name] for name in Attempt.__struct_fields__ if name in members}
    return Attempt(**known | {"time_ms": parse_timestamp(members["time"]), "positions": tuple(members["positions"])})


def _spelled(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else format_timestamp(milliseconds)


def _milliseconds(text: str | None) -> int | None:
    return None if text is None else parse_timestamp(text)
