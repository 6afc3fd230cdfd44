"""``wowevent events``: read the store."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from waooaw.events.cli.commands import complain
from waooaw.events.cli.event_line import event_line
from waooaw.events.cli.place_parameter import HELP, PlaceParameter
from waooaw.events.cli.rows import plain_console
from waooaw.events.cli.service_address import bus_option, reached, url_option
from waooaw.events.position import format_position

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from waooaw.events.client.http_bus import HttpBus
    from waooaw.events.event import StoredEvent
    from waooaw.events.event_page import EventPage

PAGE_EVENTS = 1000
"""What a service answers at most in one page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to read; ``limit`` None is everything."""

    patterns: tuple[str, ...]
    source: str | None
    correlationid: str | None
    start: str
    end: str
    limit: int | None
    newest_first: bool


@click.command("events")
@click.argument("patterns", nargs=-1, metavar="[PATTERN]...")
@click.option("--pattern", "more_patterns", multiple=True, help="A pattern of event types; may be repeated.")
@click.option("--source", help="Only events of this source.")
@click.option("--correlationid", help="Only events with this correlationid.")
@click.option("--from", "start", type=PlaceParameter(), default="earliest", show_default=True, help=f"From: {HELP}.")
@click.option("--to", "end", type=PlaceParameter(), default="now", show_default=True, help="Up to, the same forms.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Events at most.")
@click.option("--all", "everything", is_flag=True, help="All that match, page after page, whatever --limit says.")
@click.option("--reverse", "newest_first", is_flag=True, help="Newest first.")
@click.option("--json", "as_json", is_flag=True, help="Write each event whole, as a line of JSON.")
@bus_option
@url_option
def command(
    *,
    patterns: tuple[str, ...],
    more_patterns: tuple[str, ...],
    limit: int,
    url: str,
    bus: str,
    as_json: bool,
    everything: bool,
    **where: Any,  # noqa: ANN401 - options of several types, by the names of what is wanted
) -> None:
    """Read stored events whose type matches a PATTERN (all without one), oldest first."""
    wanted = Wanted(patterns=(*patterns, *more_patterns), limit=None if everything else limit, **where)
    asyncio.run(_list(url, bus, wanted, _write_lines if as_json else _table_writer()))


async def _list(url: str, bus_name: str, wanted: Wanted, write: Callable[[Sequence[StoredEvent]], None]) -> None:
    async with reached(url, bus_name) as bus:
        async for page in pages(bus, wanted):
            if page.gap is not None:
                complain(f"gap: events before {page.gap.end} are missing ({page.gap.reason})")
            write(page.events)
    if wanted.limit is not None and not page.is_end:
        option = "--to" if wanted.newest_first else "--from"
        complain(f"there can be more: --all, or {option} {page.next}")


async def pages(bus: HttpBus, wanted: Wanted) -> AsyncIterator[EventPage]:
    """Give pages until nothing more is there, or the limit is reached; at least one."""
    start, end = wanted.start, wanted.end
    if wanted.limit is None and end == "now" and not wanted.newest_first:
        end = (await bus.log()).cursor  # What comes while it is read would make it endless.
    left = wanted.limit
    while True:
        page = await bus.read(
            *wanted.patterns,
            start=start,
            end=end,
            source=wanted.source,
            correlationid=wanted.correlationid,
            newest_first=wanted.newest_first,
            limit=PAGE_EVENTS if left is None else min(left, PAGE_EVENTS),
        )
        yield page
        if left is not None:
            left -= len(page.events)
        if page.is_end or left == 0:
            return
        if wanted.newest_first:
            end = page.next
        else:
            start = page.next


def _write_lines(events: Sequence[StoredEvent]) -> None:
    sys.stdout.write("".join([f"{event.body.decode()}\n" for event in events]))
    sys.stdout.flush()


def _table_writer() -> Callable[[Sequence[StoredEvent]], None]:
    """Return what writes pages as one table, its heading above the first."""
    from rich.table import Table

    console = plain_console()
    headings: list[bool] = []

    def write(events: Sequence[StoredEvent]) -> None:
        if not events:
            return
        table = Table(box=None, show_header=not headings, header_style="bold", pad_edge=False, expand=True)
        headings.append(True)
        flexible: dict[str, Any] = {"no_wrap": True, "overflow": "ellipsis"}
        table.add_column("position", width=17, no_wrap=True, style="dim")
        table.add_column("time", width=24, no_wrap=True)
        table.add_column("type", ratio=2, style="cyan", **flexible)
        table.add_column("source", ratio=2, style="green", **flexible)
        table.add_column("id", ratio=2, style="dim", **flexible)
        table.add_column("data", ratio=4, **flexible)
        for event in events:
            line = event_line(event)
            cells = (line.time, line.type, line.source, line.id, line.data)
            table.add_row(format_position(event.position), *map(_text, cells))
        console.print(table)
        console.file.flush()

    return write


def _text(cell: str) -> Any:  # noqa: ANN401 - rich's type, and rich is loaded when a table is written
    """Return a cell in which nothing is read as markup."""
    from rich.text import Text

    return Text(cell)
