"""A primary, its replicas and three Sentinels that watch them."""

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

SENTINELS: Final = 3
QUORUM: Final = 2
DOWN_AFTER_MS: Final = 1000
FAILOVER_TIMEOUT_MS: Final = 3000
"""Where Sentinels elect nobody, each voting for itself, they try again after twice this time."""

LOOK_AGAIN_MS: Final = 1000
"""How often Sentinels ask the servers who they are (by default each 10 s): how soon a group is whole after a failover.
"""

PING_MS: Final = 200
"""How often they ping. By default that is `DOWN_AFTER_MS`: then the first ping to a new primary goes out in the moment
in which its silence counts as down, and now and then a failover follows on the failover, to the server that just came
back without its latest data.
"""

FOLLOWS: Final = "master_link_status"


class SentinelGroup(Topology):
    """The first of ``data`` begins as the primary of ``replicas``.

    ``min_replicas_to_write`` makes a primary refuse writes while it hears from fewer replicas (a lag up to 1 s counts).
    ``announced_ports`` are those of proxies in front of ``data``, by which everybody reaches them. ``places`` are those
    of ``data`` and then of the three Sentinels, where not all run side by side.
    """

    def __init__(
        self,
        program: Program = "redis",
        settings: Mapping[str, str] | None = None,
        *,
        replicas: int = 1,
        min_replicas_to_write: int = 0,
        places: Sequence[Place] = (),
        announced_ports: Sequence[int] = (),
    ) -> None:
        super().__init__()
        data = dict(settings or {}) | {
            "min-replicas-to-write": str(min_replicas_to_write),
            "min-replicas-max-lag": "1",
            "repl-ping-replica-period": "1",
        }
        places = places or (HERE,) * (1 + replicas + SENTINELS)
        self._program = program
        self.data = tuple(
            RedisServer(self.folder / f"data-{number}", program, data, place=place)
            for number, place in enumerate(places[: 1 + replicas])
        )
        for server, port in zip(self.data, announced_ports, strict=False):
            server.announced_port = port
            server.add_settings({"replica-announce-port": str(port)})
        primary, *following = self.data
        for server in following:
            server.add_settings({"replicaof": f"{primary.host} {primary.announced_port}"})
        watching = places[1 + replicas :]
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
    def data_servers(self) -> tuple[RedisServer, ...]:
        """See Topology."""
        return self.data

    @property
    def url(self) -> str:
        """See Topology."""
        nodes = ",".join(server.node for server in self.sentinels)
        return f"redis+sentinel://{nodes}/{SERVICE}"

    async def is_whole(self) -> bool:
        """See Topology."""
        primary = await self.primary_of("")
        if not await self._replicates():
            return False
        for sentinel in self.sentinels:
            said = _pairs(await sentinel.cli("SENTINEL", "MASTER", SERVICE))
            known = (said["port"], said["flags"], said["num-slaves"], said["num-other-sentinels"])
            replicas, others = str(len(self.data) - 1), str(len(self.sentinels) - 1)
            if known != (str(primary.announced_port), "master", replicas, others):
                return False
            if any(_pairs(each)["flags"] != "slave" for each in await sentinel.cli("SENTINEL", "REPLICAS", SERVICE)):
                return False
        return True

    async def primaries(self) -> list[RedisServer]:
        """See Topology."""
        return [await self.primary_of("")]

    async def primary_of(self, key: str) -> RedisServer:  # noqa: ARG002 - one primary holds every key
        """See Topology; what the Sentinel says that knows of the newest failover: a parted one does not."""
        return await self._named_primary()

    async def _named_primary(self) -> RedisServer:
        """Return the primary by the Sentinels; the first server before any of them runs."""
        if not any(sentinel.is_running for sentinel in self.sentinels):
            return self.data[0]
        newest = -1
        found = None
        for sentinel in self.sentinels:
            if sentinel.is_running and not sentinel.is_suspended:
                said = _pairs(await sentinel.cli("SENTINEL", "MASTER", SERVICE))
                host, port = await sentinel.cli("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
                # The one that leads a failover names the new primary before it counts the failover.
                epoch = int(said["config-epoch"]) + ((said["ip"], said["port"]) != (host, port))
                if epoch > newest:
                    newest = epoch
                    found = (host, int(port))
        return next(server for server in self.data if (server.host, server.announced_port) == found)

    async def fail_over(self, key: str = "") -> RedisServer:
        """Have the Sentinels promote a replica; return it once it is the primary.

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
        found = before

        async def is_primary() -> bool:
            nonlocal found
            found = await self.primary_of("")
            return found is not before and (await found.cli("ROLE"))[0] == "master"

        await until(is_primary, "other primary")
        return found

    async def _start_servers(self) -> None:
        for server in self.data:
            await server.start()
        await until(self._replicates, "replicas that follow")
        for sentinel in self.sentinels:
            await sentinel.start()
            await sentinel.cli("SENTINEL", "DEBUG", "INFO-PERIOD", LOOK_AGAIN_MS, "PING-PERIOD", PING_MS)

    async def _replicates(self) -> bool:
        primary = await self._named_primary()
        followed = await primary.information("replication")
        if (followed["role"], followed["connected_slaves"]) != ("master", str(len(self.data) - 1)):
            return False
        others = [await server.information("replication") for server in self.data if server is not primary]
        return all(following.get(FOLLOWS) == "up" for following in others)

    def _watching(self, server: RedisServer) -> dict[str, str]:
        """Return a Sentinel's configuration. All know each other and the replicas at once, as after a first minute."""
        primary, *following = self.data
        others = {
            f"sentinel known-sentinel {SERVICE} {other.host} {other.port}": own_id
            for other, own_id in zip(self.sentinels, self._ids, strict=True)
            if other is not server
        }
        return {
            "sentinel myid": self._ids[self.sentinels.index(server)],
            "sentinel monitor": f"{SERVICE} {primary.host} {primary.announced_port} {QUORUM}",
            f"sentinel down-after-milliseconds {SERVICE}": str(DOWN_AFTER_MS),
            f"sentinel failover-timeout {SERVICE}": str(FAILOVER_TIMEOUT_MS),
            **{
                f"sentinel known-replica {SERVICE} {replica.host} {replica.announced_port}": "" for replica in following
            },
            **others,
        }


def _pairs(reply: Sequence[str]) -> dict[str, str]:
    return dict(zip(reply[::2], reply[1::2], strict=True))
