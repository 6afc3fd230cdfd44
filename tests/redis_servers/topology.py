"""What every arrangement of servers can do, whatever its kind."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Self

from redis.exceptions import RedisError

from tests.redis_servers.server import RedisServer

WHOLE_SECONDS_MAX: Final = 40.0
LOOK_SECONDS: Final = 0.02


class Topology(ABC):
    """Servers that belong together, in a temporary folder. Leaving ``async with`` kills them and removes the folder.

    As with `RedisServer`, nothing belongs to an event loop, and one task at a time uses it.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="wowevent-redis-"))

    async def __aenter__(self) -> Self:
        """Start all servers, and wait until they serve together."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Kill them and remove their files."""
        self.close()

    @property
    @abstractmethod
    def servers(self) -> tuple[RedisServer, ...]:
        """Every process, Sentinels among them."""

    @property
    def data_servers(self) -> tuple[RedisServer, ...]:
        """Every process that holds data."""
        return self.servers

    @property
    @abstractmethod
    def url(self) -> str:
        """Where it is, as the service takes it."""

    @abstractmethod
    async def is_whole(self) -> bool:
        """Whether every server plays its part: each replica follows, every node agrees."""

    @abstractmethod
    async def primaries(self) -> list[RedisServer]:
        """Return the servers that take writes now."""

    @abstractmethod
    async def primary_of(self, key: str) -> RedisServer:
        """Return the server that takes writes of a key now."""

    @abstractmethod
    async def fail_over(self, key: str = "") -> RedisServer:
        """Hand the writes of a key to a replica, and return it once it takes them."""

    async def kill_primary(self, key: str = "") -> RedisServer:
        """Kill the server that takes writes of a key; return it, dead."""
        primary = await self.primary_of(key)
        primary.kill()
        return primary

    async def start(self) -> None:
        """Start all servers as if for the first time, and wait until they serve together."""
        try:
            await self._start_servers()
            await self.wait_whole()
        except BaseException:
            self.close()
            raise

    @abstractmethod
    async def _start_servers(self) -> None:
        """Start the servers and tell them of each other."""

    async def wait_whole(self, seconds: float = WHOLE_SECONDS_MAX) -> None:
        """Return once `is_whole` says so; AssertionError with the logs where it does not."""
        deadline = time.monotonic() + seconds
        while not await settled(self.is_whole):
            assert time.monotonic() < deadline, f"{type(self).__name__} is not whole:\n{self.logs()}"
            await asyncio.sleep(LOOK_SECONDS)

    async def flush(self) -> None:
        """Remove all data, scripts stay."""
        for primary in await self.primaries():
            await primary.cli("FLUSHALL", "SYNC")

    async def renew(self) -> None:
        """Make it as after its start: what a test killed, suspended or configured is undone, and all data are gone."""
        for server in self.servers:
            server.resume()
        if all(server.is_running for server in self.servers) and await settled(self.is_whole):
            for server in self.servers:
                await server.restore_settings()
            await self.flush()
            return
        for server in self.servers:
            server.kill()
            server.erase()
        await self._start_servers()
        await self.wait_whole()

    async def wait_in_sync(self, key: str = "") -> None:
        """Return once the replicas of a key's primary have all that it had accepted when this was called."""
        primary = await self.primary_of(key)
        _, offset, _ = await primary.cli("ROLE")

        async def have_it() -> bool:
            _, _, replicas = await primary.cli("ROLE")
            return bool(replicas) and all(int(reached) >= offset for _, _, reached in replicas)

        await until(have_it, "replica in sync")

    def close(self) -> None:
        """Kill every server and remove the files. Harmless where it is closed."""
        for server in self.servers:
            server.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def logs(self) -> str:
        """Return the last lines of every server's log, for a message."""
        return "\n".join(f"--- {server.folder.name} (port {server.port})\n{server.log_tail}" for server in self.servers)


async def settled(condition: Callable[[], Awaitable[bool]]) -> bool:
    """Ask for a condition; a server that cannot be asked yet does not meet it."""
    try:
        return await condition()
    except (OSError, RedisError):
        return False


async def until(condition: Callable[[], Awaitable[bool]], what: str, seconds: float = WHOLE_SECONDS_MAX) -> None:
    """Return once a condition is met; AssertionError naming ``what`` where that does not come."""
    deadline = time.monotonic() + seconds
    while not await settled(condition):
        assert time.monotonic() < deadline, f"no {what} within {seconds:g} s"
        await asyncio.sleep(LOOK_SECONDS)
