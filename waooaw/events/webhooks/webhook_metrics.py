"""What the webhooks of this replica did, counted; read by whoever exposes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from waooaw.events.histogram import LatencyHistogram

if TYPE_CHECKING:
    from collections.abc import Callable

    from waooaw.events.push_state import BreakerState

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
        self.breakers: dict[object, Callable[[], BreakerState]] = {}
        """Tell the states of the breakers that there are, by whom they belong to."""
        self.stopped = {"gone": 0, "failing": 0}
        """Subscriptions that the bus paused, by reason."""

    @property
    def breakers_open(self) -> int:
        """Receivers that are left alone now."""
        return self._breakers("open")

    @property
    def breakers_half_open(self) -> int:
        """Receivers that get one request, to see."""
        return self._breakers("half_open")

    def _breakers(self, wanted: BreakerState) -> int:
        return sum(1 for state in self.breakers.values() if state() == wanted)

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
