"""Real servers of Redis and Valkey for tests, alone, watched by Sentinels, and as a Cluster."""

from __future__ import annotations

from tests.redis_servers.cluster import RedisCluster
from tests.redis_servers.partition import Partition, Side
from tests.redis_servers.program import PROGRAMS, Program
from tests.redis_servers.sentinel_group import SentinelGroup
from tests.redis_servers.server import Encryption, Login, Place, RedisServer
from tests.redis_servers.standalone import Standalone
from tests.redis_servers.topology import Topology

__all__ = [
    "PROGRAMS",
    "Encryption",
    "Login",
    "Partition",
    "Place",
    "Program",
    "RedisCluster",
    "RedisServer",
    "SentinelGroup",
    "Side",
    "Standalone",
    "Topology",
]
