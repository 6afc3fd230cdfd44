"""``wowevent tail``: watch events as they come."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import click

from waooaw.events.cli.commands import EXIT_OK, complain
from waooaw.events.cli.connection_teller import ConnectionTeller
from waooaw.events.cli.event_line import event_line
from waooaw.events.cli.place_parameter import HELP, PlaceParameter
from waooaw.events.cli.service_address import bus_option, reached, url_option

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from waooaw.events.client.http_bus import HttpBus
    from waooaw.events.event import StoredEvent
    from waooaw.events.stream_message import GapMessage


@click.command("tail")
@click.argument("patterns", nargs=-1, metavar="[PATTERN]...")
@click.option("--pattern", "more_patterns", multiple=True, help="A pattern of event types; may be repeated.")
@click.option(
    "--from", "start", type=PlaceParameter(), default="now", show_default=True, help=f"Where to begin: {HELP}."
)
@click.option("--json", "as_json", is_flag=True, help="Write each event whole, as a line of JSON.")
@click.option("--count", type=click.IntRange(min=1), help="End after so many events.")
@bus_option
@url_option
@click.pass_context
def command(
    context: click.Context,
    /,
    *,
    patterns: tuple[str, ...],
    more_patterns: tuple[str, ...],
    start: str,
    count: int | None,
    url: str,
    bus: str,
    as_json: bool,
) -> None:
    """Watch events whose type matches a PATTERN (all without one), one a line, until Ctrl-C.

    Lines: time of acceptance, type, source, id, data. What cannot be shown any more is told as a gap; a lost connection
    is told and taken up where it broke, without a gap or a repetition. Patterns: task.*, agent.??.done, *.failed
    """
    write = write_json if as_json else person_writer()
    try:
        asyncio.run(_tail(reached(url, bus), (*patterns, *more_patterns), start, count, write))
    except KeyboardInterrupt:
        context.exit(EXIT_OK)


async def _tail(
    address: AbstractAsyncContextManager[HttpBus],
    patterns: tuple[str, ...],
    start: str,
    count: int | None,
    write: Callable[[StoredEvent], None],
) -> None:
    from waooaw.events.stream_message import GapMessage

    async with address as bus:
        if start == "now":
            start = (await bus.log()).cursor
        async with bus.stream(*patterns, start=start, watch=ConnectionTeller(bus.url).tell) as stream:
            seen = 0
            async for message in stream:
                if isinstance(message, GapMessage):
                    _tell_gap(message)
                    continue
                write(message)
                seen += 1
                if seen == count:
                    return


def _tell_gap(gap: GapMessage) -> None:
    why = "retention removed them" if gap.reason == "retention" else "the history that they belonged to was lost"
    complain(f"gap: events are missing here, {why} (from {gap.start} to {gap.end})")


def write_json(event: StoredEvent) -> None:
    """Write an event as a line of JSON, as it is stored."""
    sys.stdout.write(f"{event.body.decode()}\n")
    sys.stdout.flush()


def person_writer() -> Callable[[StoredEvent], None]:
    """Return what writes an event as a line for a person, in colour on a terminal."""
    from rich.text import Text

    from waooaw.events.cli.pipe_console import PipeConsole

    console = PipeConsole(highlight=False)

    def write(event: StoredEvent) -> None:
        line = event_line(event)
        console.print(
            Text.assemble(
                (line.time, "dim"),
                "  ",
                (line.type, "bold cyan"),
                "  ",
                (line.source, "green"),
                "  ",
                (line.id, "dim"),
                "  ",
                line.data,
            ),
            soft_wrap=True,
        )
        console.file.flush()

    return write
