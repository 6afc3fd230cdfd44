"""``wowevent epoch``: tell readers that history changed under them."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Final

import click

from waooaw.events.cli.serve import setting_option
from waooaw.events.position import format_position
from waooaw.events.settings import SETTINGS, load_settings

STORE_SETTINGS: Final = tuple(
    info
    for info in SETTINGS
    if info.name in {"data_directory", "buses", "durability"} or info.name.startswith("redis_")
)
"""The settings that say which store it is."""


@click.group("epoch")
def command() -> None:
    """Begin an epoch of a bus by hand: the last step of every restore."""


@command.command(
    "new",
    params=[
        click.Option(["--bus", "names"], multiple=True, metavar="NAME", help="A bus; repeatable. All without it."),
        *[setting_option(info) for info in STORE_SETTINGS],
    ],
)
def new(*, names: tuple[str, ...], **flags: str | None) -> None:
    """Begin an epoch in the store that the settings name, at the end of each bus's log.

    This is the last step of every restore: a store that was put back may lack events that readers have seen, and may
    carry the epoch that they know. After it, a reader that had seen more is told a gap, instead of nothing.

    It opens the store itself and needs no service. On Redis services may run; the embedded store must not be in use.
    """
    from waooaw.events.service.app import begin_epochs

    settings = load_settings(os.environ, flags)
    epochs = asyncio.run(begin_epochs(settings, names or settings.buses))
    for bus, epoch in epochs.items():
        sys.stdout.write(f"{bus}: epoch {epoch.id:016x} begins after {format_position(epoch.after)}\n")
