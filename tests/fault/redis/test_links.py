"""Links to Redis that are cut, go silent, or break behind a script that ran."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tests.fault.conftest import Report
from tests.fault.history import History
from tests.fault.parameters import LINK_CUTS, STOP_SECONDS
from tests.fault.redis.findings import Findings
from tests.fault.redis.modes import Mode, every_mode, on_modes
from tests.fault.redis.scene import Scene, playing
from tests.fault.waiting import until
from tests.fault_proxy import FaultProxy
from tests.redis_servers import RedisServer
from tests.redis_servers.port import unused_port
from tests.redis_servers.topology import until as eventually
from waooaw.events.engine.redis import script

OWN_KEYS = b"wowevent:{"
STORM_EVENTS = 20
NOTICE_SECONDS_MAX = 10.0
HEALTH_SECONDS_MAX = 0.5
TURNS_A_SECOND_MAX = 10
REPLY_BYTES_MAX = 40
"""Beyond it every reply of an append is whole."""


@asynccontextmanager
async def behind_proxies(mode: Mode, folder: Path, history: History) -> AsyncIterator[tuple[Scene, FaultProxy]]:
    """A scene whose servers are reached through proxies; that of the bus's primary is given with it.

    The proxies cut and swallow what the service sends and gets; replicas and Sentinels are not disturbed.
    """
    async with AsyncExitStack() as stack:
        ports = [unused_port() for _ in range(mode.data_servers)]
        topology = mode.make(announced_ports=ports)
        stack.callback(topology.close)
        proxies = {}
        for server in topology.data_servers:
            proxy = FaultProxy(server.port, own_port=server.announced_port, mark=OWN_KEYS)
            proxies[server] = await stack.enter_async_context(proxy)
        await topology.start()
        scene = await stack.enter_async_context(playing(mode, folder, history, topology=topology))
        yield scene, proxies[await topology.primary_of("{default}")]


async def listeners(server: RedisServer) -> int:
    """Count the connections that subscribe."""
    return len((await server.cli("CLIENT", "LIST", "TYPE", "pubsub")).splitlines())


@every_mode("redis fsync")
async def test_storm_of_killed_connections_loses_nothing(
    tmp_path: Path, history: History, report: Report, findings: Findings, mode: Mode
) -> None:
    """``CLIENT KILL`` of all that write and of all that listen, again and again: nothing lost, missed or twice."""
    killed = {"normal": 0, "pubsub": 0}
    async with playing(mode, tmp_path, history) as scene:
        primary = await scene.topology.primary_of("{default}")

        async def is_heard() -> bool:
            return await listeners(primary) > 0

        await scene.strike()
        for _ in range(LINK_CUTS.count):
            for kind in killed:
                await eventually(is_heard, "listener")
                killed[kind] += await primary.cli("CLIENT", "KILL", "TYPE", kind)
                await scene.accepted(STORM_EVENTS)
        outcome = await scene.finish()
    report(f"{mode.name}: connections killed {killed}: {outcome}")
    findings.note("CLIENT KILL, normal and pub/sub", mode, outcome, f"{sum(killed.values())} connections")
    assert min(killed.values()) >= LINK_CUTS.count


@every_mode("redis fsync")
async def test_suspended_redis_loses_nothing_and_blocks_nobody(
    tmp_path: Path, history: History, report: Report, findings: Findings, mode: Mode
) -> None:
    """While Redis is stopped publishes get an answer in time and health at once; afterwards all goes on."""
    async with playing(mode, tmp_path, history) as scene:
        primary = await scene.topology.primary_of("{default}")
        await scene.strike()
        primary.suspend()
        ends_at = time.monotonic() + STOP_SECONDS.value
        slowest = 0.0
        said = ""

        async def is_time() -> bool:
            nonlocal slowest, said
            asked_at = time.monotonic()
            said = str((await scene.health())["redis"])
            slowest = max(slowest, time.monotonic() - asked_at)
            return time.monotonic() > ends_at

        await eventually(is_time, "end of the pause")
        said_while_stopped = said
        primary.resume()
        outcome = await scene.finish()
    report(
        f"{mode.name}: Redis stopped for {STOP_SECONDS.value:g} s, slowest health {slowest * 1000:.0f} ms: {outcome}"
    )
    findings.note("SIGSTOP of Redis", mode, outcome, f"{STOP_SECONDS.value:g} s")
    assert slowest < HEALTH_SECONDS_MAX
    if len(scene.topology.servers) == 1:  # elsewhere a replica takes over meanwhile
        assert said_while_stopped == "disconnected"
        assert outcome.silence_seconds > STOP_SECONDS.value - 0.5


@every_mode("redis fsync")
async def test_half_open_link_is_noticed(
    tmp_path: Path, history: History, report: Report, findings: Findings, mode: Mode
) -> None:
    """Bytes vanish and TCP stays up: noticed within 10 s on every link, nothing lost, no gap."""
    async with behind_proxies(mode, tmp_path, history) as (scene, proxy):
        await scene.strike()
        before = len(proxy.attempts)
        silenced = proxy.swallow()
        began = time.monotonic()
        await until(lambda: len(proxy.attempts) >= before + silenced, "all links made anew", NOTICE_SECONDS_MAX)
        noticed_seconds = time.monotonic() - began
        outcome = await scene.finish()
    report(f"{mode.name}: {silenced} links silent, all made anew after {noticed_seconds:.1f} s: {outcome}")
    findings.note("half-open link", mode, outcome, f"{silenced} links, noticed in {noticed_seconds:.1f} s")
    assert silenced >= 3
    assert proxy.swallowed_bytes > 0
    assert outcome.silence_seconds < NOTICE_SECONDS_MAX


@every_mode("redis fsync")
async def test_reply_that_is_lost_behind_its_append_makes_nothing_twice(
    tmp_path: Path, history: History, report: Report, findings: Findings, *, mode: Mode, chance: random.Random
) -> None:
    """The script ran and its reply is cut anywhere: the same append is asked for again, and is there once."""
    async with behind_proxies(mode, tmp_path, history) as (scene, proxy):
        await scene.strike()
        cuts = []
        for _ in range(LINK_CUTS.count):
            cut = proxy.cut_reply(script.APPEND.digest.encode(), chance.randrange(REPLY_BYTES_MAX))
            cuts.append(cut)
            await until(lambda: cut.done == 1, "cut reply")  # noqa: B023 - awaited before the next turn
            await scene.accepted(STORM_EVENTS)
        outcome = await scene.finish()
    report(f"{mode.name}: {len(cuts)} replies cut: {outcome}")
    findings.note("reply cut after the script ran", mode, outcome, f"{len(cuts)} replies")
    assert outcome.unknown == 0


@on_modes("redis fsync", also=("valkey fsync",))
async def test_redis_that_refuses_connections_is_asked_ten_times_a_second_at_most(
    tmp_path: Path, history: History, report: Report, findings: Findings, mode: Mode
) -> None:
    """A Redis that resets every connection is tried for again and again, paced, until it takes them."""
    async with behind_proxies(mode, tmp_path, history) as (scene, proxy):
        await scene.strike()
        before = len(proxy.attempts)
        proxy.is_turning_away = True
        proxy.cut()
        began = time.monotonic()
        ends_at = began + STOP_SECONDS.value
        await until(lambda: time.monotonic() > ends_at, "end of the refusals")
        tries = len(proxy.attempts) - before
        seconds = time.monotonic() - began
        proxy.pass_on()
        outcome = await scene.finish()
    report(f"{mode.name}: {tries} tries in {seconds:.1f} s: {outcome}")
    findings.note("connections reset", mode, outcome, f"{tries} tries in {seconds:.1f} s")
    assert 1 <= tries <= TURNS_A_SECOND_MAX * seconds + 1
