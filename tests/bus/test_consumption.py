"""Members that are connected: credit, leases that are kept for them, and what goes back when they leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.bus.delivering import NAME, Desk, Member, outcomes, settled, until, working
from waooaw.events.delivery import Delivery
from waooaw.events.errors import ClosedError, InvalidParameterError, NotFoundError, StaleTokenError
from waooaw.events.outages import EngineLoadingError


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with working() as desk:
        yield desk


async def test_deliveries_come_as_they_are_published(desk: Desk) -> None:
    """A member gets what matches without asking again, in batches."""
    await desk.subscribe()
    member = Member(desk)

    await desk.publish(5)
    await until(lambda: len(member.deliveries) == 5)
    await desk.publish_number(5)
    await until(lambda: len(member.deliveries) == 6)

    assert member.numbers == [0, 1, 2, 3, 4, 5]
    assert member.batches == 2


async def test_credit_limits_what_is_unsettled(desk: Desk) -> None:
    """A member holds as many deliveries as its credit; each that is settled makes room for another."""
    await desk.subscribe()
    await desk.publish(10)
    member = Member(desk, credit=3)
    await settled()
    assert member.numbers == [0, 1, 2]

    await member.ack(*member.deliveries[:2])
    await settled()

    assert (member.numbers, member.consumption.held) == ([0, 1, 2, 3, 4], 3)


async def test_credit_can_be_changed(desk: Desk) -> None:
    """More credit brings more; none stops, and what is held stays; the first credit may be none."""
    await desk.subscribe()
    await desk.publish(10)
    member = Member(desk, credit=0)
    await settled()
    assert member.deliveries == []

    member.consumption.set_credit(2)
    await settled()
    member.consumption.set_credit(0)
    await member.ack(member.deliveries[0])
    await settled()

    assert (len(member.deliveries), member.consumption.held) == (2, 1)


async def test_what_credit_no_longer_allows_goes_back(desk: Desk) -> None:
    """Credit that shrinks while a claim is under way is kept: the rest is claimable again at once."""
    await desk.subscribe()
    await desk.publish(10)
    desk.engine.claim_gate.clear()
    member = Member(desk, credit=8)
    await settled()
    member.consumption.set_credit(3)
    desk.engine.claim_gate.set()
    await settled()

    counts = await desk.counts()
    assert (len(member.deliveries), counts.leased, counts.waiting) == (3, 3, 7)


async def test_a_stale_token_gives_its_credit_back(desk: Desk) -> None:
    """A member that settles too late hears so, and gets another delivery."""
    await desk.subscribe()
    await desk.publish(2)
    member = Member(desk, credit=1)
    await until(lambda: len(member.deliveries) == 1)
    await desk.bus.deliveries.settle(NAME, outcomes("ack", member.deliveries[0]))

    (error,) = await member.ack(member.deliveries[0])
    await until(lambda: len(member.deliveries) == 2)

    assert isinstance(error, StaleTokenError)
    assert member.numbers == [0, 1]


async def test_an_outcome_that_is_not_known_settles_nothing(desk: Desk) -> None:
    """While the store is away a delivery stays with its member, which can say its outcome again."""
    await desk.subscribe()
    await desk.publish(2)
    member = Member(desk, credit=1)
    await until(lambda: len(member.deliveries) == 1)
    desk.engine.fails_before = [EngineLoadingError("loading") for _ in range(1000)]
    task = asyncio.create_task(member.ack(member.deliveries[0]))
    await settled()
    await desk.pass_time(11.0)

    assert isinstance(task.exception(), EngineLoadingError)
    assert member.consumption.held == 1
    desk.engine.fails_before = []
    assert await desk.finish(member.ack(member.deliveries[0])) == [None]


async def test_leases_of_a_connected_member_do_not_lapse(desk: Desk) -> None:
    """A member that takes long keeps all it prefetched: its leases are extended together."""
    await desk.subscribe(lease_seconds=3)
    await desk.publish(50)
    member, other = Member(desk, credit=30), Member(desk, credit=30)
    await settled()
    settles = len(desk.engine.settles)

    await desk.pass_time(60.0)

    assert member.consumption.held + other.consumption.held == 50
    assert await member.ack(*member.deliveries) == [None] * len(member.deliveries)
    assert desk.bus.metrics.totals.errors == 0
    assert len(desk.engine.settles) - settles <= 62  # one a second for both


async def test_a_lease_that_a_member_extended_is_not_made_shorter(desk: Desk) -> None:
    """Who asked for an hour has it, also when the connection ends without a word."""
    await desk.subscribe(lease_seconds=3)
    await desk.publish(1)
    member = Member(desk)
    await until(lambda: len(member.deliveries) == 1)

    await member.consumption.settle(outcomes("extend", *member.deliveries, delay_seconds=600.0))
    settles = len(desk.engine.settles)
    await desk.pass_time(30.0)

    assert len(desk.engine.settles) == settles
    (lease,) = (await desk.bus.subscriptions.details(NAME)).leases
    assert lease.due_ms - desk.clock.now_ms() == pytest.approx(570_000, abs=100)


async def test_what_is_held_too_long_lapses() -> None:
    """A member that never settles loses its deliveries after the longest hold, and its credit is free again."""
    async with working(max_hold_seconds=10.0) as desk:
        await desk.subscribe(lease_seconds=3)
        await desk.publish(1)
        member = Member(desk, credit=1)
        await desk.pass_time(9.0)
        assert len(member.deliveries) == 1

        await desk.pass_time(8.0)

        assert [delivery.attempt for delivery in member.deliveries] == [1, 2]
        (error,) = await member.ack(member.deliveries[0])
        assert isinstance(error, StaleTokenError)


async def test_an_extension_that_is_refused_frees_the_credit(desk: Desk) -> None:
    """What somebody else settled is noticed when its lease is extended: the member gets the next."""
    await desk.subscribe(lease_seconds=3)
    await desk.publish(2)
    member = Member(desk, credit=1)
    await until(lambda: len(member.deliveries) == 1)
    await desk.bus.deliveries.settle(NAME, outcomes("ack", member.deliveries[0]))

    await desk.pass_time(1.25)

    assert member.numbers == [0, 1]


async def test_an_outage_shorter_than_the_lease_costs_no_delivery(desk: Desk) -> None:
    """Extensions that fail are made again in time."""
    await desk.subscribe(lease_seconds=30)
    await desk.publish(5)
    member = Member(desk, credit=5)
    await until(lambda: member.consumption.held == 5)
    await desk.pass_time(9.0)
    desk.engine.fails_before = [EngineLoadingError("loading") for _ in range(1000)]
    await desk.pass_time(15.0)
    desk.engine.fails_before = []
    await desk.pass_time(60.0)

    assert await member.ack(*member.deliveries) == [None] * 5


async def test_leaving_gives_back_at_once(desk: Desk) -> None:
    """What a member holds when it leaves is claimable at once with no failure counted; leaving twice is harmless."""
    await desk.subscribe()
    await desk.publish(5)
    member = Member(desk, credit=4)
    await until(lambda: member.consumption.held == 4)

    await member.consumption.close()
    await member.consumption.close()

    assert (await desk.counts()).waiting == 5
    other = Member(desk)
    await until(lambda: len(other.deliveries) == 5)
    assert {delivery.attempt for delivery in other.deliveries} == {1}
    assert member.ended == []


async def test_many_that_leave_are_joined(desk: Desk) -> None:
    """A hundred members that leave at once give back in few steps of the engine."""
    await desk.subscribe()
    await desk.publish(500)
    members = [Member(desk, credit=5) for _ in range(100)]
    await until(lambda: all(member.consumption.held == 5 for member in members))

    await asyncio.gather(*[member.consumption.close() for member in members])

    assert (await desk.counts()).waiting == 500
    assert len(desk.engine.settles) <= 2


async def test_a_store_that_is_away_keeps_nobody_from_leaving(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """A member can leave while the store is away; the log says that its leases will end by themselves."""
    await desk.subscribe()
    await desk.publish(1)
    member = Member(desk)
    await until(lambda: member.consumption.held == 1)
    desk.engine.fails_before = [EngineLoadingError("loading") for _ in range(1000)]
    task = asyncio.create_task(member.consumption.close())
    await settled()
    await desk.pass_time(11.0)

    assert task.done()
    assert "delivery.not_given_back" in caplog.messages
    desk.engine.fails_before = []


async def test_a_claim_under_way_for_one_that_left_goes_back(desk: Desk) -> None:
    """Deliveries that a claim brings after their member has left go back at once."""
    await desk.subscribe()
    await desk.publish(3)
    desk.engine.claim_gate.clear()
    member = Member(desk)
    await settled()
    await member.consumption.close()
    desk.engine.claim_gate.set()
    await settled()

    assert member.deliveries == []
    assert (await desk.counts()).waiting == 3


async def test_a_member_that_fails_to_take_ends_alone(desk: Desk) -> None:
    """A member that breaks as it gets its deliveries is ended, they go back, and the others go on."""
    await desk.subscribe()
    ended: list[Exception] = []

    def break_down(_: Sequence[Delivery]) -> None:
        raise RuntimeError("broken")

    desk.bus.deliveries.consume(NAME, member="broken", credit=10, deliver=break_down, ended=ended.append)
    await desk.publish(3)
    await settled()
    member = Member(desk)
    await until(lambda: len(member.deliveries) == 3)

    assert [type(error) for error in ended] == [ClosedError]


async def test_limits_of_a_member(desk: Desk) -> None:
    """A member has credit from 0 to 1,000, and needs a subscription."""
    await desk.subscribe()

    for credit in (-1, 1001):
        with pytest.raises(InvalidParameterError):
            Member(desk, credit=credit)
    with pytest.raises(NotFoundError):
        Member(desk, subscription="nobody")


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["publish", "ack", "nack", "release", "credit", "steal", "twice", "shrink", "time"]),
        st.integers(0, 9),
    ),
    max_size=25,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=_STEPS)
def test_credit_is_kept_whatever_happens(steps: list[tuple[str, int]]) -> None:
    """Never more is handed out than the credit allows, what is held is what is leased, and no event is lost."""
    asyncio.run(_keep_credit(steps))


async def _keep_credit(steps: list[tuple[str, int]]) -> None:
    async with working() as desk:
        await desk.subscribe(retry={"max_attempts": 1000, "first_seconds": 0.25, "cap_seconds": 0.25})
        member = _Counting(desk, credit=3)
        published = 0
        for step, number in steps:
            held = list(member.held.values())[:number]
            match step:
                case "publish":
                    await desk.publish(number)
                    published += number
                case "credit":
                    member.consumption.set_credit(number)
                case "ack" | "nack" | "release":
                    member.drop(held)
                    assert await member.consumption.settle(outcomes(step, *held)) == [None] * len(held)
                case "twice":
                    member.drop(held[:1])
                    await member.consumption.settle(outcomes("ack", *held[:1], *held[:1]))
                case "steal":
                    await desk.bus.deliveries.settle(NAME, outcomes("ack", *held))
                    member.drop(held)
                    results = await member.consumption.settle(outcomes("nack", *held))
                    assert all(isinstance(error, StaleTokenError) for error in results)
                case "shrink":  # while a claim for more is under way
                    desk.engine.claim_gate.clear()
                    member.consumption.set_credit(9)
                    await settled()
                    await desk.publish(5)
                    published += 5
                    member.consumption.set_credit(number % 3)
                    desk.engine.claim_gate.set()
                case "time":
                    await desk.pass_time(number / 4)
            await settled()
            assert member.consumption.held == len(member.held)
        member.consumption.set_credit(5)
        await desk.pass_time(1.5)
        assert (await desk.counts()).leased == member.consumption.held <= max(5, len(member.held))
        while member.held:
            batch = list(member.held.values())
            member.drop(batch)
            await member.ack(*batch)
            await desk.pass_time(0.5)
        assert (await desk.counts()).acked == published


class _Counting(Member):
    """A member that checks its credit as it gets deliveries."""

    def __init__(self, desk: Desk, **given: Any) -> None:  # noqa: ANN401 - as Member
        self.held: dict[str, Delivery] = {}
        super().__init__(desk, **given)

    def _deliver(self, deliveries: Sequence[Delivery]) -> None:
        self.held |= {delivery.token: delivery for delivery in deliveries}
        assert self.consumption.held <= self.consumption.credit
        super()._deliver(deliveries)

    def drop(self, deliveries: Sequence[Delivery]) -> None:
        """Forget deliveries that are settled next."""
        for delivery in deliveries:
            self.held.pop(delivery.token)
