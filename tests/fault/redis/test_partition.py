"""Two hosts whose cable is pulled."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.redis_servers import Partition, RedisServer, SentinelGroup, Side


def reaches(side: Side, address: str, port: int) -> bool:
    """Tell whether somebody on a host can connect to an address."""
    script = f"import socket; socket.create_connection(({address!r}, {port}), timeout=0.5).close()"
    done = subprocess.run([*side.prefix, sys.executable, "-c", script], check=False, capture_output=True)
    return done.returncode == 0


async def test_pulled_cable_parts_two_hosts_and_the_tests_see_both() -> None:
    """Servers on both hosts replicate; parted, the majority fails over and the old primary knows nothing of it."""
    with Partition() as partition:
        left, right = partition.left, partition.right
        places = (left.place, right.place, left.place, right.place, right.place)
        async with SentinelGroup(places=places) as group:
            minority, majority = group.data
            await minority.cli("SET", "key", "before")
            await group.wait_in_sync()
            partition.cut()
            assert await minority.cli("SET", "key", "minority") == "OK"
            assert await group.wait_promoted(minority) is majority
            assert (await minority.cli("ROLE"))[0] == "master"
            assert await majority.cli("GET", "key") == "before"


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
