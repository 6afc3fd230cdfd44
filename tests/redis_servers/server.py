"""One real server of Redis or Valkey in a process of its own, with its files in a folder of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from redis.asyncio import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from tests.redis_servers.port import LOOPBACK, unused_port
from tests.redis_servers.program import Program, program_path

START_SECONDS_MAX: Final = 20.0
"""A start takes some 20 ms; a loaded machine is given more, and a server that ends is noticed at once."""

END_SECONDS_MAX: Final = 20.0
CALL_SECONDS_MAX: Final = 5.0
LOOK_SECONDS: Final = 0.005
LOG_TAIL_BYTES: Final = 8192

_DIE_WITH_US: Final = ("setpriv", "--pdeathsig", "KILL", "--") if sys.platform == "linux" else ()
"""prctl(2), PR_SET_PDEATHSIG: a test run that is killed leaves no server behind. The signal comes when the *thread*
that started the server ends, so servers are started on the loop's own thread."""

_SETTINGS: Final[Mapping[str, str]] = {
    "save": '""',
    "protected-mode": "no",
    "enable-debug-command": "local",
    "repl-diskless-sync-delay": "0",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server runs: the address that others know it by, and the command that brings it there.

    It listens on the addresses of ``also`` too; the first of them is the one that a test reaches it by.
    """

    host: str = LOOPBACK
    prefix: Sequence[str] = ()
    also: Sequence[str] = ()


HERE: Final = Place()


@dataclass(frozen=True, slots=True)
class Encryption:
    """Files in PEM for a server that speaks TLS and nothing else. ``asks_clients`` demands client certificates."""

    certificate: str
    key: str
    authority: str
    asks_clients: bool = False


@dataclass(frozen=True, slots=True)
class Login:
    """Who the tests themselves are to a server with a password or an ACL."""

    password: str
    username: str | None = None


class RedisServer:
    """A server whose port and data survive its restarts. Leaving ``async with`` kills it; the folder is the caller's.

    ``settings`` are lines of its configuration. Nothing in it belongs to an event loop, so that one server may be used
    by tests with a loop each; methods that wait are coroutines. Not for several tasks at once.
    """

    def __init__(
        self,
        folder: Path,
        program: Program = "redis",
        settings: Mapping[str, str] | None = None,
        *,
        place: Place = HERE,
        port: int | None = None,
        encryption: Encryption | None = None,
        login: Login | None = None,
        is_sentinel: bool = False,
    ) -> None:
        self.host = place.host
        self.port = port or unused_port()
        self.announced_port = self.port
        """The port that others are told: that of a proxy, where there is one."""
        self.folder = folder
        self.encryption = encryption
        self.login = login
        self._program = program
        self._settings = dict(settings or {})
        self._addresses = (place.host, *place.also)
        self._prefix = tuple(place.prefix)
        self._is_sentinel = is_sentinel
        self._process: subprocess.Popen[bytes] | None = None
        self._before: dict[str, str] = {}
        self.is_suspended = False

    async def __aenter__(self) -> Self:
        """Start, and wait until it answers."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Kill it."""
        self.kill()

    @property
    def url(self) -> str:
        """Where it is, as the service takes it."""
        scheme = "redis" if self.encryption is None else "rediss"
        user = "" if self.login is None else f"{self.login.username or ''}:{self.login.password}@"
        return f"{scheme}://{user}{self.host}:{self.announced_port}/0"

    @property
    def node(self) -> str:
        """``host:port``, as others are told."""
        return f"{self.host}:{self.announced_port}"

    def add_settings(self, settings: Mapping[str, str]) -> None:
        """Add lines to the configuration of the first start."""
        self._settings |= settings

    @property
    def is_running(self) -> bool:
        """Whether the process lives, suspended or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def process_id(self) -> int:
        """The id of the process that was started last."""
        return self._started().pid

    @property
    def log_path(self) -> Path:
        """What it writes over all its starts."""
        return self.folder / "server.log"

    @property
    def log_tail(self) -> str:
        """The last of what it wrote."""
        return self.log_path.read_bytes()[-LOG_TAIL_BYTES:].decode("utf-8", "replace") if self.log_path.exists() else ""

    async def start(self, *, wait: bool = True) -> None:
        """Start it with the data that it has; with ``wait`` return once it has loaded them and answers."""
        if self.is_running:
            raise RuntimeError(f"the server on port {self.port} runs already")
        self.folder.mkdir(parents=True, exist_ok=True)
        configuration = self.folder / "server.conf"
        if not configuration.exists():  # a Sentinel, and a server that it has reconfigured, keep their state in it
            configuration.write_text("".join(f"{line}\n" for line in self._lines()), "utf-8")
        command = [*self._prefix, *_DIE_WITH_US, str(program_path(self._program)), str(configuration)]
        if self._is_sentinel:
            command.append("--sentinel")
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, process_group=0
            )
        self._before.clear()
        self.is_suspended = False
        if wait:
            await self.wait_ready()

    async def wait_ready(self, seconds: float = START_SECONDS_MAX) -> None:
        """Return once it answers; AssertionError with its log where it does not, and then it is killed."""
        deadline = time.monotonic() + seconds
        while not await self._answers():
            ended = not self.is_running
            if ended or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"the server {'ended' if ended else 'does not answer'}:\n{self.log_tail}")
            await asyncio.sleep(LOOK_SECONDS)

    async def stop(self) -> None:
        """Ask it to end (SIGTERM) and wait. Harmless where it does not run."""
        if self.is_running:
            self.resume()
            self._started().terminate()
            await self._ended()

    def kill(self) -> None:
        """End it at once (SIGKILL), as a lost machine does, with the children that it has. Harmless where it ended."""
        if self.is_running:
            os.killpg(self.process_id, signal.SIGKILL)
            self._started().wait(END_SECONDS_MAX)
        self.is_suspended = False

    async def restart(self, *, wait: bool = True) -> None:
        """Kill it and start it again on the same port and data."""
        self.kill()
        await self.start(wait=wait)

    def suspend(self) -> None:
        """Stop its execution (SIGSTOP): its connections stay open and nobody answers."""
        self._started().send_signal(signal.SIGSTOP)
        self.is_suspended = True

    def resume(self) -> None:
        """Let it go on (SIGCONT). Harmless where it is not suspended."""
        if self.is_suspended:
            self._started().send_signal(signal.SIGCONT)
            self.is_suspended = False

    def erase(self) -> None:
        """Remove its configuration and its data, so that the next start is a first one. It must not run."""
        if self.is_running:
            raise RuntimeError("a running server cannot be erased")
        shutil.rmtree(self.folder, ignore_errors=True)

    async def cli(self, *arguments: str | bytes | int, seconds: float = CALL_SECONDS_MAX) -> Any:  # noqa: ANN401 - Redis answers anything
        """Send one command on a connection of its own and return the reply, texts decoded.

        Raises what redis-py raises: `redis.exceptions.ResponseError` for an error, `ConnectionError`, `TimeoutError`.
        """
        connection = self._connection(seconds)
        try:
            await connection.connect()
            await connection.send_command(*arguments)
            return await connection.read_response()
        finally:
            await connection.disconnect(nowait=True)

    async def information(self, section: str) -> dict[str, str]:
        """Return a section of INFO."""
        reply: str = await self.cli("INFO", section)
        return dict(line.split(":", 1) for line in reply.splitlines() if ":" in line)

    async def configure(self, name: str, value: str) -> None:
        """Change a setting while it runs; `restore_settings` undoes it."""
        self._before.setdefault(name, (await self.cli("CONFIG", "GET", name))[1])
        await self.cli("CONFIG", "SET", name, value)

    async def restore_settings(self) -> None:
        """Undo every `configure` since the start."""
        while self._before:
            name, value = self._before.popitem()
            await self.cli("CONFIG", "SET", name, value)

    def _connection(self, seconds: float) -> Any:  # noqa: ANN401 - redis-py leaves parts of its connections untyped
        options: dict[str, Any] = {
            "host": self._addresses[min(1, len(self._addresses) - 1)],
            "port": self.port,
            "socket_timeout": seconds,
            "socket_connect_timeout": seconds,
            "retry": Retry(NoBackoff(), 0),
            "decode_responses": True,
            "encoding_errors": "surrogateescape",
            "protocol": 2,
        }
        if self.login is not None:
            options |= {"username": self.login.username, "password": self.login.password}
        if self.encryption is None:
            return Connection(**options)
        return SSLConnection(
            **options,
            ssl_ca_certs=self.encryption.authority,
            ssl_certfile=self.encryption.certificate if self.encryption.asks_clients else None,
            ssl_keyfile=self.encryption.key if self.encryption.asks_clients else None,
        )

    def _lines(self) -> list[str]:
        settings = {"bind": " ".join(self._addresses), "dir": str(self.folder), "port": str(self.port)}
        if self.encryption is not None:
            settings |= {
                "port": "0",
                "tls-port": str(self.port),
                "tls-cert-file": self.encryption.certificate,
                "tls-key-file": self.encryption.key,
                "tls-ca-cert-file": self.encryption.authority,
                "tls-auth-clients": "yes" if self.encryption.asks_clients else "no",
            }
        if not self._is_sentinel:
            settings |= _SETTINGS
        return [f"{name} {value}" for name, value in (settings | self._settings).items()]

    async def _answers(self) -> bool:
        try:
            await self.cli("PING", seconds=1)
        except (OSError, RedisError):  # refused, or still loading
            return False
        return True

    async def _ended(self) -> None:
        deadline = time.monotonic() + END_SECONDS_MAX
        while self.is_running:
            assert time.monotonic() < deadline, f"the server does not end:\n{self.log_tail}"
            await asyncio.sleep(LOOK_SECONDS)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the server was not started")
        return self._process
