"""``wowevent``: the command line. Each command is a module, loaded when it is called."""

from __future__ import annotations

import sys

from waooaw.events.cli.commands import commands


def main() -> None:
    """Run the command that the process was started with, and end the process with its exit code."""
    sys.exit(commands())
