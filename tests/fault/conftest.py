"""The seed of a run, where it reports, and its history."""

from __future__ import annotations

import os
import random
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fault.history import History
from tests.fault.parameters import SEED_VARIABLE

Report = Callable[[str], None]


@pytest.fixture
def report() -> Report:
    """Print a line: shown under ``make fault``, and in the suite where a test fails."""

    def write(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    return write


@pytest.fixture
def chance(report: Report) -> random.Random:
    """Chance that a run repeats where it is given the seed that it printed."""
    seed = int(os.environ.get(SEED_VARIABLE) or secrets.randbits(32))
    report(f"\n{SEED_VARIABLE}={seed}")
    return random.Random(seed)


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with History(tmp_path / "history.jsonl", time.monotonic) as opened:
        yield opened
