"""The numbers of a bus: counted where it happens, in bounded memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.bus.reading import Reader
from tests.bus.running import TestedEngine, published, running, until
from tests.event_samples import entries, entry, event_json
from waooaw.events.bound import EARLIEST
from waooaw.events.bus.event_bus import EventBus
from waooaw.events.bus.metrics import OTHER, TYPES_MAX
from waooaw.events.engine.contract import Frame, Tip
from waooaw.events.outages import StorageFullError


@pytest.fixture
async def engine() -> TestedEngine:
    return TestedEngine()


@pytest.fixture
async def bus(engine: TestedEngine) -> AsyncIterator[EventBus]:
    async with running(engine, engine.clock) as bus:
        yield bus


async def test_a_new_bus_has_counted_nothing(bus: EventBus) -> None:
    """All is 0, and no latency is known."""
    metrics = bus.metrics

    assert (metrics.totals.publishes, metrics.totals.deliveries, metrics.totals.errors) == (0, 0, 0)
    assert metrics.totals.latency.quantile(0.5) is None
    assert metrics.types == {}


async def test_publishes_are_events_stored(bus: EventBus) -> None:
    """Each event counts once, duplicates apart, in all and by its type; so do the bytes stored."""
    given = [entry(id="1", type="a"), entry(id="2", type="a"), entry(type="b")]
    await bus.submit(given)
    await bus.submit(given[:2])

    metrics = bus.metrics
    assert metrics.totals.publishes == 3
    assert {name: counts.publishes for name, counts in metrics.types.items()} == {"a": 2, "b": 1}
    assert metrics.duplicates == 2
    assert metrics.published_bytes == sum(len(item.body) for item in given)
    assert metrics.publish_rate().count == 3


async def test_errors_are_publishes_refused(engine: TestedEngine, bus: EventBus) -> None:
    """What cannot be read, what was used for something else and what the engine refuses is counted, with its code."""
    await bus.submit([entry(id="1", type="a")])
    await bus.submit([entry(id="1", type="a", data=2)])
    await bus.submit(bus.acceptance.several([b"{", event_json(type="")]))
    engine.fails_before = StorageFullError("full")
    await bus.submit(entries(4, type="b"))

    metrics = bus.metrics
    assert metrics.totals.errors == 7
    assert metrics.refusals["id_reused"] == 1
    assert metrics.refusals["storage_full"] == 4
    assert metrics.types["a"].errors == 1
    assert metrics.types[OTHER].errors == 4
    assert "b" not in metrics.types
    assert metrics.totals.publishes == 1


async def test_a_known_type_alone_makes_no_other(bus: EventBus) -> None:
    """``other`` is there only where something was counted under it."""
    await bus.submit([entry(id="1", type="a")])
    await bus.submit([entry(id="1", type="a", data=2)])

    assert set(bus.metrics.types) == {"a"}


async def test_deliveries_are_events_written(bus: EventBus) -> None:
    """An event that three streams get is three deliveries, live or from history, by its type."""
    for patterns in (["*"], ["*"], ["a"]):
        Reader().open(bus, *patterns)
    await published(bus, "a", "b", "a")
    reader = Reader().open(bus, start=EARLIEST)
    await until(lambda: reader.stream.live)

    metrics = bus.metrics
    assert metrics.totals.deliveries == 3 + 3 + 2 + 3
    assert (metrics.types["a"].deliveries, metrics.types["b"].deliveries) == (8, 3)
    assert metrics.delivery_rate().count == 11


class Delayed(TestedEngine):
    """An engine that takes a quarter of a second from the positions of events to telling of them."""

    def _tell(self, bus: str, told: Frame | Tip) -> None:
        self.clock.advance(0.25)
        super()._tell(bus, told)


async def test_latency_runs_from_acceptance_to_delivery() -> None:
    """From the time that the events got their positions to when they were written; history has none."""
    engine = Delayed()
    async with running(engine, engine.clock) as bus:
        Reader().open(bus)
        await published(bus, "a", "b")
        late = Reader().open(bus, start=EARLIEST)
        await until(lambda: late.stream.live)

    latency = bus.metrics.totals.latency
    assert (latency.min, latency.max) == pytest.approx((0.25, 0.25), abs=1e-6)  # wall time in seconds is no finer today
    assert bus.metrics.types["a"].latency.count == 1


async def test_rates_look_back_a_minute(engine: TestedEngine, bus: EventBus) -> None:
    """What was published a minute ago is not in the rate any more, and in the totals still."""
    await published(bus, *"abc")
    assert bus.metrics.publish_rate().per_minute == 3
    engine.clock.advance(60)

    assert bus.metrics.publish_rate().count == 0
    assert bus.metrics.totals.publishes == 3


async def test_types_are_bounded(bus: EventBus) -> None:
    """Publishers that make up types take no memory beyond a bound: the rest is counted together."""
    await bus.submit([entry(type=f"type{number}") for number in range(TYPES_MAX + 300)])
    Reader().open(bus)
    await bus.submit([entry(type=f"more{number}") for number in range(100)])

    types = bus.metrics.types
    assert len(types) <= TYPES_MAX + 1
    assert sum(counts.publishes for counts in types.values()) == TYPES_MAX + 400
    assert types[OTHER].publishes == 400
    assert types[OTHER].deliveries == 100
    assert types["type0"].publishes == 1


async def test_a_cancelled_publish_is_counted_when_it_is_stored(engine: TestedEngine, bus: EventBus) -> None:
    """Counting does not depend on somebody waiting for the answer."""
    engine.gate.clear()
    publishing = asyncio.create_task(bus.submit([entry()]))
    await asyncio.sleep(0)
    publishing.cancel()
    await asyncio.gather(publishing, return_exceptions=True)
    engine.gate.set()

    await until(lambda: bus.metrics.totals.publishes == 1)
