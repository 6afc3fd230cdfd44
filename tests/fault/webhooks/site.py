"""A service that calls receivers: what it is told, what is published to them, and what it says of them."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import msgspec

from tests.fault.work.workplace import LOOK_SECONDS, counts_of
from tests.interoperability.github_events import LINES
from tests.service_process import ServiceProcess
from tests.webhooks.receivers import ALLOWED_NETWORKS
from waooaw.events import Event, Receipt, RetryPolicy, SubscriptionDefinition
from waooaw.events.interface import Bus
from waooaw.events.pattern import PatternSet
from waooaw.events.position import format_position
from waooaw.events.push import PushDefinition
from waooaw.events.push_state import PushState

SETTINGS: Final = {"WOWEVENT_WEBHOOK_ALLOWED_NETWORKS": ALLOWED_NETWORKS}
PATTERN: Final = "github.*"
LEASE_SECONDS: Final = 3.0
"""Longer than the time-out of a receiver, so that no lease lapses under a request."""

TIMEOUT_SECONDS: Final = 2.0
RETRY: Final = RetryPolicy(max_attempts=20, first_seconds=1.0, cap_seconds=4.0)
BATCH: Final = 25
WAIT_SECONDS: Final = 20.0


def definition(
    push: PushDefinition, *, retry: RetryPolicy = RETRY, lease_seconds: float = LEASE_SECONDS
) -> SubscriptionDefinition:
    """Return a subscription to all real events that is pushed."""
    patterns = PatternSet.parse([PATTERN])
    return SubscriptionDefinition(patterns=patterns, lease_seconds=lease_seconds, retry=retry, push=push)


def push_to(url: str, *, concurrency: int = 10, rate: float | None = None) -> PushDefinition:
    """Return how a receiver is pushed: it is asked for its consent, and soon given up on where it hangs."""
    return PushDefinition(url=url, timeout_seconds=TIMEOUT_SECONDS, concurrency=concurrency, rate=rate)


@dataclass(slots=True)
class Published:
    """When each event was due to be published (monotonic), by its position; ids go on from one call to the next."""

    due: dict[str, float] = field(default_factory=dict)
    numbers: itertools.count[int] = field(default_factory=itertools.count)


async def publish(bus: Bus, count: int, rate: float, published: Published, *, batch: int = BATCH) -> None:
    """Publish real events at a rate, in batches, each until it has its receipt."""
    due = time.monotonic()
    for start in range(0, count, batch):
        await asyncio.sleep(due - time.monotonic())
        waiting = [_real_event(next(published.numbers)) for _ in range(min(batch, count - start))]
        while waiting:
            answers = await bus.publish_many(waiting)
            receipts = [answer for answer in answers if isinstance(answer, Receipt)]
            published.due |= {format_position(receipt.position): due for receipt in receipts}
            waiting = [event for event, answer in zip(waiting, answers, strict=True) if not isinstance(answer, Receipt)]
        due += batch / rate


def _real_event(number: int) -> Event:
    event = Event.from_json(LINES[number % len(LINES)])
    return msgspec.structs.replace(event, id=f"{event.id}-{number}")


async def state_of(bus: Bus, name: str) -> PushState:
    """Return how the pushing of a subscription goes, as the replica of this client says."""
    state = (await bus.subscription(name).info()).push_state
    assert state is not None
    return state


async def reached(bus: Bus, name: str, condition: Callable[[PushState], bool]) -> PushState:
    """Return how the pushing of a subscription goes once that is so."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition(state := await state_of(bus, name)):
        assert time.monotonic() < deadline, (name, state)
        await asyncio.sleep(LOOK_SECONDS)
    return state


async def consented(bus: Bus, *names: str) -> None:
    """Return once the receivers of some subscriptions have consented."""
    for name in names:
        await reached(bus, name, lambda state: state.state == "verified")


async def caught_up(bus: Bus, name: str, seconds_max: float) -> None:
    """Return once nothing waits to be sent but what waits for its next try."""
    deadline = time.monotonic() + seconds_max
    while (counts := await counts_of(bus, name)).waiting:
        assert time.monotonic() < deadline, (name, counts)
        await asyncio.sleep(LOOK_SECONDS)


def memory_bytes(service: ServiceProcess, field_name: Literal["VmRSS", "VmHWM"]) -> int:
    """Return the resident memory of a service, now (RSS) or at most so far (HWM)."""
    status = Path(f"/proc/{service.process_id}/status").read_text("ascii")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(f"{field_name}:"))
