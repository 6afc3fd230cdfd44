"""Members of subscriptions over all replicas: each replica says in its beat whom it serves.

Rule: what is said is bounded. A replica with more members than are named here serves them all the same.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from waooaw.events.bus.subscription_health import SubscriberActivity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from waooaw.events.bus.event_bus import EventBus
    from waooaw.events.service.replica import Listed

SUBSCRIPTIONS_SAID_MAX: Final = 1000
MEMBERS_SAID_MAX: Final = 100
"""Of one subscription: some 10 KB of a beat, where a person looks for one that holds on to something."""

_MEMBER: Final = ("member", "kind", "credit", "held")


def said_of_subscriptions(buses: Mapping[str, EventBus]) -> dict[str, dict[str, Any]]:
    """Return what a replica says of the subscriptions that members use there: by bus and name, their activity."""
    return {name: _said_of_bus(bus) for name, bus in buses.items()}


def _said_of_bus(bus: EventBus) -> dict[str, Any]:
    activity = bus.deliveries.activity()
    said: dict[str, Any] = {}
    for name in bus.subscriptions.known:
        members = bus.deliveries.members(name)
        if not members and name not in activity:
            continue
        listed = [[getattr(info, field) for field in _MEMBER] for info in members[:MEMBERS_SAID_MAX]]
        said[name] = {"count": len(members), "members": listed}
        if name in activity:
            said[name]["activity"] = activity[name].to_members()
        if len(said) >= SUBSCRIPTIONS_SAID_MAX:
            break
    return said


def _said(listed: Iterable[Listed], bus: str) -> Iterable[tuple[Listed, str, dict[str, Any]]]:
    """Return what replicas said of the subscriptions of a bus; what another release says in another way is left out."""
    for replica in listed:
        by_bus = replica.members.get("subscriptions")
        of_bus = by_bus.get(bus) if isinstance(by_bus, dict) else None
        if isinstance(of_bus, dict):
            yield from ((replica, name, said) for name, said in of_bus.items() if isinstance(said, dict))


def member_list(listed: Iterable[Listed], own: str, bus: str, subscription: str) -> list[dict[str, Any]]:
    """Return the members of a subscription, those of the replica ``own`` as they are, the others' as they were said."""
    found: list[dict[str, Any]] = []
    for replica, name, said in _said(listed, bus):
        if name == subscription and isinstance(said.get("members"), list):
            found += [_member(replica.id, own, item) for item in said["members"] if isinstance(item, list)]
    return found


def _member(replica: str, own: str, said: list[Any]) -> dict[str, Any]:
    values = dict.fromkeys(_MEMBER) | dict(zip(_MEMBER, islice(said, len(_MEMBER)), strict=False))
    return {**values, "replica": replica, "self": replica == own}


def member_counts(listed: Iterable[Listed], bus: str) -> dict[str, int]:
    """Return how many members each subscription of a bus has over all replicas."""
    counts: defaultdict[str, int] = defaultdict(int)
    for _, name, said in _said(listed, bus):
        if isinstance(said.get("count"), int):
            counts[name] += said["count"]
    return counts


def activity_of_all(listed: Iterable[Listed], bus: str) -> dict[str, SubscriberActivity]:
    """Return what members of each subscription did in the last minute, over all replicas."""
    sums: defaultdict[str, SubscriberActivity] = defaultdict(SubscriberActivity)
    for _, name, said in _said(listed, bus):
        if isinstance(said.get("activity"), dict):
            sums[name].merge(SubscriberActivity.from_members(said["activity"]))
    return sums
