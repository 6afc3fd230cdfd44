"""A peer's program, run once in a process of its own; what it says of itself is its last word, one line of JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

from bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

_SECONDS_MAX: Final = 120.0
_SHOWN_CHARACTERS: Final = 600


def run_peer(module: str, arguments: Sequence[object], core: int | None) -> dict[str, Any]:
    """Run a module of peers on one core and return what it said.

    Raises BenchError with the end of its errors where it fails, or where it says that it has `left` events.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        output, errors = process.communicate(timeout=_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        raise BenchError(f"{module} did not end within {_SECONDS_MAX:.0f} s") from None
    finally:
        process.kill()  # harmless where it has ended
        process.wait()
    if process.returncode:
        raise BenchError(f"{module} ended with {process.returncode}: {errors.decode()[-_SHOWN_CHARACTERS:]}")
    said: dict[str, Any] = json.loads(output)
    if said["left"]:
        raise BenchError(f"{module} left {said['left']} events")
    return said
