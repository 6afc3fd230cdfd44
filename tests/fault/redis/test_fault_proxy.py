"""The proxy in front of a real Redis: each of its faults is what its name says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.fault.waiting import until
from tests.fault_proxy import FaultProxy, reset
from tests.redis_servers import RedisServer
from tests.redis_servers.port import LOOPBACK

SCRIPT = b"EVAL \"return redis.call('INCR', KEYS[1])\" 1 counter\r\n"
PING = b"PING\r\n"
PONG = b"+PONG\r\n"


class Client:
    """One connection that speaks Redis's inline commands."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, command: bytes, reply: bytes) -> None:
        """Send a command and see its reply."""
        self.writer.write(command)
        assert await self.reader.readexactly(len(reply)) == reply


@asynccontextmanager
async def connected(proxy: FaultProxy) -> AsyncIterator[Client]:
    """Connect through a proxy."""
    reader, writer = await asyncio.open_connection(LOOPBACK, proxy.port)
    try:
        yield Client(reader, writer)
    finally:
        reset(writer)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    async with RedisServer(tmp_path / "server") as running:
        yield running


@pytest.fixture
async def proxy(server: RedisServer) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(server.port) as running:
        yield running


async def test_proxy_passes_on_and_counts(proxy: FaultProxy) -> None:
    """Without a fault the proxy changes nothing, and knows how many connections there are and were."""
    before = time.monotonic()
    async with connected(proxy) as first, connected(proxy) as second:
        await first.ask(PING, PONG)
        await second.ask(b"ECHO " + b"x" * 50_000 + b"\r\n", b"$50000\r\n" + b"x" * 50_000)
        assert proxy.connections == 2
    await until(lambda: proxy.connections == 0, "end of the connections")
    assert len(proxy.attempts) == 2
    assert before <= proxy.attempts[0] <= proxy.attempts[1] <= time.monotonic()


async def test_refusing_proxy_is_as_a_server_that_does_not_run(proxy: FaultProxy) -> None:
    """Refused: open connections are reset, new ones refused, and later all is well on the same port."""
    async with connected(proxy) as client:
        await client.ask(PING, PONG)
        await proxy.refuse()
        with pytest.raises(ConnectionResetError):
            await client.reader.read(1)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(LOOPBACK, proxy.port)
    await proxy.accept()
    async with connected(proxy) as client:
        await client.ask(PING, PONG)


async def test_proxy_turns_away_and_counts(proxy: FaultProxy) -> None:
    """Turned away: each attempt is accepted, reset and counted, and none reaches the server."""
    proxy.is_turning_away = True
    for _ in range(3):
        async with connected(proxy) as client:
            with pytest.raises(ConnectionResetError):
                await client.reader.read(1)
    assert len(proxy.attempts) == 3
    proxy.pass_on()
    async with connected(proxy) as client:
        await client.ask(PING, PONG)


async def test_server_that_is_down_is_down_behind_the_proxy(proxy: FaultProxy, server: RedisServer) -> None:
    """Where the server does not run, a connection through the proxy is reset, and counted."""
    server.kill()
    async with connected(proxy) as client:
        with pytest.raises(ConnectionResetError):
            await client.reader.read(1)
    assert len(proxy.attempts) == 1


async def test_cut_resets_all_that_is_open(proxy: FaultProxy) -> None:
    """Cut: every open connection is reset, a new one is good."""
    async with connected(proxy) as first, connected(proxy) as second:
        await first.ask(PING, PONG)
        await second.ask(PING, PONG)
        assert proxy.cut() == 2
        for client in (first, second):
            with pytest.raises(ConnectionResetError):
                await client.reader.read(1)
    async with connected(proxy) as client:
        await client.ask(PING, PONG)


@pytest.mark.parametrize("after_bytes", [0, 2, 4], ids=["nothing", "half", "all"])
async def test_reply_is_cut_after_the_script_ran(proxy: FaultProxy, server: RedisServer, after_bytes: int) -> None:
    """The script ran, its reply came in part or not at all, once; the next connection's reply is whole."""
    cut = proxy.cut_reply(b"EVAL", after_bytes)
    async with connected(proxy) as client:
        await client.ask(PING, PONG)
        client.writer.write(SCRIPT)
        assert await client.reader.readexactly(after_bytes) == b":1\r\n"[:after_bytes]
        with pytest.raises(ConnectionResetError):
            await client.reader.read(1)
    assert (await server.cli("GET", "counter"), cut.done) == ("1", 1)
    async with connected(proxy) as client:
        await client.ask(SCRIPT, b":2\r\n")


async def test_request_that_comes_in_pieces_is_recognised(proxy: FaultProxy, server: RedisServer) -> None:
    """A request is found also where its bytes are split between two packets."""
    cut = proxy.cut_reply(b"EVAL")
    async with connected(proxy) as client:
        client.writer.write(SCRIPT[:2])
        await client.writer.drain()
        await until(lambda: next(iter(proxy._connections)).tail == SCRIPT[:2], "first piece")  # noqa: SLF001 - to be sure
        client.writer.write(SCRIPT[2:])
        with pytest.raises(ConnectionResetError):
            await client.reader.read(1)
    assert (await server.cli("GET", "counter"), cut.done) == ("1", 1)


@pytest.mark.parametrize("direction", ["requests", "replies", "both"])
async def test_swallowed_bytes_vanish_and_tcp_stays_up(proxy: FaultProxy, server: RedisServer, direction: str) -> None:
    """Half-open: nothing comes back, nothing breaks, the request arrives or not; a new connection is good."""
    async with connected(proxy) as client:
        await client.ask(PING, PONG)
        assert proxy.swallow(requests=direction != "replies", replies=direction != "requests") == 1
        client.writer.write(SCRIPT)
        await until(lambda: proxy.swallowed_bytes > 0, "swallowed bytes")
        async with connected(proxy) as other:
            await other.ask(PING, PONG)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.reader.read(1), 0.1)
        assert not client.writer.is_closing()
    assert await server.cli("GET", "counter") == ("1" if direction == "replies" else None)


async def test_silence_may_be_of_new_connections_too(proxy: FaultProxy) -> None:
    """A black hole takes new connections and says nothing, until the proxy passes on again."""
    assert proxy.swallow(also_new=True) == 0
    async with connected(proxy) as client:
        client.writer.write(PING)
        await until(lambda: proxy.swallowed_bytes == len(PING), "swallowed bytes")
    proxy.pass_on()
    async with connected(proxy) as client:
        await client.ask(PING, PONG)


async def test_slow_links(proxy: FaultProxy) -> None:
    """A delay holds back each way, a throttle each byte."""
    async with connected(proxy) as client:
        proxy.delay_seconds = 0.05
        began = time.monotonic()
        await client.ask(PING, PONG)
        assert time.monotonic() - began >= 0.1
        proxy.pass_on()
        proxy.bytes_per_second = 10_000
        began = time.monotonic()
        await client.ask(b"ECHO " + b"x" * 1000 + b"\r\n", b"$1000\r\n" + b"x" * 1000 + b"\r\n")
        assert time.monotonic() - began >= 0.2
