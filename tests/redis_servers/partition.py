"""Two hosts on one machine with a cable between them that can be pulled: network namespaces and veth (ip-netns(8)).

Each side has a second cable to the tests, which stays: a test sees both sides of a partition, and they do not see each
other. No packet finds a way around, for neither side has a route but to its neighbours.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Final, Self

import pytest

from tests.redis_servers.server import Place

_NETWORK: Final = IPv4Network("198.18.0.0/15")
"""RFC 2544: addresses for tests of networks, which nobody reaches."""

_SUBNET_ADDRESSES: Final = 16
"""Few, so that processes whose tests run side by side have a subnet each."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two hosts: its address on the cable between them, and the one by which the tests reach it."""

    namespace: str
    address: str
    test_address: str

    @property
    def prefix(self) -> tuple[str, ...]:
        """The command that runs another one on this host."""
        return ("nsenter", f"--net=/run/netns/{self.namespace}")

    @property
    def place(self) -> Place:
        """A place for a server of Redis, which listens on both addresses and announces the one of the cable."""
        return Place(self.address, self.prefix, also=(self.test_address, "127.0.0.1"))


class Partition:
    """The two hosts, as long as its context. They take root and ``ip``: without, the test is skipped and says so."""

    def __init__(self) -> None:
        mark = os.getpid() % 100_000
        subnet = mark * _SUBNET_ADDRESSES % _NETWORK.num_addresses
        self.left = Side(f"we{mark}l", str(_NETWORK[subnet + 1]), str(_NETWORK[subnet + 6]))
        self.right = Side(f"we{mark}r", str(_NETWORK[subnet + 2]), str(_NETWORK[subnet + 10]))
        self._cable = (f"we{mark}cl", f"we{mark}cr")
        self._test_cables = (
            (f"we{mark}tl", f"we{mark}hl", str(_NETWORK[subnet + 5])),
            (f"we{mark}tr", f"we{mark}hr", str(_NETWORK[subnet + 9])),
        )

    def __enter__(self) -> Self:
        """Make the hosts and the cables."""
        if os.geteuid() != 0 or shutil.which("ip") is None:
            pytest.skip("network namespaces take root and the command `ip`")
        refused = _try_ip("netns", "add", self.left.namespace)
        if refused:
            pytest.skip(f"no network namespace may be made here: {refused}")
        try:
            self._connect()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the hosts, and the cables with them. What runs on them is ended by who started it, before."""
        self._remove()

    def cut(self) -> None:
        """Pull the cable between the two: packets vanish, nobody is told."""
        _ip("-n", self.left.namespace, "link", "set", self._cable[0], "down")

    def heal(self) -> None:
        """Plug it in again. Harmless where it is."""
        _ip("-n", self.left.namespace, "link", "set", self._cable[0], "up")

    def _connect(self) -> None:
        sides = (self.left, self.right)
        _ip("netns", "add", self.right.namespace)
        first, second = self._cable
        _ip(
            *("link", "add", first, "netns", self.left.namespace, "type", "veth"),
            *("peer", "name", second, "netns", self.right.namespace),
        )
        for side, end, (inside, outside, test_address) in zip(sides, self._cable, self._test_cables, strict=True):
            _ip("link", "add", outside, "type", "veth", "peer", "name", inside, "netns", side.namespace)
            _ip("addr", "add", f"{test_address}/30", "dev", outside)
            _ip("link", "set", outside, "up")
            _ip("-n", side.namespace, "addr", "add", f"{side.address}/30", "dev", end)
            _ip("-n", side.namespace, "addr", "add", f"{side.test_address}/30", "dev", inside)
            for device in (end, inside, "lo"):
                _ip("-n", side.namespace, "link", "set", device, "up")

    def _remove(self) -> None:
        for side in (self.left, self.right):
            _try_ip("netns", "delete", side.namespace)
        for _, outside, _ in self._test_cables:  # gone with the namespace; deleted here where it was half made
            _try_ip("link", "delete", outside)


def _try_ip(*arguments: str) -> str:
    """Run ``ip``; return its complaint, empty where it has none."""
    done = subprocess.run(["ip", *arguments], check=False, capture_output=True, text=True)
    return done.stderr.strip() or "refused" if done.returncode else ""


def _ip(*arguments: str) -> None:
    complaint = _try_ip(*arguments)
    if complaint:
        raise RuntimeError(f"ip {' '.join(arguments)}: {complaint}")
