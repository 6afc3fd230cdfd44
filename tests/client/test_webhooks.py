"""Webhooks of ``connect()``: a service calls receivers, a bus inside the process says that it does not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from tests.service_process import ServiceProcess
from tests.webhooks.receivers import ALLOWED_NETWORKS, Answer, receiving
from waooaw.events import Event, PatternSet, PushDefinition, Receipt, Subscription, SubscriptionDefinition, connect
from waooaw.events.errors import (
    AddressRefusedError,
    InvalidParameterError,
    NoPushError,
    NotAvailableFieldError,
    NotFoundError,
    PushUnverifiedError,
)
from waooaw.events.identifier import new_signing_secret
from waooaw.events.position import BEGINNING, format_position


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    variables = {"WOWEVENT_WEBHOOK_ALLOWED_NETWORKS": ALLOWED_NETWORKS}
    with ServiceProcess(tmp_path_factory.mktemp("service"), variables) as running:
        yield running


def unique_name() -> str:
    """Return a name, and an event type, of this test alone: tests share a service."""
    return f"t{uuid4().hex}"


def pushed(name: str, push: PushDefinition) -> SubscriptionDefinition:
    """Return a definition of a subscription to one type that is pushed."""
    return SubscriptionDefinition(patterns=PatternSet.parse([name]), push=push)


async def test_a_receiver_from_making_to_redelivery(service: ServiceProcess) -> None:
    """Put, verify, test, redeliver and attempts: each answers a value with what came of it."""
    name = unique_name()
    async with receiving(allowed_rate="60000") as receiver, connect(service.url) as bus:
        subscription = bus.subscription(name)
        made = await subscription.put(pushed(name, PushDefinition(url=receiver.url, mode="structured")))
        assert made.push_state is not None
        assert made.push_state.state in {"pending", "verified"}
        verified = await subscription.verify()
        assert verified.push_state is not None
        assert (verified.push_state.state, verified.push_state.allowed_per_minute) == ("verified", 60_000)

        receipt = await bus.publish(Event(type=name, source="/a", data=1))
        assert isinstance(receipt, Receipt)
        await receiver.posted(1)
        tested = await subscription.send_test()
        assert (tested.kind, tested.outcome, tested.status) == ("test", "delivered", 204)
        receiver.script = lambda _: Answer(503, body=b"later")
        again = await subscription.redeliver(receipt.position)
        assert (again.outcome, again.status, again.reply) == ("failed", 503, "later")
        assert again.positions == (format_position(receipt.position),)
        assert (await subscription.redeliver(format_position(receipt.position))).positions == again.positions

        found = await subscription.attempts(2)
        assert [attempt.kind for attempt in found] == ["redelivery", "redelivery"]
        assert {attempt.kind for attempt in await subscription.attempts()} == {
            *("redelivery", "test", "delivery", "handshake"),
        }
        (listed,) = [info for info in await bus.subscriptions() if info.name == name]
        assert listed.push_state is not None
        assert listed.push_state.state == "verified"
        await subscription.delete()


async def test_what_is_read_can_be_put_again(service: ServiceProcess) -> None:
    """A definition comes without its secrets, and going back it keeps them."""
    name = unique_name()
    async with receiving() as receiver, connect(service.url) as bus:
        subscription = bus.subscription(name)
        push = PushDefinition(url=receiver.url, authorization="Bearer own", secret=(new_signing_secret(),))
        await subscription.put(pushed(name, push))
        definition = (await subscription.info()).definition
        assert definition.push == push.masked()
        changed = await subscription.put(replace(definition, push=replace(push.masked(), concurrency=3)))
        assert changed.definition.push is not None
        assert changed.definition.push.concurrency == 3
        await subscription.verify()
        await subscription.send_test()
        assert receiver.posts[-1].headers["Authorization"] == "Bearer own"
        assert "webhook-signature" in receiver.posts[-1].headers
        with pytest.raises(InvalidParameterError, match="another origin"):
            await subscription.put(pushed(name, replace(push.masked(), url="http://127.0.0.2:1/")))
        await subscription.delete()


async def test_refusals_are_errors_of_ours(service: ServiceProcess) -> None:
    """An address, no push, no consent, nobody there: each is its own kind, with its place."""
    name = unique_name()
    async with receiving(consents=False) as receiver, connect(service.url) as bus:
        subscription = bus.subscription(name)
        with pytest.raises(AddressRefusedError) as refused:
            await subscription.put(pushed(name, PushDefinition(url="https://10.0.0.1/")))
        assert [violation.pointer for violation in refused.value.errors] == ["#/push/url"]
        for call in calls_of(subscription):
            with pytest.raises(NotFoundError):
                await call()
        await subscription.put(SubscriptionDefinition(patterns=PatternSet.parse([name])))
        for call in calls_of(subscription):
            with pytest.raises(NoPushError):
                await call()
        await subscription.put(pushed(name, PushDefinition(url=receiver.url)))
        state = (await subscription.verify()).push_state
        assert state is not None
        assert state.state == "refused"
        with pytest.raises(PushUnverifiedError, match="405"):
            await subscription.send_test()
        await subscription.delete()


def calls_of(subscription: Subscription) -> list[Callable[[], Awaitable[object]]]:
    """Return the calls about a receiver."""
    return [
        subscription.verify,
        subscription.attempts,
        subscription.send_test,
        lambda: subscription.redeliver(BEGINNING),
    ]


@pytest.mark.parametrize("where", ["memory", "sqlite"])
async def test_a_bus_inside_the_process_calls_nobody(where: str, tmp_path: Path) -> None:
    """A definition with push is refused, and nothing is made: nobody would be there to deliver at night."""
    name = unique_name()
    async with connect("memory://" if where == "memory" else f"sqlite:///{tmp_path}/bus.db") as bus:
        subscription = bus.subscription(name)
        with pytest.raises(NotAvailableFieldError, match="by a service") as refused:
            await subscription.put(pushed(name, PushDefinition(url="https://agent.example/")))
        assert [violation.pointer for violation in refused.value.errors] == ["#/push"]
        with pytest.raises(NotFoundError):
            await subscription.info()
        for call in calls_of(subscription):
            with pytest.raises(NotAvailableFieldError, match="by a service"):
                await call()
