"""Where writes for a bus go: the one server, what the sentinels say, or the node that holds the bus's slot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from redis.crc import key_slot
from redis.exceptions import RedisError

from waooaw.events.engine.redis.address import Node
from waooaw.events.engine.redis.failure import reply_failure
from waooaw.events.engine.redis.link import Link
from waooaw.events.outages import ClusterDownError, EngineUnavailableError

if TYPE_CHECKING:
    from waooaw.events.engine.redis.address import RedisAddress
    from waooaw.events.engine.redis.connecting import Connector

ASK_SECONDS: Final = 1.0
"""How long one sentinel or cluster node may take to say where the primary is; then the next one is asked."""


class Topology(Protocol):
    """Finds the node to write to."""

    async def primary(self, bus: str) -> Node:
        """Return the node that takes a bus's writes now; raises `EngineUnavailableError` kinds."""
        ...


class Standalone:
    """One server."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def primary(self, bus: str) -> Node:  # noqa: ARG002 - one server for all
        """Return the server."""
        return self._node


class SentinelGroup:
    """A primary that sentinels watch (https://redis.io/docs/latest/develop/reference/sentinel-clients/)."""

    def __init__(self, connector: Connector, sentinels: tuple[Node, ...], service: str) -> None:
        self._connector = connector
        self._sentinels = list(sentinels)
        self._service = service

    async def primary(self, bus: str) -> Node:  # noqa: ARG002 - one primary for all
        """Ask one sentinel after the other; the one that answered is asked first the next time."""
        failure: EngineUnavailableError | None = None
        for sentinel in tuple(self._sentinels):
            try:
                found = await _ask(
                    self._connector, sentinel, ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service), sentinel=True
                )
            except EngineUnavailableError as error:
                failure = error
                continue
            if found is None:
                message = f"the sentinel at {sentinel} watches no primary named {self._service!r}; check the URL"
                failure = EngineUnavailableError(message)
                continue
            self._sentinels.remove(sentinel)
            self._sentinels.insert(0, sentinel)
            return Node(found[0].decode(), int(found[1]))
        raise failure or EngineUnavailableError("no sentinel is named in the URL")


class Cluster:
    """A cluster: each bus is in one slot, and each slot is on one node."""

    def __init__(self, connector: Connector, seeds: tuple[Node, ...]) -> None:
        self._connector = connector
        self._seeds = seeds
        self._known: list[Node] = []

    async def primary(self, bus: str) -> Node:
        """Ask one node after the other who holds the bus's slot."""
        slot = key_slot(b"{%b}" % bus.encode())
        failure: EngineUnavailableError | None = None
        for node in dict.fromkeys((*self._known, *self._seeds)):
            try:
                slots = await _ask(self._connector, node, ("CLUSTER", "SLOTS"), sentinel=False)
            except EngineUnavailableError as error:
                failure = error
                continue
            primaries = [(first, last, _node(said, node)) for first, last, said, *_ in slots]
            self._known = [*dict.fromkeys(primary for _, _, primary in primaries)]
            for first, last, primary in primaries:
                if first <= slot <= last:
                    return primary
            failure = ClusterDownError(
                f"no node of the cluster holds slot {slot}, where bus {bus!r} lives: "
                "run `redis-cli --cluster check` and assign it"
            )
        raise failure or EngineUnavailableError("no cluster node is named in the URL")


def _node(said: list[Any], asked: Node) -> Node:
    """Read a node; one that does not know its own address yet is the one that was asked (CLUSTER SLOTS)."""
    host = said[0].decode() if said[0] else ""
    return Node(asked.host if host in {"", "?"} else host, int(said[1]))


async def _ask(connector: Connector, node: Node, command: tuple[str, ...], *, sentinel: bool) -> Any:  # noqa: ANN401 - Redis answers anything
    connection = await connector.connect(node, timeout_seconds=ASK_SECONDS, sentinel=sentinel)
    link = Link(connection, node)
    try:
        return await link.call(*command, timeout_seconds=ASK_SECONDS)
    except RedisError as error:
        failure = reply_failure(error, link.where)
        if isinstance(failure, EngineUnavailableError):
            raise failure from None
        raise EngineUnavailableError(failure.detail) from None
    finally:
        await link.close()


def topology_for(address: RedisAddress, connector: Connector) -> Topology:
    """Return how to find primaries at an address."""
    match address.mode:
        case "sentinel":
            return SentinelGroup(connector, address.nodes, address.service or "")
        case "cluster":
            return Cluster(connector, address.nodes)
        case "standalone":
            return Standalone(address.nodes[0])
