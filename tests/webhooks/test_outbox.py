"""What an outbox claims follows from what it may send, also in the moment in which that changes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tests.webhooks.receivers import ALLOWED_NETWORKS
from waooaw.events.clock import SystemClock
from waooaw.events.delivery import Settlement
from waooaw.events.push import PushDefinition
from waooaw.events.webhook_address import AllowedNetworks
from waooaw.events.webhooks.breaker import FAILURES_MAX
from waooaw.events.webhooks.dialing import Dialer
from waooaw.events.webhooks.outbox import Outbox
from waooaw.events.webhooks.sending import Sender
from waooaw.events.webhooks.webhook_metrics import WebhookMetrics

PUSH = PushDefinition(url="http://127.0.0.1:9/events")


class _Steps(SystemClock):
    """Stands still, but for steps that a test wants between two looks."""

    __slots__ = ("_now", "steps")

    def __init__(self) -> None:
        self._now = 1000.0
        self.steps: list[float] = []

    def monotonic(self) -> float:
        if self.steps:
            self._now += self.steps.pop(0)
        return self._now


class _Member:
    """Keeps what it is told to claim."""

    def __init__(self) -> None:
        self.credits: list[int] = []
        self.wanted = asyncio.Event()

    def set_credit(self, credit: int) -> None:
        self.credits.append(credit)
        if credit:
            self.wanted.set()

    async def settle(self, settlements: Sequence[Settlement]) -> list[None]:
        return [None] * len(settlements)

    async def close(self) -> None:
        self.credits.append(0)


@pytest.mark.parametrize("early_seconds", [0.0004, 0.0])
async def test_a_timer_that_comes_early_leaves_nothing_asleep(early_seconds: float) -> None:
    """Time goes on between two looks at the clock: whoever saw "not yet" at the first is woken again all the same."""
    clock, member = _Steps(), _Member()
    dialer = Dialer(AllowedNetworks.parse([ALLOWED_NETWORKS]))
    outbox = Outbox(
        PUSH,
        "0" * 16,
        Sender(dialer, origin="wowevent", clock=clock),
        clock,
        WebhookMetrics(),
        labels={},
        sent=lambda _: None,
        changed=lambda: None,
    )
    outbox.connect(member)  # type: ignore[arg-type] # what an outbox asks of its member
    for _ in range(FAILURES_MAX):
        outbox.allowance.breaker.fail(clock.monotonic())
    outbox.set_open(is_open=True)
    assert member.credits == [0]
    until = outbox.allowance.breaker.until
    clock.steps = [until - early_seconds - clock.monotonic(), 0.001, 0.001]
    outbox.adjust()
    async with asyncio.timeout(5):
        await member.wanted.wait()
    await outbox.close()
