"""``wowevent sub``: make durable subscriptions, look at them, pause, move and remove them."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from waooaw.events.cli import sub_webhook
from waooaw.events.cli.commands import EXIT_OK
from waooaw.events.cli.named_subscription import ask, json_option, tell
from waooaw.events.cli.place_parameter import HELP, PlaceParameter
from waooaw.events.cli.push_options import push_members_of, push_options
from waooaw.events.cli.rows import write_json, write_table
from waooaw.events.cli.service_address import bus_option, reached, url_option
from waooaw.events.cli.status import duration
from waooaw.events.clock import SystemClock
from waooaw.events.errors import WowEventError
from waooaw.events.json_text import read_json
from waooaw.events.subscription import parse_subscription
from waooaw.events.subscription_wire import definition_members, subscription_members

if TYPE_CHECKING:
    from waooaw.events.client.http_subscription import HttpSubscription
    from waooaw.events.subscription import SubscriptionDefinition
    from waooaw.events.subscription_state import SubscriptionInfo

RETRY: Final = {
    "max_attempts": "max_attempts",
    "retry_first": "first_seconds",
    "retry_factor": "factor",
    "retry_cap": "cap_seconds",
    "retry_max_age": "max_age_seconds",
}
"""The options of the retry policy, by the members that they give."""

PLAIN: Final = {
    "ordering": "ordering",
    "start": "from",
    "lease": "lease_seconds",
    "max_in_flight": "max_in_flight",
    "max_waiting": "max_waiting",
    "expires_after": "expires_after_seconds",
    "on_exhausted": "on_exhausted",
}


@click.group("sub")
def command() -> None:
    """Durable subscriptions: make, list, show, pause, resume, seek, delete; and the receivers that are called."""


for webhook_command in sub_webhook.COMMANDS:
    command.add_command(webhook_command)


# Making ---------------------------------------------------------------------------------------------------------------


@command.command("create")
@click.argument("name", metavar="NAME")
@click.option("--pattern", "patterns", multiple=True, help="A pattern of event types; may be repeated.")
@click.option("--from", "start", type=PlaceParameter(), help=f"Where to begin: {HELP}; now without it.")
@click.option("--ordering", type=click.Choice(["none", "key"]), help="key: one event at a time for each partitionkey.")
@click.option("--lease", type=float, metavar="SECONDS", help="How long a member has for an event; 30 without it.")
@click.option("--max-in-flight", type=int, metavar="NUMBER", help="Events with all members at a time; 1,000.")
@click.option("--max-waiting", type=int, metavar="NUMBER", help="Events in the queue, then the oldest go; 1,000,000.")
@click.option("--max-attempts", type=int, metavar="NUMBER", help="Tries of an event in all; 5.")
@click.option("--retry-first", type=float, metavar="SECONDS", help="The longest wait before the second try; 1.")
@click.option("--retry-factor", type=float, metavar="NUMBER", help="How much longer each further wait can be; 2.")
@click.option("--retry-cap", type=float, metavar="SECONDS", help="The longest wait of all; 300.")
@click.option("--retry-max-age", type=float, metavar="SECONDS", help="No try later than this after the first.")
@click.option(
    "--on-exhausted", type=click.Choice(["dead_letter", "drop"]), help="What becomes of what failed; dead_letter."
)
@click.option("--expires-after", type=float, metavar="SECONDS", help="Remove it when no member came for so long.")
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    metavar="FILE",
    help="A definition in JSON, as PUT takes it or as show --json writes it, or - for standard input; options win.",
)
@push_options
@json_option
@bus_option
@url_option
def create(
    *,
    name: str,
    patterns: tuple[str, ...],
    file: Path | None,
    as_json: bool,
    bus: str,
    url: str,
    **options: Any,  # noqa: ANN401 - options of several types, by the names of what they give
) -> None:
    """Make a subscription, or replace the definition of the one that has the name.

    It is replaced as a whole: what is not given has its default again. From the answer on it misses no event that
    matches. To move one that exists, use seek; its ordering cannot change. With --push-url the service sends its
    events there; secrets that a file has as *** stay what they were.
    """
    definition = definition_of(patterns, {**options, "file": file}, {} if file is None else _members_of(file))
    info = asyncio.run(ask(url, bus, name, lambda subscription: subscription.put(definition)))
    tell(info, as_json=as_json)


def definition_of(
    patterns: tuple[str, ...], options: dict[str, Any], members: dict[str, Any]
) -> SubscriptionDefinition:
    """Return the definition that options and the members of a file give; raises `InvalidRequestError` kinds."""
    members = dict(members)
    if patterns:
        members["patterns"] = list(patterns)
    if "patterns" not in members:
        raise click.UsageError("a subscription needs a --pattern, such as --pattern 'task.*', or a --file")
    members |= {member: options[name] for name, member in PLAIN.items() if options[name] is not None}
    retry = {member: options[name] for name, member in RETRY.items() if options[name] is not None}
    if retry:
        given = members.get("retry")
        members["retry"] = {**(given if isinstance(given, dict) else {}), **retry}
    if (push := push_members_of(options, members.get("push"))) is not None:
        members["push"] = push
    return parse_subscription(members)


def _members_of(file: Path) -> dict[str, Any]:
    text = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    try:
        members, _ = read_json(text)
    except WowEventError as error:
        raise click.BadParameter(f"{file}: {error.detail}", param_hint="--file") from None
    if not isinstance(members, dict):
        raise click.BadParameter(f"{file}: a definition is a JSON object", param_hint="--file")
    return definition_members(members)


# Looking --------------------------------------------------------------------------------------------------------------


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Write each subscription as a line of JSON.")
@bus_option
@url_option
def list_all(*, as_json: bool, bus: str, url: str) -> None:
    """List the subscriptions of the bus, with what waits in each."""
    infos = asyncio.run(_list(url, bus))
    now_ms = SystemClock().now_ms()
    if as_json:
        for info in infos:
            write_json(subscription_members(info, now_ms))
        return
    if infos:
        write_table(
            ("name", "state", "patterns", "waiting", "leased", "scheduled", "dead", "acked", "oldest", "push"),
            [_row(info, now_ms) for info in infos],
        )


async def _list(url: str, bus_name: str) -> list[SubscriptionInfo]:
    async with reached(url, bus_name) as bus:
        return await bus.subscriptions()


def _row(info: SubscriptionInfo, now_ms: int) -> tuple[object, ...]:
    counts = info.queue.counts
    patterns = " ".join(pattern.text for pattern in info.definition.patterns.patterns)
    oldest_ms = info.queue.oldest_ms
    oldest = None if oldest_ms is None else duration(max(now_ms - oldest_ms, 0) / 1000)
    places = (counts.waiting, counts.leased, counts.scheduled, counts.dead, counts.acked)
    push = None if info.push_state is None else info.push_state.stopped or info.push_state.state
    return (info.name, info.state, patterns, *places, oldest, push)


@command.command("show")
@click.argument("name", metavar="NAME")
@click.option("--watch", is_flag=True, help="Show it again every second, with rates, until Ctrl-C.")
@json_option
@bus_option
@url_option
@click.pass_context
def show(context: click.Context, /, *, name: str, watch: bool, as_json: bool, bus: str, url: str) -> None:
    """Show where a subscription stands: what waits, who holds leases, what fails and why, its members."""
    from waooaw.events.cli.sub_screen import show_once, watch_screen

    if not watch:
        members = asyncio.run(ask(url, bus, name, _details))
        write_json(members) if as_json else show_once(members)
        return
    try:
        asyncio.run(ask(url, bus, name, lambda subscription: watch_screen(subscription, as_json=as_json)))
    except KeyboardInterrupt:
        context.exit(EXIT_OK)


async def _details(subscription: HttpSubscription) -> dict[str, Any]:
    return await subscription.details()


# Changing -------------------------------------------------------------------------------------------------------------


@command.command("pause")
@click.argument("name", metavar="NAME")
@json_option
@bus_option
@url_option
def pause(*, name: str, as_json: bool, bus: str, url: str) -> None:
    """Hand out nothing more; matching and queueing go on."""
    tell(asyncio.run(ask(url, bus, name, lambda subscription: subscription.pause())), as_json=as_json)


@command.command("resume")
@click.argument("name", metavar="NAME")
@json_option
@bus_option
@url_option
def resume(*, name: str, as_json: bool, bus: str, url: str) -> None:
    """Hand out again."""
    tell(asyncio.run(ask(url, bus, name, lambda subscription: subscription.resume())), as_json=as_json)


@command.command("seek")
@click.argument("name", metavar="NAME")
@click.argument("place", type=PlaceParameter(), metavar="PLACE")
@json_option
@bus_option
@url_option
def seek(*, name: str, place: str, as_json: bool, bus: str, url: str) -> None:
    """Drop what waits, and go on from a PLACE: earliest, now, 15m (ago), a time, a position or a cursor.

    Dead letters stay; a lease that is out can still be settled.
    """
    tell(asyncio.run(ask(url, bus, name, lambda subscription: subscription.seek(place))), as_json=as_json)


@command.command("delete")
@click.argument("name", metavar="NAME")
@click.option("--yes", is_flag=True, help="Do not ask.")
@bus_option
@url_option
def delete(*, name: str, yes: bool, bus: str, url: str) -> None:
    """Remove a subscription, with all that waits and its dead letters."""
    if not yes:
        info = asyncio.run(ask(url, bus, name, lambda subscription: subscription.info()))
        counts = info.queue.counts
        waiting = counts.waiting + counts.leased + counts.scheduled
        events = "1 event" if waiting == 1 else f"{waiting:,} events"
        confirm(f"Remove {name}, with {events} not settled and {letter_count(counts.dead)}?")
    asyncio.run(ask(url, bus, name, lambda subscription: subscription.delete()))
    sys.stdout.write(f"{name} is removed\n")


def letter_count(count: int) -> str:
    """Return a number of dead letters as people say it."""
    return "1 dead letter" if count == 1 else f"{count:,} dead letters"


def confirm(question: str) -> None:
    """Ask a person, and end the command with exit code 1 unless the answer is yes; nobody there is no."""
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Say so by --yes")
    if not click.confirm(question, err=True):
        raise click.exceptions.Exit(1)
