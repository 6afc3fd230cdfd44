"""How replicas share what one receiver takes at a time. Pure decisions over the record.

Rule 1: the slots of all shares that have not ended are never more than the receiver's concurrency. A share ends by
itself, so that those of a replica that died are free soon.
Rule 2: every replica that has work gets an equal part, as far as it wants it; what does not divide goes to who has it.
Of what it has to give back, a replica keeps a slot as long as a request is on it, and begins no other there.
Rule 3: the rate is divided as the slots are: whoever has all of them has all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from waooaw.events.webhooks.push_record import Limits, PushRecord, Share

if TYPE_CHECKING:
    from collections.abc import Mapping

    from waooaw.events.push_state import BreakerState

SHARE_SECONDS: Final = 5.0
"""How long a share lasts: a replica that lost the store for less goes on, one that died is missed for no longer."""

MARGIN_SECONDS: Final = 1.0
"""Before its share ends a replica ceases to use it: so long may a process stand still and not know it."""

GIVING_SECONDS: Final = 0.05
"""Between two looks at whether requests have ended whose slots others wait for."""

RENEW_SECONDS: Final = 1.0
"""Between two renewals: three may fail."""


def shared(
    record: PushRecord,
    replica: str,
    *,
    wanted: int,
    held: int,
    limits: Limits,
    breaker: BreakerState,
    now_ms: int,
) -> PushRecord:
    """Return the record with the share of one replica anew; with none where it wants none and has no request."""
    live = {name: share for name, share in record.shares.items() if share.until_ms > now_ms}
    others = {name: share for name, share in live.items() if name != replica}
    wanted = min(wanted, limits.concurrency)
    if not wanted and not held:
        return msgspec.structs.replace(record, shares=others)
    asked = {name: (share.wanted, share.slots) for name, share in others.items()}
    asked[replica] = (wanted, live[replica].slots if replica in live else 0)
    free = max(limits.concurrency - sum(share.slots for share in others.values()), 0)
    part = min(_parts(asked, limits.concurrency)[replica], free)
    mine = Share(
        part=part,
        slots=min(max(part, held), free),
        wanted=wanted,
        held=held,
        until_ms=now_ms + round(SHARE_SECONDS * 1000),
        breaker=breaker,
    )
    return msgspec.structs.replace(record, shares=others | {replica: mine})


def _parts(asked: Mapping[str, tuple[int, int]], slots: int) -> dict[str, int]:
    """Divide slots among those who want some, and have some: nobody gets more than wanted, nor than an equal part."""
    parts: dict[str, int] = {}
    # Those who want least come first: what they leave is divided among the others. Of equals those who have most.
    waiting = sorted(asked, key=lambda name: (asked[name][0], -asked[name][1], name))
    for index, name in enumerate(waiting):
        equal, rest = divmod(slots, len(waiting) - index)
        parts[name] = min(asked[name][0], equal + (1 if rest else 0))
        slots -= parts[name]
    return parts


def is_news(before: PushRecord, after: PushRecord, replica: str) -> bool:
    """Tell whether others should look at once: a replica got no slot, or gave some up, and somebody else is there."""
    if not after.shares.keys() - {replica}:
        return False
    had, has = before.shares.get(replica), after.shares.get(replica)
    if has is not None and has.wanted and not has.slots:
        return had is None or had.slots > 0 or not had.wanted
    return had is not None and had.slots > (0 if has is None else has.slots)


def rate_of(share: Share, limits: Limits) -> float | None:
    """Return how many requests a second a replica may send."""
    return None if limits.rate is None else limits.rate * share.part / limits.concurrency
