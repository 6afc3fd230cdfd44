"""The table of what was measured of work under faults, a part of the same document as the other faults."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.fault.redis.findings import FILE, WORK_TITLE

HEAD: Final = f"""\
{WORK_TITLE}

Each row is a run with real processes: members of durable subscriptions at work while something is broken under them,
and each of them wrote down what it got, what it said and what it was answered. *Again*: deliveries beyond the first of
an event, those that handlers asked for by failing included. *Lost*: events that did not end as their handlers decided.
*Wrong*: events that came again after they were settled, or were in two hands at once.

| Fault | Store | Events | Again | Lost | Wrong | Note |
|---|---|---:|---:|---:|---:|---|
"""


class WorkFindings:
    """Rows to be written. Those of a file that were not measured anew stay."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], str] = {}

    def note(self, place: tuple[str, str], numbers: tuple[int, int, int, int], note: str) -> None:
        """Add a row: its fault and store; events, further deliveries, lost and wrong; a note."""
        cells = (*place, *[f"{number:,}" for number in numbers], note)
        self._rows[place] = f"| {' | '.join(cells)} |"

    def write(self, path: Path = FILE) -> None:
        """Write the document's part, rows sorted, behind the others."""
        if not self._rows:
            return
        others, _, own = path.read_text("utf-8").partition(WORK_TITLE)
        rows = _rows_of(own) | self._rows
        path.write_text(
            others.rstrip() + "\n\n" + HEAD + "".join(f"{rows[place]}\n" for place in sorted(rows)), "utf-8"
        )


def _rows_of(text: str) -> dict[tuple[str, str], str]:
    found = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and cells[0] != "Fault":
            found[cells[0], cells[1]] = line
    return found
