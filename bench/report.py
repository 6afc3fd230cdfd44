"""What a scenario found: figures, the targets they are held to, and their table."""

from __future__ import annotations

import operator
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from bench.machine import Cores
    from bench.server import Launcher

_COLUMNS: Final = ("figure", "median", "lowest", "highest", "unit", "target", "verdict")
_COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {">=": operator.ge, "<=": operator.le}
_WHOLE_FROM: Final = 1000
_DECIMALS_MAX: Final = 4
_CELL_PADDING: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a median is held to: `>=` or `<=` a bound in the figure's unit."""

    comparison: str
    bound: float

    def met_by(self, value: float) -> bool:
        """Tell whether `value` meets it."""
        return _COMPARISONS[self.comparison](value, self.bound)

    def __str__(self) -> str:
        """Return it as printed."""
        return f"{self.comparison} {number(self.bound)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured quantity: a value a round, read by its median."""

    name: str
    unit: str
    values: Sequence[float]
    target: Target | None = None

    @property
    def median(self) -> float:
        """The median over the rounds."""
        return statistics.median(self.values)

    @property
    def met(self) -> bool:
        """Whether the target is met; true where there is none."""
        return self.target is None or self.target.met_by(self.median)

    def row(self) -> tuple[str, ...]:
        """Return its cells."""
        verdict = "" if self.target is None else "pass" if self.met else "MISSED"
        cells = (number(self.median), number(min(self.values)), number(max(self.values)))
        return (self.name, *cells, self.unit, str(self.target or ""), verdict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one scenario found. `failure` says why it has no figures, where it has none."""

    letter: str
    title: str
    figures: Sequence[Figure] = ()
    notes: Sequence[str] = ()
    failure: str | None = None

    @property
    def passed(self) -> bool:
        """Whether it ran and met every target."""
        return self.failure is None and all(figure.met for figure in self.figures)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a scenario is given to run with."""

    launcher: Launcher
    cores: Cores
    directory: Path
    seconds: float
    rounds: int
    open_files_max: int
    warm_up_seconds: float = field(default=1.0)
    patience_seconds: float = 0.0
    """How long each run may wait for a quiet machine."""


def ratio(above: Figure, below: Figure, name: str, target: Target | None = None) -> Figure:
    """Return the ratio of two figures taken in turns, round by round, so that a drift of the machine cancels."""
    values = [one / other for one, other in zip(above.values, below.values, strict=True)]
    return Figure(name=name, unit="ratio", values=values, target=target)


def number(value: float) -> str:
    """Return a number with the digits that carry meaning."""
    if abs(value) >= _WHOLE_FROM:
        return f"{value:,.0f}"
    return f"{round(value, _DECIMALS_MAX) + 0.0:.3g}"  # + 0.0: a difference of clocks must not print as -0


def heading(title: str, machine: Mapping[str, str], settings: str) -> str:
    """Return what stands above the scenarios."""
    return "\n".join([f"# {title}", "", settings, "", *(f"- **{name}**: {value}" for name, value in machine.items())])


def verdict(reports: Sequence[Report]) -> str:
    """Return the sentence below the scenarios."""
    missed = [figure.name for report in reports for figure in report.figures if not figure.met]
    failed = [report.letter for report in reports if report.failure is not None]
    targets = sum(figure.target is not None for report in reports for figure in report.figures)
    text = f"{targets - len(missed)} of {targets} targets met"
    if missed:
        text += "; missed: " + ", ".join(missed)
    if failed:
        text += "; could not be measured: " + ", ".join(failed)
    return text + "."


def section(report: Report) -> str:
    """Return one scenario as Markdown whose table is aligned, so that a terminal shows it too."""
    lines = [f"## ({report.letter}) {report.title}", ""]
    if report.failure is not None:
        return "\n".join([*lines, "Not measured:", "", "```", report.failure, "```"])
    rows = [_COLUMNS, *(figure.row() for figure in report.figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    table = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    table.insert(1, "|" + "|".join("-" * (width + _CELL_PADDING) for width in widths) + "|")
    notes = ["", *(f"- {note}" for note in report.notes)] if report.notes else []
    return "\n".join([*lines, *table, *notes])
