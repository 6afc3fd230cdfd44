"""Waiting for a thing, with an end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

WAIT_SECONDS_MAX: Final = 40.0
LOOK_SECONDS: Final = 0.005


async def until(condition: Callable[[], bool], what: str, seconds_max: float = WAIT_SECONDS_MAX) -> None:
    """Return once a condition holds; AssertionError naming ``what`` where that does not come."""
    deadline = time.monotonic() + seconds_max
    while not condition():
        assert time.monotonic() < deadline, f"no {what} within {seconds_max:g} s"
        await asyncio.sleep(LOOK_SECONDS)


async def lasting(seconds: float) -> None:
    """Take a time, as work does and as a life lasts: part of the load, and no wait for anything to have happened."""
    await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=seconds)
