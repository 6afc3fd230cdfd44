"""A run replaces its own part of the results and no other."""

from __future__ import annotations

import pytest

from bench.__main__ import chosen
from bench.results import with_part
from bench.stages import SHAPES, STAGES, table

FIRST = "# One\n\n## (a) x\n\n| 1 |\n\nA note by hand."
SECOND = "# Two\n\n```\n# not a heading\n```"


def test_a_part_is_added_behind_the_others() -> None:
    """The first run on another engine leaves what is there."""
    assert with_part(FIRST + "\n", SECOND) == FIRST + "\n\n" + SECOND + "\n"


def test_a_part_takes_the_place_of_the_one_with_its_heading() -> None:
    """A later run changes its part where it stands, up to the next heading; code is no heading."""
    document = with_part(with_part("", FIRST), SECOND)

    assert with_part(document, "# One\n\nnew") == "# One\n\nnew\n\n" + SECOND + "\n"
    assert with_part(document, "# Two\n\nnew") == FIRST + "\n\n# Two\n\nnew\n"


def test_the_same_part_again_changes_nothing() -> None:
    """Writing is idempotent, also for what an editor left at the end."""
    document = with_part(with_part("", FIRST), SECOND)

    assert document == with_part(document + "\n\n", SECOND)


def test_each_engine_has_its_own_scenarios() -> None:
    """A letter that an engine lacks is refused with those it has."""
    assert [scenario.LETTER for scenario in chosen("redis", None)] == ["a", "b", "c", "d", "e", "f", "g", "h"]
    assert [scenario.LETTER for scenario in chosen("sqlite", "e, a")] == ["e", "a"]
    with pytest.raises(ValueError, match="sqlite has no scenario f; there are a, b, c, d, e, h"):
        chosen("sqlite", "a,f")


def test_stages_are_printed_in_microseconds() -> None:
    """A line a stage, a column a shape; what a stage means stands with it."""
    medians = {shape: dict.fromkeys(STAGES, 0.000_012_3 * (index + 1)) for index, shape in enumerate(SHAPES)}

    heading, rule, first, *_ = table(medians).splitlines()

    assert ["stage", *(shape.name for shape in SHAPES)] == [cell.strip() for cell in heading.strip("|").split("|")]
    assert {"-", "|"} == set(rule)
    assert [cell.strip() for cell in first.strip("|").split("|")] == ["edge", "12.3", "24.6", "36.9"]
