"""``/health`` and ``/ready`` of buses in trouble: whose trouble it is, and whose it is not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import Final

import pytest

from waooaw.events.bus.event_bus import BusOptions, EventBus
from waooaw.events.engine.contract import EngineState
from waooaw.events.engine.sqlite import SqliteEngine, SqliteOptions
from waooaw.events.errors import WowEventError
from waooaw.events.identifier import RandomIdentifiers
from waooaw.events.outages import (
    DurabilityUnavailableError,
    EngineLoadingError,
    EngineUnavailableError,
    ReshardingError,
    StorageFullError,
    UnsafeEngineError,
)
from waooaw.events.service.context import Context
from waooaw.events.service.open_streams import OpenStreams
from waooaw.events.service.probes import STUCK_SECONDS, health_members, why_not_ready
from waooaw.events.settings import Settings
from waooaw.events.testing import ManualClock

BUSES: Final = ("default", "orders", "invoices")
SINCE_MS: Final = 1_764_019_200_123


class TroubledEngine(SqliteEngine):
    """An engine in memory that says of itself what a test wants: such troubles are of single buses on a cluster."""

    problems: dict[str, WowEventError]

    @property
    def name(self) -> str:
        """The engine that has such troubles."""
        return "redis"

    def engine_state(self, bus: str) -> EngineState:
        """Return a bus's trouble."""
        problem = self.problems.get(bus)
        return EngineState() if problem is None else EngineState(problem, SINCE_MS)


class SlowBus(EventBus):
    """A bus whose append has been running for as long as a test wants."""

    seconds = 0.0

    @property
    def append_seconds(self) -> float:
        """See EventBus."""
        return self.seconds


@asynccontextmanager
async def service(problems: dict[str, WowEventError], names: tuple[str, ...] = BUSES) -> AsyncIterator[Context]:
    """A service without a socket."""
    clock, identifiers = ManualClock(), RandomIdentifiers()
    async with AsyncExitStack() as stack:
        engine = TroubledEngine(None, names, clock=clock, identifiers=identifiers, options=SqliteOptions())
        engine.problems = problems
        await engine.open(stack)
        buses = {}
        for name in names:
            bus = SlowBus(engine, name, clock=clock, identifiers=identifiers, options=BusOptions())
            buses[name] = await stack.enter_async_context(bus)
        streams = OpenStreams(Random(1), ping_seconds=15, age_seconds=0)
        yield Context(Settings(), clock, Random(1), streams, engine=engine, buses=buses)


async def test_all_well() -> None:
    """The answer is exactly three members."""
    async with service({}) as context:
        assert health_members(context) == (
            200,
            {"status": "healthy", "redis": "connected", "event_bus": "running"},
        )
        assert why_not_ready(context) is None


async def test_one_bus_is_away() -> None:
    """Health names the bus and since when; the service stays ready, since the others are well."""
    async with service({"orders": EngineUnavailableError("the node does not answer")}) as context:
        assert health_members(context) == (
            200,
            {
                "status": "degraded",
                "redis": "disconnected",
                "event_bus": "running",
                "reason": "engine_unavailable: the node does not answer (bus orders)",
                "since": "2025-11-24T21:20:00.123Z",
            },
        )
        assert why_not_ready(context) is None


async def test_all_buses_are_away() -> None:
    """One trouble is told once, with whose it is; no traffic is wanted."""
    problems: dict[str, WowEventError] = dict.fromkeys(BUSES, EngineLoadingError("it loads"))
    problems["invoices"] = ReshardingError("it moves")
    async with service(problems) as context:
        reason = "engine_loading: it loads (buses default, orders); resharding: it moves (bus invoices)"
        assert health_members(context)[1]["reason"] == reason
        assert why_not_ready(context) == reason


async def test_a_single_bus_needs_no_name() -> None:
    """Where one bus is served, its trouble is told without a name."""
    async with service({"default": EngineLoadingError("it loads")}, ("default",)) as context:
        assert health_members(context)[1]["reason"] == why_not_ready(context) == "engine_loading: it loads"


@pytest.mark.parametrize("problem", [StorageFullError, UnsafeEngineError, DurabilityUnavailableError])
async def test_what_can_be_read_is_ready(problem: type[WowEventError]) -> None:
    """Where only publishes are refused, Redis is connected, and readers are still sent here."""
    async with service(dict.fromkeys(BUSES, problem("no writes"))) as context:
        members = health_members(context)[1]
        assert (members["status"], members["redis"]) == ("degraded", "connected")
        assert why_not_ready(context) is None


async def test_waiting_for_the_store_is_not_being_stuck() -> None:
    """An append that does not end means a restart, unless it is the store that is away."""
    problems: dict[str, WowEventError] = {}
    async with service(problems) as context:
        bus = context.buses["orders"]
        assert isinstance(bus, SlowBus)
        bus.seconds = STUCK_SECONDS + 1
        stuck = health_members(context)
        problems["orders"] = EngineUnavailableError("away")
        away = health_members(context)

    assert (stuck[0], stuck[1]["status"]) == (503, "stuck")
    assert (away[0], away[1]["status"]) == (200, "degraded")


async def test_a_drain_comes_first() -> None:
    """A service that is shutting down says so, whatever its buses do."""
    async with service({}) as context:
        context.begin_drain()
        assert why_not_ready(context) == "draining"
        assert health_members(context)[1]["event_bus"] == "draining"
