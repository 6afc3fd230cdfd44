"""A fixture by which all tests of a run share one running topology of a kind: a conftest that wants it imports it.

    from tests.redis_servers.shared import redis_topology  # noqa: F401

A topology starts at its first use and is as new for each test: `Topology.renew` undoes what the test before it did.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import pytest

from tests.redis_servers.cluster import RedisCluster
from tests.redis_servers.sentinel_group import SentinelGroup
from tests.redis_servers.standalone import Standalone
from tests.redis_servers.topology import Topology

KINDS: Final[dict[str, Callable[[], Topology]]] = {
    "redis": lambda: Standalone("redis"),
    "valkey": lambda: Standalone("valkey"),
    "sentinel": SentinelGroup,
    "cluster": RedisCluster,
    "valkey-sentinel": lambda: SentinelGroup("valkey"),
    "valkey-cluster": lambda: RedisCluster("valkey"),
}
"""By name: one of Redis, one of Valkey, and arrangements of either."""

TopologyFactory = Callable[[str], Awaitable[Topology]]


class SharedTopologies:
    """What runs for this test run, by kind."""

    def __init__(self) -> None:
        self._running: dict[str, Topology] = {}

    async def get(self, kind: str) -> Topology:
        """Return the topology of a kind, without data; start it where it does not run yet."""
        found = self._running.get(kind)
        if found is None:
            found = KINDS[kind]()
            await found.start()
            self._running[kind] = found
        else:
            await found.renew()
        return found

    def close(self) -> None:
        """End all of them."""
        for topology in self._running.values():
            topology.close()


_KEPT: Final = pytest.StashKey[SharedTopologies]()


@pytest.fixture
def redis_topology(pytestconfig: pytest.Config) -> TopologyFactory:
    """Await it with a name of `KINDS`. What it gives is for one test at a time, and closed by the run."""
    shared = pytestconfig.stash.get(_KEPT, None)
    if (
        shared is None
    ):  # kept by the run, not by a fixture: each conftest that imports this one has a fixture of its own
        shared = pytestconfig.stash[_KEPT] = SharedTopologies()
        pytestconfig.add_cleanup(shared.close)
    return shared.get
