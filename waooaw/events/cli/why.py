"""``wowevent why``: what became of an event."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from waooaw.events.cli.rows import write_json, write_table
from waooaw.events.cli.service_address import bus_option, reached, url_option
from waooaw.events.errors import InvalidParameterError
from waooaw.events.position import parse_position
from waooaw.events.subscription_wire import reports_members

if TYPE_CHECKING:
    from waooaw.events.subscription_state import DeliveryReport

REASONS = {
    "pattern": "no: its patterns do not match the type",
    "filter": "no: its filter does not match",
    "created_later": "no: it was made after the event",
}


@click.command("why")
@click.argument("position", metavar="POSITION")
@click.option("--json", "as_json", is_flag=True, help="Write what each subscription made of it as a line of JSON.")
@bus_option
@url_option
def command(*, position: str, as_json: bool, bus: str, url: str) -> None:
    """Tell what each subscription made of the event at a POSITION: matched or why not, state, attempts, last error."""
    try:
        parse_position(position)
    except InvalidParameterError as error:
        raise click.BadParameter(error.detail, param_hint="POSITION") from None
    reports = asyncio.run(_ask(url, bus, position))
    if as_json:
        for item in reports_members(parse_position(position), reports)["items"]:
            write_json(item)
    elif reports:
        write_table(
            ("subscription", "matched", "state", "attempts", "member", "last error"),
            [
                (
                    report.subscription,
                    _matched(report),
                    report.state,
                    _attempts(report),
                    report.member,
                    report.last_error,
                )
                for report in reports
            ],
        )


async def _ask(url: str, bus_name: str, position: str) -> list[DeliveryReport]:
    async with reached(url, bus_name) as bus:
        return await bus.deliveries(position)


def _matched(report: DeliveryReport) -> str:
    return "yes" if report.matched else REASONS.get(report.why or "", f"no: {report.why}")


def _attempts(report: DeliveryReport) -> int | None:
    """Return the tries so far; None, shown as ``-``, where nothing is kept of them: of what is settled, or not its."""
    return None if report.state in {None, "settled"} else report.attempts
