"""A bus's connections to the node that takes its writes, kept up for as long as the engine is open.

A session is three links to one node: one writes (and waits for replicas), one reads, one claims and settles, which must
wait neither for slow reads nor for replicas. One of them broken, the session is over, and the keeper makes a new one:
it finds the primary, connects, and has the caller prepare the session, before anybody gets it.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from waooaw.events.engine.redis.link import Link
from waooaw.events.errors import EngineUnreachableError, StartupError
from waooaw.events.outages import EngineDeniedError, EngineUnavailableError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from waooaw.events.clock import Clock
    from waooaw.events.engine.redis.address import Node
    from waooaw.events.engine.redis.connecting import Connector
    from waooaw.events.engine.redis.pace import Pace
    from waooaw.events.engine.redis.topology import Topology

_log = logging.getLogger("wowevent.redis")

LASTING_SECONDS: Final = 1.0
"""A session that ends sooner counts as a failed try: what ends each one must not be met with a storm of connections."""

CONNECT_SECONDS: Final = 1.5
"""A node of the same network connects in milliseconds; one that takes longer is counted as away and tried again."""


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """Links to one node."""

    node: Node
    writing: Link
    reading: Link
    queueing: Link

    @property
    def links(self) -> tuple[Link, ...]:
        """All of them."""
        return (self.writing, self.reading, self.queueing)

    @property
    def is_broken(self) -> bool:
        """Whether one of the links is broken."""
        return self.writing.is_broken or self.reading.is_broken or self.queueing.is_broken

    async def close(self) -> None:
        """Close all links."""
        for link in self.links:
            await link.close()


class SessionKeeper:
    """Keeps one bus's session. ``started`` is done when the first one is there, or raises why there can be none."""

    def __init__(
        self,
        bus: str,
        topology: Topology,
        connector: Connector,
        pace: Pace,
        *,
        clock: Clock,
        prepare: Callable[[Session], Awaitable[None]],
    ) -> None:
        self._bus = bus
        self._topology = topology
        self._connector = connector
        self._pace = pace
        self._clock = clock
        self._prepare = prepare
        self._session: Session | None = None
        self._changed = asyncio.Event()
        self.started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.problem: UnavailableError | None = EngineUnavailableError("Redis has not been reached yet")
        self.since_ms = clock.now_ms()

    def start(self) -> asyncio.Task[None]:
        """Begin to keep a session; cancel the task to end it."""
        return asyncio.get_running_loop().create_task(self._keep(), name=f"redis session {self._bus}")

    @property
    def current(self) -> Session | None:
        """The session, or None while there is none."""
        session = self._session
        return None if session is None or session.is_broken else session

    def drop(self, session: Session, reason: UnavailableError) -> None:
        """End a session whose node is the wrong one now; a new one is made at once."""
        if session is self._session:
            self._note(reason)
        for link in session.links:
            link.abandon(reason)

    async def session(self, patience_seconds: float) -> Session:
        """Return a session, when there is one; raises what keeps it away once patience is over."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience_seconds
        while (session := self.current) is None:
            changed = self._changed
            try:
                async with asyncio.timeout_at(deadline):
                    await changed.wait()
            except TimeoutError:
                raise self.failure() from None
        return session

    def failure(self) -> UnavailableError:
        """Return what keeps Redis away, as an error of its own that can be raised."""
        problem = self.problem or EngineUnavailableError("the connection to Redis was lost a moment ago")
        return type(problem)(problem.detail, retry_after_seconds=problem.retry_after_seconds)

    def _note(self, problem: UnavailableError) -> None:
        if self.problem is None:
            self.since_ms = self._clock.now_ms()
        self.problem = problem
        # At each try, for as long as it lasts: repeats are counted, and the cause may change.
        _log.warning("redis.disconnected", extra={"bus": self._bus, "code": problem.code, "detail": problem.detail})

    async def _keep(self) -> None:
        try:
            while True:
                await self._pace.turn()
                session = await self._try_open()
                if session is None:
                    continue
                began = asyncio.get_running_loop().time()
                self._begin(session)
                await asyncio.wait([link.broken for link in session.links], return_when="FIRST_COMPLETED")
                self._note(_reason(session))
                await session.close()
                if asyncio.get_running_loop().time() - began < LASTING_SECONDS:
                    self._pace.failed()
        finally:
            if self._session is not None:
                await self._session.close()
                self._session = None

    async def _try_open(self) -> Session | None:
        """Make a session; note what prevents it and return None where that may pass."""
        try:
            return await self._open()
        except StartupError as error:
            self._refuse_start(error)
            self._note(EngineUnavailableError(error.detail))
        except UnavailableError as error:
            self._note(error)
            if isinstance(error, EngineDeniedError):
                self._refuse_start(EngineUnreachableError(error.detail))
        except Exception:  # noqa: BLE001 - see below
            # A defect, or what nobody foresaw in Redis: the bus is away and says so, and the next try may do better.
            _log.exception("redis.keeper_failed", extra={"bus": self._bus})
            self._note(EngineUnavailableError("connecting failed in an unforeseen way; the log of the service has it"))
        self._pace.failed()
        return None

    def _refuse_start(self, error: StartupError) -> None:
        if not self.started.done():
            self.started.set_exception(error)

    def _begin(self, session: Session) -> None:
        self._pace.succeeded()
        if self.started.done():
            _log.info("redis.connected", extra={"bus": self._bus, "node": str(session.node)})
        else:
            self.started.set_result(None)
        self.problem = None
        self._session = session
        self._changed.set()
        self._changed = asyncio.Event()

    async def _open(self) -> Session:
        node = await self._topology.primary(self._bus)
        async with AsyncExitStack() as undo:
            links = []
            for _ in range(3):
                links.append(Link(await self._connector.connect(node, timeout_seconds=CONNECT_SECONDS), node))
                undo.push_async_callback(links[-1].close)
            session = Session(node, *links)
            await self._prepare(session)
            undo.pop_all()
        return session


def _reason(session: Session) -> UnavailableError:
    for link in session.links:
        if link.broken.done():
            return link.broken.result()
    message = "the connection to Redis was lost"
    return EngineUnavailableError(message)
