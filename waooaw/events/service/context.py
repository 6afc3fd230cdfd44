"""What handlers work with: the settings, the buses, and in which phase of its life the service is."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Literal

from aiohttp import web

from waooaw.events.bus_names import DEFAULT_BUS
from waooaw.events.errors import NotFoundError
from waooaw.events.outages import DisabledError
from waooaw.events.webhooks.webhook_metrics import WebhookMetrics

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from random import Random

    from waooaw.events.bus.event_bus import EventBus
    from waooaw.events.clock import Clock
    from waooaw.events.engine.contract import Engine
    from waooaw.events.service.connection import Connection
    from waooaw.events.service.listener import Listener
    from waooaw.events.service.open_streams import OpenStream, OpenStreams
    from waooaw.events.service.replica import Replica
    from waooaw.events.service.subscription_watch import SubscriptionWatch
    from waooaw.events.settings import Settings
    from waooaw.events.webhooks.webhooks import Webhooks

BusPhase = Literal["running", "disabled", "draining"]


class Context:
    """One service. Made by the composition root, changed by it alone."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        random: Random,
        streams: OpenStreams,
        *,
        engine: Engine | None,
        buses: Mapping[str, EventBus],
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.random = random
        self.streams = streams
        self.engine = engine
        self.buses = buses
        self.phase: BusPhase = "running" if buses else "disabled"
        self._waits: set[asyncio.Future[None]] = set()
        self.draining_since_ms: int | None = None
        self.started_at_ms = clock.now_ms()
        self._started = clock.monotonic()
        self.listener: Listener | None = None
        self.replica_id = ""
        """The name of this process among the replicas; set where there are buses."""
        self.replica: Replica | None = None
        self.webhooks: Mapping[str, Webhooks] = {}
        self.webhook_metrics = WebhookMetrics()
        self.watch: SubscriptionWatch | None = None
        self._active_requests = 0
        self.arriving_bytes = 0
        self._answered: asyncio.Event | None = None

    @property
    def uptime_seconds(self) -> float:
        """Since the service began; a wall clock that is set does not move it."""
        return self.clock.monotonic() - self._started

    @property
    def bus(self) -> EventBus:
        """The bus of the routes without a name; raises `DisabledError` where buses are switched off."""
        return self.bus_named(DEFAULT_BUS)

    @property
    def served_buses(self) -> Mapping[str, EventBus]:
        """The buses by name; raises `DisabledError` where they are switched off."""
        if not self.buses:
            raise _disabled()
        return self.buses

    def bus_for(self, request: web.Request) -> EventBus:
        """Return the bus that a request's path names, or the default; raises as `bus_named`."""
        return self.bus_named(request.match_info.get("bus", DEFAULT_BUS))

    def webhooks_for(self, request: web.Request) -> Webhooks:
        """Return the webhooks of the bus that a request's path names, or of the default; raises as `bus_named`."""
        return self.webhooks[self.bus_for(request).name]

    def bus_named(self, name: str) -> EventBus:
        """Return a bus; raises `NotFoundError` for one that is not served, `DisabledError` where none is."""
        bus = self.buses.get(name)
        if bus is not None:
            return bus
        served = self.served_buses
        message = f"no bus {name[:64]!r} is served here; there {'is' if len(served) == 1 else 'are'} "
        raise NotFoundError(message + ", ".join(served))

    @property
    def own_replica(self) -> Replica:
        """This process among the replicas; raises `DisabledError` where buses are switched off."""
        if self.replica is None:
            raise _disabled()
        return self.replica

    @property
    def is_draining(self) -> bool:
        """Whether the service is shutting down."""
        return self.phase == "draining"

    def should_close(self, connection: Connection) -> bool:
        """Tell whether a connection should end with its next response: the service goes, or it is old."""
        return self.is_draining or connection.is_old

    def begin_request(self) -> None:
        """Count a request that is being answered. A stream, once it runs, is none."""
        self._active_requests += 1

    def end_request(self) -> None:
        """Count it out."""
        self._active_requests -= 1
        if self._answered is not None and not self._active_requests:
            self._answered.set()

    @contextmanager
    def streaming(self, opened: OpenStream, connection: Connection) -> Iterator[None]:
        """Count the request that is being answered as a stream while this lasts: a drain does not wait for its end."""
        connection.carries_stream = True
        self.streams.add(opened)
        self.end_request()
        try:
            yield
        finally:
            self.begin_request()
            self.streams.remove(opened)

    async def requests_answered(self) -> None:
        """Return once no request is being answered."""
        self._answered = asyncio.Event()
        if self._active_requests:
            await self._answered.wait()

    def begin_drain(self) -> None:
        """Be no longer ready; requests are still served, and claims that wait are answered."""
        self.phase = "draining"
        for wait in tuple(self._waits):
            if not wait.done():
                wait.set_result(None)

    @contextmanager
    def ended_by_drain(self, wait: asyncio.Future[None]) -> Iterator[None]:
        """Have a drain set the result of a future, if one begins while this lasts."""
        self._waits.add(wait)
        try:
            yield
        finally:
            self._waits.discard(wait)
        self.draining_since_ms = self.clock.now_ms()


def _disabled() -> DisabledError:
    message = "the event bus is switched off by EVENT_BUS_ENABLED=false"
    return DisabledError(message, retry_after_seconds=30)


CONTEXT: Final = web.AppKey("context", Context)
