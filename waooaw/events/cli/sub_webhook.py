"""``wowevent sub``: the receivers of webhooks, asked, tried and looked at."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from waooaw.events.cli.commands import EXIT_OK, EXIT_REFUSED, complain
from waooaw.events.cli.named_subscription import ask, json_option, tell
from waooaw.events.cli.rows import cell, write_json, write_table
from waooaw.events.cli.service_address import bus_option, url_option
from waooaw.events.identifier import new_signing_secret
from waooaw.events.push_state import ATTEMPTS_KEPT
from waooaw.events.push_wire import attempt_members
from waooaw.events.timestamp import format_timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waooaw.events.client.http_subscription import HttpSubscription
    from waooaw.events.push_state import Attempt
    from waooaw.events.subscription_state import SubscriptionInfo

FOLLOW_SECONDS: Final = 1.0
"""Between two looks: replicas write their attempts twice as often."""

SAID_CHARACTERS_MAX: Final = 80
"""Of an error or a reply, in a line; `--json` has all that is kept."""

HEADINGS: Final = ("time", "kind", "outcome", "status", "ms", "attempt", "position", "error or reply")
WIDTHS: Final = (24, 10, 9, 6, 7, 7, 18)


@click.command("verify")
@click.argument("name", metavar="NAME")
@json_option
@bus_option
@url_option
@click.pass_context
def verify(context: click.Context, /, *, name: str, as_json: bool, bus: str, url: str) -> None:
    """Ask the receiver of NAME for its consent now. Exits 1 where nothing is delivered after that."""
    info: SubscriptionInfo = asyncio.run(ask(url, bus, name, lambda subscription: subscription.verify()))
    tell(info, as_json=as_json)
    push, state = info.definition.push, info.push_state
    is_slow = push is not None and push.handshake == "none" and state is not None and state.state == "pending"
    is_served = is_slow or (state is not None and state.state == "verified")
    context.exit(EXIT_OK if is_served else EXIT_REFUSED)


@click.command("test")
@click.argument("name", metavar="NAME")
@json_option
@bus_option
@url_option
@click.pass_context
def test(context: click.Context, /, *, name: str, as_json: bool, bus: str, url: str) -> None:
    """Send the receiver of NAME an event that is in no log. Exits 1 unless it takes it."""
    attempt = asyncio.run(ask(url, bus, name, lambda subscription: subscription.send_test()))
    _tell_attempt(context, attempt, as_json=as_json)


@click.command("redeliver")
@click.argument("name", metavar="NAME")
@click.argument("position", metavar="POSITION")
@json_option
@bus_option
@url_option
@click.pass_context
def redeliver(context: click.Context, /, *, name: str, position: str, as_json: bool, bus: str, url: str) -> None:
    """Send the receiver of NAME the event at POSITION again, beside its queue. Exits 1 unless it takes it."""
    attempt = asyncio.run(ask(url, bus, name, lambda subscription: subscription.redeliver(position)))
    _tell_attempt(context, attempt, as_json=as_json)


def _tell_attempt(context: click.Context, attempt: Attempt, *, as_json: bool) -> None:
    if as_json:
        write_json(attempt_members(attempt))
    else:
        status = "no answer" if attempt.status is None else str(attempt.status)
        said = _said(attempt)
        sys.stdout.write(f"{attempt.outcome}: {status} in {attempt.seconds * 1000:,.0f} ms")
        sys.stdout.write(f"; {said}\n" if said else "\n")
    context.exit(EXIT_OK if attempt.outcome == "delivered" else EXIT_REFUSED)


@click.command("attempts")
@click.argument("name", metavar="NAME")
@click.option(
    "--limit",
    type=click.IntRange(1, ATTEMPTS_KEPT),
    default=ATTEMPTS_KEPT,
    show_default=True,
    help="At most so many, of the last ones.",
)
@click.option("--follow", is_flag=True, help="Go on with those that come, the oldest first, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Write each attempt as a line of JSON.")
@bus_option
@url_option
@click.pass_context
def attempts(
    context: click.Context, /, *, name: str, limit: int, follow: bool, as_json: bool, bus: str, url: str
) -> None:
    """List the last requests to the receiver of NAME, the newest first, with what it answered."""
    if follow:
        try:
            asyncio.run(ask(url, bus, name, lambda subscription: _follow(subscription, limit, as_json=as_json)))
        except KeyboardInterrupt:
            context.exit(EXIT_OK)
    found: list[Attempt] = asyncio.run(ask(url, bus, name, lambda subscription: subscription.attempts(limit)))
    if as_json:
        for attempt in found:
            write_json(attempt_members(attempt))
    elif found:
        write_table(HEADINGS, [_row(attempt) for attempt in found])


async def _follow(subscription: HttpSubscription, limit: int, *, as_json: bool) -> None:
    """Write what comes, until interrupted."""
    known: set[str] | None = None
    while True:
        found = await subscription.attempts(limit if known is None else ATTEMPTS_KEPT)
        coming = [attempt for attempt in reversed(found) if known is None or attempt.id not in known]
        if known and len(coming) == ATTEMPTS_KEPT:
            complain(f"attempts are missing here: more than {ATTEMPTS_KEPT} came at once, and no more are kept")
        for attempt in coming:
            if as_json:
                write_json(attempt_members(attempt))
            else:
                sys.stdout.write(_line(_row(attempt)))
        sys.stdout.flush()
        known = {attempt.id for attempt in found}
        await asyncio.sleep(FOLLOW_SECONDS)


def _line(row: Sequence[Any]) -> str:
    *cells, said = [cell(value) for value in row]
    return f"{'  '.join([text.ljust(width) for text, width in zip(cells, WIDTHS, strict=True)])}  {said}\n"


def _row(attempt: Attempt) -> tuple[object, ...]:
    positions = attempt.positions
    more = f" +{len(positions) - 1}" if len(positions) > 1 else ""
    return (
        format_timestamp(attempt.time_ms),
        attempt.kind,
        attempt.outcome,
        attempt.status,
        round(attempt.seconds * 1000),
        attempt.attempt,
        f"{positions[0]}{more}" if positions else None,
        _said(attempt),
    )


def _said(attempt: Attempt) -> str:
    """Return what a line has room for of what went wrong, or of the answer."""
    said = cell(attempt.error or attempt.reply) if attempt.error or attempt.reply else ""
    return said if len(said) <= SAID_CHARACTERS_MAX else f"{said[: SAID_CHARACTERS_MAX - 1]}…"


@click.command("secret")
def secret() -> None:
    """Print a fresh secret for --push-secret, which the receiver is given too."""
    sys.stdout.write(f"{new_signing_secret()}\n")


COMMANDS: Final = (verify, attempts, test, redeliver, secret)
