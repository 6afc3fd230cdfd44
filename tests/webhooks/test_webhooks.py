"""Events reach receivers over real sockets, and what receivers answer settles them."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from tests.fault.waiting import lasting
from tests.webhooks.receivers import TAKEN, Answer, Request, receiving
from tests.webhooks.serving import serving
from waooaw.events.bus.event_bus import EventBus
from waooaw.events.errors import (
    ClosedError,
    ConflictError,
    NoPushError,
    NotFoundError,
    PushUnverifiedError,
    WowEventError,
)
from waooaw.events.position import format_position, parse_position
from waooaw.events.subscription import parse_subscription
from waooaw.events.webhooks import breaker, endpoint, outbox
from waooaw.events.webhooks.stopping import STOPPED_TYPE

FAST = {"max_attempts": 5, "first_seconds": 0.01, "factor": 1, "cap_seconds": 0.01}


async def test_an_event_is_delivered_once_and_acked() -> None:
    """The receiver is asked first; what it takes is acked, and comes once."""
    async with receiving() as receiver, serving() as (replica,):
        await replica.put("a", receiver.url)
        (receipt,) = await replica.publish()
        (post,) = await receiver.posted(1)
        assert receiver.handshakes[0].headers["WebHook-Request-Origin"] == "wowevent"
        assert post.headers["ce-type"] == "task.done"
        assert post.message_id.endswith(f".{format_position(receipt.position)}")
        counts = await replica.counted("a", lambda counts: counts.acked == 1)
        assert counts.is_closed
        (delivery, handshake) = await replica.webhooks.attempts("a")
        assert (delivery.kind, delivery.outcome, delivery.status, delivery.attempt) == ("delivery", "delivered", 204, 1)
        assert (handshake.kind, handshake.outcome) == ("handshake", "delivered")


async def test_many_events_go_within_the_concurrency() -> None:
    """Never more requests at once than the definition says, and every event arrives."""

    async def slowly(_: Request) -> Answer:
        await lasting(0.001)
        return TAKEN

    async with receiving(slowly) as receiver, serving() as (replica,):
        await replica.put("a", receiver.url, push={"concurrency": 7})
        await replica.publish(500)
        await receiver.until(lambda: len(receiver.message_ids) == 500)
        await replica.counted("a", lambda counts: counts.acked == 500)
        assert len(receiver.posts) == 500
        assert receiver.most_in_flight == 7


async def test_replicas_share_the_concurrency_of_a_receiver() -> None:
    """Two replicas both send, and together never more at once than the definition says."""
    seen = set()

    async def slowly(request: Request) -> Answer:
        seen.add(request.message_id)
        await lasting(0.005)
        return TAKEN

    async with receiving(slowly) as receiver, serving(2) as (first, second):
        await first.put("a", receiver.url, push={"concurrency": 6})
        for _ in range(15):
            await first.publish(80)
            await lasting(0.1)
        await receiver.until(lambda: len(seen) == 1200)
        await first.counted("a", lambda counts: counts.acked == 1200)
        assert receiver.most_in_flight <= 6
        assert first.metrics.requests["2xx"] > 100
        assert second.metrics.requests["2xx"] > 100


async def test_a_batch_has_what_waits_and_a_poison_event_harms_itself_alone() -> None:
    """Events that wait go together; the one that fails goes alone from then on, and the others arrive."""

    def refuse_poison(request: Request) -> Answer:
        numbers = [event["data"]["number"] for event in msgspec.json.decode(request.body)]
        return Answer(500) if 13 in numbers else TAKEN

    async with receiving(refuse_poison) as receiver, serving() as (replica,):
        await replica.put("a", receiver.url, push={"mode": "batch", "concurrency": 2}, retry=FAST)
        await replica.publish(100)
        counts = await replica.counted("a", lambda counts: counts.acked == 99 and counts.dead == 1)
        assert counts.is_closed
        assert max(len(msgspec.json.decode(post.body)) for post in receiver.posts) > 1


async def test_a_failure_is_tried_again_and_ends_in_the_dead_letters() -> None:
    """A receiver that fails gets the event as often as the policy says; the reason stands in the dead letter."""
    async with receiving(lambda _: Answer(500, body=b"no disk")) as receiver, serving() as (replica,):
        await replica.put("a", receiver.url, retry=FAST | {"max_attempts": 3})
        await replica.publish()
        await replica.counted("a", lambda counts: counts.dead == 1)
        assert len(receiver.posts) == 3
        assert len(receiver.message_ids) == 1


async def test_a_receiver_that_asks_to_wait_costs_no_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """429 holds everything back for as long as it says, and counts no failure."""
    monkeypatch.setattr(outbox, "KEPT_SECONDS", 0.1)
    answers = [Answer(429, {"Retry-After": "1"})]

    async with (
        receiving(lambda _: answers.pop() if answers else TAKEN) as receiver,
        serving() as (replica,),
    ):
        await replica.put("a", receiver.url, push={"concurrency": 1}, retry=FAST | {"max_attempts": 1})
        await replica.publish(3)
        posts = await receiver.posted(4)
        assert posts[1].at - posts[0].at >= 0.95
        await replica.counted("a", lambda counts: counts.acked == 3)


async def test_410_pauses_the_subscription_and_the_bus_is_told() -> None:
    """The receiver wants nothing more: nothing is sent, nothing is lost, and resuming goes on."""
    answers = [Answer(410)]
    async with (
        receiving(lambda _: answers.pop() if answers else TAKEN) as receiver,
        serving() as (replica,),
    ):
        await replica.bus.subscriptions.put("alerts", parse_subscription({"patterns": [STOPPED_TYPE]}))
        await replica.put("a", receiver.url, "task.*", push={"concurrency": 1})
        await replica.publish(5)
        (told,) = (await replica.bus.deliveries.claim("alerts", 1, wait_seconds=10)).deliveries
        assert told.event.data["subscription"] == "a"
        assert told.event.data["reason"] == "gone"
        state = await replica.webhooks.state("a")
        assert state is not None
        assert state.stopped == "gone"
        await replica.until_info("a", lambda info: info.state == "paused")
        assert replica.metrics.stopped["gone"] == 1
        await replica.bus.subscriptions.set_paused("a", is_paused=False)
        await replica.webhooks.resumed("a")
        counts = await replica.counted("a", lambda counts: counts.acked == 5)
        assert (counts.dead, counts.is_closed) == (0, True)
        state = await replica.webhooks.state("a")
        assert state is not None
        assert state.stopped is None


async def test_a_receiver_that_only_fails_for_days_is_paused(monkeypatch: pytest.MonkeyPatch) -> None:
    """After days of nothing but failures the subscription is paused as failing, and the bus is told."""
    monkeypatch.setattr("waooaw.events.webhooks.push_record.FAILING_SECONDS", 0)
    async with receiving(lambda _: Answer(500)) as receiver, serving() as (replica,):
        await replica.bus.subscriptions.put("alerts", parse_subscription({"patterns": [STOPPED_TYPE]}))
        await replica.put("a", receiver.url, "task.*", retry=FAST)
        await replica.publish(20)
        (told,) = (await replica.bus.deliveries.claim("alerts", 1, wait_seconds=10)).deliveries
        assert told.event.data["reason"] == "failing"


async def test_the_breaker_keeps_events_from_losing_their_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a receiver is down nothing is sent but a request now and then; what waits arrives when it is up."""
    monkeypatch.setattr(breaker, "OPEN_SECONDS", (0.3, 0.6))
    monkeypatch.setattr(outbox, "KEPT_SECONDS", 0.1)
    is_down = True
    async with (
        receiving(lambda _: Answer(503) if is_down else TAKEN) as receiver,
        serving() as (replica,),
    ):
        await replica.put("a", receiver.url, push={"concurrency": 4}, retry=FAST | {"max_attempts": 100})
        await replica.publish(200)
        await receiver.posted(12)
        await replica.until_state("a", lambda state: state.breaker != "closed")
        assert len(receiver.posts) < 30
        is_down = False
        counts = await replica.counted("a", lambda counts: counts.acked == 200)
        assert counts.is_closed


async def test_the_rate_holds() -> None:
    """No more requests begin in a second than the definition and the receiver allow."""
    async with receiving(allowed_rate="1200") as receiver, serving() as (replica,):
        await replica.put("a", receiver.url, push={"rate": 1000, "concurrency": 10})
        await replica.publish(40)
        posts = await receiver.posted(40)
        assert posts[-1].at - posts[0].at >= 39 / 20 - 0.1
        state = await replica.webhooks.state("a")
        assert state is not None
        assert state.allowed_per_minute == 1200


async def test_a_receiver_that_refuses_gets_nothing_until_it_consents() -> None:
    """Without consent nothing is sent; events wait, and go once it was asked again and consented."""
    async with receiving(consents=False) as receiver, serving() as (replica,):
        await replica.put("a", receiver.url)
        await replica.publish(3)
        await replica.until_state("a", lambda state: state.state == "refused")
        with pytest.raises(PushUnverifiedError):
            await replica.webhooks.test("a")
        assert (await replica.counts("a")).waiting == 3
        receiver.consents = True
        assert (await replica.webhooks.verify("a")).state == "verified"
        await replica.counted("a", lambda counts: counts.acked == 3)


async def test_a_receiver_that_nobody_asks_proves_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a handshake no OPTIONS is sent; after ten successes it is verified and gets all that waits."""
    monkeypatch.setattr("waooaw.events.webhooks.push_record.PROVING_RATE", 50.0)
    async with receiving() as receiver, serving() as (replica,):
        await replica.put("a", receiver.url, push={"handshake": "none"})
        await replica.publish(60)
        await replica.counted("a", lambda counts: counts.acked == 60)
        await replica.until_state("a", lambda state: state.state == "verified")
        assert receiver.handshakes == []


async def test_another_url_is_another_receiver() -> None:
    """A changed URL is asked anew; what waits goes to the new one."""
    async with receiving(consents=False) as old, receiving() as new, serving() as (replica,):
        await replica.put("a", old.url)
        await replica.publish(3)
        await replica.until_state("a", lambda state: state.state == "refused")
        await replica.put("a", new.url)
        await replica.counted("a", lambda counts: counts.acked == 3)
        assert old.posts == []


async def test_a_test_and_a_redelivery_change_nothing_else() -> None:
    """Both answer what came of them, and stand in the attempts; no count of the queue moves."""
    async with receiving() as receiver, serving() as (replica,):
        await replica.put("a", receiver.url)
        (receipt,) = await replica.publish()
        (first,) = await receiver.posted(1)
        before = await replica.counted("a", lambda counts: counts.acked == 1)
        tested = await replica.webhooks.test("a")
        assert (tested.kind, tested.outcome, tested.status) == ("test", "delivered", 204)
        position = parse_position(first.message_id.partition(".")[2])
        again = await replica.webhooks.redeliver("a", position)
        assert again.outcome == "delivered"
        assert [post.message_id for post in receiver.posts].count(first.message_id) == 2
        assert receipt.position == position
        assert await replica.counts("a") == before
        kinds = [attempt.kind for attempt in await replica.webhooks.attempts("a")]
        assert sorted(kinds) == ["delivery", "handshake", "redelivery", "test"]


async def test_what_is_no_webhook_says_so() -> None:
    """Calls about a subscription without push, or none at all, are refused."""
    async with serving() as (replica,):
        await replica.bus.subscriptions.put("plain", parse_subscription({"patterns": ["*"]}))
        for call in (replica.webhooks.verify, replica.webhooks.test, replica.webhooks.attempts):
            with pytest.raises(NoPushError):
                await call("plain")
            with pytest.raises(NotFoundError):
                await call("nobody")
        assert await replica.webhooks.state("plain") is None


async def test_a_test_while_the_receiver_asked_to_wait_is_refused() -> None:
    """A person's test obeys Retry-After, too, and says how long."""
    async with receiving(lambda _: Answer(429, {"Retry-After": "600"})) as receiver, serving() as (replica,):
        await replica.put("a", receiver.url)
        await replica.publish()
        await receiver.posted(1)
        await replica.counted("a", lambda counts: counts.waiting == 1 and counts.leased == 0)
        with pytest.raises(ConflictError) as refused:
            await replica.webhooks.test("a")
        assert refused.value.retry_after_seconds is not None
        assert refused.value.retry_after_seconds > 590


async def test_a_drain_ends_what_is_under_way_and_gives_back_the_rest() -> None:
    """Requests under way are answered and settled; what waited is waiting again, and nothing is sent twice."""
    release = asyncio.Event()

    async def hold(_: Request) -> Answer:
        await release.wait()
        return TAKEN

    async with receiving(hold) as receiver, serving() as (replica,):
        await replica.put("a", receiver.url, push={"concurrency": 3})
        await replica.publish(20)
        await receiver.posted(3)
        finishing = asyncio.create_task(replica.webhooks.finish())
        await replica.counted("a", lambda counts: counts.waiting == 17)
        release.set()
        await finishing
        counts = await replica.counts("a")
        assert (counts.acked, counts.waiting, counts.leased, len(receiver.posts)) == (3, 17, 0, 3)


async def test_a_subscription_that_is_deleted_or_no_longer_pushed_is_left_alone() -> None:
    """Nothing is sent any more, and a member that claims gets what waits."""
    async with receiving() as receiver, serving() as (replica,):
        await replica.put("a", receiver.url)
        await replica.until_state("a", lambda state: state.state == "verified")
        await replica.bus.subscriptions.put("a", parse_subscription({"patterns": ["*"]}))
        await replica.publish(2)
        claimed = await replica.bus.deliveries.claim("a", 10, wait_seconds=5)
        assert len(claimed.deliveries) == 2
        assert receiver.posts == []
        assert endpoint.MEMBER not in {member.member for member in replica.bus.deliveries.members("a")}


def end_members(bus: EventBus, error: WowEventError) -> None:
    """End all members of a bus, as it does itself with one that cannot take what it gets."""
    for served in tuple(bus.deliveries._served.values()):  # noqa: SLF001 - nobody else can have it do so
        for member in served.consumptions.members:
            member.end(error)


async def test_a_member_that_the_bus_ended_is_replaced() -> None:
    """Whatever ended it, the receiver gets the rest through another one."""
    async with receiving() as receiver, serving() as (replica,):
        await replica.put("a", receiver.url)
        await replica.publish()
        await receiver.posted(1)
        end_members(replica.bus, ClosedError("a defect"))
        await replica.publish(3)
        await replica.counted("a", lambda counts: counts.acked == 4)


async def test_resuming_takes_back_what_the_receiver_asked_for_on_every_replica() -> None:
    """A receiver that asked to be left alone for an hour gets events again once somebody resumes."""
    answers = [Answer(429, {"Retry-After": "3600"})]
    async with receiving(lambda _: answers.pop() if answers else TAKEN) as receiver, serving(2) as (first, second):
        await first.put("a", receiver.url, push={"concurrency": 1})
        await first.publish(2)
        await receiver.posted(1)
        for replica in (first, second):
            await replica.until_state("a", lambda state: state.held_until_ms is not None)
        await second.webhooks.resumed("a")
        await first.counted("a", lambda counts: counts.acked == 2)
