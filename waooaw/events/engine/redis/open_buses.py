"""The buses of one engine on Redis: opened, watched, called, and closed, with what they share.

Each bus has connections of its own to the node that takes its writes: three of a session (`SessionKeeper`) and one that
listens (`LiveSubscription`). Trouble on one node is trouble of the buses there, and of no others.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from redis.exceptions import RedisError

from waooaw.events.engine.deduplication_window import DeduplicationWindow
from waooaw.events.engine.redis import script
from waooaw.events.engine.redis.address import Credentials, parse_address
from waooaw.events.engine.redis.bus_log import BusOptions, RedisBus
from waooaw.events.engine.redis.connecting import Connector, TlsFiles
from waooaw.events.engine.redis.failure import reply_failure
from waooaw.events.engine.redis.live import LiveSubscription
from waooaw.events.engine.redis.pace import Pace
from waooaw.events.engine.redis.session import SessionKeeper
from waooaw.events.engine.redis.topology import topology_for
from waooaw.events.errors import ClosedError, EngineUnreachableError
from waooaw.events.identifier import new_chance
from waooaw.events.name_lookup import NameLookup
from waooaw.events.outages import EngineDeniedError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from waooaw.events.clock import Clock
    from waooaw.events.engine.redis.session import Session
    from waooaw.events.identifier import Identifiers
    from waooaw.events.receipt import Durability

_log = logging.getLogger("wowevent.redis")

COMPARE_SECONDS: Final = 0.5
"""Between two comparisons with the writer's node: what was missed is found by the second one."""

EXAMINE_SECONDS: Final = 60.0
"""Between two looks at how the server is set up; another one at each connect."""

CLOSING_SECONDS: Final = 5.0
"""How long calls that run while the engine closes may take to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisOptions:
    """How to reach Redis, and how buses are kept there."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    tls: TlsFiles = field(default_factory=TlsFiles)
    start_seconds: float = 30.0
    durability: Mapping[str, Durability] = field(default_factory=dict)
    """By bus; ``local`` for those it does not name."""
    deduplication: DeduplicationWindow = field(default_factory=DeduplicationWindow)
    time_by: Clock | None = None
    """A clock for tests; None: Redis's own time, the same for all replicas."""


class OpenBuses:
    """Buses on one Redis. Open them once, inside an exit stack."""

    def __init__(
        self, url: str, buses: Sequence[str], *, clock: Clock, identifiers: Identifiers, options: RedisOptions
    ) -> None:
        given = Credentials(
            username=options.username,
            password=options.password,
            sentinel_username=options.sentinel_username,
            sentinel_password=options.sentinel_password,
        )
        self.address = parse_address(url, given)
        self.clock = clock
        self._options = options
        self._random = new_chance()
        self._replica = identifiers.new_token()
        self.known = {name: RedisBus(name, self._bus_options(name, buses), identifiers, self._random) for name in buses}
        self.is_open = False
        self._running = 0
        self._idle = asyncio.Event()

    def _bus_options(self, bus: str, buses: Sequence[str]) -> BusOptions:
        time_by = self._options.time_by
        return BusOptions(
            durability=self.durability_of(bus),
            buses=len(buses),
            window=self._options.deduplication,
            publish_command="SPUBLISH" if self.address.mode == "cluster" else "PUBLISH",
            replica=self._replica,
            now_us=(lambda: "") if time_by is None else (lambda: str(round(time_by.now() * 1e6))),
        )

    def durability_of(self, bus: str) -> Durability:
        """Return the level that the receipts of a bus name."""
        return self._options.durability.get(bus, "local")

    async def open(self, stack: AsyncExitStack) -> None:
        """Connect every bus; raises `StartupError` kinds, with nothing left behind."""
        async with AsyncExitStack() as undo:
            names = NameLookup()
            undo.callback(names.close)
            connector = Connector(self.address, self._options.tls, names)
            topology = topology_for(self.address, connector)
            pace = Pace(self._random)
            for bus in self.known.values():
                bus.keeper = SessionKeeper(
                    bus.bus, topology, connector, pace, clock=self.clock, prepare=partial(self._prepare, bus)
                )
                undo.push_async_callback(_cancelled, bus.keeper.start())
            await self._started()
            for bus in self.known.values():
                live = LiveSubscription(
                    bus.keeper,
                    connector,
                    pace,
                    bus.keys.live,
                    sharded=self.address.mode == "cluster",
                    confirmed=bus.subscribed,
                    received=bus.received,
                )
                bus.live = live
                undo.push_async_callback(_cancelled, asyncio.create_task(live.run(), name=f"redis live {bus.bus}"))
                undo.push_async_callback(_cancelled, asyncio.create_task(self._watch(bus), name=f"watch {bus.bus}"))
            await asyncio.gather(*[self._listening(bus) for bus in self.known.values()])
            self.is_open = True
            undo.push_async_callback(self._close)
            stack.push_async_exit(undo.pop_all())

    async def _started(self) -> None:
        """Wait until each bus has a session, or what keeps it away has lasted too long."""
        starting = [bus.keeper.started for bus in self.known.values()]
        done, waiting = await asyncio.wait(
            starting, timeout=self._options.start_seconds, return_when=asyncio.FIRST_EXCEPTION
        )
        for started in done:
            started.result()
        if waiting:
            bus = next(bus for bus in self.known.values() if bus.keeper.started in waiting)
            message = f"after {self._options.start_seconds:g} s: {bus.keeper.failure().detail}"
            raise EngineUnreachableError(message)

    async def _listening(self, bus: RedisBus) -> None:
        """Wait until the live channel stands, so that a reader misses nothing from its first moment on."""
        try:
            async with asyncio.timeout(self._options.start_seconds):
                await bus.live.listening.wait()
        except TimeoutError:
            reason = bus.live.problem or bus.keeper.failure()
            message = f"the live channel of bus {bus.bus!r}: {reason.detail}"
            raise EngineUnreachableError(message) from None

    async def _prepare(self, bus: RedisBus, session: Session) -> None:
        """Make a session ready before anybody gets it."""
        is_start = not bus.keeper.started.done()
        try:
            await bus.health.examination.examine(session.reading, is_start=is_start)
            loaded = [session.reading.send("SCRIPT", "LOAD", item.text, timeout_seconds=2.0) for item in script.SCRIPTS]
            await asyncio.gather(*loaded)
        except RedisError as error:
            raise reply_failure(error, session.reading.where) from None
        await bus.refresh(session)
        await bus.health.probe(session)
        if is_start and isinstance(bus.health.refusal, EngineDeniedError):
            raise bus.health.refusal

    async def _watch(self, bus: RedisBus) -> None:
        """Compare with the writer's node, and look how it is set up: now and then, and while that is a problem."""
        loop = asyncio.get_running_loop()
        examine_at = loop.time() + EXAMINE_SECONDS
        while True:
            await asyncio.sleep(COMPARE_SECONDS)
            session = bus.keeper.current
            if session is None:
                continue
            try:
                await bus.compare(session)
                if loop.time() >= examine_at or bus.health.problem is not None:
                    examine_at = loop.time() + EXAMINE_SECONDS
                    await bus.health.examine(session, is_start=False)
                bus.health.engine_state(self.clock.now_ms())  # so that trouble counts since now, asked for or not
            except (UnavailableError, RedisError) as error:
                # The keeper deals with a link that broke; the next comparison asks again.
                _log.debug("redis.not_compared", extra={"bus": bus.bus, "detail": type(error).__name__})
            except Exception:  # noqa: BLE001 - a defect must not end what finds lost frames
                _log.exception("redis.comparison_failed", extra={"bus": bus.bus})

    async def _close(self) -> None:
        self.is_open = False
        if self._running:
            self._idle.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSING_SECONDS):
                    await self._idle.wait()
        for bus in self.known.values():
            with suppress(UnavailableError, RedisError):  # they are forgotten by themselves a day later
                await bus.appender.forget_writers()

    @asynccontextmanager
    async def call(self, bus: str) -> AsyncIterator[RedisBus]:
        """Count a call that runs: closing waits for it."""
        found = self.named(bus)
        self._running += 1
        try:
            yield found
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()

    def named(self, bus: str) -> RedisBus:
        """Return a bus; raises `ClosedError`."""
        if not self.is_open:
            message = "the engine is closed"
            raise ClosedError(message)
        return self.known[bus]


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
