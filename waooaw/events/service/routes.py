"""The one table of routes: what is served, and what the design has and this release does not serve yet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from waooaw.events.service import (
    buses,
    cluster,
    dead_letters,
    delivering,
    metrics,
    openapi,
    probes,
    publishing,
    reading,
    scheduled,
    sse,
    subscriptions,
    webhooks,
    websocket,
)
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


_SUBSCRIPTIONS: Final = "/v1/subscriptions"
_SUBSCRIPTION: Final = "/v1/subscriptions/{name}"
_DEAD_LETTERS: Final = "/v1/subscriptions/{name}/dead-letters"

_OF_A_BUS: Final[tuple[Route, ...]] = (
    Route("POST", "/v1/events", publishing.publish, "publishEvents"),
    Route("GET", "/v1/events", reading.list_events, "listEvents"),
    Route("GET", "/v1/events/{position}", reading.get_event, "getEvent"),
    Route("GET", "/v1/events/{position}/deliveries", subscriptions.list_deliveries, "listDeliveries"),
    Route("GET", "/v1/log", reading.describe_log, "describeLog"),
    Route("GET", "/v1/stream", sse.stream, "streamEvents", endless=True),
    Route("GET", "/v1/ws", websocket.websocket, "openWebSocket", endless=True),
    Route("GET", _SUBSCRIPTIONS, subscriptions.list_subscriptions, "listSubscriptions"),
    Route("PUT", _SUBSCRIPTION, subscriptions.put_subscription, "putSubscription"),
    Route("GET", _SUBSCRIPTION, subscriptions.get_subscription, "getSubscription"),
    Route("DELETE", _SUBSCRIPTION, subscriptions.delete_subscription, "deleteSubscription"),
    Route("POST", f"{_SUBSCRIPTION}/claim", delivering.claim, "claimDeliveries"),
    Route("POST", f"{_SUBSCRIPTION}/settle", delivering.settle, "settleDeliveries"),
    Route("POST", f"{_SUBSCRIPTION}/pause", subscriptions.pause_subscription, "pauseSubscription"),
    Route("POST", f"{_SUBSCRIPTION}/resume", subscriptions.resume_subscription, "resumeSubscription"),
    Route("POST", f"{_SUBSCRIPTION}/seek", subscriptions.seek_subscription, "seekSubscription"),
    Route("POST", f"{_SUBSCRIPTION}/verify", webhooks.verify_receiver, "verifyReceiver"),
    Route("GET", f"{_SUBSCRIPTION}/attempts", webhooks.list_attempts, "listAttempts"),
    Route("POST", f"{_SUBSCRIPTION}/test", webhooks.send_test, "sendTest"),
    Route("POST", f"{_SUBSCRIPTION}/redeliver", webhooks.redeliver_event, "redeliverEvent"),
    Route("GET", _DEAD_LETTERS, dead_letters.list_dead_letters, "listDeadLetters"),
    Route("DELETE", _DEAD_LETTERS, dead_letters.purge_dead_letters, "purgeDeadLetters"),
    Route("POST", f"{_DEAD_LETTERS}/redrive", dead_letters.redrive_dead_letters, "redriveDeadLetters"),
    Route("GET", f"{_DEAD_LETTERS}/{{id}}", dead_letters.get_dead_letter, "getDeadLetter"),
    Route("GET", "/v1/scheduled", scheduled.list_scheduled, "listScheduled"),
    Route("GET", "/v1/scheduled/{id}", scheduled.get_scheduled, "getScheduled"),
    Route("DELETE", "/v1/scheduled/{id}", scheduled.cancel_scheduled, "cancelScheduled"),
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
    "/v1/schemas",
    "/v1/types",
)
"""Beginnings of routes that the design has and this release does not serve."""
