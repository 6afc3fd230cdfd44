"""A primary, a replica and three Sentinels that watch them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Final

from redis.exceptions import ResponseError

from tests.redis_servers.program import Program
from tests.redis_servers.server import HERE, Place, RedisServer
from tests.redis_servers.topology import Topology, until

SERVICE: Final = "events"
"""What the Sentinels call the primary."""

QUORUM: Final = 2
DOWN_AFTER_MS: Final = 1000
FAILOVER_TIMEOUT_MS: Final = 5000
LOOK_AGAIN_MS: Final = 1000
"""How often Sentinels ask the servers who they are (by default each 10 s): how soon a group is whole after a failover.
"""

FOLLOWS: Final = "master_link_status"


class SentinelGroup(Topology):
    """The first of ``data`` begins as the primary.

    ``min_replicas_to_write`` makes a primary refuse writes while it hears from fewer replicas (a lag up to 1 s counts).
    ``places`` are those of the two servers and then of the three Sentinels, where not all run side by side.
    """

    def __init__(
        self,
        program: Program = "redis",
        settings: Mapping[str, str] | None = None,
        *,
        min_replicas_to_write: int = 0,
        places: Sequence[Place] = (HERE,) * 5,
    ) -> None:
        super().__init__()
        data = dict(settings or {}) | {
            "min-replicas-to-write": str(min_replicas_to_write),
            "min-replicas-max-lag": "1",
            "repl-ping-replica-period": "1",
        }
        first, second, *watching = places
        self._program = program
        self.data = (self._server("first", first, data), self._server("second", second, data))
        self.data[1].add_settings({"replicaof": f"{first.host} {self.data[0].port}"})
        self._ids = [secrets.token_hex(20) for _ in watching]
        self.sentinels = tuple(
            RedisServer(self.folder / f"sentinel-{number}", program, place=place, is_sentinel=True)
            for number, place in enumerate(watching)
        )
        for server in self.sentinels:
            server.add_settings(self._watching(server))

    @property
    def servers(self) -> tuple[RedisServer, ...]:
        """See Topology."""
        return (*self.data, *self.sentinels)

    @property
    def url(self) -> str:
        """See Topology."""
        nodes = ",".join(f"{server.host}:{server.port}" for server in self.sentinels)
        return f"redis+sentinel://{nodes}/{SERVICE}"

    async def is_whole(self) -> bool:
        """See Topology."""
        primary = await self.primary_of("")
        if not await self._replicates():
            return False
        for sentinel in self.sentinels:
            said = _pairs(await sentinel.cli("SENTINEL", "MASTER", SERVICE))
            known = (said["port"], said["flags"], said["num-slaves"], said["num-other-sentinels"])
            if known != (str(primary.port), "master", "1", str(len(self.sentinels) - 1)):
                return False
            (replicated,) = await sentinel.cli("SENTINEL", "REPLICAS", SERVICE)
            if _pairs(replicated)["flags"] != "slave":
                return False
        return True

    async def primaries(self) -> list[RedisServer]:
        """See Topology."""
        return [await self.primary_of("")]

    async def primary_of(self, key: str) -> RedisServer:  # noqa: ARG002 - one primary holds every key
        """See Topology; what the Sentinel says that knows of the newest failover: a parted one does not."""
        newest = -1
        found = None
        for sentinel in self.sentinels:
            if sentinel.is_running and not sentinel.is_suspended:
                said = _pairs(await sentinel.cli("SENTINEL", "MASTER", SERVICE))
                if int(said["config-epoch"]) > newest:
                    newest = int(said["config-epoch"])
                    found = (said["ip"], int(said["port"]))
        return next(server for server in self.data if (server.host, server.port) == found)

    async def fail_over(self, key: str = "") -> RedisServer:
        """Have the Sentinels promote the replica; return once it is the primary.

        The old primary goes on to take writes until the Sentinels make it a replica, some 9 s later: `wait_whole`.
        """
        before = await self.primary_of(key)

        async def begins() -> bool:
            try:
                return bool(await self.sentinels[0].cli("SENTINEL", "FAILOVER", SERVICE) == "OK")
            except ResponseError as error:
                if str(error).startswith(("NOGOODSLAVE", "INPROG")):  # what came before has not settled yet
                    return False
                raise

        await until(begins, "failover by the Sentinels")
        return await self.wait_promoted(before)

    async def wait_promoted(self, before: RedisServer) -> RedisServer:
        """Return the primary that follows one that is gone, once the Sentinels name it and it takes writes."""
        after = next(server for server in self.data if server is not before)

        async def is_primary() -> bool:
            return await self.primary_of("") is after and (await after.cli("ROLE"))[0] == "master"

        await until(is_primary, "other primary")
        return after

    async def _start_servers(self) -> None:
        primary, replica = self.data
        await primary.start()
        await replica.start()

        async def follows() -> bool:
            return (await replica.information("replication")).get(FOLLOWS) == "up"

        await until(follows, "replica that follows")
        for sentinel in self.sentinels:
            await sentinel.start()
            await sentinel.cli("SENTINEL", "DEBUG", "INFO-PERIOD", LOOK_AGAIN_MS)

    async def _replicates(self) -> bool:
        primary = await self.primary_of("")
        replica = next(server for server in self.data if server is not primary)
        following = await replica.information("replication")
        followed = await primary.information("replication")
        return (following.get(FOLLOWS), followed["role"], followed["connected_slaves"]) == ("up", "master", "1")

    def _server(self, name: str, place: Place, settings: Mapping[str, str]) -> RedisServer:
        return RedisServer(self.folder / name, self._program, settings, place=place)

    def _watching(self, server: RedisServer) -> dict[str, str]:
        """Return a Sentinel's configuration. All know each other and the replica at once, as after a first minute."""
        primary, replica = self.data
        others = {
            f"sentinel known-sentinel {SERVICE} {other.host} {other.port}": own_id
            for other, own_id in zip(self.sentinels, self._ids, strict=True)
            if other is not server
        }
        return {
            "sentinel myid": self._ids[self.sentinels.index(server)],
            "sentinel monitor": f"{SERVICE} {primary.host} {primary.port} {QUORUM}",
            f"sentinel down-after-milliseconds {SERVICE}": str(DOWN_AFTER_MS),
            f"sentinel failover-timeout {SERVICE}": str(FAILOVER_TIMEOUT_MS),
            f"sentinel known-replica {SERVICE} {replica.host}": str(replica.port),
            **others,
        }


def _pairs(reply: Sequence[str]) -> dict[str, str]:
    return dict(zip(reply[::2], reply[1::2], strict=True))
