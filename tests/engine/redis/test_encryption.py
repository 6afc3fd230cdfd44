"""The whole engine over TLS, with a client certificate: appends, reads, live events."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.engine.redis.certificates import Authority
from tests.engine.redis.running import BUS, Publishing, until
from tests.event_samples import entry
from tests.redis_servers import Encryption, RedisServer
from waooaw.events.clock import SystemClock
from waooaw.events.engine.contract import Frame, Tip
from waooaw.events.engine.redis import RedisEngine, RedisOptions, TlsFiles
from waooaw.events.errors import EngineUnreachableError
from waooaw.events.identifier import RandomIdentifiers
from waooaw.events.position import BEGINNING, END


def _engine(server: RedisServer, tls: TlsFiles, start_seconds: float = 20.0) -> RedisEngine:
    options = RedisOptions(tls=tls, start_seconds=start_seconds)
    return RedisEngine(server.url, (BUS,), clock=SystemClock(), identifiers=RandomIdentifiers(), options=options)


async def test_an_encrypted_bus(tmp_path: Path) -> None:
    """With the authority and a client certificate of the settings all of the engine's connections are encrypted."""
    authority = Authority(tmp_path, "authority")
    certificate = authority.signed("server", "IP:127.0.0.1")
    client = authority.signed("client")
    encryption = Encryption(certificate.file, certificate.key, authority.own.file, asks_clients=True)
    async with RedisServer(tmp_path / "server", encryption=encryption) as server, AsyncExitStack() as stack:
        engine = _engine(server, TlsFiles(authority.own.file, client.file, client.key))
        await engine.open(stack)
        told: list[Frame | Tip] = []
        engine.listen(BUS, told.append)

        (receipt,) = await Publishing(engine).publish(entry(data=1))

        await until(lambda: any(isinstance(item, Frame) and item.last == receipt.position for item in told))
        page = await engine.read(BUS, BEGINNING, through=END, limit=10)
        assert [event.event.data for event in page.events] == [1]
        assert engine.location.startswith("rediss://")


async def test_a_server_of_nobody_is_not_trusted(tmp_path: Path) -> None:
    """A certificate that the authority did not sign ends the start, and the sentence names what to check."""
    stranger = Authority(tmp_path, "stranger")
    certificate = stranger.signed("server", "IP:127.0.0.1")
    encryption = Encryption(certificate.file, certificate.key, stranger.own.file)
    async with RedisServer(tmp_path / "server", encryption=encryption) as server, AsyncExitStack() as stack:
        engine = _engine(server, TlsFiles(Authority(tmp_path, "authority").own.file), start_seconds=0.5)

        with pytest.raises(EngineUnreachableError, match="certificate"):
            await engine.open(stack)
