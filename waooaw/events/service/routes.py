"""The one table of routes: what is served, and what the design has and this release does not serve yet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from waooaw.events.service import buses, cluster, metrics, openapi, probes, publishing, reading, sse, websocket
from waooaw.events.service.bus_paths import name_of_bus, path_of_bus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """One call. One whose answer is ``endless`` takes the connection for as long as it lasts."""

    method: str
    path: str
    handler: Handler
    name: str
    endless: bool = False

    @property
    def methods(self) -> tuple[str, ...]:
        """The method, and HEAD beside GET (RFC 9110 section 9.3.2); what never ends has no headers to ask for alone."""
        return ("GET", "HEAD") if self.method == "GET" and not self.endless else (self.method,)


_OF_A_BUS: Final[tuple[Route, ...]] = (
    Route("POST", "/v1/events", publishing.publish, "publishEvents"),
    Route("GET", "/v1/events", reading.list_events, "listEvents"),
    Route("GET", "/v1/events/{position}", reading.get_event, "getEvent"),
    Route("GET", "/v1/log", reading.describe_log, "describeLog"),
    Route("GET", "/v1/stream", sse.stream, "streamEvents", endless=True),
    Route("GET", "/v1/ws", websocket.websocket, "openWebSocket", endless=True),
)
"""The calls of one bus: of the default, and under `BUS_PATH` of every other one too."""

_OF_THE_SERVICE: Final[tuple[Route, ...]] = (
    Route("GET", "/v1/buses", buses.list_buses, "listBuses"),
    Route("GET", "/v1/cluster", cluster.list_replicas, "listReplicas"),
    Route("GET", "/v1/openapi.json", openapi.openapi, "describeService"),
    Route("GET", "/health", probes.health, "getHealth"),
    Route("GET", "/ready", probes.ready, "getReadiness"),
    Route("GET", "/metrics", metrics.metrics, "getMetrics"),
)

ROUTES: Final[tuple[Route, ...]] = (
    *_OF_A_BUS,
    *_OF_THE_SERVICE,
    *(replace(route, path=path_of_bus(route.path), name=name_of_bus(route.name)) for route in _OF_A_BUS),
)

NOT_YET: Final = (
    "/v1/asyncapi.json",
    "/v1/filters",
    "/v1/rejected",
    "/v1/replays",
    "/v1/scheduled",
    "/v1/schemas",
    "/v1/subscriptions",
    "/v1/types",
)
"""Beginnings of routes that the design has and this release does not serve."""
