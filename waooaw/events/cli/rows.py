"""Tables for people and lines of JSON for programs: how commands write lists."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import msgspec

from waooaw.events.cli.event_line import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console
    from rich.table import Table

PLAIN_WIDTH: Final = 240
"""Columns where the output is no terminal: a line of a common event fits."""

NOTHING: Final = "-"
"""What stands in a cell of which there is none."""


def write_json(value: object) -> None:
    """Write a value as a line of JSON; bytes that are JSON already go as they are."""
    text = value if isinstance(value, bytes) else msgspec.json.encode(value)
    sys.stdout.write(f"{text.decode()}\n")


def plain_console() -> Console:
    """Return a console that writes what it is given, wide enough where nobody watches."""
    from waooaw.events.cli.pipe_console import PipeConsole

    console = PipeConsole(highlight=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    return console


def table_of(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Return a table in which nothing is read as markup, and nothing steers a terminal. Numbers stand to the right."""
    from rich.table import Table
    from rich.text import Text

    listed = [list(row) for row in rows]
    table = Table(box=None, header_style="bold", pad_edge=False)
    for index, heading in enumerate(headings):
        values = [row[index] for row in listed if row[index] is not None]
        is_number = bool(values) and all(isinstance(value, int) for value in values)
        table.add_column(heading, justify="right" if is_number else "left", overflow="ellipsis", no_wrap=True)
    for row in listed:
        table.add_row(*[Text(cell(value)) for value in row])
    return table


def cell(value: object) -> str:
    """Return what is shown of a value."""
    if value is None or value == "":
        return NOTHING
    return f"{value:,}" if isinstance(value, int) else printable(str(value))


def write_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table."""
    console = plain_console()
    console.print(table_of(headings, rows))
    console.file.flush()


def write_facts(facts: Iterable[tuple[str, Any]]) -> None:
    """Write a name and a value a line."""
    sys.stdout.write("".join([f"{name:<16} {cell(value)}\n" for name, value in facts]))
