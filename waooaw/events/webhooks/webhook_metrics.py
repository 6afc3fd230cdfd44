"""What the webhooks of this replica did, counted; read by whoever exposes it."""

from __future__ import annotations

from typing import Final, Literal

from waooaw.events.histogram import LatencyHistogram

RequestResult = Literal["2xx", "3xx", "4xx", "5xx", "timeout", "connection", "tls", "refused", "unreadable"]

RESULTS: Final[tuple[RequestResult, ...]] = (
    *("2xx", "3xx", "4xx", "5xx"),
    *("timeout", "connection", "tls", "refused", "unreadable"),
)


class WebhookMetrics:
    """Counters over all buses of a service, changed in place."""

    def __init__(self) -> None:
        self.requests: dict[RequestResult, int] = dict.fromkeys(RESULTS, 0)
        self.seconds = LatencyHistogram()
        """Of requests, from the dial to the end of the reply."""
        self.in_flight = 0
        self.breakers_open = 0
        self.breakers_half_open = 0
        self.stopped = {"gone": 0, "failing": 0}
        """Subscriptions that the bus paused, by reason."""

    def count(self, kind: str, status: int | None, seconds: float) -> None:
        """Count one request: by the class of its status, or by what kept it from one."""
        result: RequestResult = "unreadable"
        if status is not None:
            result = _CLASSES.get(status // 100, "unreadable")
        elif kind in self.requests:
            result = kind
        self.requests[result] += 1
        self.seconds.record(seconds)


_CLASSES: Final[dict[int, RequestResult]] = {2: "2xx", 3: "3xx", 4: "4xx", 5: "5xx"}
