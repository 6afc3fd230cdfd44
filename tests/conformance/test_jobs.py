"""Jobs: what one replica at a time should do."""

from __future__ import annotations

import pytest

from tests.conformance.engines import BUS, OTHER_BUS, EngineUnderTest
from waooaw.events.engine.contract import Engine


async def test_who_has_a_job_keeps_it(under_test: EngineUnderTest, engine: Engine) -> None:
    """Asked again in time, or after a while, the one who has it goes on."""
    for seconds in (0.0, 9.0, 100.0):
        under_test.clock.advance(seconds)
        assert await engine.hold_job(BUS, "retention", 10.0)


async def test_another_gets_it_when_it_is_let_go(under_test: EngineUnderTest) -> None:
    """While one holds it nobody else does; once its time is over who asks first has it."""
    if not under_test.is_shared:
        pytest.skip("one process at a time has this store open")
    one, two = await under_test.open(), await under_test.open()
    assert await one.hold_job(BUS, "retention", 10.0)
    under_test.clock.advance(9)
    assert not await two.hold_job(BUS, "retention", 10.0)
    assert await one.hold_job(BUS, "retention", 10.0)
    under_test.clock.advance(9.9)
    assert not await two.hold_job(BUS, "retention", 10.0)
    under_test.clock.advance(0.2)

    assert await two.hold_job(BUS, "retention", 10.0)
    assert not await one.hold_job(BUS, "retention", 10.0)


async def test_jobs_are_apart(under_test: EngineUnderTest) -> None:
    """Each job of each bus has its own holder."""
    if not under_test.is_shared:
        pytest.skip("one process at a time has this store open")
    one, two = await under_test.open(), await under_test.open()
    assert await one.hold_job(BUS, "retention", 10.0)

    assert await two.hold_job(BUS, "fill", 10.0)
    assert await two.hold_job(OTHER_BUS, "retention", 10.0)
