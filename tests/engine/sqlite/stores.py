"""Stores of the embedded engine, opened as the service opens them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from waooaw.events.clock import Clock
from waooaw.events.engine.sqlite import SqliteEngine, SqliteOptions
from waooaw.events.testing import ManualClock, SequentialIdentifiers

BUS = "default"


@asynccontextmanager
async def open_store(
    path: Path, *, reserve_bytes: int = 0, integrity_check_seconds: float = 10.0, clock: Clock | None = None
) -> AsyncIterator[SqliteEngine]:
    """Open the store at a path."""
    engine = SqliteEngine(
        path,
        (BUS,),
        clock=clock or ManualClock(),
        identifiers=SequentialIdentifiers(),
        options=SqliteOptions(reserve_bytes=reserve_bytes, integrity_check_seconds=integrity_check_seconds),
    )
    async with AsyncExitStack() as stack:
        await engine.open(stack)
        yield engine
