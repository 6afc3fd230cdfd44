"""Poison among good events: the good are not held up, the poison is buried once, and comes back as it is asked to."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tests.fault.conftest import Report
from tests.fault.parameters import POISON_EVENTS, POISON_RATE, POISON_ROUNDS, is_long
from tests.fault.waiting import until
from tests.fault.work.findings import WorkFindings
from tests.fault.work.workplace import all_done, counts_of, dead_of, definition, workplace
from waooaw.events import Event, Receipt
from waooaw.events.dead_letter import DeadLetterFilter, RedriveResult
from waooaw.events.delivery import Delivery
from waooaw.events.interface import Bus
from waooaw.events.subscription_interface import Consumer

NAME = "fragile"
MEMBERS = 8
CREDIT = 100
BATCH = 10
POISON_SHARE = 10
MAX_ATTEMPTS = 4
SLOWER_MAX = 2.0
MARGIN_SECONDS = 0.02
"""Of a p99 of some milliseconds: what a machine of two cores with all processes on it adds by chance."""

REDRIVE_SECONDS = 2.0
REDRIVE_EARLY_SHARE_MAX = 0.75
"""Of what is redriven, in the first half of the time: with no rate it would be all."""


class Handlers:
    """Members of one subscription that fail what is poison, until they are mended."""

    def __init__(self) -> None:
        self.handled: dict[str, float] = {}
        """When the handler of each good event began (monotonic)."""
        self.failures: dict[str, int] = defaultdict(int)
        self.is_mended = False

    async def work(self, consumer: Consumer) -> None:
        """Handle what comes until cancelled."""
        async with asyncio.TaskGroup() as handling:
            async for delivery in consumer:
                handling.create_task(self._handle(consumer, delivery))

    async def _handle(self, consumer: Consumer, delivery: Delivery) -> None:
        event_id = str(delivery.event.id)
        if event_id.startswith("poison") and not self.is_mended:
            self.failures[event_id] += 1
            await consumer.nack(delivery, reason="poison")
        else:
            assert event_id not in self.handled
            self.handled[event_id] = time.monotonic()
            await consumer.ack(delivery)


@asynccontextmanager
async def at_work(bus: Bus, handlers: Handlers) -> AsyncIterator[None]:
    """Have members work."""
    async with AsyncExitStack() as stack:
        tasks = []
        for number in range(MEMBERS):
            consumer = bus.subscription(NAME).consume(credit=CREDIT, member=f"member-{number}")
            tasks.append(asyncio.create_task(handlers.work(await stack.enter_async_context(consumer))))
        yield
        assert not any(task.done() for task in tasks), tasks
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def publish_paced(bus: Bus, numbers: range, name_of: Callable[[int], str]) -> dict[str, float]:
    """Publish events at the rate; return when each event was due to be published (monotonic)."""
    published: dict[str, float] = {}

    async def publish(names: list[str]) -> None:
        answers = await bus.publish_many([Event(type="work.do", source="chief", id=name) for name in names])
        assert all(isinstance(answer, Receipt) for answer in answers), answers

    due = time.monotonic()
    async with asyncio.TaskGroup() as publishing:
        for start in range(0, len(numbers), BATCH):
            await asyncio.sleep(due - time.monotonic())
            names = [name_of(number) for number in numbers[start : start + BATCH]]
            published |= dict.fromkeys(names, due)
            publishing.create_task(publish(names))
            due += BATCH / POISON_RATE.value
    return published


async def p99_of_good(bus: Bus, handlers: Handlers, numbers: range, name_of: Callable[[int], str]) -> float:
    """Publish, wait until all is settled; return the p99 of the good in seconds."""
    published = await publish_paced(bus, numbers, name_of)
    await all_done(bus, [NAME], 30.0)
    good = [name for name in published if not name.startswith("poison")]
    waits = sorted(handlers.handled[name] - published[name] for name in good)
    return waits[len(waits) * 99 // 100]


def pure_name(number: int) -> str:
    """Return the id of an event among good ones."""
    return f"pure-{number}"


def mixed_name(number: int) -> str:
    """Return the id of an event, of which one in ten is poison."""
    return f"mixed-{number}" if number % POISON_SHARE else f"poison-{number}"


async def measure(bus: Bus, handlers: Handlers) -> tuple[float, float]:
    """Return the p99 of good events in seconds, alone and among poison: each in the quietest of its rounds.

    Both are measured in turns, so that what else the machine does meets both.
    """
    size = POISON_EVENTS.count // POISON_ROUNDS.count
    rounds = [range(start, start + size) for start in range(0, POISON_EVENTS.count, size)]
    both = [
        (await p99_of_good(bus, handlers, numbers, pure_name), await p99_of_good(bus, handlers, numbers, mixed_name))
        for numbers in rounds
    ]
    return min(pure for pure, _ in both), min(mixed for _, mixed in both)


async def test_poison_holds_nobody_up_and_comes_back_as_asked(
    tmp_path: Path, report: Report, findings: WorkFindings
) -> None:
    """Each poison event is buried after exactly its attempts, the good go on, a redrive keeps to its rate."""
    handlers = Handlers()
    async with workplace(tmp_path, "redis", replicas=1) as place:
        subscription = place.bus.subscription(NAME)
        await subscription.put(definition(lease_seconds=30.0, max_attempts=MAX_ATTEMPTS))
        async with at_work(place.bus, handlers):
            pure, mixed = await measure(place.bus, handlers)
            poison = {f"poison-{number}" for number in range(0, POISON_EVENTS.count, POISON_SHARE)}
            assert handlers.failures == dict.fromkeys(poison, MAX_ATTEMPTS)
            assert await dead_of(place.bus, NAME) == dict.fromkeys(poison, ("max_attempts", MAX_ATTEMPTS))

            buried = await counts_of(place.bus, NAME)
            trial = await subscription.redrive(DeadLetterFilter(reason="max_attempts"), dry_run=True)
            assert trial == RedriveResult(len(poison), 0)
            assert await counts_of(place.bus, NAME) == buried
            assert handlers.failures == dict.fromkeys(poison, MAX_ATTEMPTS)

            handlers.is_mended = True
            rate, began = len(poison) / REDRIVE_SECONDS, time.monotonic()
            assert await subscription.redrive(rate=rate) == RedriveResult(len(poison), len(poison))
            await until(lambda: poison <= handlers.handled.keys(), "all that was redriven")
            await all_done(place.bus, [NAME], 30.0)
        times = sorted(handlers.handled[name] - began for name in poison)
        ended = await counts_of(place.bus, NAME)
        place.check_logs()
    early = sum(at < REDRIVE_SECONDS / 2 for at in times) / len(times)
    note = (
        f"{POISON_RATE.value:g}/s, {MEMBERS} members: p99 of the good {mixed * 1e3:.1f} ms, without poison "
        f"{pure * 1e3:.1f} ms; {len(poison):,} redriven at {rate:.0f}/s in {times[-1]:.1f} s"
    )
    report(f"{note}; {early:.0%} of them in the first half of {REDRIVE_SECONDS:g} s")
    again = len(poison) * MAX_ATTEMPTS
    findings.note(
        ("one event in ten is poison", "redis"), (2 * POISON_EVENTS.count, again, ended.matched - ended.acked, 0), note
    )
    assert (ended.acked, ended.dead) == (ended.matched, 0)
    assert early < REDRIVE_EARLY_SHARE_MAX
    assert times[-1] > (len(poison) - 1) / rate * 0.9
    if is_long():
        assert mixed < SLOWER_MAX * pure + MARGIN_SECONDS
