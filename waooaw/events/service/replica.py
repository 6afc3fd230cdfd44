"""This process as one replica of several: it says that it lives, knows of the others, and hands on streams.

What a replica says of itself is JSON with members of its own release; whoever reads it takes what is there.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import msgspec

from waooaw.events.errors import WowEventError
from waooaw.events.service.bus_totals import sum_buses
from waooaw.events.service.members import said_of_subscriptions
from waooaw.events.service.metrics_members import count_members, rate_members
from waooaw.events.service.rebalancing import streams_to_shed
from waooaw.events.timestamp import format_timestamp

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from waooaw.events.engine.contract import ReplicaRecord, Replicas
    from waooaw.events.service.context import Context

_log = logging.getLogger("wowevent.service")

BEAT_SECONDS: Final = 2.0
"""A replica is off the list after 10 s of silence: four beats may be lost before."""

LEAVE_SECONDS: Final = 2.0
"""A drain does not wait longer for a store that is away; the list forgets this replica by itself."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A replica as the list has it, and when it was last heard of, by the clock of the store."""

    id: str
    seen_ms: int
    members: dict[str, Any]

    def number(self, *path: str) -> float:
        """Return a number out of the members; 0 where that release does not tell it."""
        value: Any = self.members
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        return value if isinstance(value, int | float) else 0

    @property
    def is_draining(self) -> bool:
        """Whether it takes no more streams."""
        return self.members.get("draining") is True


class Replica:
    """Beats for this process until it is closed, and keeps the list that the last beat answered."""

    def __init__(self, context: Context, replicas: Replicas, replica_id: str) -> None:
        self.id = replica_id
        self._context = context
        self._replicas = replicas
        self._listed: dict[str, Listed] = {}
        self._handled = 0
        self._beat_at: float | None = None
        self._load = 0.0

    async def open(self, stack: AsyncExitStack) -> None:
        """Beat once, and go on until the stack is closed; then leave the list."""
        await self.beat()
        stack.push_async_callback(self._close, asyncio.create_task(self._run(), name="replica"))

    async def _close(self, beating: asyncio.Task[None]) -> None:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._replicas.leave(self.id)
        except (WowEventError, TimeoutError) as error:
            _log.warning("replica.leave_failed", extra={"detail": str(error) or "no answer in time"})

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            await self.step()

    async def step(self) -> None:
        """Beat, and where this replica has too many streams, ask some of them to move."""
        if await self.beat() and not self._context.is_draining:
            self._rebalance()

    async def beat(self) -> bool:
        """Say that this replica lives; return whether the store took it. While it does not, the list grows old."""
        self._measure_load()
        try:
            records = await self._replicas.beat(self.id, msgspec.json.encode(self._members()))
        except WowEventError as error:
            _log.warning("replica.beat_failed", extra={"code": error.code, "detail": error.detail})
            return False
        self._listed = {record.replica: _read(record) for record in records}
        return True

    def _rebalance(self) -> None:
        streams = self._context.streams
        others = [
            int(item.number("streams")) for item in self._listed.values() if item.id != self.id and not item.is_draining
        ]
        if count := streams_to_shed(streams.staying, others, BEAT_SECONDS):
            streams.shed(count)

    def _measure_load(self) -> None:
        """Events stored and delivered a second since the last beat."""
        handled = sum(
            bus.metrics.totals.publishes + bus.metrics.totals.deliveries for bus in self._context.buses.values()
        )
        now = self._context.clock.monotonic()
        if self._beat_at is not None and now > self._beat_at:
            self._load = (handled - self._handled) / (now - self._beat_at)
        self._handled, self._beat_at = handled, now

    def _members(self) -> dict[str, Any]:
        context = self._context
        listener = context.listener
        sums = sum_buses([bus.metrics for bus in context.buses.values()])
        return {
            "version": version("wowevent"),
            "started": format_timestamp(context.started_at_ms),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "url": None if listener is None else listener.url,
            "streams": len(context.streams),
            "connections": 0 if listener is None else listener.connections,
            "load": round(self._load, 1),
            "draining": context.is_draining,
            "totals": count_members(sums.totals),
            "throughput": {"publishes": rate_members(sums.publishes), "deliveries": rate_members(sums.deliveries)},
            "subscriptions": said_of_subscriptions(context.buses),
        }

    def listed(self) -> list[Listed]:
        """Return the replicas by their ids, as the last beat answered; of this one what it would say now."""
        own = self._listed.get(self.id)
        seen_ms = self._context.started_at_ms if own is None else own.seen_ms
        known = self._listed | {self.id: Listed(self.id, seen_ms, self._members())}
        return [known[replica] for replica in sorted(known)]


def _read(record: ReplicaRecord) -> Listed:
    try:
        members = msgspec.json.decode(record.members, type=dict[str, Any])
    except msgspec.MsgspecError:
        members = {}  # Another release says it in another way: that it lives is known all the same.
    return Listed(record.replica, record.seen_ms, members)
