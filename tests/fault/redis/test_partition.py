"""Two hosts whose cable is pulled."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.redis_servers import Partition, RedisServer, Side


def reaches(side: Side, address: str, port: int) -> bool:
    """Tell whether somebody on a host can connect to an address."""
    script = f"import socket; socket.create_connection(({address!r}, {port}), timeout=0.5).close()"
    done = subprocess.run([*side.prefix, sys.executable, "-c", script], check=False, capture_output=True)
    return done.returncode == 0


async def test_pulled_cable_leaves_no_way_around(tmp_path: Path) -> None:
    """Without the cable neither host reaches the other, by any of its addresses; with it, they do. Nothing is left."""
    with Partition() as partition:
        left, right = partition.left, partition.right
        async with RedisServer(tmp_path / "server", place=left.place) as server:
            addresses = (left.address, left.test_address)
            assert [reaches(right, address, server.port) for address in addresses] == [True, False]
            partition.cut()
            assert await server.cli("PING") == "PONG"
            assert [reaches(right, address, server.port) for address in addresses] == [False, False]
            partition.heal()
            assert reaches(right, left.address, server.port)
    listed = subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True).stdout
    assert [side.namespace for side in (left, right) if side.namespace in listed] == []
