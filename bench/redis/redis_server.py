"""A Redis of one scenario's own, with an append-only file that is synced every second."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import redis

from bench.errors import BenchError
from bench.report import Figure
from bench.server import HOST, Launcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from bench.load import Window
    from bench.report import Context
    from bench.server import Server

_SETTINGS: Final = {
    "bind": HOST,
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",
    "maxmemory-policy": "noeviction",
    # A rewrite in the middle of a round would be in one side's time and not in the other's.
    "auto-aof-rewrite-percentage": "0",
    # Redis' own 32 MiB would cut a listener that is slow for a moment, on either side.
    "client-output-buffer-limit": "pubsub 256mb 64mb 60",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisServer:
    """A running Redis."""

    server: Server

    @property
    def url(self) -> str:
        """What the service and nchan are given."""
        return f"redis://{HOST}:{self.server.port}/0"

    @contextlib.contextmanager
    def client(self) -> Iterator[redis.Redis]:
        """Connect to look at what is stored."""
        client = redis.Redis(host=HOST, port=self.server.port, socket_timeout=60)
        try:
            yield client
        finally:
            client.close()

    def launcher(self, context: Context) -> Launcher:
        """Return what starts the event bus on it."""
        return dataclasses.replace(context.launcher, environment={"REDIS_URL": self.url})

    def watched(self, run: Callable[[], Window]) -> Round:
        """Run one round, and note what it cost Redis."""
        before = self.server.cpu_seconds()
        window = run()
        return Round(window=window, redis_cpu_seconds=self.server.cpu_seconds() - before)


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round saw, and what Redis worked for all of it, warm-up included."""

    window: Window
    redis_cpu_seconds: float


def windows_of(rounds: Sequence[Round]) -> list[Window]:
    """Return what the rounds saw of the server."""
    return [one.window for one in rounds]


def redis_costs(name: str, rounds: Sequence[Round], unit: str, per_count: int = 1) -> Figure:
    """Return Redis' processor time for each `unit` counted."""
    values = [1e6 * one.redis_cpu_seconds / (one.window.completed * per_count) for one in rounds]
    return Figure(name=f"{name}: Redis' processor time", unit=f"us/{unit}", values=values)


@contextlib.contextmanager
def running_redis(context: Context) -> Iterator[RedisServer]:
    """Run Redis on the load generator's core, so that the service keeps its own. Raises BenchError without one."""
    if shutil.which("redis-server") is None:
        raise BenchError("redis-server is not installed: on Debian and Ubuntu, apt-get install redis-server")
    launcher = dataclasses.replace(context.launcher, core=context.cores.load)
    with launcher.running("Redis", redis_command, is_ready=_answers_ping) as server:
        yield RedisServer(server=server)


def redis_command(port: int, directory: Path) -> Sequence[str]:
    """Return what starts Redis with its files in `directory`."""
    settings = {"port": str(port), "dir": str(directory), **_SETTINGS}
    return ["redis-server", *(word for name, value in settings.items() for word in (f"--{name}", value))]


def _answers_ping(port: int) -> bool:
    """Tell whether Redis answers; a refused connection is the usual no of a process that still starts."""
    client = redis.Redis(host=HOST, port=port, socket_timeout=1)
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False
    finally:
        client.close()
