"""How subscriptions are told: in the metrics by name and by health, in ``/health`` by dead letters, in the log."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import Any, Final

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.service.frames import opened
from tests.service.subscribed import bury, claim, outcome, publish, put, settle, until
from tests.service.watched_service import WatchedService, event_bytes
from waooaw.events.bus.event_bus import BusOptions, EventBus
from waooaw.events.bus.subscription_health import SubscriptionHealth
from waooaw.events.delivery import Settlement
from waooaw.events.engine.sqlite import SqliteEngine, SqliteOptions
from waooaw.events.identifier import RandomIdentifiers
from waooaw.events.position import Position
from waooaw.events.rate import Rate
from waooaw.events.service.context import Context
from waooaw.events.service.members import activity_of_all, member_counts, member_list
from waooaw.events.service.open_streams import OpenStreams
from waooaw.events.service.replica import Listed, Replica
from waooaw.events.service.subscribers import subscriber_members
from waooaw.events.service.subscription_metrics import NAMES_MAX, subscription_families, subscriptions_members
from waooaw.events.service.subscription_watch import SubscriptionWatch, Watched, untaken
from waooaw.events.settings import Settings
from waooaw.events.subscription import parse_subscription
from waooaw.events.subscription_state import Counts, QueueState, SubscriptionInfo
from waooaw.events.testing import ManualClock

Members = dict[str, Any]


async def metrics(service: WatchedService) -> Members:
    """The metrics as JSON."""
    answer: Members = (await service.call("GET", "/metrics")).json()
    return answer


async def told(service: WatchedService, name: str, **wanted: object) -> Members:
    """Return what the metrics tell of a subscription, once that is what is wanted: they look back a second or so."""
    found: Members = {}

    async def is_told() -> bool:
        nonlocal found
        found = (await metrics(service))["subscriptions"].get(name, {})
        return bool(found) and {member: found[member] for member in wanted} == wanted

    await until(is_told)
    return found


async def test_counts_and_ages(service: WatchedService) -> None:
    """Each place of a subscription's events is counted, with ages and members; the same for Prometheus."""
    await put(service, "counted")
    await bury(service, "counted")
    await publish(service, "counted", 4)
    acked, failed = await claim(service, "counted", max=2)
    await settle(service, "counted", outcome(acked), outcome(failed, "nack", delay_seconds=600))
    async with opened(service.port) as socket:
        await socket.ask(op="consume", id="c", subscription="counted", credit=1)
        await socket.receive_op("delivery")
        places = {"matched": 5, "acked": 1, "waiting": 1, "leased": 1, "scheduled": 1, "dead": 1}
        found = await told(service, "counted", **places, members=1)
        text = (await service.call("GET", "/metrics?format=prometheus")).body.decode()
    assert found["oldest_waiting_seconds"] >= 0
    assert found["oldest_dead_seconds"] >= 0
    assert {name: found[name] for name in ("expired", "overrun", "dropped")} == dict.fromkeys(
        ("expired", "overrun", "dropped"), 0
    )
    samples = {
        sample.name.removeprefix("wowevent_subscription_").removesuffix("_total"): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels == {"bus": "default", "subscription": "counted"}
    }
    assert places | {"members": 1} == {name: samples[name] for name in (*places, "members")}
    assert samples["oldest_dead_seconds"] > 0


async def test_health(service: WatchedService) -> None:
    """A subscription whose deliveries fail is unhealthy, and named with the reason; one that works is healthy."""
    for name in ("works", "fails"):
        await put(service, name)
        await publish(service, name, 10)
        word = {"works": "ack", "fails": "nack"}[name]
        deliveries = await claim(service, name)
        await settle(service, name, *[outcome(delivery, word, delay_seconds=600) for delivery in deliveries])

    found: Members = {}

    async def is_judged() -> bool:
        nonlocal found
        found = {item["name"]: item for item in (await metrics(service))["subscribers"]["unhealthy"]}
        return "subscription fails" in found

    await until(is_judged)
    assert found["subscription fails"]["error_rate"] == 1.0
    assert "100%" in found["subscription fails"]["reason"]
    assert "subscription works" not in found
    subscribers = (await metrics(service))["subscribers"]
    assert subscribers["health"]["healthy"] >= 1
    assert subscribers["total"] == sum(subscribers["health"].values())


async def test_dead_letters_in_health(service: WatchedService) -> None:
    """``/health?details=true`` has how many dead letters there are, and whose."""
    await put(service, "buried")
    await bury(service, "buried", 3)
    found: Members = {}

    async def is_told() -> bool:
        nonlocal found
        found = (await service.call("GET", "/health?details=true")).json()["dead_letters"]
        return bool(found["subscriptions"].get("buried") == 3)

    await until(is_told)
    assert found["total"] >= 3
    assert found["oldest_seconds"] >= 0


async def test_totals(service: WatchedService) -> None:
    """Acks are deliveries; failures are errors, retries and dead letters, by type, too."""
    await put(service, "totals")
    await publish(service, "totals", 3)
    before = await metrics(service)
    acked, failed, dead = await claim(service, "totals")
    await settle(service, "totals", outcome(acked), outcome(failed, "nack"), outcome(dead, "reject"))
    after = await metrics(service)
    grown = {name: after["totals"][name] - before["totals"][name] for name in after["totals"]}
    assert grown == {"publishes": 0, "deliveries": 1, "errors": 2, "retries": 1, "dlq": 1}
    by_type = after["event_types"]["totals.made"]
    assert (by_type["deliveries"], by_type["retries"], by_type["dlq"]) == (1, 1, 1)


# What is told of many -------------------------------------------------------------------------------------------------


def watched(name: str, bus: str = "default", word: Any = "healthy", **counts: int) -> Watched:  # noqa: ANN401 - a literal
    info = SubscriptionInfo(
        name=name,
        incarnation="0" * 16,
        definition=parse_subscription({"patterns": ["*"]}),
        state="active",
        created_ms=0,
        receives_after=Position(0),
        queue=QueueState(Counts(**counts), 1000, 500 if counts.get("dead") else None, 0, None),
    )
    health = SubscriptionHealth(word, 0.5 if word == "unhealthy" else 0.0, None, "bad" if word == "unhealthy" else "")
    return Watched(bus, info, Rate(60, 1.0, 60.0), Rate(0, 0.0, 0.0), 2, health)


def test_names_are_bounded() -> None:
    """Beyond so many the rest is told together: counts and members are sums, ages are those of the oldest."""
    many = [watched(f"s{number}", waiting=1, dead=number % 2) for number in range(NAMES_MAX + 10)]

    members = subscriptions_members(many, 2000)

    assert len(members) == NAMES_MAX + 1
    other = members["other"]
    assert (other["waiting"], other["dead"], other["members"]) == (10, 5, 20)
    assert (other["oldest_waiting_seconds"], other["oldest_dead_seconds"]) == (1.0, 1.5)
    assert other["matched_per_second"] == 10.0
    assert subscriptions_members(many[:1], 2000)["s0"]["oldest_dead_seconds"] is None


def test_names_of_several_buses() -> None:
    """Subscriptions of other buses are told behind their bus's name, and none is mistaken for the rest."""
    assert list(subscriptions_members([watched("a"), watched("a", "orders"), watched("other")], 0)) == [
        "a",
        "orders/a",
        "default/other",
    ]


def context_of(bus: EventBus | None, clock: ManualClock) -> Context:
    streams = OpenStreams(Random(1), ping_seconds=15, age_seconds=0)
    buses = {} if bus is None else {bus.name: bus}
    return Context(Settings(), clock, Random(1), streams, engine=None, buses=buses)


def test_labels_are_bounded() -> None:
    """Prometheus gets as many label sets a bus, and one more."""
    many = [watched(f"s{number}") for number in range(NAMES_MAX + 10)]

    families = list(subscription_families(context_of(None, ManualClock()), many))

    assert {len(family.samples) for family in families} == {NAMES_MAX + 1}


def test_the_worst_are_named() -> None:
    """Subscriptions count by their health, the worst are named first, twenty at most."""
    items = [watched(f"s{number}", word="unhealthy") for number in range(30)] + [
        watched("good"),
        watched("x", word="unknown"),
    ]

    members = subscriber_members(context_of(None, ManualClock()), items)

    assert members["total"] == 32
    assert members["health"] == {"healthy": 1, "degraded": 0, "unhealthy": 30, "unknown": 1}
    assert [item["error_rate"] for item in members["unhealthy"]] == [0.5] * 20


def test_what_other_replicas_say_is_taken_as_it_is() -> None:
    """Members and activity add up over replicas; what another release says in another way is left out."""
    said = {"count": 2, "members": [["w1", "consume", 5, 1], ["w2"], "x"], "activity": {"acked": 3, "failed": 1}}
    listed = [
        Listed("a", 0, {"subscriptions": {"default": {"s": said}}}),
        Listed("b", 0, {"subscriptions": {"default": {"s": {"count": 1, "members": [["w3", "claim", 1, 0]]}, "t": 7}}}),
        Listed("c", 0, {"subscriptions": 7}),
        Listed("d", 0, {"subscriptions": {"default": {"s": {"count": "many", "members": 1, "activity": []}}}}),
        Listed("e", 0, {}),
    ]
    assert member_counts(listed, "default") == {"s": 3}
    assert [(item["member"], item["self"]) for item in member_list(listed, "b", "default", "s")] == [
        ("w1", False),
        ("w2", False),
        ("w3", True),
    ]
    assert activity_of_all(listed, "orders") == {}
    assert set(activity_of_all(listed, "default")) == {"s"}


# The summary ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def watching(clock: ManualClock) -> AsyncIterator[tuple[EventBus, SubscriptionWatch]]:
    """A bus in memory with the look at its subscriptions, begun by the test alone."""
    identifiers = RandomIdentifiers()
    async with AsyncExitStack() as stack:
        engine = SqliteEngine(None, ("default",), clock=clock, identifiers=identifiers, options=SqliteOptions())
        await engine.open(stack)
        bus = EventBus(engine, "default", clock=clock, identifiers=identifiers, options=BusOptions())
        await stack.enter_async_context(bus)
        context = context_of(bus, clock)
        context.replica = Replica(context, engine, "r1")
        yield bus, SubscriptionWatch(context)


async def test_retries_that_nobody_is_there_for_are_told() -> None:
    """Members that are gone leave retries behind: unhealthy, once nobody has claimed for a minute; not before."""
    clock = ManualClock()
    async with watching(clock) as (bus, watch):
        await bus.subscriptions.put("s", parse_subscription({"patterns": ["*"]}))
        await bus.submit_one(bus.acceptance.one(event_bytes("a.b")))
        (delivery,) = (await bus.deliveries.claim("s", 1)).deliveries
        await bus.deliveries.settle("s", [Settlement(token=delivery.token, outcome="nack")])
        words = []
        for seconds in (59.0, 2.0):
            clock.advance(seconds)
            await watch.look()
            (seen,) = watch.seen()
            words.append((untaken(seen.info.queue, clock.now_ms()), watch.watched(())[0].health.word))

        assert words == [(0, "unknown"), (1, "unhealthy")]


LAGGING: Final = 7_000


async def test_a_line_for_each_that_lags(caplog: pytest.LogCaptureFixture) -> None:
    """Where events wait and nobody takes them, the summary has a line with what an operator asks next."""
    caplog.set_level(logging.INFO, "wowevent.subscription")
    clock = ManualClock()
    async with watching(clock) as (bus, watch):
        for name in ("lags", "idle"):
            await bus.subscriptions.put(name, parse_subscription({"patterns": [f"{name}.*"]}))
        await bus.submit_one(bus.acceptance.one(event_bytes("lags.event")))
        await watch.look()
        watch.sum_up()
        clock.advance(LAGGING / 1000)
        await watch.look()
        watch.sum_up()
    (line,) = [record for record in caplog.records if record.message == "subscription.summary"]
    assert (line.levelname, line.subscription, line.waiting, line.members) == ("INFO", "lags", 1, 0)  # type: ignore[attr-defined]  # extras
    assert line.oldest_seconds == LAGGING / 1000  # type: ignore[attr-defined]  # an extra


async def test_rates() -> None:
    """Rates are what the counts grew by between looks; a subscription that is gone is forgotten."""
    clock = ManualClock()
    async with watching(clock) as (bus, watch):
        await bus.subscriptions.put("rated", parse_subscription({"patterns": ["*"]}))
        await watch.look()
        for _ in range(6):
            await bus.submit_one(bus.acceptance.one(event_bytes()))
        clock.advance(1)
        await watch.look()
        (item,) = watch.watched([])
        assert (item.matched.count, item.acked.count) == (6, 0)
        await bus.subscriptions.delete("rated")
        await watch.look()
        assert watch.watched([]) == []
