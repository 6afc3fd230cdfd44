"""A process that has a store open: it holds it, or appends to it until it is killed.

It prints ``open``, then a line for each append that was answered: ``<round>/<append> <events>``.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from tests.conformance.engines import Writer
from tests.event_samples import entry
from waooaw.events.clock import SystemClock
from waooaw.events.engine.sqlite import SqliteEngine, SqliteOptions
from waooaw.events.identifier import RandomIdentifiers

SIZES = (1, 7, 40, 300)
"""Events of one append, in turns: a kill meets one row, a slice of rows, and several slices."""


async def main(path: Path, prefix: str) -> None:
    """Open the store; append to it for ever where a prefix for ids is given, else until standard input ends."""
    engine = SqliteEngine(
        path,
        ("default",),
        clock=SystemClock(),
        identifiers=RandomIdentifiers(),
        options=SqliteOptions(reserve_bytes=0),
    )
    async with AsyncExitStack() as stack:
        await engine.open(stack)
        sys.stdout.write("open\n")
        sys.stdout.flush()
        if not prefix:
            await asyncio.to_thread(sys.stdin.read)
            return
        writer = await Writer.registered(engine)
        number = 0
        while True:
            size = SIZES[number % len(SIZES)]
            await writer.append(*(entry(id=f"{prefix}/{number}/{index}/{size}") for index in range(size)))
            sys.stdout.write(f"{prefix}/{number} {size}\n")
            sys.stdout.flush()
            number += 1


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
