"""One connection to one node: looked up, connected, encrypted, logged in and on its database, or nothing at all.

redis-py makes the connection and speaks the protocol; what it does by itself besides is off, since the engine does it
(retries, health checks, time-outs for each reply, CLIENT SETINFO): a retry of redis-py would store an event twice.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from redis.asyncio.connection import Connection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from waooaw.events.engine.redis.failure import connection_failure
from waooaw.events.name_lookup import unanswered
from waooaw.events.outages import EngineDeniedError, EngineUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from waooaw.events.engine.redis.address import Node, RedisAddress
    from waooaw.events.name_lookup import NameLookup

CLIENT_NAME: Final = "wowevent"
"""What CLIENT LIST shows."""

KEEP_ALIVE: Final[dict[int, int]] = {
    getattr(socket, name): value
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
    if hasattr(socket, name)
}
"""A peer that vanished is noticed within 45 s also on a connection that nobody watches."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Files in PEM: whom we trust (None: whom the system trusts), and who we are (None: nobody)."""

    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None
    """None: the key stands in the file of the certificate."""


class NodeConnection(Connection):
    """A connection of redis-py whose socket goes to an address, while TLS asks for the name of the node."""

    def __init__(self, arguments: Mapping[str, Any], **settings: Any) -> None:  # noqa: ANN401 - as redis-py's own
        self._arguments = arguments
        super().__init__(**settings)

    def _connection_arguments(self) -> Mapping[str, Any]:
        return self._arguments

    async def abort(self) -> None:
        """Close at once, and send nothing of what waits: a peer that reads no more would keep it open."""
        if self._writer is not None:
            self._writer.transport.abort()
        await self.disconnect(nowait=True)


class Connector:
    """Makes connections as the settings say. Safe for any number of calls at once, from one event loop."""

    def __init__(self, address: RedisAddress, tls: TlsFiles, names: NameLookup) -> None:
        self._address = address
        self._names = names
        self._trust = _Trust(tls) if address.tls else None

    async def connect(self, node: Node, *, timeout_seconds: float, sentinel: bool = False) -> NodeConnection:
        """Connect to a node of Redis, or with ``sentinel`` to a Sentinel, within ``timeout_seconds`` for all of it.

        Addresses of a name are tried in turn, each with its share of the time. Raises `EngineUnavailableError` kinds;
        nothing half-open is left behind, also when the call is cancelled.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        hosts = await self._hosts(node, timeout_seconds)
        failure: EngineUnavailableError | None = None
        for number, host in enumerate(hosts):
            share = (deadline - loop.time()) / (len(hosts) - number)
            where = _where(node, host, sentinel=sentinel)
            connection = self._prepared(node, host, where, sentinel=sentinel)
            try:
                async with asyncio.timeout(share):
                    await _begin(connection)
            except (RedisError, OSError) as error:  # OSError: the time-out among them
                await connection.abort()
                failure = connection_failure(error, where, sent=False, tls=self._trust is not None)
                if isinstance(failure, EngineDeniedError):
                    break  # another address would refuse as well, and each refusal is a line in its log
            except BaseException:
                await connection.abort()
                raise
            else:
                return connection
        raise failure or connection_failure(TimeoutError(), str(node), sent=False)

    async def _hosts(self, node: Node, timeout_seconds: float) -> tuple[str, ...]:
        redis = f"Redis (port {node.port})"
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._names.addresses(node.host, redis)
        except TimeoutError:
            raise unanswered(node.host, redis, timeout_seconds) from None

    def _prepared(self, node: Node, host: str, where: str, *, sentinel: bool) -> NodeConnection:
        arguments: dict[str, Any] = {"host": host, "port": node.port}
        if self._trust is not None:
            arguments["ssl"] = self._trust.context(where)
            arguments["server_hostname"] = node.host
        credentials = self._address.credentials
        return NodeConnection(
            arguments,
            host=node.host,
            port=node.port,
            db=0 if sentinel else self._address.database,
            username=credentials.sentinel_username if sentinel else credentials.username,
            password=credentials.sentinel_password if sentinel else credentials.password,
            protocol=2,  # RESP3 makes each pub/sub message dearer, and brings nothing that is used
            socket_timeout=None,  # the default costs a third of the throughput, and the engine has deadlines of its own
            socket_connect_timeout=None,
            socket_keepalive=True,
            socket_keepalive_options=KEEP_ALIVE,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
            driver_info=None,  # CLIENT SETINFO is one more command that a user would have to be allowed
            decode_responses=False,
        )


class _Trust:
    """The TLS context, made anew when a file changed: certificates are rotated without a restart."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._seen: tuple[tuple[int, int, int], ...] | None = None
        self._context: ssl.SSLContext | None = None

    def context(self, where: str) -> ssl.SSLContext:
        """Return the context. Raises `EngineUnavailableError` where a file cannot be used."""
        try:
            seen = tuple(_state(path) for path in self._paths())
            if self._context is None or seen != self._seen:
                self._context, self._seen = self._made(), seen
        except OSError as error:  # ssl.SSLError is one
            is_tls = isinstance(error, ssl.SSLError)
            reason = "one is not in PEM, or the key is of another certificate" if is_tls else error.strerror
            detail = (
                f"Redis at {where} was not asked: the files for TLS cannot be used ({reason}); check "
                f"{', '.join(self._paths()) or 'the certificates of the system'}"
            )
            raise EngineUnavailableError(detail) from None
        return self._context

    def _paths(self) -> tuple[str, ...]:
        files = (self._files.ca_file, self._files.certificate_file, self._files.key_file)
        return tuple(path for path in files if path is not None)

    def _made(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self._files.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self._files.certificate_file is not None:
            context.load_cert_chain(self._files.certificate_file, self._files.key_file, password=_no_password)
        return context


def _state(path: str) -> tuple[int, int, int]:
    """Return what changes when a file is replaced, also by the renaming of a folder above it (Kubernetes secrets)."""
    found = Path(path).stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _no_password() -> str:
    """Answer OpenSSL, which would ask on the terminal for the password of an encrypted key."""
    return ""


def _where(node: Node, host: str, *, sentinel: bool) -> str:
    known = "" if host == node.host else f" ({host})"
    return f"{node}{known}, a Sentinel," if sentinel else f"{node}{known}"


async def _begin(connection: NodeConnection) -> None:
    """Connect, log in, choose the database; then give the connection its name, where that is allowed.

    The naming is the first command after the log-in: without a log-in it is what tells that one is needed.
    """
    await connection.connect()  # type: ignore[no-untyped-call]  # redis-py leaves this one without types
    await connection.send_command("CLIENT", "SETNAME", CLIENT_NAME)
    try:
        await connection.read_response()
    except AuthenticationError:
        raise
    except ResponseError:
        return  # the name is for people; a user that may not set one, or a proxy that knows none, works as well
