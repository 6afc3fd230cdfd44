"""The last attempts are kept for all replicas, and cost a request nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from functools import partial

import pytest

from tests.bus.running import BUS, TestedEngine, made
from waooaw.events.errors import NotFoundError
from waooaw.events.outages import EngineUnavailableError
from waooaw.events.push_state import ATTEMPTS_KEPT, Attempt
from waooaw.events.webhooks.attempt_log import AttemptLog


class _Engine(TestedEngine):
    """Fails to keep attempts so many times."""

    failures = 0
    written = 0

    async def add_push_attempts(self, bus: str, incarnation: str, attempts: Sequence[bytes], *, kept: int) -> None:
        if self.failures:
            self.failures -= 1
            message = "away"
            raise EngineUnavailableError(message)
        self.written += 1
        await super().add_push_attempts(bus, incarnation, attempts, kept=kept)


@pytest.fixture
async def engine() -> AsyncIterator[_Engine]:
    engine = _Engine()
    async with AsyncExitStack() as stack:
        await engine.open(stack)
        yield engine


def _attempt(number: int) -> Attempt:
    return Attempt(id=f"{number}", kind="delivery", time_ms=number, seconds=0.1, outcome="delivered", status=204)


async def test_many_attempts_are_one_write_of_the_last_hundred(engine: _Engine) -> None:
    """However many requests there were: what is kept is built and written once."""
    log, built = AttemptLog(engine, BUS, await made(engine, "a", "*")), list[int]()

    def build(number: int) -> Attempt:
        built.append(number)
        return _attempt(number)

    for number in range(5000):
        log.add(partial(build, number))
    attempts = await log.read()
    assert [attempt.time_ms for attempt in attempts] == list(range(4999, 4899, -1))
    assert (len(built), engine.written) == (ATTEMPTS_KEPT, 1)
    await log.close()


async def test_attempts_of_all_replicas_are_told_newest_first(engine: _Engine) -> None:
    """Each replica writes its own; who reads gets all by time."""
    incarnation = await made(engine, "a", "*")
    first, second = AttemptLog(engine, BUS, incarnation), AttemptLog(engine, BUS, incarnation)
    for number in (1, 4):
        first.add(partial(_attempt, number))
    for number in (2, 3):
        second.add(partial(_attempt, number))
    await second.flush()
    assert [attempt.time_ms for attempt in await first.read()] == [4, 3, 2, 1]
    await first.close()
    await second.close()


async def test_attempts_wait_for_a_store_that_is_away(engine: _Engine) -> None:
    """What could not be written is written with the next."""
    engine.failures = 1
    log = AttemptLog(engine, BUS, await made(engine, "a", "*"))
    log.add(lambda: _attempt(1))
    await log.flush()
    assert engine.written == 0
    log.add(lambda: _attempt(2))
    assert [attempt.time_ms for attempt in await log.read()] == [2, 1]
    await log.close()


async def test_what_a_later_release_wrote_is_passed_over(engine: _Engine) -> None:
    """One attempt that cannot be read keeps nobody from the others."""
    incarnation = await made(engine, "a", "*")
    await engine.add_push_attempts(BUS, incarnation, [b'{"kind":7}'], kept=100)
    log = AttemptLog(engine, BUS, incarnation)
    log.add(lambda: _attempt(1))
    assert [attempt.time_ms for attempt in await log.read()] == [1]
    await log.close()


async def test_attempts_of_what_is_gone_are_dropped(engine: _Engine) -> None:
    """A subscription that was deleted has none, and closing its log raises nothing."""
    log = AttemptLog(engine, BUS, "0" * 16)
    log.add(lambda: _attempt(1))
    await log.flush()
    with pytest.raises(NotFoundError):
        await log.read()
    await log.close()
