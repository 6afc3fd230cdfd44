"""The pace of connecting: at once while it works, ten times a second at most while it does not."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from random import Random

from waooaw.events.engine.redis.pace import Pace


def test_turns_are_given_at_once_while_connecting_works() -> None:
    """Nobody waits after a success: what was lost is there again in milliseconds."""
    pace = Pace(Random(5))

    assert [pace.take_turn(7.0) for _ in range(100)] == [0.0] * 100


def test_failures_slow_down() -> None:
    """After a failure at most ten tries a second are made, by all buses of a replica together, and not in step."""
    pace = Pace(Random(5))
    pace.failed()

    turns = [7.0 + pace.take_turn(7.0) for _ in range(100)]

    pauses = [later - earlier for earlier, later in pairwise(turns)]
    assert min(pauses) >= 0.1
    assert len({round(pause, 6) for pause in pauses}) > 90


def test_who_comes_late_does_not_wait() -> None:
    """A pause that is over is over."""
    pace = Pace(Random(5))
    pace.failed()
    pace.take_turn(7.0)

    assert pace.take_turn(8.0) == 0.0


def test_a_success_ends_the_pause() -> None:
    """The first connection that works lets the others try at once."""
    pace = Pace(Random(5))
    pace.failed()
    pace.take_turn(7.0)
    pace.succeeded()

    assert [pace.take_turn(7.0) for _ in range(10)] == [0.0] * 10


async def test_a_success_wakes_those_who_wait_for_their_turn() -> None:
    """With many buses the last one's turn is far away: it need not wait for it once connecting works."""
    pace = Pace(Random(5))
    pace.failed()
    waiting = [asyncio.create_task(pace.turn()) for _ in range(10_000)]
    await asyncio.sleep(0)

    pace.succeeded()

    await asyncio.wait_for(asyncio.gather(*waiting), 10)
