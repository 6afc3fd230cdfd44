"""A console of rich whose output can be a pipe. It loads rich, so it is loaded when something is written."""

from __future__ import annotations

from typing import NoReturn

from rich.console import Console


class PipeConsole(Console):
    """Rich's, but that a reader who has gone is for the command to see, not an exit in the midst of it."""

    def on_broken_pipe(self) -> NoReturn:
        """Tell whoever writes."""
        raise BrokenPipeError
