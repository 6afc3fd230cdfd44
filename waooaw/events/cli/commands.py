"""The commands and what they have in common: loaded by name, failing in one line, ending with a code that tells.

Exit codes: 0 done; 1 refused or degraded, as the command's help says; 2 called wrongly; 3 the service is away.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any, Final

import click

from waooaw.events.errors import InvalidRequestError, WowEventError
from waooaw.events.outages import UnavailableError

EXIT_OK: Final = 0
EXIT_REFUSED: Final = 1
EXIT_USAGE: Final = 2
EXIT_AWAY: Final = 3
EXIT_INTERRUPTED: Final = 130
"""128 and the number of SIGINT, as shells count."""

NAMES: Final = (
    "serve", "publish", "tail", "events", "status", "sub", "consume", "dlq", "scheduled", "why", "epoch"
)  # fmt: skip
"""In the order in which one meets them."""

WITHOUT_SERVICE: Final = frozenset({"serve", "epoch"})
"""Those that ask no service."""


def exit_code_of(error: WowEventError) -> int:
    """Return the exit code that tells of an error."""
    if isinstance(error, UnavailableError):
        return EXIT_AWAY
    return EXIT_USAGE if isinstance(error, InvalidRequestError) else EXIT_REFUSED


def complain(sentence: str) -> None:
    """Write a sentence for a person to standard error, as one line."""
    line = " ".join(sentence.split())
    sys.stderr.write(f"wowevent: {line}\n")
    sys.stderr.flush()


class CommandGroup(click.Group):
    """Loads a command when it is called for, and turns its failures into a line and a code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        """Return the names of the commands."""
        return list(NAMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        """Return a command, or None for a name that is none."""
        if cmd_name not in NAMES:
            return None
        command: click.Command = import_module(f"waooaw.events.cli.{cmd_name}").command
        return command

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's
        """Run a command."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except click.UsageError as error:
            asked = "wowevent" if error.ctx is None else error.ctx.command_path
            complain(f"{error.format_message().rstrip('.')}; see `{asked} --help`")
            ctx.exit(EXIT_USAGE)
        except WowEventError as error:
            complain(error.detail)
            ctx.exit(exit_code_of(error))
        except BrokenPipeError:
            # Whoever read has seen enough, as `head` has. What is still buffered goes nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(EXIT_OK)
        except KeyboardInterrupt:
            ctx.exit(EXIT_INTERRUPTED)
        return result


@click.group("wowevent", cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--url", metavar="URL", help="Address of the service, as the option of each command gives it.")
@click.version_option(package_name="wowevent", message="wowevent %(version)s")
@click.pass_context
def commands(context: click.Context, /, url: str | None) -> None:
    """An event bus for software agents: run the service, publish events, watch, read and consume them.

    All commands but serve and epoch find the service by --url or WOWEVENT_URL. Exit codes: 0 done, 1 refused or
    degraded, 2 called wrongly, 3 the service is away.
    """
    if url is not None and context.invoked_subcommand in WITHOUT_SERVICE:
        raise click.UsageError(f"{context.invoked_subcommand} asks no service, so it takes no --url")
