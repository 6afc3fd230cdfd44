"""A Redis Cluster: three primaries, each with a replica."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from redis.crc import key_slot
from redis.exceptions import ResponseError

from tests.redis_servers.port import LOOPBACK, unused_port
from tests.redis_servers.program import Program
from tests.redis_servers.server import RedisServer
from tests.redis_servers.topology import Topology, settled, until

SLOTS: Final = 16_384
PRIMARIES: Final = 3
NODE_TIMEOUT_MS: Final = 2000
HAND_OVER_SECONDS: Final = 6.0
"""A primary that is asked to hand over gives up after 5 s (``CLUSTER_MF_TIMEOUT``); then it is asked again.

Redis needs that: a node that won an election a moment ago counts its old votes, and those of the others win.
"""

MOVE_KEYS: Final = 100
MOVE_KEY_SECONDS_MAX: Final = 30.0


class RedisCluster(Topology):
    """Slots begin spread evenly over the first three nodes; node ``n + 3`` begins as the replica of node ``n``.

    ``announced_ports`` are those of proxies in front of the six, by which clients and replicas reach them.
    """

    def __init__(
        self,
        program: Program = "redis",
        settings: Mapping[str, str] | None = None,
        *,
        announced_ports: Sequence[int] = (),
    ) -> None:
        super().__init__()
        own = {
            "cluster-enabled": "yes",
            "cluster-node-timeout": str(NODE_TIMEOUT_MS),
            "cluster-announce-ip": LOOPBACK,
            "repl-ping-replica-period": "1",
            **(settings or {}),
        }
        self._bus_ports = [unused_port() for _ in range(2 * PRIMARIES)]
        self.nodes = tuple(
            RedisServer(self.folder / f"node-{number}", program, {**own, "cluster-port": str(bus_port)})
            for number, bus_port in enumerate(self._bus_ports)
        )
        for node, port in zip(self.nodes, announced_ports, strict=False):
            node.announced_port = port
            node.add_settings({"cluster-announce-port": str(port)})

    @property
    def servers(self) -> tuple[RedisServer, ...]:
        """See Topology."""
        return self.nodes

    @property
    def url(self) -> str:
        """See Topology."""
        return f"redis+cluster://{','.join(node.node for node in self.nodes)}"

    async def is_whole(self) -> bool:
        """See Topology; and every node says so of all the others."""
        for node in self.nodes:
            if "cluster_state:ok" not in await node.cli("CLUSTER", "INFO"):
                return False
        said = [_arrangement(await node.cli("CLUSTER", "SLOTS")) for node in self.nodes]
        if any(each != said[0] for each in said) or len(said[0]) != len(self.nodes):
            return False
        for node in self.nodes:
            role = await node.cli("ROLE")
            if (role[0] == "master") is not said[0][node.announced_port]:
                return False
            if (role[0] == "slave" and role[3] != "connected") or (role[0] == "master" and len(role[2]) != 1):
                return False
        return True

    async def primaries(self) -> list[RedisServer]:
        """See Topology."""
        return list(dict.fromkeys(primary for _, _, primary in await self._slots()))

    async def primary_of(self, key: str) -> RedisServer:
        """See Topology; of every slot where ``key`` is one, as ``{bus}``."""
        slot = key_slot(key.encode())
        return next(primary for first, last, primary in await self._slots() if first <= slot <= last)

    async def replica_of(self, primary: RedisServer) -> RedisServer:
        """Return the replica of a primary, as an agreeing node names it."""
        for _, _, first, *rest in await self._ask("CLUSTER", "SLOTS"):
            if first[1] == primary.announced_port:
                return self._node(rest[0][1])
        raise LookupError(f"the node on port {primary.port} is no primary with slots")

    async def fail_over(self, key: str = "") -> RedisServer:
        """See Topology."""
        await self.wait_whole()
        replica = await self.replica_of(await self.primary_of(key))
        asked_at = 0.0

        async def is_promoted() -> bool:
            nonlocal asked_at
            if await self._is_primary(replica, key):
                return True
            if time.monotonic() - asked_at > HAND_OVER_SECONDS:
                await replica.cli("CLUSTER", "FAILOVER")
                asked_at = time.monotonic()
            return False

        await until(is_promoted, f"failover to the node on port {replica.port}")
        return replica

    async def kill_and_wait(self, key: str) -> RedisServer:
        """Kill the primary of a key, wait until its replica has its place, and return that."""
        replica = await self.replica_of(await self.kill_primary(key))
        await self.wait_promoted(replica, key)
        return replica

    async def wait_promoted(self, replica: RedisServer, key: str = "") -> None:
        """Return once a replica takes writes of a key and the nodes that live say so."""

        async def is_promoted() -> bool:
            return await self._is_primary(replica, key)

        await until(is_promoted, f"failover to the node on port {replica.port}")

    async def _is_primary(self, node: RedisServer, key: str) -> bool:
        """Whether all nodes that live say that a node takes writes of a key."""
        slot = key_slot(key.encode())
        for living in self._living():
            for first, last, primary, *_ in await living.cli("CLUSTER", "SLOTS"):
                if first <= slot <= last and primary[1] != node.announced_port:
                    return False
        return True

    async def move_slot(self, key: str, target: RedisServer) -> None:
        """Move the slot of a key to another primary while it is used, as ``redis-cli --cluster reshard`` does."""
        slot = key_slot(key.encode())
        origin = await self.primary_of(key)
        origin_id, target_id = await origin.cli("CLUSTER", "MYID"), await target.cli("CLUSTER", "MYID")
        await target.cli("CLUSTER", "SETSLOT", slot, "IMPORTING", origin_id)
        await origin.cli("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
        wait_ms = int(MOVE_KEY_SECONDS_MAX * 1000)
        while keys := await origin.cli("CLUSTER", "GETKEYSINSLOT", slot, MOVE_KEYS):
            await origin.cli(
                *("MIGRATE", target.host, target.port, "", 0, wait_ms, "KEYS", *keys), seconds=MOVE_KEY_SECONDS_MAX
            )
        for node in (target, origin, *await self.primaries()):
            await node.cli("CLUSTER", "SETSLOT", slot, "NODE", target_id)

    async def _start_servers(self) -> None:
        for node in self.nodes:
            await node.start()
        for number, node in enumerate(self.nodes[:PRIMARIES]):
            await node.cli("CLUSTER", "ADDSLOTSRANGE", *_share(number))
            await node.cli("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes:
            for other, bus_port in zip(self.nodes, self._bus_ports, strict=True):
                if other is not node:
                    await node.cli("CLUSTER", "MEET", other.host, other.port, bus_port)
        for replica, primary in zip(self.nodes[PRIMARIES:], self.nodes, strict=False):
            await self._follow(replica, await primary.cli("CLUSTER", "MYID"))

    async def _follow(self, replica: RedisServer, primary_id: str) -> None:
        """Make a node a replica, as soon as it knows its primary as one."""

        async def follows() -> bool:
            try:
                return bool(await replica.cli("CLUSTER", "REPLICATE", primary_id) == "OK")
            except ResponseError as error:
                if "Unknown node" in str(error) or "only replicate a master" in str(error):
                    return False
                raise

        await until(follows, "node that is known to its replica")

    async def _slots(self) -> list[tuple[int, int, RedisServer]]:
        return [
            (first, last, self._node(primary[1])) for first, last, primary, *_ in await self._ask("CLUSTER", "SLOTS")
        ]

    async def _ask(self, *command: str) -> Any:  # noqa: ANN401 - Redis answers anything
        """Ask a node that takes part: one that was cut off may tell of a past."""
        for node in self._living():

            async def takes_part(node: RedisServer = node) -> bool:
                return "cluster_state:ok" in await node.cli("CLUSTER", "INFO")

            if await settled(takes_part):
                return await node.cli(*command)
            await asyncio.sleep(0)
        return await next(self._living()).cli(*command)

    def _living(self) -> Iterator[RedisServer]:
        return (node for node in self.nodes if node.is_running and not node.is_suspended)

    def _node(self, port: int) -> RedisServer:
        return next(node for node in self.nodes if node.announced_port == port)


def _arrangement(slots: Sequence[Any]) -> dict[int, bool]:
    """Return, by port, whether a node is a primary, of all that CLUSTER SLOTS names."""
    return {port: index == 0 for _, _, *members in slots for index, (_, port, *_) in enumerate(members)}


def _share(number: int) -> Sequence[int]:
    """Return the first and the last slot of one of the primaries."""
    return SLOTS * number // PRIMARIES, SLOTS * (number + 1) // PRIMARIES - 1
