"""``wowevent dlq``: the dead letters of a subscription."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from waooaw.events.cli.commands import complain
from waooaw.events.cli.event_line import event_line
from waooaw.events.cli.rows import write_facts, write_json, write_table
from waooaw.events.cli.service_address import bus_option, reached, url_option
from waooaw.events.cli.sub import confirm, letter_count
from waooaw.events.cli.time_parameter import TimeParameter
from waooaw.events.dead_letter import REDRIVE_RATE, DeadLetterFilter
from waooaw.events.dead_letter_wire import REASONS, dead_letter_json
from waooaw.events.errors import ConfirmationRequiredError
from waooaw.events.pattern import PatternSet
from waooaw.events.position import format_position
from waooaw.events.timestamp import format_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from waooaw.events.dead_letter import DeadLetter, DeadLetterPage, RedriveResult
    from waooaw.events.retry import DeadReason

PAGE_MAX: Final = 1000

_OPTIONS: Final = (
    click.option("--id", "ids", multiple=True, metavar="ID", help="The dead letter of this id; may be repeated."),
    click.option("--reason", type=click.Choice(REASONS), help="Only those that died for this reason."),
    click.option(
        "--type", "patterns", multiple=True, metavar="PATTERN", help="Only these event types; may be repeated."
    ),
    click.option(
        "--from", "start_ms", type=TimeParameter(), metavar="TIME", help="Died at or after: a time, or 15m (ago)."
    ),
    click.option("--to", "end_ms", type=TimeParameter(), metavar="TIME", help="Died before: a time, or 15m (ago)."),
    click.option("--text", help="Only those with this text in their error or their event."),
)


def filter_options(decorated: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that choose among dead letters."""
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


def filter_of(options: dict[str, Any]) -> DeadLetterFilter:
    """Return what the options choose, all where none is given; raises `InvalidPatternError`."""
    ids: tuple[str, ...] = options["ids"]
    patterns: tuple[str, ...] = options["patterns"]
    reason: DeadReason | None = options["reason"]
    return DeadLetterFilter(
        ids=frozenset(ids) if ids else None,
        reason=reason,
        patterns=PatternSet.parse(patterns) if patterns else None,
        died_from_ms=options["start_ms"],
        died_before_ms=options["end_ms"],
        text=options["text"],
    )


@click.group("dlq")
def command() -> None:
    """Dead letters of a subscription: list, show, redrive, purge."""


# Looking --------------------------------------------------------------------------------------------------------------


@command.command("list")
@click.argument("name", metavar="NAME")
@filter_options
@click.option(
    "--limit", type=click.IntRange(min=1, max=PAGE_MAX), default=100, show_default=True, help="At most so many."
)
@click.option("--after", default="", metavar="ID", help="Only those after this id.")
@click.option("--json", "as_json", is_flag=True, help="Write each dead letter, its event included, as a line of JSON.")
@bus_option
@url_option
def list_all(*, name: str, limit: int, after: str, as_json: bool, bus: str, url: str, **options: Any) -> None:  # noqa: ANN401 - options of a filter
    """List the dead letters of the subscription NAME, oldest first."""
    letters, going_on = asyncio.run(_list(url, bus, name, filter_of(options), after=after, limit=limit))
    if as_json:
        for letter in letters:
            write_json(dead_letter_json(letter))
    elif letters:
        write_table(
            ("id", "died", "reason", "attempts", "type", "source", "position", "last error"),
            [_row(letter) for letter in letters],
        )
    if going_on is not None:
        complain(f"there can be more: --after {going_on}")


async def _list(
    url: str, bus_name: str, name: str, which: DeadLetterFilter, *, after: str, limit: int
) -> tuple[list[DeadLetter], str | None]:
    """Return dead letters, and what to go on after where the limit was reached; pages may be short."""
    letters: list[DeadLetter] = []
    async with reached(url, bus_name) as bus:
        subscription = bus.subscription(name)
        while True:
            page: DeadLetterPage = await subscription.dead_letters(which, after=after, limit=limit - len(letters))
            letters += page.items
            if page.next is None or len(letters) >= limit:
                return letters, page.next
            after = page.next


def _row(letter: DeadLetter) -> tuple[object, ...]:
    stored = letter.stored
    return (
        letter.id,
        format_timestamp(letter.last_failure_ms),
        letter.reason,
        letter.attempts,
        stored.type,
        stored.source,
        format_position(stored.position),
        letter.last_error,
    )


@command.command("show")
@click.argument("name", metavar="NAME")
@click.argument("letter_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Write it as the service answers it, in JSON.")
@bus_option
@url_option
def show(*, name: str, letter_id: str, as_json: bool, bus: str, url: str) -> None:
    """Show one dead letter of the subscription NAME, with its event."""
    letter = asyncio.run(_get(url, bus, name, letter_id))
    if as_json:
        write_json(dead_letter_json(letter))
        return
    line = event_line(letter.stored)
    write_facts(
        (
            ("dead letter", letter.id),
            ("position", format_position(letter.stored.position)),
            ("type", line.type),
            ("source", line.source),
            ("id", line.id),
            ("reason", letter.reason),
            ("attempts", letter.attempts),
            ("first failure", format_timestamp(letter.first_failure_ms)),
            ("last failure", format_timestamp(letter.last_failure_ms)),
            ("last member", letter.member),
            ("last error", letter.last_error),
            ("event", letter.stored.body.decode()),
        )
    )


async def _get(url: str, bus_name: str, name: str, letter_id: str) -> DeadLetter:
    async with reached(url, bus_name) as bus:
        return await bus.subscription(name).dead_letter(letter_id)


# Moving ---------------------------------------------------------------------------------------------------------------


@command.command("redrive")
@click.argument("name", metavar="NAME")
@filter_options
@click.option("--dry-run", is_flag=True, help="Only tell how many would go back.")
@click.option("--rate", type=click.FloatRange(*REDRIVE_RATE), metavar="NUMBER", help="At most so many a second.")
@click.option("--json", "as_json", is_flag=True, help="Write what was done as JSON.")
@bus_option
@url_option
def redrive(
    *,
    name: str,
    dry_run: bool,
    rate: float | None,
    as_json: bool,
    bus: str,
    url: str,
    **options: Any,  # noqa: ANN401 - options of a filter
) -> None:
    """Put dead letters back into the subscription NAME, to be tried anew; all without options that choose."""
    result = asyncio.run(_redrive(url, bus, name, filter_of(options), dry_run=dry_run, rate=rate))
    if as_json:
        write_json({"matched": result.matched, "redriven": result.redriven, "dry_run": dry_run})
    elif dry_run:
        sys.stdout.write(f"{letter_count(result.matched)} of {name} would go back\n")
    else:
        sys.stdout.write(f"{letter_count(result.redriven)} of {name} went back\n")


async def _redrive(
    url: str, bus_name: str, name: str, which: DeadLetterFilter, *, dry_run: bool, rate: float | None
) -> RedriveResult:
    async with reached(url, bus_name) as bus:
        return await bus.subscription(name).redrive(which, dry_run=dry_run, rate=rate)


@command.command("purge")
@click.argument("name", metavar="NAME")
@filter_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@bus_option
@url_option
def purge(*, name: str, yes: bool, bus: str, url: str, **options: Any) -> None:  # noqa: ANN401 - options of a filter
    """Destroy dead letters of the subscription NAME; all without options that choose. Asks first."""
    which = filter_of(options)
    try:
        count = asyncio.run(_purge(url, bus, name, which, ""))
    except ConfirmationRequiredError as asked:
        if not yes:
            confirm(f"Destroy {letter_count(asked.count)} of {name}?")
        count = asyncio.run(_purge(url, bus, name, which, asked.confirm))
    sys.stdout.write(f"{letter_count(count)} of {name} {'is' if count == 1 else 'are'} destroyed\n")


async def _purge(url: str, bus_name: str, name: str, which: DeadLetterFilter, token: str) -> int:
    async with reached(url, bus_name) as bus:
        return await bus.subscription(name).purge(which, confirm=token)
