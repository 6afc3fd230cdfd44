"""Reading the store: every query, in pages, in both directions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bus.running import BUS, TestedEngine, running
from tests.event_samples import entry
from waooaw.events.bound import EARLIEST, NOW, After, At, Bound
from waooaw.events.bus.event_bus import EventBus
from waooaw.events.bus.event_store import PAGE_BYTES_MAX, SCAN_EVENTS_MAX, EventStore, Query, StorePage
from waooaw.events.cursor import Cursor
from waooaw.events.engine.contract import Page
from waooaw.events.errors import NotFoundError, TrimmedError
from waooaw.events.event import StoredEvent
from waooaw.events.pattern import PatternSet
from waooaw.events.position import BEGINNING, Position, make_position
from waooaw.events.receipt import Receipt
from waooaw.events.retention import TrimPlan
from waooaw.events.testing import ManualClock

EVENTS = 60
TYPES = ("a.x", "a.y", "b.x")


@pytest.fixture
async def engine() -> TestedEngine:
    return TestedEngine()


@pytest.fixture
async def bus(engine: TestedEngine) -> AsyncIterator[EventBus]:
    async with running(engine, engine.clock) as bus:
        yield bus


@pytest.fixture
async def positions(engine: TestedEngine, bus: EventBus) -> list[Position]:
    """Publish events that differ in all that can be asked for, a second apart."""
    found = []
    for number in range(EVENTS):
        given = entry(type=TYPES[number % 3], source=f"agent/{number % 4}", correlationid=f"c{number % 5}", data=number)
        (receipt,) = await bus.submit([given])
        assert isinstance(receipt, Receipt)
        found.append(receipt.position)
        engine.clock.advance(1)
    return found


def following(query: Query, page: StorePage) -> Query:
    """Return the query for what comes after a page, as the documentation says."""
    return replace(query, end=After(page.next)) if query.newest_first else replace(query, start=After(page.next))


async def read_all(store: EventStore, query: Query) -> list[StoredEvent]:
    """Read page after page."""
    found: list[StoredEvent] = []
    for _ in range(EVENTS + 2):
        page = await store.read(query)
        found.extend(page.events)
        assert len(page.events) <= query.limit
        if page.is_end:
            return found
        query = following(query, page)
    raise AssertionError("there is no end")


def wanted(query: Query, *, first: int = 0, last: int = EVENTS) -> list[int]:
    """Return which of the events a query asks for, in the order asked for."""
    found = [
        number
        for number in range(first, last)
        if query.patterns.matches(TYPES[number % 3])
        and query.source in {None, f"agent/{number % 4}"}
        and query.correlationid in {None, f"c{number % 5}"}
    ]
    return found[::-1] if query.newest_first else found


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("limit", [1, 7, 60, 100])
@pytest.mark.parametrize(
    "query",
    [
        Query(),
        Query(patterns=PatternSet.parse(["a.*"])),
        Query(patterns=PatternSet.parse(["a.y", "b.*"])),
        Query(source="agent/2"),
        Query(correlationid="c3"),
        Query(patterns=PatternSet.parse(["*.x"]), source="agent/1", correlationid="c1"),
        Query(source="nobody"),
    ],
    ids=["all", "pattern", "patterns", "source", "correlationid", "all three", "nothing"],
)
@pytest.mark.usefixtures("positions")
async def test_queries(bus: EventBus, query: Query, limit: int, *, newest_first: bool) -> None:
    """What matches is found once, in order, whatever the size of the pages."""
    query = replace(query, limit=limit, newest_first=newest_first)

    found = await read_all(bus.store, query)

    assert [event.event.data for event in found] == wanted(query)


@pytest.mark.parametrize("newest_first", [False, True])
async def test_bounds(engine: TestedEngine, bus: EventBus, positions: list[Position], *, newest_first: bool) -> None:
    """``start`` is inclusive but for a cursor, ``end`` exclusive but for a cursor; times are those of acceptance."""
    history = engine.state(BUS).history
    time = At(make_position(positions[10] >> 20), is_time=True)
    later = At(make_position((positions[20] >> 20) - 500), is_time=True)
    cases: list[tuple[Bound, Bound, int, int]] = [
        (EARLIEST, NOW, 0, 60),
        (EARLIEST, EARLIEST, 0, 0),
        (NOW, NOW, 0, 0),
        (At(positions[5]), At(positions[9]), 5, 9),
        (At(Position(positions[5] + 1)), NOW, 6, 60),
        (After(history.cursor(positions[5])), After(history.cursor(positions[9])), 6, 10),
        (time, later, 10, 20),
        (later, At(make_position(2**41), is_time=True), 20, 60),
        (At(positions[9]), At(positions[5]), 0, 0),
        (At(make_position(1)), NOW, 0, 60),
    ]
    for start, end, first, last in cases:
        query = Query(start=start, end=end, newest_first=newest_first, limit=7)

        found = await read_all(bus.store, query)

        assert [event.event.data for event in found] == wanted(query, first=first, last=last), (start, end)


async def test_an_empty_store(bus: EventBus) -> None:
    """Nothing is found, at once, in both directions, and ``next`` is a place to go on from."""
    for newest_first in (False, True):
        page = await bus.store.read(Query(newest_first=newest_first))

        assert (page.events, page.is_end, page.gap) == ((), True, None)


async def test_next_waits_for_what_comes(bus: EventBus, positions: list[Position]) -> None:
    """At the end, ``next`` is kept to poll later: it finds what came since, and nothing again."""
    page = await bus.store.read(Query())
    assert (page.is_end, page.next.position) == (True, positions[-1])
    await bus.submit([entry(data="later")])

    later = await bus.store.read(Query(start=After(page.next)))

    assert [event.event.data for event in later.events] == ["later"]


async def test_a_page_is_cut_at_its_limit(bus: EventBus, positions: list[Position]) -> None:
    """A full page is not the end where more follows; one that takes the last event is."""
    page = await bus.store.read(Query(limit=10))
    whole = await bus.store.read(Query(limit=EVENTS))

    assert (page.is_end, page.next.position) == (False, positions[9])
    assert whole.is_end


async def test_a_page_without_matches_ends_after_its_budget(engine: TestedEngine, bus: EventBus) -> None:
    """A query that matches little looks at so many events and answers how far it came; going on finds the rest."""
    for _ in range(11):
        await bus.submit([entry(type="noise") for _ in range(1000)])
    await bus.submit([entry(type="rare")])
    query = Query(patterns=PatternSet.parse(["rare"]))

    page = await bus.store.read(query)
    rest = await bus.store.read(replace(query, start=After(page.next)))

    assert (page.events, page.is_end) == ((), False)
    assert sum(1 for _ in engine.reads) == SCAN_EVENTS_MAX // 1000 + 2
    assert ([event.type for event in rest.events], rest.is_end) == (["rare"], True)


class Slow(TestedEngine):
    """An engine of which each read takes a while."""

    async def read(
        self, bus: str, after: Position, *, through: Position, limit: int, newest_first: bool = False
    ) -> Page:
        """Read slowly."""
        self.clock.advance(0.02)
        return await super().read(bus, after, through=through, limit=limit, newest_first=newest_first)


async def test_a_page_ends_after_its_time() -> None:
    """A slow log ends a page early, whatever was found."""
    engine = Slow()
    async with running(engine, engine.clock) as bus:
        for _ in range(6):
            await bus.submit([entry(type="noise") for _ in range(1000)])

        page = await bus.store.read(Query(patterns=PatternSet.parse(["rare"])))

    assert len(engine.reads) == 3
    assert not page.is_end


# Gaps -----------------------------------------------------------------------------------------------------------------


async def trimmed(engine: TestedEngine, count: int) -> None:
    """Let retention take the oldest."""
    assert await engine.trim(BUS, TrimPlan(excess_events=count), limit=count) == count


async def test_a_cursor_before_the_log_has_a_gap(
    engine: TestedEngine, bus: EventBus, positions: list[Position]
) -> None:
    """The page says from where to where events are missing, and holds what is there."""
    cursor = engine.state(BUS).history.cursor(positions[2])
    await trimmed(engine, 10)

    page = await bus.store.read(Query(start=After(cursor)))

    assert page.gap is not None
    assert (page.gap.start, page.gap.end.position, page.gap.reason) == (cursor, positions[9], "retention")
    assert [event.position for event in page.events] == positions[10:]


async def test_a_position_that_was_trimmed_has_a_gap(
    engine: TestedEngine, bus: EventBus, positions: list[Position]
) -> None:
    """Whoever names a place expects what was there."""
    await trimmed(engine, 10)

    page = await bus.store.read(Query(start=At(positions[3])))

    assert page.gap is not None
    assert page.gap.end.position == positions[9]


async def test_what_was_not_asked_for_by_place_is_no_gap(
    engine: TestedEngine, bus: EventBus, positions: list[Position]
) -> None:
    """``earliest`` and a time ask for what is there from then on; so does a cursor that stands where the log begins."""
    time = At(make_position(positions[3] >> 20), is_time=True)
    cursor = After(engine.state(BUS).history.cursor(positions[9]))
    await trimmed(engine, 10)

    pages = [await bus.store.read(Query(start=start)) for start in (EARLIEST, time, cursor)]

    assert [page.gap for page in pages] == [None] * 3
    assert all([event.position for event in page.events] == positions[10:] for page in pages)


async def test_a_cursor_of_nobody_has_a_gap(bus: EventBus, positions: list[Position]) -> None:
    """Of an unknown epoch nothing is known: the page begins where the log does, and says so."""
    page = await bus.store.read(Query(start=After(Cursor(99, positions[30]))))

    assert page.gap is not None
    assert (page.gap.reason, page.gap.end.position) == ("epoch", BEGINNING)
    assert len(page.events) == EVENTS


class Trimming(TestedEngine):
    """An engine on which retention comes between the look at its state and the read."""

    async def read(
        self, bus: str, after: Position, *, through: Position, limit: int, newest_first: bool = False
    ) -> Page:
        """Trim, then read."""
        await self.trim(BUS, TrimPlan(excess_events=5), limit=5)
        return await super().read(bus, after, through=through, limit=limit, newest_first=newest_first)


@pytest.mark.parametrize("is_place", [True, False])
async def test_a_trim_in_the_middle_of_a_read_is_a_gap(*, is_place: bool) -> None:
    """What retention takes while a page is read is told to who asked from a place on."""
    engine = Trimming()
    async with running(engine, engine.clock) as bus:
        receipts = await bus.submit([entry() for _ in range(10)])
        positions = [receipt.position for receipt in receipts if isinstance(receipt, Receipt)]

        page = await bus.store.read(Query(start=At(positions[0]) if is_place else EARLIEST))

    assert [event.position for event in page.events] == positions[5:]
    if is_place:
        assert page.gap is not None
        assert (page.gap.start.position, page.gap.end.position) == (positions[0] - 1, positions[4])
    else:
        assert page.gap is None


class TrimmingLater(TestedEngine):
    """An engine on which retention comes between two reads of one page."""

    async def read(
        self, bus: str, after: Position, *, through: Position, limit: int, newest_first: bool = False
    ) -> Page:
        """Trim before all reads but the first one."""
        if after > BEGINNING:
            await self.trim(BUS, TrimPlan(excess_events=1500), limit=1500)
        return await super().read(bus, after, through=through, limit=limit, newest_first=newest_first)


async def test_a_hole_inside_a_page_is_told_to_everyone() -> None:
    """Who asks from the earliest event on misses nothing before it, but is told what goes missing behind it."""
    engine = TrimmingLater()
    async with running(engine, engine.clock) as bus:
        receipts = await bus.submit([entry() for _ in range(1000)])
        receipts += await bus.submit([entry() for _ in range(1000)])
        positions = [receipt.position for receipt in receipts if isinstance(receipt, Receipt)]

        page = await bus.store.read(Query(patterns=PatternSet.parse(["nothing"])))

    assert page.gap is not None
    assert (page.gap.start.position, page.gap.end.position) == (positions[999], positions[1499])


# One event ------------------------------------------------------------------------------------------------------------


async def test_get(engine: TestedEngine, bus: EventBus, positions: list[Position]) -> None:
    """An event that is there, one that retention took, one that never was, and one that is not there yet."""
    await trimmed(engine, 10)

    assert (await bus.store.get(positions[10])).event.data == 10
    with pytest.raises(TrimmedError):
        await bus.store.get(positions[9])
    for nowhere in (Position(positions[20] + 1), Position(positions[-1] + 1), BEGINNING):
        with pytest.raises(NotFoundError):
            await bus.store.get(nowhere)


@given(
    limits=st.lists(st.integers(1, 9), min_size=1),
    bounds=st.tuples(st.integers(0, 20), st.integers(0, 20)),
    newest_first=st.booleans(),
)
@settings(deadline=None, max_examples=50)
def test_paging_with_any_limits(limits: list[int], bounds: tuple[int, int], *, newest_first: bool) -> None:
    """Pages of any sizes, one after another, are the range, once, in its order."""
    import asyncio  # noqa: PLC0415 - hypothesis runs this test without a loop of its own

    async def read() -> None:
        engine = TestedEngine(clock=ManualClock())
        async with running(engine, engine.clock) as bus:
            receipts = await bus.submit([entry() for _ in range(20)])
            places = [receipt.position for receipt in receipts if isinstance(receipt, Receipt)]
            places.append(Position(places[-1] + 1))
            start, end = (At(places[index]) for index in bounds)
            query = Query(start=start, end=end, newest_first=newest_first)
            found: list[Position] = []
            page: StorePage | None = None
            for turn in range(60):
                page = await bus.store.read(replace(query, limit=limits[turn % len(limits)]))
                found += [event.position for event in page.events]
                if page.is_end:
                    break
                query = following(query, page)
            expected = places[bounds[0] : min(bounds[1], 20)]
            assert page is not None
            assert page.is_end
            assert found == (expected[::-1] if newest_first else expected)

    asyncio.run(read())


async def test_a_page_of_large_events_is_short(bus: EventBus) -> None:
    """A page ends at its bytes: what an answer takes in memory does not grow with the size of events."""
    large = "x" * 200_000
    for number in range(50):
        await bus.submit_one(entry(type="large", subject=str(number), data=large))
    pages: list[StorePage] = []
    start: Bound = EARLIEST
    while not pages or not pages[-1].is_end:
        pages.append(await bus.store.read(Query(patterns=PatternSet.parse(["large"]), start=start, limit=1000)))
        start = After(pages[-1].next)

    assert sum(len(page.events) for page in pages) == 50
    assert max(sum(len(event.body) for event in page.events) for page in pages) < PAGE_BYTES_MAX + len(large) * 2
