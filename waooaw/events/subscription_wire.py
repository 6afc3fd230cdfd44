"""How a subscription, and what became of events in it, are spelled in JSON, and read back.

Deliveries are in `waooaw.events.delivery_wire`, dead letters and events for later in `waooaw.events.dead_letter_wire`.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from waooaw.events.position import format_position, parse_position
from waooaw.events.push_wire import PUSH_TOLD, push_definition_members, push_members, read_push_state
from waooaw.events.retry import RetryPolicy
from waooaw.events.subscription import SubscriptionDefinition, parse_subscription
from waooaw.events.subscription_state import (
    Counts,
    DeliveryReport,
    FillState,
    Holding,
    QueueDetails,
    QueueState,
    SubscriptionInfo,
)
from waooaw.events.timestamp import format_timestamp, parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from waooaw.events.position import Position

TOLD: Final = frozenset(
    (
        *("name", "incarnation", "state", "created", "receives", "receives_after", "counts", "oldest_waiting"),
        *("oldest_waiting_seconds", "oldest_dead", "oldest_dead_seconds", "claimed", "fill"),
        *("leases", "failing", "oldest", "last_errors", "suspected_poison", "members"),
    )
)
"""What a service tells of a subscription besides its definition, details included: no definition has these. What it
tells so below ``push`` is `PUSH_TOLD`.
"""

_COUNTS: Final = Counts.__struct_fields__
_FIELDS: Final = tuple(field.name for field in fields(SubscriptionDefinition) if field.name not in {"start", "retry"})
_RETRY_FIELDS: Final = tuple(field.name for field in fields(RetryPolicy))


def subscription_members(info: SubscriptionInfo, now_ms: int) -> dict[str, Any]:
    """Spell a subscription as it stands at a time (Unix milliseconds), without its secrets."""
    queue = info.queue
    push = info.definition.push
    receives_after = format_position(info.receives_after)
    return {
        "name": info.name,
        "incarnation": info.incarnation,
        "state": info.state,
        "created": format_timestamp(info.created_ms),
        "receives": f"events accepted after {receives_after}",
        "receives_after": receives_after,
        **info.definition.to_members(),
        "push": None if push is None else push_members(push, info.push_state),
        "counts": counts_members(queue.counts),
        "oldest_waiting": _spelled(queue.oldest_ms),
        "oldest_waiting_seconds": _age(queue.oldest_ms, now_ms),
        "oldest_dead": _spelled(queue.oldest_dead_ms),
        "oldest_dead_seconds": _age(queue.oldest_dead_ms, now_ms),
        "claimed": format_timestamp(queue.claimed_ms),
        "fill": None if queue.fill is None else _fill_members(queue.fill),
    }


def definition_members(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return the definition in what a service told of a subscription, so that it can be put again; checks nothing."""
    known = {name: value for name, value in members.items() if name not in TOLD}
    if isinstance(push := known.get("push"), dict):
        known["push"] = {name: value for name, value in push.items() if name not in PUSH_TOLD}
    return known


def counts_members(counts: Counts) -> dict[str, int]:
    """Spell where references are, or went."""
    return {name: getattr(counts, name) for name in _COUNTS}


def _fill_members(fill: FillState) -> dict[str, Any]:
    return {
        "reached": format_position(fill.reached),
        "through": format_position(fill.through),
        "waiting": fill.waiting,
    }


def _spelled(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else format_timestamp(milliseconds)


def _age(milliseconds: int | None, now_ms: int) -> float | None:
    """Return seconds since a time; a clock that is behind the store's makes it no less than 0."""
    return None if milliseconds is None else max(now_ms - milliseconds, 0) / 1000


def read_subscription(members: Mapping[str, Any]) -> SubscriptionInfo:
    """Read a subscription as a service spelled it, secrets as `MASK`; members of later releases are passed over.

    Raises KeyError, TypeError, ValueError or a `WowEventError` for what no service spells.
    """
    counts = {name: members["counts"].get(name, 0) for name in _COUNTS}
    known = {name: members[name] for name in _FIELDS if name in members}
    push = known.get("push")
    if push is not None:
        known["push"] = push_definition_members(push)
    known["retry"] = {name: value for name, value in members["retry"].items() if name in _RETRY_FIELDS}
    return SubscriptionInfo(
        name=members["name"],
        incarnation=members["incarnation"],
        definition=parse_subscription(known),
        state=members["state"],
        created_ms=parse_timestamp(members["created"]),
        receives_after=parse_position(members["receives_after"]),
        queue=QueueState(
            counts=Counts(**counts),
            oldest_ms=_milliseconds(members["oldest_waiting"]),
            oldest_dead_ms=_milliseconds(members["oldest_dead"]),
            claimed_ms=parse_timestamp(members["claimed"]),
            fill=None if members["fill"] is None else _fill(members["fill"]),
        ),
        push_state=None if push is None else read_push_state(push),
    )


def _fill(members: Mapping[str, Any]) -> FillState:
    return FillState(parse_position(members["reached"]), parse_position(members["through"]), members["waiting"])


def _milliseconds(text: str | None) -> int | None:
    return None if text is None else parse_timestamp(text)


# Who holds what, and what fails ---------------------------------------------------------------------------------------


def details_members(details: QueueDetails) -> dict[str, Any]:
    """Spell who holds what, and what fails."""
    return {
        "leases": [holding_members(holding) for holding in details.leases],
        "failing": [holding_members(holding) for holding in details.failing],
    }


def holding_members(holding: Holding) -> dict[str, Any]:
    """Spell a reference that somebody holds, or that failed."""
    return {
        "position": format_position(holding.position),
        "state": holding.state,
        "member": holding.member,
        "failures": holding.failures,
        "due": format_timestamp(holding.due_ms),
        "last_error": holding.last_error,
    }


# Why? -----------------------------------------------------------------------------------------------------------------


def reports_members(position: Position, reports: Sequence[DeliveryReport]) -> dict[str, Any]:
    """Spell what subscriptions made of an event."""
    return {"position": format_position(position), "items": [_report_members(report) for report in reports]}


def _report_members(report: DeliveryReport) -> dict[str, Any]:
    members: dict[str, Any] = {"subscription": report.subscription, "matched": report.matched}
    if not report.matched:
        return members | {"why": report.why}
    return members | {
        "state": report.state,
        "attempts": report.attempts,
        "member": report.member,
        "last_error": report.last_error,
    }


def read_reports(members: Mapping[str, Any]) -> list[DeliveryReport]:
    """Read what subscriptions made of an event; raises as `read_subscription`."""
    names = ("subscription", "matched", "why", "state", "attempts", "member", "last_error")
    return [DeliveryReport(**{name: item[name] for name in names if name in item}) for item in members["items"]]
