"""Connections that are always busy: the load under which a server shows how many requests it can answer."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.load import EVENTS_PATH, HttpConnection, Watch, Window, measure, open_connections, post, run_load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bench.report import Context
    from bench.server import Server


class ClosedLoop:
    """Connections that each send the next request when the response to the last one has arrived."""

    def __init__(self, watch: Watch, request: bytes, check: Callable[[bytes], None] | None) -> None:
        """Store what to send; `check` raises BenchError for a body that is not what the scenario measures."""
        self.completed = 0
        self._watch = watch
        self._request = request
        self._check = check
        self._checked: set[HttpConnection] = set()
        self._running = True
        self._in_flight = 0

    def start(self, connections: Iterable[HttpConnection]) -> None:
        """Send the first request on each connection."""
        for connection in connections:
            self._in_flight += 1
            connection.send(self._request)

    def received(self, connection: HttpConnection, body: bytes) -> None:
        """Count a response and send the next request. The first body of each connection is checked."""
        self.completed += 1
        if self._check is not None and connection not in self._checked:
            self._checked.add(connection)
            self._check(body)
        if self._running:
            connection.send(self._request)
        else:
            self._in_flight -= 1

    async def stop(self) -> None:
        """Let what is in flight finish. Raises BenchError where it does not."""
        self._running = False
        await self._watch.until(lambda: self._in_flight == 0, "the last responses")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedLoopPlan:
    """How hard and how long a closed loop drives a server."""

    connections: int
    warm_up_seconds: float
    seconds: float

    @classmethod
    def of(cls, context: Context, *, connections: int) -> ClosedLoopPlan:
        """Return the plan of one round."""
        return cls(connections=connections, warm_up_seconds=context.warm_up_seconds, seconds=context.seconds)


def closed_loop(
    server: Server,
    plan: ClosedLoopPlan,
    content_type: str,
    body: bytes,
    check: Callable[[bytes], None] | None = None,
    *,
    path: str = EVENTS_PATH,
) -> Window:
    """Drive `server` with POSTs of one body for one round and return their rate; each of them was answered 200.

    `check` is given the first answer on each connection and raises BenchError where it is not what is measured.
    """
    request = post(server, path, content_type, body)
    return run_load(lambda: _drive(server, plan, request, check))


async def _drive(server: Server, plan: ClosedLoopPlan, request: bytes, check: Callable[[bytes], None] | None) -> Window:
    watch = Watch()
    load = ClosedLoop(watch, request, check)
    connections = await open_connections(server, plan.connections, watch, load.received)
    try:
        load.start(connections)
        await watch.sleep(plan.warm_up_seconds)
        window = await measure(server, watch, lambda: load.completed, plan.seconds)
        await load.stop()
    finally:
        for connection in connections:
            connection.close()
    return dataclasses.replace(window, completed=load.completed)
