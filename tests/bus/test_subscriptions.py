"""Subscriptions as their owners use them: nothing that matches is missed, and what is said of them is so."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import pytest

from tests.bus.running import BUS, TestedEngine, made, published, turns
from tests.bus.subscribing import claimed, hold_jobs, received, replicas, settle, wanting
from tests.event_samples import entry
from waooaw.events.bound import EARLIEST, NOW, After, At
from waooaw.events.bus.event_bus import BusOptions, EventBus
from waooaw.events.cursor import encode_cursor
from waooaw.events.engine.subscription_contract import (
    PauseSubscription,
    Routes,
)
from waooaw.events.errors import (
    InvalidParameterError,
    NotFoundError,
    OrderingFixedError,
    SubscriptionExistsError,
    TooManySubscriptionsError,
    TrimmedError,
    WowEventError,
)
from waooaw.events.outages import EngineUnavailableError
from waooaw.events.position import Position, make_position
from waooaw.events.retention import TrimPlan
from waooaw.events.subscription_state import DeliveryReport
from waooaw.events.timestamp import format_timestamp


@pytest.fixture(autouse=True)
def _without_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    hold_jobs(monkeypatch)


# Definitions ----------------------------------------------------------------------------------------------------------


async def test_a_definition_is_replaced_as_a_whole() -> None:
    """A second put changes what it says for later events, keeps the queue and the incarnation, and is not new."""
    engine = TestedEngine()
    async with replicas(engine) as (bus,):
        first, _ = await bus.subscriptions.put("work", wanting("a", max_waiting=7))
        before = await published(bus, "a", "b")
        second, is_new = await bus.subscriptions.put("work", wanting("b"))
        after = await published(bus, "a", "b")

        assert not is_new
        assert (second.incarnation, second.definition) == (first.incarnation, wanting("b"))
        assert await received(bus, "work") == [before[0], after[1]]


async def test_what_cannot_change_is_refused() -> None:
    """A start on an existing one, another ordering, one too many, a bad name: each with its own error."""
    engine = TestedEngine()
    async with replicas(engine, options=BusOptions(subscriptions_max=1)) as (bus,):
        put = bus.subscriptions.put
        await put("work", wanting("a"))
        with pytest.raises(SubscriptionExistsError):
            await put("work", wanting("a", **{"from": "earliest"}))
        with pytest.raises(OrderingFixedError):
            await put("work", wanting("a", ordering="key"))
        with pytest.raises(TooManySubscriptionsError):
            await put("more", wanting("a"))
        with pytest.raises(InvalidParameterError):
            await put("/", wanting("a"))


async def test_what_nobody_has_is_not_found() -> None:
    """Every call for a name that is not there says so."""
    engine = TestedEngine()
    async with replicas(engine) as (bus,):
        subscriptions = bus.subscriptions
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: subscriptions.info("x"),
            lambda: subscriptions.delete("x"),
            lambda: subscriptions.set_paused("x", is_paused=True),
            lambda: subscriptions.seek("x", NOW),
            lambda: subscriptions.details("x"),
            lambda: subscriptions.find("x"),
        ]
        for call in calls:
            with pytest.raises(NotFoundError):
                await call()
        with pytest.raises(NotFoundError):
            subscriptions.record_of("x")


async def test_a_name_that_is_used_again_is_another_subscription() -> None:
    """A replica that has not heard of it asks the engine: it answers for the new one, whose queue is empty."""
    engine = TestedEngine()
    async with replicas(engine, 2) as (here, there):
        first, _ = await here.subscriptions.put("work", wanting("*"))
        await published(here, "a")
        assert (await there.subscriptions.info("work")).queue.counts.waiting == 1
        await here.subscriptions.delete("work")
        second, is_new = await here.subscriptions.put("work", wanting("*"))
        told = await there.subscriptions.info("work")

        assert is_new
        assert first.incarnation != second.incarnation == told.incarnation
        assert told.queue.counts.matched == 0


async def test_a_list_is_by_name_and_complete() -> None:
    """All subscriptions with their state, more than one question to the engine takes."""
    engine = TestedEngine()
    async with replicas(engine) as (bus,):
        for number in range(120):
            await made(engine, f"s{number:03}", "*")
        await bus.subscriptions.set_paused("s007", is_paused=True)
        infos = await bus.subscriptions.list()

        assert [info.name for info in infos] == [f"s{number:03}" for number in range(120)]
        assert [info.name for info in infos if info.state == "paused"] == ["s007"]


async def test_a_paused_subscription_keeps_what_matches() -> None:
    """While it is paused nothing is handed out and matching goes on; resumed, everything comes."""
    engine = TestedEngine()
    async with replicas(engine) as (bus,):
        await bus.subscriptions.put("work", wanting("*"))
        assert (await bus.subscriptions.set_paused("work", is_paused=True)).state == "paused"
        positions = await published(bus, "a", "b")
        assert await claimed(bus, "work") == []
        assert (await bus.subscriptions.set_paused("work", is_paused=False)).state == "active"
        assert await received(bus, "work") == positions


# Places in the log ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["earliest", "time", "position", "cursor", "now"])
async def test_a_subscription_starts_where_it_says(kind: str) -> None:
    """From a place on, history comes first and everything later follows: nothing twice, nothing left out, in order."""
    engine = TestedEngine()
    async with replicas(engine) as (bus,):
        history: list[Position] = []
        for _ in range(4):
            history += await published(bus, "a", "b")
            engine.clock.advance(10)
        place, first = {
            "earliest": ("earliest", 0),
            "time": (format_timestamp(history[2] >> 20), 2),
            "position": (f"{history[5] >> 20}-{history[5] & 0xFFFFF}", 5),
            "cursor": (_cursor(bus, history[4]), 5),
            "now": ("now", 8),
        }[kind]
        info, _ = await bus.subscriptions.put("work", wanting("*", **{"from": place}))
        assert info.state == ("active" if kind == "now" else "filling")
        history += await published(bus, "c")
        await filled(bus)

        assert await received(bus, "work") == history[first:]
        assert (await bus.subscriptions.info("work")).state == "active"


def _cursor(bus: EventBus, position: Position) -> str:
    return encode_cursor(bus.name, bus.store.state().history.cursor(position))


async def filled(bus: EventBus) -> None:
    """Run the fills of a bus to their ends, claims apart."""
    while await bus.filling.step():
        pass


@pytest.mark.parametrize("ahead_ms", [1, 60_000])
async def test_nothing_starts_in_the_future(ahead_ms: int) -> None:
    """A time or a position after now is refused, for a new subscription and for a seek; now itself is fine."""
    engine = TestedEngine()
    async with replicas(engine) as (bus,):
        future_ms = engine.clock.now_ms() + ahead_ms
        for place in (format_timestamp(future_ms), f"{future_ms}-0"):
            with pytest.raises(InvalidParameterError) as refused:
                await bus.subscriptions.put("work", wanting("*", **{"from": place}))
            assert refused.value.errors[0].pointer == "#/from"
        await bus.subscriptions.put("work", wanting("*", **{"from": format_timestamp(engine.clock.now_ms())}))
        with pytest.raises(InvalidParameterError) as refused:
            await bus.subscriptions.seek("work", At(make_position(future_ms), is_time=True))
        assert refused.value.errors[0].pointer == "#/to"


async def test_a_seek_goes_on_from_a_place() -> None:
    """What waits is dropped; history from the place on comes once more, then what is new. Seeking to now only drops."""
    engine = TestedEngine()
    async with replicas(engine) as (bus,):
        await bus.subscriptions.put("work", wanting("*"))
        positions = await published(bus, "a", "b", "c", "d")
        await settle(bus, "work", "ack", await claimed(bus, "work", 2))

        info = await bus.subscriptions.seek("work", At(positions[1]))
        assert (info.state, info.queue.counts.dropped) == ("filling", 2)
        later = await published(bus, "e")
        await filled(bus)
        assert await received(bus, "work") == positions[1:] + later

        for place in (EARLIEST, After(bus.store.state().history.cursor(positions[-1]))):
            await bus.subscriptions.seek("work", place)
            await filled(bus)
        assert await received(bus, "work") == later

        await published(bus, "f")
        info = await bus.subscriptions.seek("work", NOW)
        assert info.state == "active"
        assert await received(bus, "work") == []
        assert info.queue.counts.is_closed


# Looking --------------------------------------------------------------------------------------------------------------


async def test_why_did_it_not_come() -> None:
    """For each subscription: where the event is, with its tries, or why it does not match."""
    engine = TestedEngine()
    async with replicas(engine) as (bus,):
        for name in ("acked", "failing", "held", "queued"):
            await bus.subscriptions.put(name, wanting("*"))
        await bus.subscriptions.put("keyed", wanting("*", ordering="key"))
        await bus.subscriptions.put("other", wanting("b"))
        (position,) = await published(bus, "a", priority="low")
        await bus.subscriptions.put("late", wanting("*"))
        await bus.subscriptions.put("reread", wanting("*", **{"from": "earliest"}))
        await filled(bus)
        await settle(bus, "acked", "ack", await claimed(bus, "acked"))
        await settle(bus, "failing", "nack", await claimed(bus, "failing"), "broken")
        await claimed(bus, "held")

        reports = await bus.subscriptions.deliveries_of(position)

        assert reports == [
            DeliveryReport("acked", matched=True, state="settled"),
            DeliveryReport("failing", matched=True, state="scheduled", attempts=1, member="m", last_error="broken"),
            DeliveryReport("held", matched=True, state="leased", attempts=1, member="m"),
            DeliveryReport("keyed", matched=True, state="waiting"),
            DeliveryReport("late", matched=False, why="created_later"),
            DeliveryReport("other", matched=False, why="pattern"),
            DeliveryReport("queued", matched=True, state="waiting"),
            DeliveryReport("reread", matched=True, state="waiting"),
        ]


async def test_why_of_an_event_that_is_not_there() -> None:
    """One that retention removed, and one that never was, are told apart."""
    engine = TestedEngine()
    async with replicas(engine) as (bus,):
        positions = await published(bus, "a", "b")
        await engine.trim(BUS, TrimPlan(excess_events=1), limit=1)
        with pytest.raises(TrimmedError):
            await bus.subscriptions.deliveries_of(positions[0])
        with pytest.raises(NotFoundError):
            await bus.subscriptions.deliveries_of(Position(positions[1] + 1))


async def test_details_name_who_holds_what() -> None:
    """Leases and failing references with their members and errors."""
    engine = TestedEngine()
    async with replicas(engine) as (bus,):
        await bus.subscriptions.put("work", wanting("*"))
        positions = await published(bus, "a", "b")
        first, _ = await claimed(bus, "work")
        await settle(bus, "work", "nack", [first], "broken")
        details = await bus.subscriptions.details("work")

        assert [(held.position, held.member) for held in details.leases] == [(positions[1], "m")]
        assert [(held.position, held.last_error) for held in details.failing] == [(positions[0], "broken")]


async def test_a_change_is_heard_by_who_watches() -> None:
    """Watchers are called after each change, own or another replica's, until they end it."""
    engine = TestedEngine()
    async with replicas(engine, 2) as (here, there):
        await turns()
        heard: list[list[str]] = []
        stop = there.subscriptions.watch(lambda: heard.append(sorted(there.subscriptions.known)))
        await here.subscriptions.put("a", wanting("x"))
        await turns()
        await here.subscriptions.put("b", wanting("x"))
        await turns()
        await here.subscriptions.delete("a")
        await turns()
        stop()
        stop()
        await here.subscriptions.delete("b")
        await turns()

        assert heard[0] == ["a"]
        assert heard[-1] == ["b"]
        assert [known.record.name for known in there.subscriptions.matching("x")] == []


async def test_a_record_that_cannot_be_read_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """A definition of another release is told of in the log; the others get their events."""
    engine = TestedEngine()
    async with replicas(engine) as (bus,):
        await made(engine, "fine", "*")
        await made(engine, "odd", "*", definition=b'{"new": 1}')
        positions = await published(bus, "a")

        assert await received(bus, "fine") == positions
        assert list(bus.subscriptions.known) == ["fine"]
    assert "subscription.unreadable" in [line.getMessage() for line in caplog.records]


async def test_a_definition_of_a_later_release_still_gets_its_events(caplog: pytest.LogCaptureFixture) -> None:
    """While replicas are upgraded, what a newer one defined is queued by its patterns, also by an older one."""
    engine = TestedEngine()
    later = b'{"patterns":["task.*"],"ordering":"none","later":{"is":"unknown"}}'
    async with replicas(engine) as (bus,):
        await made(engine, "later", "task.*", definition=later)
        task, _ = await published(bus, "task.done", "other")

        assert await received(bus, "later") == [task]
    assert "subscription.unreadable" in [line.getMessage() for line in caplog.records]


async def test_log_lines_tell_the_life_of_a_subscription(caplog: pytest.LogCaptureFixture) -> None:
    """Each change is one line with bus and name; what changes nothing is none."""
    engine = TestedEngine()
    async with replicas(engine) as (bus,):
        with caplog.at_level(logging.INFO, "wowevent.subscription"):
            await bus.subscriptions.put("work", wanting("a"))
            await bus.subscriptions.put("work", wanting("a"))
            await bus.subscriptions.put("work", wanting("b"))
            for is_paused in (True, True, False, False):
                await bus.subscriptions.set_paused("work", is_paused=is_paused)
            await bus.subscriptions.seek("work", NOW)
            await bus.subscriptions.delete("work")

    lines = [(line.getMessage(), line.__dict__["bus"], line.__dict__["subscription"]) for line in caplog.records]
    words = ["created", "changed", "paused", "resumed", "sought", "deleted"]
    assert lines == [(f"subscription.{word}", BUS, "work") for word in words]


async def test_a_pause_from_elsewhere_is_no_change(caplog: pytest.LogCaptureFixture) -> None:
    """A pause that another replica made is known here; the answer shows it."""
    engine = TestedEngine()
    async with replicas(engine) as (bus,):
        await bus.subscriptions.put("work", wanting("a"))
        await engine.change_subscriptions(BUS, [PauseSubscription(name="work", is_paused=True)], subscriptions_max=9)
        await turns()
        assert (await bus.subscriptions.info("work")).state == "paused"
        with caplog.at_level(logging.INFO, "wowevent.subscription"):
            assert (await bus.subscriptions.set_paused("work", is_paused=True)).state == "paused"
    assert caplog.records == []


async def test_the_store_may_be_away() -> None:
    """A refresh that fails leaves memory as it was, and the next one catches up."""
    engine = Away()
    async with replicas(engine, options=BusOptions(publish_wait_seconds=0)) as (bus,):
        await bus.subscriptions.put("work", wanting("*"))
        engine.is_away = True
        with pytest.raises(EngineUnavailableError):
            await bus.subscriptions.list()
        await made(engine, "more", "*")
        await turns()
        assert list(bus.subscriptions.known) == ["work"]
        (refused,) = await bus.submit([entry()])
        assert isinstance(refused, WowEventError)
        engine.is_away = False
        await bus.submit([entry()])
        assert sorted(bus.subscriptions.known) == ["more", "work"]


class Away(TestedEngine):
    """An engine that cannot tell its routes for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = False

    async def routes(self, bus: str, known_version: str = "") -> Routes:
        """Fail while away."""
        if self.is_away:
            raise EngineUnavailableError("away")
        return await super().routes(bus, known_version)
