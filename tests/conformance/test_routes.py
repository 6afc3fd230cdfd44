"""The routes of a bus: what changed since a version, and that no append goes by older ones."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tests.conformance.engines import BUS, EngineUnderTest, Writer, stored, until
from tests.conformance.queues import Queue, at, change, changed, incarnation_of, positions, put, route
from tests.event_samples import entries, entry
from waooaw.events.engine.contract import Engine
from waooaw.events.engine.subscription_contract import (
    Changed,
    DeleteSubscription,
    PauseSubscription,
    Routes,
    SubscriptionRecord,
)
from waooaw.events.errors import (
    RoutesChangedError,
)


def names(routes: Routes) -> list[str]:
    """Return the names of the subscriptions, sorted."""
    return sorted(record.name for record in routes.subscriptions)


def merged(known: dict[str, SubscriptionRecord], routes: Routes) -> dict[str, SubscriptionRecord]:
    """Return what a replica knows after it asked for what changed."""
    found = {record.name: record for record in routes.subscriptions}
    if routes.is_whole:
        return found
    return {name: record for name, record in known.items() if name not in routes.gone} | found


async def test_what_changed_since_a_version(engine: Engine) -> None:
    """From any version on, what is told leads to what there is."""
    versions: list[tuple[str, dict[str, SubscriptionRecord]]] = []
    for changes in (
        [put("a"), put("b")],
        [put("c")],
        [put("a", definition=b'{"b":1}'), DeleteSubscription(name="b")],
        [PauseSubscription(name="c", is_paused=True)],
        [put("b", incarnation=incarnation_of("b again")), DeleteSubscription(name="c")],
    ):
        await change(engine, *changes)
        routes = await engine.routes(BUS)
        versions.append((routes.version, merged({}, routes)))

    _, last = versions[-1]
    assert sorted(last) == ["a", "b"]
    for version, known in versions:
        routes = await engine.routes(BUS, version)
        assert routes.version == versions[-1][0]
        assert merged(known, routes) == last


async def test_versions_are_never_used_again(engine: Engine) -> None:
    """Each change has a version of its own, also where it undoes another."""
    versions = set()
    for number in range(5):
        await change(engine, put("a", incarnation=incarnation_of(f"a{number}")))
        versions.add((await engine.routes(BUS)).version)
        await change(engine, DeleteSubscription(name="a"))
        versions.add((await engine.routes(BUS)).version)

    assert len(versions) == 10


async def test_what_changed_since_a_version_that_nobody_knows(engine: Engine) -> None:
    """All there are is told."""
    await change(engine, put("a"), put("b"))

    routes = await engine.routes(BUS, "no version of this engine")

    assert routes.is_whole
    assert names(routes) == ["a", "b"]


async def test_an_append_without_the_change_is_refused(engine: Engine, writer: Writer) -> None:
    """An append that was matched without a subscription is not stored, and learns the version to match with."""
    queue = await Queue.made(engine)

    with pytest.raises(RoutesChangedError) as refused:
        await writer.answers(entry())

    assert refused.value.routes_version == (await engine.routes(BUS)).version
    assert await stored(engine) == []
    writer.routes_version = refused.value.routes_version
    given = entry()
    (answer,) = await writer.again(given, references=route([given], queue))
    assert positions(await queue.claim()) == at([answer])  # type: ignore[list-item]  # a receipt: it is stored


class Replica:
    """Appends as a replica does: with the subscriptions it knows, again where it knew too little."""

    def __init__(self, engine: Engine, writer: Writer) -> None:
        self.engine = engine
        self.writer = writer
        self.known: dict[str, SubscriptionRecord] = {}
        self.refused = 0

    @classmethod
    async def begun(cls, engine: Engine) -> Replica:
        """Register, and learn what there is."""
        replica = cls(engine, await Writer.registered(engine))
        await replica.learn("")
        return replica

    async def learn(self, known_version: str) -> None:
        """Take in what changed."""
        routes = await self.engine.routes(BUS, known_version)
        self.known = merged(self.known, routes)
        self.writer.routes_version = routes.version

    async def append(self, count: int) -> None:
        """Append events that all subscriptions match."""
        given = entries(count)
        self.writer.sequence += 1
        while True:
            queues = [Queue(self.engine, record.incarnation, put().rules) for record in self.known.values()]
            try:
                await self.writer.again(*given, references=route(given, *queues))
            except RoutesChangedError:
                self.refused += 1
                await self.learn(self.writer.routes_version)
            else:
                return


async def _append_until(replica: Replica, done: asyncio.Event) -> None:
    while not done.is_set():
        await replica.append(2)
        await asyncio.sleep(0)
    await replica.append(2)


@pytest.mark.parametrize("shared", [False, True], ids=["one", "two"])
async def test_no_event_accepted_after_the_answer_is_missed(under_test: EngineUnderTest, shared: bool) -> None:  # noqa: FBT001 - one engine or two
    """Subscriptions come and go while replicas append: each gets every event that was accepted after its answer."""
    if shared and not under_test.is_shared:
        pytest.skip("one process at a time has this store open")
    engine = await under_test.open()
    engines = [engine, await under_test.open() if shared else engine]
    replicas = [await Replica.begun(each) for each in engines]
    done = asyncio.Event()
    appending = [asyncio.create_task(_append_until(replica, done)) for replica in replicas]
    made: list[Changed] = []
    for number in range(12):
        made += await _make_some(engine, number)
    done.set()
    await asyncio.gather(*appending)

    events = [event.position for event in await stored(engine)]
    states = await engine.queue_states(BUS, [answer.record.incarnation for answer in made])
    for answer, state in zip(made, states, strict=True):
        if state is not None:
            assert state.counts.matched == sum(position > answer.record.after for position in events)
            assert state.counts.is_closed
    assert sum(replica.refused for replica in replicas) > 0
    assert sum(state is not None for state in states) == 24


async def _make_some(engine: Engine, number: int) -> Sequence[Changed]:
    """Make three, let some events come, delete one of the three."""
    answers = await change(engine, *(put(f"s{number}-{part}") for part in range(3)))
    before = engine.state(BUS).events
    await until(lambda: engine.state(BUS).events >= before + 4)
    await changed(engine, DeleteSubscription(name=f"s{number}-0"))
    return [answer for answer in answers if isinstance(answer, Changed)]


async def test_another_engine_sees_the_same_subscriptions(under_test: EngineUnderTest) -> None:
    """What one replica makes the others see at once, and a change refuses their appends too."""
    if not under_test.is_shared:
        pytest.skip("one process at a time has this store open")
    one, other = await under_test.open(), await under_test.open()
    writer = await Writer.registered(other)

    made = await changed(one, put("work"))

    assert (await other.routes(BUS)).subscriptions == (made.record,)
    with pytest.raises(RoutesChangedError):
        await writer.answers(entry())
