"""Connections to real servers: made whole within their time, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.engine.redis.certificates import Authority
from tests.engine.redis.single_server import CONNECT_SECONDS, call, connected, serving
from tests.redis_servers.port import unused_port
from tests.redis_servers.program import PROGRAMS, Program
from waooaw.events.engine.redis.address import Credentials, Node, parse_address
from waooaw.events.engine.redis.connecting import Connector, NodeConnection, TlsFiles
from waooaw.events.name_lookup import NameLookup
from waooaw.events.outages import EngineDeniedError, EngineUnavailableError, NameResolutionError

SECRET: Final = "s3cret"
NO_FILES: Final = TlsFiles()


def connector(url: str, *hosts: str, tls: TlsFiles = NO_FILES, given: Credentials | None = None) -> Connector:
    """Make a connector to whom every name has the addresses ``hosts``."""
    return Connector(parse_address(url, given or Credentials()), tls, NameLookup(20.0, look_up=lambda _: hosts))


@contextlib.asynccontextmanager
async def held(made: Connector, node: Node, *, sentinel: bool = False) -> AsyncIterator[NodeConnection]:
    """Connect, and close at the end."""
    connection = await made.connect(node, timeout_seconds=CONNECT_SECONDS, sentinel=sentinel)
    try:
        yield connection
    finally:
        await connection.abort()


class SilentPort:
    """A port that takes connections, says nothing, and counts those that began and those that ended."""

    def __init__(self) -> None:
        self.begun = asyncio.Semaphore(0)
        self.ended = asyncio.Semaphore(0)

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read until the other side has gone."""
        self.begun.release()
        with contextlib.suppress(ConnectionError):
            while await reader.read(65_536):
                pass
        writer.close()
        self.ended.release()


@contextlib.asynccontextmanager
async def silent(host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[tuple[SilentPort, Node]]:
    """Open a silent port."""
    taker = SilentPort()
    server = await asyncio.start_server(taker.take, host, port)
    async with server:
        yield taker, Node(host, server.sockets[0].getsockname()[1])


@pytest.mark.parametrize("program", PROGRAMS)
async def test_connected(tmp_path: Path, program: Program) -> None:
    """A connection is on its database under its name, speaks RESP2 in bytes, and notices a peer that vanished."""
    with serving(tmp_path, program=program) as port:
        async with connected(port, database=3) as connection:
            listed = await call(connection, "CLIENT", "LIST")
            assert b" name=wowevent " in listed
            assert b" db=3 " in listed
            assert connection.protocol == 2
            assert type(connection._parser).__name__ == "_AsyncHiredisParser"  # noqa: SLF001 - which parser reads
            assert (connection.socket_timeout, connection.socket_connect_timeout) == (None, None)
            writer = connection._writer  # noqa: SLF001 - its socket's options are the promise
            assert writer is not None
            options = [
                writer.get_extra_info("socket").getsockopt(level, option)
                for level, option in (
                    (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
                    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
                    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
                )
            ]
            assert options == [1, 30, 5, 3]
            assert "cmdstat_client|setinfo" not in (await call(connection, "INFO", "commandstats")).decode()


async def test_a_user_who_may_do_little(tmp_path: Path) -> None:
    """A user who may not name its connection, nor choose among databases, is connected all the same."""
    with serving(tmp_path) as port:
        async with connected(port) as connection:
            await call(connection, "ACL", "SETUSER", "bus", "on", f">{SECRET}", "+ping")
        async with connected(port, given=Credentials(username="bus", password=SECRET)) as connection:
            assert await call(connection, "PING") == b"PONG"


async def test_sentinel(tmp_path: Path) -> None:
    """A Sentinel gets the credentials of Sentinel, and no database is chosen there."""
    port = unused_port()
    configuration = tmp_path / "sentinel.conf"
    configuration.write_text(f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\nrequirepass watch3r\n")
    process = await asyncio.create_subprocess_exec(
        "redis-server", str(configuration), "--sentinel", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readuntil(b"Sentinel ID")
        node = Node("127.0.0.1", port)
        url = f"redis+sentinel://user:{SECRET}@{node}/mymaster/3"
        async with held(connector(url, given=Credentials(sentinel_password="watch3r")), node, sentinel=True) as found:
            assert await call(found, "SENTINEL", "MASTERS") == []
        with pytest.raises(EngineDeniedError, match="a Sentinel, wants a password"):
            await connector(url).connect(node, timeout_seconds=CONNECT_SECONDS, sentinel=True)
    finally:
        process.kill()
        await process.communicate()


async def test_each_address_in_turn(tmp_path: Path) -> None:
    """A name's addresses are tried in turn: one where nobody listens, one that is silent, one that answers."""
    with serving(tmp_path) as port:
        async with silent("127.0.0.2", port) as (taker, _):
            made = connector(f"redis://redis:{port}", "127.0.0.3", "127.0.0.2", "127.0.0.1")
            connection = await made.connect(Node("redis", port), timeout_seconds=1.0)
            try:
                assert connection.getpeername() == "127.0.0.1"
                async with asyncio.timeout(CONNECT_SECONDS):
                    await taker.ended.acquire()
            finally:
                await connection.abort()


async def test_no_address_answers() -> None:
    """Where no address answers, the sentence names the node and the address that was tried last."""
    port = unused_port()
    made = connector(f"redis://:{SECRET}@redis:{port}", "127.0.0.2", "127.0.0.1")
    with pytest.raises(EngineUnavailableError, match=rf"Redis at redis:{port} \(127\.0\.0\.1\) refused") as caught:
        await made.connect(Node("redis", port), timeout_seconds=CONNECT_SECONDS)
    assert SECRET not in str(caught.value)
    assert caught.value.outcome == "not_stored"
    assert caught.value.__cause__ is None


async def test_a_denial_is_not_repeated(tmp_path: Path) -> None:
    """A wrong password is tried at one address only."""
    with serving(tmp_path, "--bind", "127.0.0.1", "127.0.0.2", "--requirepass", "right") as port:
        made = connector(f"redis://:{SECRET}@redis:{port}", "127.0.0.2", "127.0.0.1")
        with pytest.raises(EngineDeniedError) as caught:
            await made.connect(Node("redis", port), timeout_seconds=CONNECT_SECONDS)
        assert SECRET not in str(caught.value)
        async with connected(port, given=Credentials(password="right")) as connection:
            entries = await call(connection, "ACL", "LOG")
            assert [entry[entry.index(b"count") + 1] for entry in entries] == [1]


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
async def test_a_silent_peer(scheme: str) -> None:
    """A peer that takes the connection and says nothing is given up in time, and the connection is closed."""
    async with silent() as (taker, node):
        made = connector(f"{scheme}://:{SECRET}@{node}")
        with pytest.raises(EngineUnavailableError, match="did not answer in time"):
            await made.connect(node, timeout_seconds=0.05)
        async with asyncio.timeout(CONNECT_SECONDS):
            await taker.ended.acquire()


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
async def test_cancelled(scheme: str) -> None:
    """A call that is cancelled ends as one, and leaves no connection behind."""
    async with silent() as (taker, node):
        call_ = asyncio.create_task(
            connector(f"{scheme}://:{SECRET}@{node}").connect(node, timeout_seconds=CONNECT_SECONDS)
        )
        async with asyncio.timeout(CONNECT_SECONDS):
            await taker.begun.acquire()
            call_.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call_
            await taker.ended.acquire()


async def test_the_deadline_counts_the_look_up(tmp_path: Path) -> None:
    """A look-up that takes longer than the connection may is DNS's failure, told within the connection's time."""
    names = NameLookup(20.0, look_up=lambda _: tmp_path.joinpath("pipe").read_text().split())
    await (await asyncio.create_subprocess_exec("mkfifo", str(tmp_path / "pipe"))).wait()
    made = Connector(parse_address("redis://redis", Credentials()), NO_FILES, names)
    with pytest.raises(NameResolutionError, match=r"DNS did not answer for 'redis' within 0\.05 s"):
        await made.connect(Node("redis", 6379), timeout_seconds=0.05)
    (tmp_path / "pipe").write_text("127.0.0.1")  # lets the look-up end


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "authority")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


@contextlib.contextmanager
def serving_tls(folder: Path, authority: Authority, *, clients: str = "no") -> Iterator[int]:
    """Run a server with TLS for the name ``localhost`` alone."""
    own, port = authority.signed("server", "DNS:localhost"), unused_port()
    files = ("--tls-cert-file", own.file, "--tls-key-file", own.key, "--tls-ca-cert-file", authority.own.file)
    with serving(folder, "--tls-port", str(port), *files, "--tls-auth-clients", clients, port=0):
        yield port


async def test_tls(tmp_path: Path, authority: Authority) -> None:
    """With TLS the certificate must be for the name of the node, though the socket goes to an address."""
    tls = TlsFiles(ca_file=authority.own.file)
    with serving_tls(tmp_path, authority) as port:
        made = connector(f"rediss://localhost:{port}", "127.0.0.1", tls=tls)
        async with held(made, Node("localhost", port)) as connection:
            assert await call(connection, "PING") == b"PONG"
            assert connection.getpeername() == "127.0.0.1"
        for host in ("redis", "127.0.0.1"):
            with pytest.raises(EngineUnavailableError, match=r"certificate that is not trusted \(.*mismatch.*the host"):
                await made.connect(Node(host, port), timeout_seconds=CONNECT_SECONDS)


async def test_authorities(tmp_path: Path, authority: Authority, stranger: Authority) -> None:
    """A certificate is trusted where the CA file, or else the system, knows its authority."""
    with serving_tls(tmp_path, authority) as port:
        for tls in (NO_FILES, TlsFiles(ca_file=stranger.own.file)):
            made = connector(f"rediss://localhost:{port}", "127.0.0.1", tls=tls)
            with pytest.raises(EngineUnavailableError, match=r"certificate that is not trusted \(.*check the CA file"):
                await made.connect(Node("localhost", port), timeout_seconds=CONNECT_SECONDS)


async def test_client_certificates(tmp_path: Path, authority: Authority) -> None:
    """A server that asks for a client certificate gets it, and its absence is said to be what is wrong."""
    own = authority.signed("client")
    with serving_tls(tmp_path, authority, clients="yes") as port:
        url, node = f"rediss://localhost:{port}", Node("localhost", port)
        with pytest.raises(EngineUnavailableError, match="may ask for a client certificate"):
            await connector(url, "127.0.0.1", tls=TlsFiles(authority.own.file)).connect(
                node, timeout_seconds=CONNECT_SECONDS
            )
        tls = TlsFiles(authority.own.file, own.file, own.key)
        async with held(connector(url, "127.0.0.1", tls=tls), node) as connection:
            assert await call(connection, "PING") == b"PONG"


async def test_rotation(tmp_path: Path, authority: Authority, stranger: Authority) -> None:
    """Files that are replaced are read anew by the next connection: no restart, and no look at unchanged ones."""
    trusted = tmp_path / "ca.pem"
    shutil.copy(stranger.own.file, trusted)
    with serving_tls(tmp_path, authority) as port:
        made = connector(f"rediss://localhost:{port}", "127.0.0.1", tls=TlsFiles(ca_file=str(trusted)))
        with pytest.raises(EngineUnavailableError, match="not trusted"):
            await made.connect(Node("localhost", port), timeout_seconds=CONNECT_SECONDS)
        renewed = tmp_path / "renewed.pem"
        shutil.copy(authority.own.file, renewed)
        renewed.replace(trusted)
        for _ in range(2):
            async with held(made, Node("localhost", port)) as connection:
                assert await call(connection, "PING") == b"PONG"


async def test_files_that_cannot_be_used(tmp_path: Path, authority: Authority, stranger: Authority) -> None:
    """A file that is missing, is no certificate or does not match its key is named; nothing was asked of Redis."""
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    own, other = authority.signed("mine"), stranger.signed("other")
    for tls, told in (
        (TlsFiles(ca_file=str(tmp_path / "gone.pem")), "No such file.*gone.pem"),
        (TlsFiles(ca_file=str(broken)), "not in PEM, or the key is of another certificate.*broken.pem"),
        (TlsFiles(None, own.file, other.key), "not in PEM, or the key is of another certificate.*mine.pem.*other.key"),
    ):
        with pytest.raises(EngineUnavailableError, match=f"Redis at localhost:1 .*was not asked: .*{told}"):
            await connector("rediss://localhost:1", "127.0.0.1", tls=tls).connect(
                Node("localhost", 1), timeout_seconds=CONNECT_SECONDS
            )


async def test_tls_on_one_side_only(tmp_path: Path, authority: Authority) -> None:
    """A port with TLS spoken to without it, and the reverse, are said to be that."""
    with (
        serving_tls(tmp_path, authority) as port,
        pytest.raises(EngineUnavailableError, match="write rediss:// for redis://"),
    ):
        await connector(f"redis://127.0.0.1:{port}").connect(Node("127.0.0.1", port), timeout_seconds=CONNECT_SECONDS)
    with serving(tmp_path) as port, pytest.raises(EngineUnavailableError, match="write redis:// for rediss://"):
        await connector(f"rediss://127.0.0.1:{port}").connect(Node("127.0.0.1", port), timeout_seconds=0.3)
