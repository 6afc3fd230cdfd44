"""Settling: what each outcome does, to whose token, and once."""

from __future__ import annotations

from dataclasses import replace
from typing import Unpack

import msgspec
import pytest

from tests.conformance.engines import EngineUnderTest
from tests.conformance.queues import LAPSED, Feed, GivenRules, Queue, at, incarnation_of, request
from tests.event_samples import entries
from waooaw.events.delivery import OUTCOMES, Outcome
from waooaw.events.engine.contract import Engine
from waooaw.events.engine.queue_contract import Burial, ClaimRequest, Lease, Moves, Settled
from waooaw.events.errors import NotFoundError, SupersededError
from waooaw.events.retry import RetryPolicy
from waooaw.events.subscription_state import Counts


async def leased(engine: Engine, count: int = 1, **given: Unpack[GivenRules]) -> tuple[Queue, list[Lease]]:
    """Return a queue with so many leases."""
    queue = await Queue.made(engine, **given)
    await (await Feed.begun(engine)).append(*entries(count), to=[queue])
    return queue, await queue.claim(count)


async def test_an_acked_one_is_gone(engine: Engine) -> None:
    """It is counted acked and never comes again."""
    queue, (lease,) = await leased(engine)

    settled = await queue.ack(lease)

    assert settled == Settled((1,))
    assert await queue.counts() == Counts(matched=1, acked=1)
    assert await queue.claim() == []


async def test_a_rejected_one_is_dead(under_test: EngineUnderTest, engine: Engine) -> None:
    """It is a full dead letter at once, and told as a move."""
    queue, (lease,) = await leased(engine)
    under_test.clock.advance(3)

    settled = await queue.settle_as("reject", lease, reason="no such order")

    assert settled.moves == Moves(
        buried=(Burial(lease.event.position, "rejected", 1, "no such order", "m1", is_dropped=False),)
    )
    (letter,) = await queue.dead()
    now_ms = under_test.clock.now_ms()
    assert (letter.reference, letter.reason, letter.attempts, letter.member) == (lease.reference, "rejected", 1, "m1")
    assert (letter.first_failure_ms, letter.last_failure_ms, letter.last_error) == (now_ms, now_ms, "no such order")
    assert letter.stored == lease.event
    assert await queue.counts() == Counts(matched=1, dead=1)


async def test_rejecting_ignores_what_happens_to_exhausted_ones(engine: Engine) -> None:
    """A reject is a dead letter also where exhausted ones are dropped."""
    queue, (lease,) = await leased(engine, drops_exhausted=True)

    await queue.settle_as("reject", lease)

    assert len(await queue.dead()) == 1


async def test_a_released_one_waits(engine: Engine) -> None:
    """It is claimable at once, as the same attempt: no failure is counted."""
    queue, (lease,) = await leased(engine)

    await queue.settle_as("release", lease)

    assert await queue.counts() == Counts(matched=1, waiting=1)
    again = await queue.claim_one()
    assert (again.reference, again.attempt, again.last_error) == (lease.reference, 1, None)
    assert again.first_delivery_ms == lease.first_delivery_ms
    assert again.nonce != lease.nonce


@pytest.mark.parametrize("delay_seconds", [None, 100.5, 0.5])
async def test_an_extended_one_lapses_later(
    under_test: EngineUnderTest, engine: Engine, delay_seconds: float | None
) -> None:
    """The lease ends so long from now, or as the subscription says; the token stays good."""
    queue, (lease,) = await leased(engine, lease_seconds=30.0)
    under_test.clock.advance(20)

    await queue.settle_as("extend", lease, delay_seconds=delay_seconds)

    lasts = 30.0 if delay_seconds is None else delay_seconds
    (holding,) = (await engine.queue_details(queue.bus, queue.incarnation)).leases
    assert holding.due_ms == under_test.clock.now_ms() + lasts * 1000
    under_test.clock.advance(lasts - 0.001)
    assert await queue.claim() == []
    await queue.ack(lease)
    assert await queue.counts() == Counts(matched=1, acked=1)


async def test_an_extended_one_still_lapses(under_test: EngineUnderTest, engine: Engine) -> None:
    """At its new end, and not at its old one."""
    queue, (lease,) = await leased(engine, lease_seconds=30.0)
    await queue.settle_as("extend", lease, delay_seconds=60)
    under_test.clock.advance(60)

    again = await queue.claim_one()

    assert (again.attempt, again.last_error) == (2, LAPSED)


@pytest.mark.parametrize(("chance", "wait_seconds"), [(0.0, 0.0), (0.25, 1.0), (1.0, 4.0)])
async def test_a_nacked_one_waits_a_share_of_the_bound(
    under_test: EngineUnderTest, engine: Engine, chance: float, wait_seconds: float
) -> None:
    """The jitter that is given, times the policy's bound: then, and not before, it comes again."""
    queue, (lease,) = await leased(engine, retry=RetryPolicy(first_seconds=4))

    await queue.nack(lease, chance=chance, reason="no luck")

    assert await queue.counts() == Counts(matched=1, scheduled=1)
    if wait_seconds:
        under_test.clock.advance(wait_seconds - 0.001)
        assert await queue.claim() == []
        under_test.clock.advance(0.001)
    again = await queue.claim_one()
    assert (again.attempt, again.last_error, again.first_delivery_ms) == (2, "no luck", lease.first_delivery_ms)


async def test_the_bound_grows_with_each_failure(under_test: EngineUnderTest, engine: Engine) -> None:
    """First, first times factor, and so on up to the cap."""
    policy = RetryPolicy(max_attempts=10, first_seconds=1, factor=3, cap_seconds=20)
    queue, (lease,) = await leased(engine, retry=policy)

    waits = []
    for _ in range(5):
        await queue.nack(lease)
        claimed = await queue.claimed(ClaimRequest("m", 1))
        assert claimed.next_due_ms is not None
        waits.append((claimed.next_due_ms - under_test.clock.now_ms()) / 1000)
        under_test.clock.advance(waits[-1])
        lease = await queue.claim_one()

    assert waits == [1, 3, 9, 20, 20]


@pytest.mark.parametrize("factor", [1, 100])
async def test_no_wait_stays_none(engine: Engine, factor: float) -> None:
    """With a first wait of zero a failed one is claimable at once, also where the power is beyond a double."""
    policy = RetryPolicy(max_attempts=1000, first_seconds=0, factor=factor)
    queue, (lease,) = await leased(engine, retry=policy)

    for attempt in range(2, 165):
        await queue.nack(lease)
        lease = await queue.claim_one()
        assert lease.attempt == attempt


async def test_a_delay_of_ones_own(under_test: EngineUnderTest, engine: Engine) -> None:
    """What is asked for wins over the policy, above its cap too."""
    queue, (one, two) = await leased(engine, 2, retry=RetryPolicy(cap_seconds=1))
    await queue.settle(
        request(one, "nack", delay_seconds=86_400.0), request(two, "nack", delay_seconds=0.25, chance=0.0)
    )

    under_test.clock.advance(0.249)
    assert await queue.claim() == []
    under_test.clock.advance(0.001)
    assert [lease.reference for lease in await queue.claim()] == [two.reference]
    under_test.clock.advance(86_400 - 0.251)
    assert one.reference not in [lease.reference for lease in await queue.claim()]
    under_test.clock.advance(0.001)
    assert [lease.reference for lease in await queue.claim()] == [one.reference]


@pytest.mark.parametrize("max_attempts", [1, 2, 3])
async def test_it_is_tried_exactly_so_often(engine: Engine, max_attempts: int) -> None:
    """After so many failures it is dead, with the last one's reason and how often it was tried."""
    queue, (lease,) = await leased(engine, retry=RetryPolicy(max_attempts=max_attempts))
    for attempt in range(1, max_attempts):
        settled = await queue.nack(lease, delay_seconds=0, reason=f"try {attempt}")
        assert settled.moves == Moves()
        lease = await queue.claim_one()

    settled = await queue.nack(lease, reason="the last")

    (burial,) = settled.moves.buried
    assert (burial.reason, burial.attempts, burial.last_error) == ("max_attempts", max_attempts, "the last")
    (letter,) = await queue.dead()
    assert (letter.reason, letter.attempts, letter.last_error) == ("max_attempts", max_attempts, "the last")
    assert await queue.claim() == []


async def test_it_is_not_tried_after_its_age(under_test: EngineUnderTest, engine: Engine) -> None:
    """The age counts from the first hand-out; a failure at or after it is the last."""
    queue, (lease,) = await leased(engine, retry=RetryPolicy(max_age_seconds=60), lease_seconds=100.0)
    under_test.clock.advance(59.999)
    await queue.nack(lease, delay_seconds=0)
    assert (await queue.counts()).scheduled == 1
    lease = await queue.claim_one()
    under_test.clock.advance(0.001)

    settled = await queue.nack(lease, delay_seconds=0)

    assert [burial.reason for burial in settled.moves.buried] == ["max_age"]
    (letter,) = await queue.dead()
    assert (letter.last_failure_ms - letter.first_failure_ms, letter.attempts) == (1, 2)


async def test_exhausted_ones_may_be_dropped(engine: Engine) -> None:
    """Then nothing is kept of them, they are counted dropped, and the move says so."""
    queue, (lease,) = await leased(engine, retry=RetryPolicy(max_attempts=1), drops_exhausted=True)

    settled = await queue.nack(lease, reason="no luck")

    assert settled.moves.buried == (Burial(lease.event.position, "max_attempts", 1, "no luck", "m1", is_dropped=True),)
    assert await queue.dead() == ()
    assert await queue.counts() == Counts(matched=1, dropped=1)


# Tokens ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", OUTCOMES)
async def test_a_stale_token_changes_nothing(engine: Engine, outcome: Outcome) -> None:
    """A settled one's, a wrong nonce, a reference that never was: answered 0, beside others that are good."""
    queue, (done, held, good) = await leased(engine, 3)
    await queue.ack(done)
    before = await queue.state()

    settled = await queue.settle(
        request(done, outcome),
        msgspec.structs.replace(request(held, outcome), nonce="0123456789abcdef"),
        msgspec.structs.replace(request(held, outcome), reference="1-0"),
        msgspec.structs.replace(request(held, outcome), reference=f"{held.reference}~7"),
    )

    assert settled == Settled((0, 0, 0, 0))
    assert await queue.state() == before
    assert (await queue.settle(request(done, outcome), request(good))).attempts == (0, 1)


@pytest.mark.parametrize("outcome", OUTCOMES)
async def test_a_late_settle_of_what_nobody_took_over_is_good(
    under_test: EngineUnderTest, engine: Engine, outcome: Outcome
) -> None:
    """A lease that ended and was not moved is still its holder's."""
    queue, (lease,) = await leased(engine, lease_seconds=1.0)
    under_test.clock.advance(1000)

    await queue.settle_as(outcome, lease)


@pytest.mark.parametrize("by_sweep", [False, True], ids=["claim", "sweep"])
@pytest.mark.parametrize("outcome", OUTCOMES)
async def test_what_was_taken_over_is_no_longer_its_first_holders(
    under_test: EngineUnderTest,
    engine: Engine,
    outcome: Outcome,
    by_sweep: bool,  # noqa: FBT001 - both ways
) -> None:
    """Once a claim or a sweep moved a lapsed one, its old token is stale and the new one good."""
    queue, (lease,) = await leased(engine)
    under_test.clock.advance(30)
    if by_sweep:
        await queue.sweep()
    else:
        new = await queue.claim_one()

    assert (await queue.settle(request(lease, outcome))).attempts == (0,)

    if by_sweep:
        new = await queue.claim_one()
    await queue.ack(new)
    assert await queue.counts() == Counts(matched=1, acked=1)


async def test_one_delivery_twice_in_a_settle(engine: Engine) -> None:
    """The first outcome counts; after an extension the token is good for one more."""
    queue, (one, two) = await leased(engine, 2)

    settled = await queue.settle(
        request(one), request(one, "nack"), request(two, "extend"), request(two), request(two, "reject")
    )

    assert settled.attempts == (1, 0, 1, 1, 0)
    assert await queue.counts() == Counts(matched=2, acked=2)


# Repeats --------------------------------------------------------------------------------------------------------------


async def test_a_repeated_settle(engine: Engine) -> None:
    """The same sequence again: the same answer, and nothing changed; what it moved is told once."""
    queue, (one, two) = await leased(engine, 2)
    given = (request(one), request(two, "reject"), request(one))
    first = await queue.settle(*given)
    before = (await queue.state(), await queue.dead())

    again = await queue.settle_again(*given)

    assert first.attempts == (1, 1, 0)
    assert first.moves.total == 1
    assert again == replace(first, moves=Moves())
    assert (await queue.state(), await queue.dead()) == before


async def test_an_older_settle_is_superseded(engine: Engine) -> None:
    """Its answer is not known any more; nothing is settled."""
    queue, (one, two) = await leased(engine, 2)
    queue.settles = 5
    await queue.ack(one)
    queue.settles = 4

    with pytest.raises(SupersededError):
        await queue.settle_again(request(two))

    assert (await queue.counts()).leased == 1


async def test_claims_and_settles_have_sequences_of_their_own(engine: Engine) -> None:
    """One claimer's claim 1 and settle 1 are two calls; so are two claimers' settle 1."""
    queue, (one, two, three) = await leased(engine, 3)
    other = queue.seen_by(engine, "other")

    await queue.ack(one)
    await other.ack(two)
    await queue.ack(three)

    assert (queue.claims, queue.settles, other.settles) == (1, 2, 1)
    assert (await queue.counts()).acked == 3


async def test_a_settle_of_nothing(engine: Engine) -> None:
    """No outcomes are no work."""
    queue, _ = await leased(engine)

    assert await queue.settle() == Settled(())


async def test_an_unknown_queue(engine: Engine) -> None:
    """There is nothing to settle in."""
    queue, (lease,) = await leased(engine)

    with pytest.raises(NotFoundError):
        await engine.settle(queue.bus, incarnation_of("nobody"), "c", 1, [request(lease)])


async def test_a_thousand_outcomes_at_once(engine: Engine) -> None:
    """As many as one call may carry, of every kind."""
    queue, leases = await leased(engine, 1000, max_in_flight=1000)

    settled = await queue.settle(*(request(lease, OUTCOMES[number % 5]) for number, lease in enumerate(leases)))

    assert set(settled.attempts) == {1}
    assert await queue.counts() == Counts(matched=1000, acked=200, scheduled=200, leased=200, dead=200, waiting=200)


async def test_who_holds_what_and_what_fails(under_test: EngineUnderTest, engine: Engine) -> None:
    """The leases that lapse first, and the oldest that fail, each at most twenty."""
    queue = await Queue.made(engine)
    places = at(await (await Feed.begun(engine)).append(*entries(60), to=[queue]))
    failing = await queue.claim(25, member="w1")
    await queue.nack(*failing, delay_seconds=100, reason="no luck")
    await queue.claim(25, member="w2")
    now_ms = under_test.clock.now_ms()

    details = await engine.queue_details(queue.bus, queue.incarnation)

    assert [holding.position for holding in details.failing] == places[:20]
    assert {
        (found.state, found.member, found.failures, found.due_ms, found.last_error) for found in details.failing
    } == {("scheduled", "w1", 1, now_ms + 100_000, "no luck")}
    assert [holding.position for holding in details.leases] == places[25:45]
    assert {
        (found.state, found.member, found.failures, found.due_ms, found.last_error) for found in details.leases
    } == {("leased", "w2", 0, now_ms + 30_000, None)}
