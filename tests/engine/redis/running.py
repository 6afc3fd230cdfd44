"""An engine over real servers, and a writer that goes on as a publisher does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from tests.event_samples import entry
from waooaw.events.clock import SystemClock
from waooaw.events.engine.redis import RedisEngine, RedisOptions
from waooaw.events.errors import RoutesChangedError, WowEventError
from waooaw.events.event import Entry
from waooaw.events.identifier import RandomIdentifiers
from waooaw.events.receipt import Durability, Receipt

BUS = "default"


@asynccontextmanager
async def running(
    url: str, *buses: str, durability: Durability = "local", start_seconds: float = 20.0
) -> AsyncIterator[RedisEngine]:
    """Open an engine, and close it again."""
    names = buses or (BUS,)
    options = RedisOptions(durability=dict.fromkeys(names, durability), start_seconds=start_seconds)
    engine = RedisEngine(url, names, clock=SystemClock(), identifiers=RandomIdentifiers(), options=options)
    async with AsyncExitStack() as stack:
        await engine.open(stack)
        yield engine


class Publishing:
    """One writer of a bus; it registers anew, and matches again, where the engine asks for it."""

    def __init__(self, engine: RedisEngine, bus: str = BUS) -> None:
        self._engine = engine
        self._bus = bus
        self._writer: str | None = None
        self._routes = ""
        self._sequence = 0

    async def publish(self, *entries: Entry, patience_seconds: float = 10.0) -> list[Receipt]:
        """Store entries, or one; return the receipts. Raises what the engine raises."""
        while True:
            if self._writer is None:
                registration = await self._engine.register(self._bus)
                self._writer, self._routes, self._sequence = registration.writer, registration.routes_version, 0
            try:
                answers = await self._engine.append(
                    self._bus,
                    self._writer,
                    self._sequence + 1,
                    self._routes,
                    entries or (entry(),),
                    patience_seconds=patience_seconds,
                )
            except RoutesChangedError as changed:
                self._routes = changed.routes_version
                continue
            except WowEventError as error:
                if getattr(error, "outcome", "") == "unknown":
                    self._writer = None
                raise
            self._sequence += 1
            return [answer for answer in answers if isinstance(answer, Receipt)]


async def until(condition: Callable[[], bool], within_seconds: float = 20.0) -> float:
    """Return once a condition holds, with the seconds that it took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(within_seconds):
        while not condition():  # noqa: ASYNC110 - of many kinds, none of which can be waited on
            await asyncio.sleep(0.005)
    return loop.time() - began
