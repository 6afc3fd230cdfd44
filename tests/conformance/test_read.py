"""Reading the log: both directions, bounds, limits, and how far a page looked."""

from __future__ import annotations

import pytest

from tests.conformance.engines import BUS, Writer, stored
from tests.event_samples import entries, entry
from waooaw.events.engine.contract import Engine
from waooaw.events.position import BEGINNING, END, Position, previous_position

EVENTS = 10


@pytest.fixture
async def positions(writer: Writer) -> list[Position]:
    return [receipt.position for receipt in await writer.append(*entries(EVENTS))]


async def test_an_empty_log_has_an_empty_page(engine: Engine) -> None:
    """Nothing is found in an empty log, from either end."""
    for newest_first in (False, True):
        page = await engine.read(BUS, BEGINNING, through=END, limit=10, newest_first=newest_first)

        assert (page.events, page.trimmed_through) == ((), BEGINNING)


async def test_oldest_first(engine: Engine, positions: list[Position]) -> None:
    """The log is read in its order."""
    page = await engine.read(BUS, BEGINNING, through=END, limit=100)

    assert [event.position for event in page.events] == positions
    assert page.reached == positions[-1]


async def test_newest_first(engine: Engine, positions: list[Position]) -> None:
    """The log is read against its order, down to its start."""
    page = await engine.read(BUS, BEGINNING, through=END, limit=100, newest_first=True)

    assert [event.position for event in page.events] == positions[::-1]
    assert page.reached == BEGINNING


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize(("after", "through"), [(0, 9), (2, 5), (5, 6), (5, 5), (7, 3), (-1, 9), (-1, -1)])
async def test_bounds(
    engine: Engine, positions: list[Position], after: int, through: int, *, newest_first: bool
) -> None:
    """``after`` is exclusive and ``through`` inclusive, in both directions; a range the wrong way round is empty."""
    places = [*positions, BEGINNING]  # -1 is the beginning

    page = await engine.read(BUS, places[after], through=places[through], limit=100, newest_first=newest_first)

    wanted = [position for position in positions if places[after] < position <= places[through]]
    assert [event.position for event in page.events] == (wanted[::-1] if newest_first else wanted)


async def test_bounds_need_not_be_events(engine: Engine, positions: list[Position]) -> None:
    """A bound may lie between two events, before the first or after the last."""
    after, through = previous_position(positions[3]), Position(positions[-1] + 1_000_000)

    page = await engine.read(BUS, after, through=through, limit=100)

    assert [event.position for event in page.events] == positions[3:]


@pytest.mark.parametrize("limit", [1, 3, 9, 10])
async def test_paging_by_reached_reads_everything_once(engine: Engine, positions: list[Position], limit: int) -> None:
    """Going on after ``reached`` finds each event once, whatever the limit."""
    found: list[Position] = []
    after = BEGINNING
    for _ in range(EVENTS):
        page = await engine.read(BUS, after, through=END, limit=limit)
        assert len(page.events) <= limit
        found.extend(event.position for event in page.events)
        after = page.reached

    assert found == positions


@pytest.mark.parametrize("limit", [1, 3, 9, 10])
async def test_paging_backwards_reads_everything_once(engine: Engine, positions: list[Position], limit: int) -> None:
    """Newest first, the next page goes through what lies before ``reached``."""
    found: list[Position] = []
    through = END
    while through > BEGINNING:
        page = await engine.read(BUS, BEGINNING, through=through, limit=limit, newest_first=True)
        assert len(page.events) <= limit
        found.extend(event.position for event in page.events)
        through = previous_position(page.reached)

    assert found == positions[::-1]


async def test_a_page_that_its_limit_cut_reached_its_last_event(engine: Engine, positions: list[Position]) -> None:
    """``reached`` is the last event of a full page: behind it nothing was looked at."""
    page = await engine.read(BUS, BEGINNING, through=END, limit=4)
    backwards = await engine.read(BUS, BEGINNING, through=END, limit=4, newest_first=True)

    assert (page.reached, backwards.reached) == (positions[3], positions[-4])


async def test_a_page_that_found_less_reached_its_bound(engine: Engine, positions: list[Position]) -> None:
    """A page with room left looked at all up to ``through``, and not beyond."""
    page = await engine.read(BUS, BEGINNING, through=positions[5], limit=100)

    assert page.reached == positions[5]


async def test_reached_is_never_beyond_the_log(engine: Engine, writer: Writer, positions: list[Position]) -> None:
    """Reading through the end of time reaches the last event: what comes later is found from there."""
    page = await engine.read(BUS, BEGINNING, through=END, limit=100)
    (receipt,) = await writer.append(entry(data="later"))

    later = await engine.read(BUS, page.reached, through=END, limit=100)

    assert page.reached == positions[-1]
    assert [event.position for event in later.events] == [receipt.position]


async def test_a_page_is_bounded_in_bytes(engine: Engine, writer: Writer) -> None:
    """Large events make short pages: some megabytes at most, at least one event, and no event is passed over."""
    large = [entry(data=f"{number:03}" * 80_000) for number in range(40)]
    for start in range(0, 40, 4):
        await writer.append(*large[start : start + 4])

    page = await engine.read(BUS, BEGINNING, through=END, limit=10_000)

    assert 1 <= len(page.events) < 40
    assert sum(len(event.body) for event in page.events) < 5 * 1024 * 1024
    assert page.reached == page.events[-1].position
    assert [event.body for event in await stored(engine)] == [item.body for item in large]


async def test_get_finds_what_is_there(engine: Engine, positions: list[Position]) -> None:
    """Each position answers its event."""
    events = await stored(engine)

    assert [await engine.get(BUS, position) for position in positions] == events


async def test_get_of_nothing_is_none(engine: Engine, positions: list[Position]) -> None:
    """Before, beside and after what is there, there is nothing."""
    for position in (BEGINNING, Position(positions[0] - 1), Position(positions[-1] + 1), END):
        assert await engine.get(BUS, position) is None
