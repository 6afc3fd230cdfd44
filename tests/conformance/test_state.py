"""What a log says of itself: always what the log holds."""

from __future__ import annotations

from tests.conformance.engines import BUS, EngineUnderTest, Writer, stored
from tests.event_samples import entries, entry
from waooaw.events.engine.contract import Engine, EngineState
from waooaw.events.position import BEGINNING
from waooaw.events.retention import TrimPlan


async def _check(engine: Engine) -> int:
    """Compare the state with the log; return how many events there are."""
    state, events = engine.state(BUS), await stored(engine)
    assert state.events == len(events)
    assert state.size_bytes == sum(len(event.body) for event in events)
    assert state.first == (events[0].position if events else None)
    if events:
        assert state.history.last == events[-1].position
    return len(events)


async def test_an_empty_log(engine: Engine) -> None:
    """A new log holds nothing, and nothing was taken from it."""
    state = engine.state(BUS)

    assert (state.first, state.events, state.size_bytes) == (None, 0, 0)
    assert (state.history.last, state.history.trimmed_through) == (BEGINNING, BEGINNING)


async def test_the_state_follows_the_log(engine: Engine, writer: Writer) -> None:
    """After appends, duplicates and trims the state is what counting the log would say."""
    counts = []
    await writer.append(*entries(20))
    counts.append(await _check(engine))
    await writer.append(entry(id="one"), entry(id="one"))
    counts.append(await _check(engine))
    await engine.trim(BUS, TrimPlan(excess_events=8), limit=100)
    counts.append(await _check(engine))
    await engine.trim(BUS, TrimPlan(excess_events=100), limit=100)
    counts.append(await _check(engine))
    await writer.append(entry())
    counts.append(await _check(engine))

    assert counts == [20, 21, 13, 0, 1]


async def test_the_state_survives_a_reopen(under_test: EngineUnderTest) -> None:
    """What was counted is counted still where the log survives."""
    engine = await under_test.open()
    await (await Writer.registered(engine)).append(*entries(20))
    await engine.trim(BUS, TrimPlan(excess_events=5), limit=100)
    before = engine.state(BUS)

    engine = await under_test.reopen()

    after = engine.state(BUS)
    assert await _check(engine) == (15 if under_test.survives_reopen else 0)
    if under_test.survives_reopen:
        assert (after.history.last, after.history.trimmed_through) == (
            before.history.last,
            before.history.trimmed_through,
        )


async def test_the_last_position_survives_the_last_event(under_test: EngineUnderTest) -> None:
    """A log that was emptied by retention remembers its last position, also over a reopen."""
    engine = await under_test.open()
    (receipt,) = await (await Writer.registered(engine)).append(entry())
    await engine.trim(BUS, TrimPlan(excess_events=1), limit=10)
    assert engine.state(BUS).history.last == receipt.position

    engine = await under_test.reopen()

    history = engine.state(BUS).history
    expected = receipt.position if under_test.survives_reopen else BEGINNING
    assert (history.last, history.trimmed_through) == (expected, expected)


async def test_a_healthy_engine_has_no_problem(engine: Engine, writer: Writer) -> None:
    """An engine that accepts events says that nothing is wrong, and where it is."""
    await writer.append(entry())

    assert engine.engine_state(BUS) == EngineState()
    assert engine.name
    assert engine.location
