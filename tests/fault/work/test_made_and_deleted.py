"""Subscriptions made and deleted at one replica while events are published at another."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.fault.conftest import Report
from tests.fault.parameters import MADE_SUBSCRIPTIONS
from tests.fault.waiting import until
from tests.fault.work.findings import WorkFindings
from tests.fault.work.workplace import counts_of, definition, workplace
from waooaw.events import Event, Receipt, connect
from waooaw.events.delivery import CLAIM_MAX
from waooaw.events.interface import Bus

MADE_PER_SECOND = 50
LEASE_SECONDS = 300.0
PUBLISHERS = 3
PAUSE_SECONDS = 0.005
EVENTS_MAX = 20
"""Accepted while a subscription is there, besides those under way when it was made."""


@dataclass(slots=True)
class Publishing:
    """What was published: when each event was begun and accepted (monotonic), and what was refused."""

    accepted: dict[str, tuple[float, float]] = field(default_factory=dict)
    refused: list[object] = field(default_factory=list)
    is_over: bool = False

    async def run(self, bus: Bus, source: str) -> None:
        """Publish one event after the other until over."""
        number = 0
        while not self.is_over:
            begun, name = time.monotonic(), f"{source}-{number}"
            (answer,) = await bus.publish_many([Event(type="work.do", source=source, id=name)])
            if isinstance(answer, Receipt):
                self.accepted[name] = (begun, time.monotonic())
            else:
                self.refused.append(answer)
            number += 1
            await asyncio.sleep(PAUSE_SECONDS)

    def between(self, made: float, asked: float) -> Iterable[str]:
        """Return what was begun after one time and accepted before another."""
        return (name for name, (begun, accepted) in self.accepted.items() if made < begun and accepted < asked)


@dataclass(slots=True)
class Made:
    """What became of one subscription."""

    expected: int
    missed: list[str]
    twice: int


async def live(bus: Bus, name: str, publishing: Publishing, chance: random.Random) -> Made:
    """Make a subscription, wait, take all that it got, and delete it."""
    subscription = bus.subscription(name)
    await subscription.put(definition(lease_seconds=LEASE_SECONDS))
    made = time.monotonic()
    # those that were under way are accepted first: each publisher has one
    goal = len(publishing.accepted) + PUBLISHERS + chance.randint(1, EVENTS_MAX)
    await until(lambda: len(publishing.accepted) >= goal, "more events accepted")
    asked = time.monotonic()
    got: list[str] = []
    while page := (await subscription.claim(limit=CLAIM_MAX)).deliveries:
        got += [str(delivery.event.id) for delivery in page]
    counts = await counts_of(bus, name)
    assert counts.is_closed
    await subscription.delete()
    expected = list(publishing.between(made, asked))
    return Made(len(expected), [event for event in expected if event not in set(got)], len(got) - len(set(got)))


async def test_event_accepted_after_the_answer_is_never_missed(
    tmp_path: Path, chance: random.Random, report: Report, findings: WorkFindings
) -> None:
    """50 subscriptions a second come and go: each gets all that is accepted after its PUT; no publish is refused."""
    count = MADE_SUBSCRIPTIONS.count
    publishing = Publishing()
    async with workplace(tmp_path, "redis") as place, connect(place.services[1].url) as other:
        began = due = time.monotonic()
        tasks: list[asyncio.Task[Made]] = []
        async with asyncio.TaskGroup() as group:
            writing = [
                group.create_task(publishing.run(bus, f"source-{index}"))
                for index, bus in enumerate([place.bus, place.bus, other][:PUBLISHERS])
            ]
            for number in range(count):
                await asyncio.sleep(due - time.monotonic())
                bus = (place.bus, other)[number % 2]
                tasks.append(group.create_task(live(bus, f"made-{number}", publishing, chance)))
                due += 1 / MADE_PER_SECOND
            made = await asyncio.gather(*tasks)
            seconds = time.monotonic() - began
            publishing.is_over = True
            await asyncio.gather(*writing)
        place.check_logs()
    missed = [event for one in made for event in one.missed]
    twice, expected = sum(one.twice for one in made), sum(one.expected for one in made)
    waits = sorted(accepted - begun for begun, accepted in publishing.accepted.values())
    note = (
        f"{count:,} made and deleted in {seconds:.1f} s, {len(waits):,} events published, {len(publishing.refused)} "
        f"refused, the longest publish {waits[-1] * 1e3:.0f} ms"
    )
    report(f"{note}; {expected:,} deliveries due, {len(missed)} missed, {twice} twice")
    findings.note(("subscriptions come and go, two replicas", "redis"), (expected, 0, len(missed), twice), note)
    assert publishing.refused == []
    assert (missed, twice) == ([], 0)
    assert all(one.expected for one in made)
