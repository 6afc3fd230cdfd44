"""Claims: how many, which, in which order, for whom, and once."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.conformance.engines import FEW_ENGINES, EngineUnderTest
from tests.conformance.queues import (
    LAPSED,
    Feed,
    Queue,
    changed,
    filled,
    incarnation_of,
    positions,
    put,
)
from tests.event_samples import entries, entry
from waooaw.events.engine.contract import Engine
from waooaw.events.engine.queue_contract import ClaimRequest, Lease, Moves
from waooaw.events.errors import NotFoundError, SupersededError
from waooaw.events.retention import TrimPlan
from waooaw.events.retry import RetryPolicy
from waooaw.events.timestamp import format_timestamp


async def test_a_claim_leases_in_log_order_up_to_its_limit(under_test: EngineUnderTest, engine: Engine) -> None:
    """The first so many, each for the subscription's lease, as its first attempt; waiting becomes leased."""
    queue, all_positions = await filled(engine, 5, lease_seconds=12.5)
    now_ms = under_test.clock.now_ms()

    claimed = await queue.claimed(ClaimRequest("w1", 3))

    leases = list(claimed.leases)
    assert positions(leases) == all_positions[:3]
    assert {(lease.request, lease.attempt, lease.last_error) for lease in leases} == {(0, 1, None)}
    assert {(lease.first_delivery_ms, lease.until_ms) for lease in leases} == {(now_ms, now_ms + 12_500)}
    assert len({lease.reference for lease in leases}) == len({lease.nonce for lease in leases}) == 3
    assert claimed.moves == Moves()
    assert not claimed.is_paused
    counts = await queue.counts()
    assert (counts.waiting, counts.leased) == (2, 3)


async def test_what_is_leased_is_leased_to_nobody_else(engine: Engine) -> None:
    """Another claimer gets what is left, and then nothing."""
    queue, all_positions = await filled(engine, 5)
    other = queue.seen_by(engine, "other")

    assert positions(await queue.claim(3)) == all_positions[:3]
    assert positions(await other.claim()) == all_positions[3:]
    assert await queue.claim() == []


async def test_members_get_theirs_in_turns(engine: Engine) -> None:
    """Wishes that are joined are served one after the other, none above its limit; each lease names its wish."""
    queue, all_positions = await filled(engine, 7)

    claimed = await queue.claimed(ClaimRequest("a", 1), ClaimRequest("b", 10), ClaimRequest("c", 2))

    assert sorted(positions(claimed.leases)) == all_positions
    shares = [sum(lease.request == request for lease in claimed.leases) for request in range(3)]
    assert shares == [1, 4, 2]
    holders = {
        holding.position: holding.member
        for holding in (await engine.queue_details(queue.bus, queue.incarnation)).leases
    }
    assert holders == {lease.event.position: "abc"[lease.request] for lease in claimed.leases}


async def test_an_empty_queue_gives_nothing(under_test: EngineUnderTest, engine: Engine) -> None:
    """No leases, and nothing known of that will come by time; the claim counts as one."""
    queue = await Queue.made(engine)
    under_test.clock.advance(5)

    claimed = await queue.claimed(ClaimRequest("a", 10))

    assert (claimed.leases, claimed.next_due_ms, claimed.moves) == ((), None, Moves())
    assert (await queue.state()).claimed_ms == under_test.clock.now_ms()


async def test_a_claim_tells_when_there_is_more(under_test: EngineUnderTest, engine: Engine) -> None:
    """At once where more waits; at the retry, or when the first lease lapses, where nothing else does."""
    queue, _ = await filled(engine, 3, lease_seconds=30.0)
    now_ms = under_test.clock.now_ms()

    first = await queue.claimed(ClaimRequest("a", 1))
    assert first.next_due_ms is not None
    assert first.next_due_ms <= now_ms
    rest = await queue.claimed(ClaimRequest("a", 10))
    assert rest.next_due_ms == now_ms + 30_000
    await queue.nack(rest.leases[0], delay_seconds=7)
    assert (await queue.claimed(ClaimRequest("a", 10))).next_due_ms == now_ms + 7_000


async def test_no_more_are_in_flight_than_may_be(engine: Engine) -> None:
    """Whoever claims, and however much: the limit holds over all claimers, and a settled one makes room."""
    queue, all_positions = await filled(engine, 10, max_in_flight=4)
    other = queue.seen_by(engine, "other")

    first, second = await asyncio.gather(queue.claim(3), other.claim(3))
    assert len(first) + len(second) == 4
    assert await other.claim() == []
    assert (await queue.counts()).leased == 4

    await queue.ack(first[0])
    assert positions(await queue.claim()) == all_positions[4:5]


async def test_in_flight_counts_leases_alone(engine: Engine) -> None:
    """What waits for its retry makes room for others."""
    queue, all_positions = await filled(engine, 4, max_in_flight=2)
    for lease in await queue.claim():
        await queue.nack(lease, delay_seconds=1000)

    assert positions(await queue.claim()) == all_positions[2:]


async def test_two_engines_share_a_queue(under_test: EngineUnderTest) -> None:
    """Two replicas that claim side by side get each event once between them."""
    if not under_test.is_shared:
        pytest.skip("one process at a time has this store open")
    one, two = await under_test.open(), await under_test.open()
    queue, all_positions = await filled(one, 60)
    other = queue.seen_by(two, "other")

    got: list[list[Lease]] = []
    while any(more := await asyncio.gather(queue.claim(7), other.claim(7))):
        got += more

    assert sorted(position for leases in got for position in positions(leases)) == all_positions
    assert all(sum(map(len, got[part::2])) > 0 for part in (0, 1))


# Lapses, expiry, what the log has no more ---------------------------------------------------------------------------


async def test_a_lease_that_lapsed(under_test: EngineUnderTest, engine: Engine) -> None:
    """It lasts to its end and no longer; then it is a failure, and its event is handed out under a new token."""
    queue, _ = await filled(engine, 1, lease_seconds=30.0)
    lease = await queue.claim_one()
    first_ms = under_test.clock.now_ms()
    under_test.clock.advance(29.999)
    assert await queue.claim() == []
    under_test.clock.advance(0.001)

    claimed = await queue.claimed(ClaimRequest("b", 10))

    (again,) = claimed.leases
    assert (again.reference, again.attempt, again.last_error) == (lease.reference, 2, LAPSED)
    assert again.nonce != lease.nonce
    assert again.first_delivery_ms == first_ms
    assert claimed.moves == Moves(lapsed=1)
    counts = await queue.counts()
    assert (counts.matched, counts.leased, counts.scheduled) == (1, 1, 0)


async def test_a_lapse_may_be_the_last_failure(under_test: EngineUnderTest, engine: Engine) -> None:
    """With its attempts used up it goes to the dead letters, and the claim says so."""
    queue, (position,) = await filled(engine, 1, retry=RetryPolicy(max_attempts=2))
    await queue.claim(member="first")
    under_test.clock.advance(30)
    await queue.claim(member="second")
    under_test.clock.advance(30)

    claimed = await queue.claimed(ClaimRequest("third", 10))

    assert claimed.leases == ()
    (burial,) = claimed.moves.buried
    assert (burial.position, burial.reason, burial.attempts) == (position, "max_attempts", 2)
    assert (burial.last_error, burial.member, burial.is_dropped) == (LAPSED, "second", False)
    assert ((await queue.counts()).dead, (await queue.counts()).leased) == (1, 0)


async def test_lapses_do_not_need_room(under_test: EngineUnderTest, engine: Engine) -> None:
    """Where as much is in flight as may be, what lapsed is handed out anew all the same."""
    queue, all_positions = await filled(engine, 5, max_in_flight=2)
    await queue.claim()
    under_test.clock.advance(30)

    leases = await queue.claim()

    assert sorted(positions(leases)) == all_positions[:2]
    assert {lease.attempt for lease in leases} == {2}


async def test_what_expired_is_not_handed_out(under_test: EngineUnderTest, engine: Engine) -> None:
    """From its time on nobody gets it, fresh or failed; it is counted when a claim meets it, and not before."""
    queue = await Queue.made(engine)
    feed = await Feed.begun(engine)
    soon, later = (format_timestamp(under_test.clock.now_ms() + 1000 * seconds) for seconds in (10, 20))
    await feed.append(
        *(entry(data=number, expirytime=time) for number, time in enumerate((soon, later, later, soon))),
        entry(data=4),
        to=[queue],
    )
    under_test.clock.advance(9.999)
    _, failed = await queue.claim(2)
    await queue.nack(failed, delay_seconds=10)
    under_test.clock.advance(10.001)
    assert (await queue.counts()).expired == 0

    claimed = await queue.claimed(ClaimRequest("m", 10))

    assert [lease.event.event.data for lease in claimed.leases] == [4]
    assert claimed.moves == Moves(expired=3)
    counts = await queue.counts()
    assert (counts.expired, counts.leased, counts.waiting, counts.scheduled) == (3, 2, 0, 0)


async def test_what_the_log_has_no_more(engine: Engine) -> None:
    """A reference to an event that was trimmed is overrun; one that failed carries its copy and is handed out."""
    queue, all_positions = await filled(engine, 4)
    failed, leased = await queue.claim(2)
    await queue.nack(failed, delay_seconds=0)
    await engine.trim(queue.bus, TrimPlan(excess_events=3), limit=10)

    claimed = await queue.claimed(ClaimRequest("m", 10))

    assert sorted(positions(claimed.leases)) == [all_positions[0], all_positions[3]]
    assert {lease.event.body for lease in claimed.leases if lease.attempt == 2} == {failed.event.body}
    assert claimed.moves == Moves(overrun=1)
    await queue.ack(leased)
    counts = await queue.counts()
    assert (counts.overrun, counts.leased, counts.acked) == (1, 2, 1)


# Repeats --------------------------------------------------------------------------------------------------------------


async def test_a_repeated_claim(engine: Engine) -> None:
    """The same sequence again: the same leases, and nothing changed."""
    queue, _ = await filled(engine, 5)
    request = ClaimRequest("m", 3)
    first = await queue.claimed(request)
    before = await queue.state()

    again = await queue.claimed_again(request)

    assert again.leases == first.leases
    assert await queue.state() == before
    await queue.ack(*first.leases)


async def test_a_repeated_claim_of_another_engine(under_test: EngineUnderTest) -> None:
    """Whoever asks again gets the same answer: the store remembers, not the process."""
    if not under_test.is_shared:
        pytest.skip("one process at a time has this store open")
    one, two = await under_test.open(), await under_test.open()
    queue, _ = await filled(one, 5)
    request = ClaimRequest("m", 3)
    first = await queue.claimed(request)
    other = queue.seen_by(two, queue.claimer)
    other.claims = queue.claims

    assert (await other.claimed_again(request)).leases == first.leases


async def test_moves_are_told_once(under_test: EngineUnderTest, engine: Engine) -> None:
    """A repeat of a claim that buried something does not bury it again, nor say so."""
    queue, _ = await filled(engine, 2, retry=RetryPolicy(max_attempts=1))
    await queue.claim(1)
    under_test.clock.advance(30)
    request = ClaimRequest("m", 3)
    first = await queue.claimed(request)

    again = await queue.claimed_again(request)

    assert first.moves.total == 1
    assert again == replace(first, moves=Moves())
    assert (await queue.counts()).dead == 1


async def test_an_older_claim_is_superseded(engine: Engine) -> None:
    """Its answer is not known any more; nothing is leased."""
    queue, _ = await filled(engine, 5)
    await queue.claim(1)
    await queue.claim(1)
    queue.claims -= 1

    with pytest.raises(SupersededError):
        await queue.claimed_again(ClaimRequest("m", 3))

    assert (await queue.counts()).leased == 2


async def test_claimers_have_sequences_of_their_own(engine: Engine) -> None:
    """Two claimers use the same numbers without meeting, and so do two queues."""
    queue, all_positions = await filled(engine, 2)
    other = queue.seen_by(engine, "other")
    second = await Queue.made(engine, "second")
    await (await Feed.begun(engine)).append(entry(), to=[second])

    assert positions(await queue.claim(1)) == all_positions[:1]
    assert positions(await other.claim(1)) == all_positions[1:]
    assert len(await second.claim(1)) == 1


async def test_a_sequence_need_not_be_the_next(engine: Engine) -> None:
    """Sequences grow; holes mean nothing, and no claimer has to be registered."""
    queue, _ = await filled(engine, 2)
    queue.claims = 41

    assert len(await queue.claim(1)) == 1
    queue.claims = 1000
    assert len(await queue.claim(1)) == 1


async def test_an_unknown_queue(engine: Engine) -> None:
    """There is nothing to claim from."""
    await Queue.made(engine)

    with pytest.raises(NotFoundError):
        await engine.claim("default", incarnation_of("nobody"), "c", 1, [ClaimRequest("m", 1)])


# Sizes ----------------------------------------------------------------------------------------------------------------


@FEW_ENGINES
async def test_a_claim_is_a_thousand_at_most(engine: Engine) -> None:
    """Wishes for more are cut, and the claim says that there is more."""
    queue, all_positions = await filled(engine, 1000, max_in_flight=100_000)
    await (await Feed.begun(engine)).append(*entries(200), to=[queue])

    claimed = await queue.claimed(ClaimRequest("a", 700), ClaimRequest("b", 700))

    assert sorted(positions(claimed.leases)) == all_positions
    assert [sum(lease.request == request for lease in claimed.leases) for request in (0, 1)] == [500, 500]


@FEW_ENGINES
async def test_a_claim_of_large_events_ends_early(engine: Engine) -> None:
    """At four megabytes it ends, and says that there is more; the next one goes on."""
    queue = await Queue.made(engine)
    feed = await Feed.begun(engine)
    for _ in range(10):
        await feed.append(*entries(3, subject="x" * 250_000), to=[queue])

    claims = [await queue.claimed(ClaimRequest("a", 1000)) for _ in range(2)]

    assert [16 <= len(claimed.leases) <= 17 for claimed in claims] == [True, False]
    assert sum(len(claimed.leases) for claimed in claims) == 30
    assert claims[0].next_due_ms is not None
    assert claims[0].next_due_ms < claims[0].leases[0].until_ms


async def test_a_limit_that_is_lowered(engine: Engine) -> None:
    """More in flight than may be: nothing more comes until there is room; what is held stays good."""
    queue, _ = await filled(engine, 10, max_in_flight=5)
    leases = await queue.claim()
    await changed(engine, put("work", max_in_flight=3))

    assert await queue.claim() == []
    await queue.ack(*leases[:2])
    assert await queue.claim() == []
    await queue.ack(*leases[2:])
    assert len(await queue.claim()) == 3
