"""One server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.redis_servers.program import Program
from tests.redis_servers.server import RedisServer
from tests.redis_servers.topology import Topology


class Standalone(Topology):
    """One server of Redis or Valkey. ``announced_ports`` is the port of a proxy in front of it."""

    def __init__(
        self,
        program: Program = "redis",
        settings: Mapping[str, str] | None = None,
        *,
        announced_ports: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.server = RedisServer(self.folder / "server", program, settings)
        for port in announced_ports:
            self.server.announced_port = port

    @property
    def servers(self) -> tuple[RedisServer, ...]:
        """See Topology."""
        return (self.server,)

    @property
    def url(self) -> str:
        """See Topology."""
        return self.server.url

    async def is_whole(self) -> bool:
        """See Topology."""
        return bool(await self.server.cli("PING") == "PONG")

    async def primaries(self) -> list[RedisServer]:
        """See Topology."""
        return [self.server]

    async def primary_of(self, key: str) -> RedisServer:  # noqa: ARG002 - one server holds every key
        """See Topology."""
        return self.server

    async def fail_over(self, key: str = "") -> RedisServer:
        """See Topology; there is nobody to hand over to."""
        raise NotImplementedError("one server has no replica")

    async def _start_servers(self) -> None:
        await self.server.start()
