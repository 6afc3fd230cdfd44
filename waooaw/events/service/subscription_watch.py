"""How the subscriptions of all buses stand, asked for now and then, so that no request waits for the store.

Rule 1: what is told is a look back, of a second while somebody asks, of ten where nobody does.
Rule 2: looking takes a twentieth of the time at most: many subscriptions are looked at less often.
Rule 3: while the store is away, what was known last is told.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from waooaw.events.bus.subscription_health import SubscriberActivity, SubscriptionHealth, subscription_health
from waooaw.events.errors import WowEventError
from waooaw.events.rate import SlidingCounter
from waooaw.events.service.members import activity_of_all, member_counts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from waooaw.events.bus.event_bus import EventBus
    from waooaw.events.rate import Rate
    from waooaw.events.service.context import Context
    from waooaw.events.service.replica import Listed
    from waooaw.events.subscription_state import QueueState, SubscriptionInfo

_log = logging.getLogger("wowevent.subscription")

LOOK_SECONDS: Final = 1.0
IDLE_LOOK_SECONDS: Final = 10.0
ASKED_SECONDS: Final = 60.0
"""How long after a question the looks stay close together: longer than collectors wait between two."""

COST_SHARE: Final = 20
"""The time between two looks is at least so many times what the last one took."""

SUMMARY_SECONDS: Final = 60.0
SUMMARIES_MAX: Final = 100
"""Lines of one summary; what lags beyond them is counted in a last line."""

LAG_SECONDS: Final = 5.0
"""A subscription with an event that is older than that, and not settled, is worth a line where it is not healthy."""


DESERTED_MS: Final = 60_000
"""A queue from which nobody claimed for so long has no member: one that waits claims each second."""


def untaken(queue: QueueState, now_ms: int) -> int:
    """Return how many events wait for a member: retries too, where nobody is there who would take them.

    Members that die with all that there is leave nothing else behind.
    """
    is_deserted = now_ms - queue.claimed_ms > DESERTED_MS
    return queue.counts.waiting + (queue.counts.scheduled if is_deserted else 0)


@dataclass(slots=True)
class Seen:
    """A subscription as it was last looked at, and how fast its counts grew until then."""

    bus: str
    info: SubscriptionInfo
    matched: SlidingCounter = field(default_factory=SlidingCounter)
    acked: SlidingCounter = field(default_factory=SlidingCounter)

    def take(self, info: SubscriptionInfo, now: float) -> None:
        """Take over how it stands now."""
        before, after = self.info.queue.counts, info.queue.counts
        self.info = info
        self.matched.add(now, max(after.matched - before.matched, 0))
        self.acked.add(now, max(after.acked - before.acked, 0))


@dataclass(frozen=True, slots=True)
class Watched:
    """A subscription with what the replicas say of its members."""

    bus: str
    info: SubscriptionInfo
    matched: Rate
    acked: Rate
    members: int
    health: SubscriptionHealth


class SubscriptionWatch:
    """Looks at all subscriptions of a service, until cancelled."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._seen: dict[tuple[str, str], Seen] = {}
        self._asked_at = float("-inf")
        self._summed_up_at = context.clock.monotonic()
        self._look_soon = asyncio.Event()

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        clock = self._context.clock
        while True:
            began = clock.monotonic()
            await self.look()
            now = clock.monotonic()
            if now - self._summed_up_at >= SUMMARY_SECONDS:
                self._summed_up_at = now
                self.sum_up()
            usual = LOOK_SECONDS if now - self._asked_at < ASKED_SECONDS else IDLE_LOOK_SECONDS
            await self._pause(max(usual, COST_SHARE * (now - began)))

    async def _pause(self, seconds: float) -> None:
        """Wait, but no longer than usual once somebody asks again after a long time."""
        self._look_soon.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._look_soon.wait()
        except TimeoutError:
            return

    async def look(self) -> None:
        """Ask the store once how each subscription stands."""
        for name, bus in self._context.buses.items():
            try:
                infos = await bus.subscriptions.list()
            except WowEventError as error:
                extra = {"bus": name, "code": error.code, "detail": error.detail}
                _log.debug("subscription.look_failed", extra=extra)
            else:
                self._take(bus, infos)

    def _take(self, bus: EventBus, infos: Sequence[SubscriptionInfo]) -> None:
        now = self._context.clock.monotonic()
        for info in infos:
            key = (bus.name, info.incarnation)
            seen = self._seen.get(key)
            if seen is None:
                self._seen[key] = Seen(bus.name, info)
            else:
                seen.take(info, now)
        there = {info.incarnation for info in infos}
        for key in [key for key in self._seen if key[0] == bus.name and key[1] not in there]:
            del self._seen[key]

    # Telling ----------------------------------------------------------------------------------------------------------

    def seen(self) -> list[Seen]:
        """Return all as they were last looked at, by when they were made; looks stay close together from now on."""
        now = self._context.clock.monotonic()
        if now - self._asked_at >= ASKED_SECONDS:
            self._look_soon.set()
        self._asked_at = now
        return self._sorted()

    def _sorted(self) -> list[Seen]:
        return sorted(self._seen.values(), key=lambda seen: (seen.info.created_ms, seen.bus, seen.info.name))

    def watched(self, listed: Sequence[Listed]) -> list[Watched]:
        """Return the same with what replicas say of the members."""
        return list(self._watched(self.seen(), listed))

    def _watched(self, seen: Sequence[Seen], listed: Sequence[Listed]) -> Iterator[Watched]:
        now, now_ms = self._context.clock.monotonic(), self._context.clock.now_ms()
        activity = {bus: activity_of_all(listed, bus) for bus in self._context.buses}
        members = {bus: member_counts(listed, bus) for bus in self._context.buses}
        for item in seen:
            info = item.info
            queue = info.queue
            health = subscription_health(
                activity[item.bus].get(info.name, SubscriberActivity()),
                waiting=untaken(queue, now_ms),
                oldest_seconds=None if queue.oldest_ms is None else (now_ms - queue.oldest_ms) / 1000,
                is_paused=info.state == "paused",
            )
            rates = item.matched.rate(now), item.acked.rate(now)
            yield Watched(item.bus, info, *rates, members[item.bus].get(info.name, 0), health)

    # The summary ------------------------------------------------------------------------------------------------------

    def sum_up(self) -> None:
        """Write a line for each subscription that lags, where this replica is the first of those on the list."""
        replica = self._context.replica
        if replica is None:
            return
        listed = replica.listed()
        first = next((item.id for item in listed if not item.is_draining), replica.id)
        if first != replica.id:
            return
        lines = [line for item in self._watched(self._sorted(), listed) if (line := self._summary(item)) is not None]
        lines.sort(key=lambda line: float(str(line["oldest_seconds"])), reverse=True)
        for line in lines[:SUMMARIES_MAX]:
            _log.info("subscription.summary", extra=line)
        if further := lines[SUMMARIES_MAX:]:
            _log.info("subscription.summary", extra={"further_subscriptions": len(further)})

    def _summary(self, item: Watched) -> dict[str, object] | None:
        queue = item.info.queue
        if item.health.word not in {"degraded", "unhealthy"} or queue.oldest_ms is None:
            return None
        lag_seconds = (self._context.clock.now_ms() - queue.oldest_ms) / 1000
        if lag_seconds < LAG_SECONDS:
            return None
        counts = queue.counts
        return {
            "bus": item.bus,
            "subscription": item.info.name,
            "state": item.info.state,
            "oldest_seconds": round(lag_seconds, 3),
            "waiting": counts.waiting,
            "leased": counts.leased,
            "scheduled": counts.scheduled,
            "dead": counts.dead,
            "overrun": counts.overrun,
            "members": item.members,
            "reason": item.health.reason,
            "acked_per_second": round(item.acked.per_second, 3),
        }
