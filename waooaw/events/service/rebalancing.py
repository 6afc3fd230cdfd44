"""How many streams a replica hands on: pure, so that it can be read as a table."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

EXCESS: Final = 1.3
"""Times the mean of all replicas: below it nothing moves, so that chance alone does not move streams about."""

STREAMS_MIN: Final = 20
"""Fewer streams are no load: moving them would only disturb their readers."""

SHED_SECONDS: Final = 60.0
"""How long the excess takes to go: readers that all move at once would be a load of their own."""


def streams_to_shed(own: int, others: Sequence[int], seconds: float) -> int:
    """Return how many of its ``own`` streams a replica hands on in the next ``seconds``.

    ``others`` are the streams of the other replicas that take streams; where there is none, all stay.
    """
    if not others or own < STREAMS_MIN:
        return 0
    mean = (own + sum(others)) / (1 + len(others))
    return ceil((own - mean) * seconds / SHED_SECONDS) if own > EXCESS * mean else 0
