"""``wowevent serve``: run the service."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Final

import click

from waooaw.events.cli.commands import complain
from waooaw.events.settings import SETTINGS, SettingInfo, load_settings, unknown_variables

METAVARS: Final = {bool: "[true|false]", int: "NUMBER", float: "SECONDS", str: "TEXT", tuple: "LIST"}


def announce(url: str, location: str) -> None:
    """Tell a person where the service is and what to try first."""
    text = f"""\
WowEvent listens on {url} and keeps its events in {location}

  Publish an event:
    curl -sS {url}/v1/events -H 'Content-Type: application/json' \\
      -d '{{"type":"task.created","source":"/agents/me","data":{{"task":1}}}}'
  Read events, then watch new ones as they come:
    curl -sSN '{url}/v1/stream?from=earliest'
  Stop: Ctrl-C

"""
    with suppress(BrokenPipeError):  # Nobody reads standard output: the service runs all the same, and logs elsewhere.
        sys.stdout.write(text)
        sys.stdout.flush()


def setting_option(info: SettingInfo) -> click.Option:
    """Return the option that gives a setting."""
    default = info.default_text or "empty"
    choices = "|".join(info.rule.choices)
    return click.Option(
        [info.flag, info.name],
        metavar=choices or METAVARS.get(info.kind, "PATH"),
        is_flag=False,
        flag_value="true" if info.kind is bool else None,  # --reuse-port alone means true
        help=f"{info.rule.help}  [variable: {info.variable}; default: {default}]",
    )


@click.command("serve", params=[setting_option(info) for info in SETTINGS])
@click.pass_context
def command(context: click.Context, /, **flags: str | None) -> None:
    """Run the service until Ctrl-C or SIGTERM.

    Each setting is a flag or an environment variable; the flag wins. Log lines go to standard error, one JSON object
    each. Exits 0 after a whole drain, 1 where the service cannot start or its drain was cut short.
    """
    from waooaw.events.service.run import run_service

    settings = load_settings(os.environ, flags)
    for variable in unknown_variables(os.environ):
        complain(f"warning: {variable} is no setting, and nothing reads it; `wowevent serve --help` lists them")
    context.exit(run_service(settings, announce))
