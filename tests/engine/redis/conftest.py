"""Servers that the tests of this folder share."""

from __future__ import annotations

from tests.redis_servers.shared import redis_topology

__all__ = ["redis_topology"]
