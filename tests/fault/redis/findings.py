"""The table of what was measured, kept in the documents: one row for each fault in each mode."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.fault.redis.modes import Mode
from tests.fault.redis.scene import Outcome

FILE: Final = Path(__file__).parents[3] / "docs" / "platform" / "FAULTS.md"
HEAD: Final = """\
# What faults cost

Each row is a run with real processes: publishers that never give up and streams that always come back, while
something is broken under them; `make fault` measures it anew and writes this file. A run counts only if the fault was
seen to bite. *Accepted*: events with a receipt. *Lost*: accepted, and not in the log afterwards. *Twice*: more than
once in the log. *Silence*: the longest time without a successful publish.

| Fault | Mode | Accepted | Lost | Twice | Silence (s) | Note |
|---|---|---:|---:|---:|---:|---|
"""

WORK_TITLE: Final = "## Work of durable subscriptions"
"""Where the next part of the document begins, which is written by others."""


class Findings:
    """Rows to be written. Those of a file that were not measured anew stay."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], str] = {}

    def note(self, fault: str, mode: Mode, outcome: Outcome, note: str = "") -> None:
        """Add a row."""
        lost, twice = len(outcome.verdict.lost), len(outcome.verdict.twice)
        self.note_row((fault, mode.name), (outcome.accepted, lost, twice, outcome.silence_seconds, note))

    def note_row(self, place: tuple[str, str], numbers: tuple[int, int, int, float, str]) -> None:
        """Add a row: its fault and mode; accepted, lost, twice, silence in seconds and a note."""
        accepted, lost, twice, silence_seconds, note = numbers
        cells = (*place, f"{accepted:,}", lost, twice, f"{silence_seconds:.1f}", note)
        self._rows[place] = f"| {' | '.join(map(str, cells))} |"

    def write(self, path: Path = FILE) -> None:
        """Write the file, rows sorted."""
        if not self._rows:
            return
        own, title, others = (path.read_text("utf-8") if path.exists() else "").partition(WORK_TITLE)
        rows = _rows_of(own) | self._rows
        table = HEAD + "".join(f"{rows[place]}\n" for place in sorted(rows))
        path.write_text(f"{table}\n{title}{others}" if title else table, "utf-8")


def _rows_of(text: str) -> dict[tuple[str, str], str]:
    found = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and cells[0] != "Fault":
            found[cells[0], cells[1]] = line
    return found
