"""Accepting connections: one socket, all its connections, and the look at each of them once a second."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import resource
import socket
import sys
from typing import TYPE_CHECKING, Any, Final

from waooaw.events.errors import InvalidSettingError, StartupError
from waooaw.events.service.connection import Connection
from waooaw.events.service.open_streams import spread_age

if TYPE_CHECKING:
    from random import Random

    from aiohttp import web

    from waooaw.events.settings import Settings

BACKLOG: Final = 1024
"""Connections that may wait for the loop: a herd of reconnecting clients arrives within one tick."""

LOOK_SECONDS: Final = 1.0

SENT_LOOK_SECONDS: Final = 0.05
"""A drain is longer by no more than this for looking, instead of being told, whether answers have left."""

USER_TIMEOUT_MS_MAX: Final = 2**31 - 1
"""The kernel keeps it in an int."""


FILES_KEPT: Final = 64
"""Of the files that the process may open, those that are no connections: the store's, the loop's, some to spare."""


def files_max() -> int:
    """Raise the limit of open files as far as the platform lets a process do by itself, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # some platforms name a limit that they do not grant
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return soft if soft != resource.RLIM_INFINITY else sys.maxsize


def bind(settings: Settings) -> socket.socket:
    """Take the address, not yet accepting; raises `StartupError` where that cannot be."""
    host, port = settings.host, settings.port
    if settings.reuse_port and not port:
        message = "--reuse-port needs a --port that is not 0: with 0 each service takes another one"
        raise InvalidSettingError(message)
    try:
        (family, kind, protocol, _, address), *_ = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        bound = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:  # a name with an empty label is no name at all (IDNA)
        raise _cannot_bind(host, port, error) from None
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if settings.reuse_port:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise _cannot_bind(host, port, error) from None
    return bound


class Listener:
    """The service's socket: `listen` begins to accept, `close` ends accepting."""

    def __init__(self, bound: socket.socket, server: web.Server, settings: Settings, random: Random) -> None:
        self._socket = bound
        self.server = server
        self._settings = settings
        self._random = random
        self._connections: set[Connection] = set()
        self._connections_max = min(settings.connections_max, files_max() - FILES_KEPT)
        self._accepting: asyncio.Server | None = None
        self.cut_responses = 0
        self.user_timeout_ms = min(int(settings.stalled_seconds * 1000), USER_TIMEOUT_MS_MAX)
        host, port = bound.getsockname()[:2]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._connections)

    async def listen(self) -> None:
        """Begin to accept."""
        loop = asyncio.get_running_loop()
        options: dict[str, Any] = {
            "keepalive_timeout": self._settings.keepalive_seconds,
            "max_line_size": self._settings.header_bytes_max,
            "max_field_size": self._settings.header_bytes_max,
            "max_headers": self._settings.headers_max,
            "access_log": None,
            "auto_decompress": False,
        }
        self._accepting = await loop.create_server(
            lambda: Connection(self, loop=loop, **options), sock=self._socket, backlog=BACKLOG
        )

    def close(self) -> None:
        """Accept no more; connections go on. Closing twice is harmless."""
        if self._accepting is not None:
            self._accepting.close()

    def close_idle(self) -> bool:
        """Close connections that wait for a request; tell whether a request is on its way on any other.

        The rest close with their answer. aiohttp's own way would drop what is left of a body that is being sent.
        """
        arriving = False
        for connection in tuple(self._connections):
            if connection.is_idle:
                connection.end()
            arriving = arriving or connection.is_arriving
        return arriving

    def move_at(self, now: float) -> float:
        """Return when a connection made now has reached its age."""
        return now + spread_age(self._random, self._settings.connection_age_seconds)

    def admit(self, connection: Connection) -> bool:
        """Count a connection in, unless there are too many."""
        if len(self._connections) >= self._connections_max:
            return False
        self._connections.add(connection)
        return True

    def forget(self, connection: Connection) -> None:
        """Count a connection out."""
        self._connections.discard(connection)

    def count_cut(self) -> None:
        """Count a response that is cut, because its reader takes nothing."""
        self.cut_responses += 1

    @property
    def sending(self) -> int:
        """How many connections are being answered, or have not been handed all of their answer."""
        return sum(connection.is_sending for connection in self._connections)

    async def sent(self) -> None:
        """Return once every answer has left the process, however slowly its reader takes it."""
        while self.sending:  # noqa: ASYNC110 - a transport does not tell when its buffer is empty
            await asyncio.sleep(SENT_LOOK_SECONDS)

    async def watch(self) -> None:
        """Look at every connection once a second, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = loop.time()
            for connection in tuple(self._connections):
                connection.look(now, self._settings)


def _cannot_bind(host: str, port: int, error: OSError | UnicodeError) -> StartupError:
    if not isinstance(error, OSError):
        return StartupError(f"{host[:64]!r} is no host name; choose another by --host")
    if error.errno == errno.EADDRINUSE:
        return StartupError(f"port {port} of {host} is in use; stop what listens there, or choose another by --port")
    if error.errno == errno.EACCES:
        return StartupError(f"port {port} may not be used by this user; choose one above 1023 by --port")
    return StartupError(f"cannot listen on {host} port {port}: {error.strerror or error}; choose another by --host")
