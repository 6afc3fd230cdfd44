"""Replicas that serve the webhooks of one bus, over one engine in memory and real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from tests.bus.running import BUS
from tests.webhooks.receivers import ALLOWED_NETWORKS
from waooaw.events.bus.event_bus import BusOptions, EventBus
from waooaw.events.clock import SystemClock
from waooaw.events.engine.sqlite import SqliteEngine, SqliteOptions
from waooaw.events.event import Event
from waooaw.events.identifier import RandomIdentifiers
from waooaw.events.push_state import PushState
from waooaw.events.receipt import Receipt
from waooaw.events.subscription import parse_subscription
from waooaw.events.subscription_state import Counts, SubscriptionInfo
from waooaw.events.webhook_address import AllowedNetworks
from waooaw.events.webhooks.dialing import Dialer
from waooaw.events.webhooks.sending import Sender
from waooaw.events.webhooks.surroundings import Surroundings
from waooaw.events.webhooks.webhook_metrics import WebhookMetrics
from waooaw.events.webhooks.webhooks import Webhooks

ORIGIN = "wowevent"
WAIT_SECONDS = 20.0
LOOK_SECONDS = 0.01


class Serving:
    """One replica: its bus, its webhooks, and what a test asks of them."""

    def __init__(self, bus: EventBus, webhooks: Webhooks, metrics: WebhookMetrics) -> None:
        self.bus = bus
        self.webhooks = webhooks
        self.metrics = metrics

    async def put(
        self, name: str, url: str, *patterns: str, push: dict[str, object] | None = None, **members: object
    ) -> None:
        """Make a subscription that is pushed, or change it."""
        definition = {"patterns": list(patterns) or ["*"], "push": {"url": url, **(push or {})}, **members}
        await self.bus.subscriptions.put(name, parse_subscription(definition))

    async def publish(self, count: int = 1, event_type: str = "task.done", **extensions: str) -> list[Receipt]:
        """Publish events; return their receipts."""
        events = [
            Event(type=event_type, source="/tests", extensions=dict(extensions), data={"number": number})
            for number in range(count)
        ]
        receipts = await self.bus.publish_many(events)
        assert all(isinstance(receipt, Receipt) for receipt in receipts), receipts
        return [receipt for receipt in receipts if isinstance(receipt, Receipt)]

    async def counts(self, name: str) -> Counts:
        """Return where the references of a subscription are."""
        return (await self.bus.subscriptions.info(name)).queue.counts

    async def until_info(self, name: str, condition: Callable[[SubscriptionInfo], bool]) -> SubscriptionInfo:
        """Return a subscription once a condition on it holds."""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                info = await self.bus.subscriptions.info(name)
                if condition(info):
                    return info
                await asyncio.sleep(LOOK_SECONDS)

    async def counted(self, name: str, condition: Callable[[Counts], bool]) -> Counts:
        """Return the counts once a condition on them holds."""
        return (await self.until_info(name, lambda info: condition(info.queue.counts))).queue.counts

    async def until_state(self, name: str, condition: Callable[[PushState], bool]) -> PushState:
        """Return how pushing goes once a condition on that holds."""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                state = await self.webhooks.state(name)
                if state is not None and condition(state):
                    return state
                await asyncio.sleep(LOOK_SECONDS)


@asynccontextmanager
async def serving(count: int = 1) -> AsyncIterator[list[Serving]]:
    """Run replicas."""
    clock, identifiers = SystemClock(), RandomIdentifiers()
    engine = SqliteEngine(None, (BUS,), clock=clock, identifiers=identifiers, options=SqliteOptions(reserve_bytes=0))
    async with AsyncExitStack() as stack:
        await engine.open(stack)
        dialer = Dialer(AllowedNetworks.parse([ALLOWED_NETWORKS]))
        await dialer.open(stack)
        replicas = []
        for number in range(count):
            bus = await stack.enter_async_context(
                EventBus(engine, BUS, clock=clock, identifiers=identifiers, options=BusOptions())
            )
            metrics = WebhookMetrics()
            around = Surroundings(
                event_bus=bus,
                engine=engine,
                sender=Sender(dialer, origin=ORIGIN, clock=clock),
                dialer=dialer,
                replica=f"replica-{number}",
                origin=ORIGIN,
                clock=clock,
                identifiers=identifiers,
                metrics=metrics,
            )
            webhooks = Webhooks(around)
            webhooks.open(stack)
            replicas.append(Serving(bus, webhooks, metrics))
        yield replicas
