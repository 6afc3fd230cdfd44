"""What handlers work with: the settings, the bus, and in which phase of its life the service is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Literal

from aiohttp import web

from waooaw.events.errors import DisabledError

if TYPE_CHECKING:
    from random import Random

    from waooaw.events.bus.event_bus import EventBus
    from waooaw.events.clock import Clock
    from waooaw.events.service.connection import Connection
    from waooaw.events.service.listener import Listener
    from waooaw.events.service.open_streams import OpenStreams
    from waooaw.events.settings import Settings

BusPhase = Literal["running", "disabled", "draining"]

BUS_NAME: Final = "default"


class Context:
    """One service. Made by the composition root, changed by it alone."""

    def __init__(
        self, settings: Settings, clock: Clock, random: Random, bus: EventBus | None, streams: OpenStreams
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.random = random
        self.streams = streams
        self.phase: BusPhase = "disabled" if bus is None else "running"
        self.draining_since_ms: int | None = None
        self.started_at_ms = clock.now_ms()
        self.listener: Listener | None = None
        self._bus = bus
        self._active_requests = 0
        self.arriving_bytes = 0
        self._answered: asyncio.Event | None = None

    @property
    def bus(self) -> EventBus:
        """The bus; raises `DisabledError` where it is switched off."""
        if self._bus is None:
            message = "the event bus is switched off by EVENT_BUS_ENABLED=false"
            raise DisabledError(message, retry_after_seconds=30)
        return self._bus

    @property
    def running_bus(self) -> EventBus | None:
        """The bus, or None where it is switched off."""
        return self._bus

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

    async def requests_answered(self) -> None:
        """Return once no request is being answered."""
        self._answered = asyncio.Event()
        if self._active_requests:
            await self._answered.wait()

    def begin_drain(self) -> None:
        """Be no longer ready; requests are still served."""
        self.phase = "draining"
        self.draining_since_ms = self.clock.now_ms()


CONTEXT: Final = web.AppKey("context", Context)
