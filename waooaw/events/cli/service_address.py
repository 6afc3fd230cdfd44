"""Where the service is, as commands are told, and the way to it."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import click
from click.core import ParameterSource

from waooaw.events.bus_names import DEFAULT_BUS, check_bus_name
from waooaw.events.errors import InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from waooaw.events.client.http_bus import HttpBus

READING_PATIENCE_SECONDS: Final = 10.0
"""A person waits for an answer; a page that takes longer is narrowed, not waited for."""

PUBLISHING_PATIENCE_SECONDS: Final = 30.0
"""What a restart of the service takes, with its drain: a long upload outlasts one."""


def local_url() -> str:
    """Return the address of a service on this machine, at the port that the environment gives the service."""
    port = os.environ.get("PORT", "")
    return f"http://127.0.0.1:{port if port.isdecimal() and port != '0' else 8080}"


def _chosen(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """Return the address: a command's own option wins over the one before the command, that one over the variable."""
    given: str | None = context.find_root().params.get("url")
    is_own = parameter.name is not None and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
    return value if is_own or given is None else given


url_option = click.option(
    "--url",
    callback=_chosen,
    envvar="WOWEVENT_URL",
    default=local_url,
    metavar="URL",
    help="Address of the service.  [variable: WOWEVENT_URL; default: http://127.0.0.1 and PORT, or 8080]",
)

bus_option = click.option(
    "--bus", default=DEFAULT_BUS, show_default=True, metavar="NAME", help="The bus, of those that the service serves."
)


@asynccontextmanager
async def reached(
    url: str, bus_name: str = DEFAULT_BUS, *, patience_seconds: float = READING_PATIENCE_SECONDS
) -> AsyncIterator[HttpBus]:
    """Give a bus of a service that answers; raises `UnavailableError` at once where none does."""
    from waooaw.events.client.http_bus import HttpBus

    try:
        check_bus_name(bus_name)
    except InvalidSettingError as error:
        raise click.BadParameter(error.detail, param_hint="--bus") from None
    try:
        bus = HttpBus(url, bus=bus_name, patience_seconds=patience_seconds)
    except InvalidSettingError as error:
        raise click.BadParameter(error.detail, param_hint="--url") from None
    async with bus:
        await bus.health()
        yield bus
