"""``wowevent scheduled``: events that wait for their time."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Final

import click

from waooaw.events.cli.commands import complain
from waooaw.events.cli.rows import write_json, write_table
from waooaw.events.cli.service_address import bus_option, reached, url_option
from waooaw.events.dead_letter_wire import scheduled_json
from waooaw.events.timestamp import format_timestamp

if TYPE_CHECKING:
    from waooaw.events.scheduled_event import ScheduledPage

PAGE_MAX: Final = 1000


@click.group("scheduled")
def command() -> None:
    """Events that were published for later: list them, cancel one."""


@command.command("list")
@click.option(
    "--limit", type=click.IntRange(min=1, max=PAGE_MAX), default=100, show_default=True, help="At most so many."
)
@click.option("--after", default="", metavar="TOKEN", help="Go on after another list, by what it said last.")
@click.option("--json", "as_json", is_flag=True, help="Write each event as a line of JSON.")
@bus_option
@url_option
def list_all(*, limit: int, after: str, as_json: bool, bus: str, url: str) -> None:
    """List the events that wait for their deliverat, the next one first."""
    page = asyncio.run(_ask(url, bus, after, limit))
    if as_json:
        for item in page.items:
            write_json(scheduled_json(item))
    elif page.items:
        rows = []
        for item in page.items:
            event = item.event
            rows.append((item.id, format_timestamp(item.due_ms), event.type, event.source, event.id))
        write_table(("schedule id", "due", "type", "source", "id"), rows)
    if page.next is not None:
        complain(f"there can be more, of {page.total:,} in all: --after {page.next}")


async def _ask(url: str, bus_name: str, after: str, limit: int) -> ScheduledPage:
    async with reached(url, bus_name) as bus:
        return await bus.scheduled(after=after, limit=limit)


@command.command("cancel")
@click.argument("schedule_id", metavar="ID")
@bus_option
@url_option
def cancel(*, schedule_id: str, bus: str, url: str) -> None:
    """Take an event off the schedule, by the id that list and publish tell; it is never delivered."""
    asyncio.run(_cancel(url, bus, schedule_id))
    sys.stdout.write(f"{schedule_id} is cancelled\n")


async def _cancel(url: str, bus_name: str, schedule_id: str) -> None:
    async with reached(url, bus_name) as bus:
        await bus.cancel_scheduled(schedule_id)
