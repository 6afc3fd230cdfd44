"""Replicas change one record together, and none undoes what another one wrote."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import msgspec
import pytest

from tests.bus.running import BUS, TestedEngine, made
from waooaw.events.errors import NotFoundError
from waooaw.events.push import PushDefinition
from waooaw.events.webhooks.push_record import PushRecord, Report, reported
from waooaw.events.webhooks.shared_record import SharedRecord, always

PUSH = PushDefinition(url="https://agent.example.com/")


@pytest.fixture
async def engine() -> AsyncIterator[TestedEngine]:
    engine = TestedEngine()
    async with AsyncExitStack() as stack:
        await engine.open(stack)
        yield engine


def _count(record: PushRecord, now_ms: int) -> PushRecord:
    return reported(record, PUSH, Report(failures=1, first_failure_ms=now_ms), now_ms)


async def test_no_change_is_lost_however_many_write_at_once(engine: TestedEngine) -> None:
    """Ten replicas that count ten times each come to a hundred."""
    incarnation = await made(engine, "a", "*")

    async def count_ten(replica: int) -> None:
        shared = SharedRecord(engine, BUS, incarnation, engine.clock, writer=f"{replica}")
        for _ in range(10):
            await shared.change(PUSH, _count)

    await asyncio.gather(*[count_ten(replica) for replica in range(10)])
    assert (await SharedRecord(engine, BUS, incarnation, engine.clock, writer="r").read(PUSH)).failures == 100


async def test_a_decision_to_leave_it_writes_nothing(engine: TestedEngine) -> None:
    """The version stays, and nobody is told."""
    incarnation = await made(engine, "a", "*")
    woken: list[str | None] = []
    engine.listen_to_wakes(BUS, woken.append)
    shared = SharedRecord(engine, BUS, incarnation, engine.clock, writer="r")
    await shared.change(PUSH, lambda record, _: record, tells=always)
    assert (await engine.push_record(BUS, incarnation)).version == 0
    await shared.change(PUSH, _count, tells=always)
    assert (await engine.push_record(BUS, incarnation)).version == 1
    assert woken == [incarnation]


async def test_time_is_the_engines_and_goes_on(engine: TestedEngine) -> None:
    """Between two answers time passes by this machine's clock, whatever its wall clock says."""
    incarnation = await made(engine, "a", "*")
    shared = SharedRecord(engine, BUS, incarnation, engine.clock, writer="r")
    await shared.read(PUSH)
    before = shared.now_ms()
    engine.clock.advance(2.5)
    engine.clock.set_wall(5)
    assert shared.now_ms() == before + 2500


async def test_what_is_gone_says_so(engine: TestedEngine) -> None:
    """Reading and changing the record of a subscription that was deleted raise."""
    shared = SharedRecord(engine, BUS, "0" * 16, engine.clock, writer="r")
    with pytest.raises(NotFoundError):
        await shared.read(PUSH)
    with pytest.raises(NotFoundError):
        await shared.change(PUSH, lambda record, now_ms: msgspec.structs.replace(record, since_ms=now_ms))
