"""The ways to run on Redis that the faults are tried on, by what they promise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import pytest

from tests.fault.parameters import is_long
from tests.redis_servers import Program, RedisCluster, SentinelGroup, Standalone, Topology

ALWAYS: Final = {"appendonly": "yes", "appendfsync": "always"}
EVERY_SECOND: Final = {"appendonly": "yes", "appendfsync": "everysec"}


@dataclass(frozen=True, slots=True)
class Mode:
    """Servers, how they write their files, and the durability that the bus promises on them.

    ``make`` may be given the ports that the servers with data announce instead of their own: those of proxies.
    """

    name: str
    durability: str
    make: Callable[..., Topology]
    data_servers: int = 1


def _alone(name: str, durability: str, program: Program, settings: Mapping[str, str]) -> Mode:
    return Mode(name, durability, partial(Standalone, program, settings))


def _watched(name: str, durability: str, program: Program) -> Mode:
    # "Replicated" takes a second replica: where the only one becomes the primary, nobody is left to confirm.
    replicas = 2 if durability == "replicated" else 1
    make = partial(
        SentinelGroup, program, EVERY_SECOND, replicas=replicas, min_replicas_to_write=int(durability == "replicated")
    )
    return Mode(name, durability, make, data_servers=1 + replicas)


def _clustered(name: str, durability: str, program: Program) -> Mode:
    return Mode(name, durability, partial(RedisCluster, program, EVERY_SECOND), data_servers=6)


MODES: Final[dict[str, Mode]] = {
    mode.name: mode
    for mode in (
        _alone("redis fsync", "fsync", "redis", ALWAYS),
        _alone("redis local, AOF always", "local", "redis", ALWAYS),
        _alone("redis local, AOF everysec", "local", "redis", EVERY_SECOND),
        _alone("valkey fsync", "fsync", "valkey", ALWAYS),
        _alone("valkey local, AOF everysec", "local", "valkey", EVERY_SECOND),
        _watched("sentinel local", "local", "redis"),
        _watched("sentinel replicated", "replicated", "redis"),
        _watched("valkey sentinel replicated", "replicated", "valkey"),
        _clustered("cluster local", "local", "redis"),
        _clustered("cluster replicated", "replicated", "redis"),
        _clustered("valkey cluster replicated", "replicated", "valkey"),
    )
}


def on_modes(*short: str, also: tuple[str, ...] = ()) -> pytest.MarkDecorator:
    """Run a test in the modes named, and under ``make fault`` in those of ``also`` too."""
    names = (*short, *also) if is_long() else short
    return pytest.mark.parametrize(
        "mode", [MODES[name] for name in names], ids=[name.replace(",", "") for name in names]
    )


def every_mode(*short: str) -> pytest.MarkDecorator:
    """Run a test in the modes named, and under ``make fault`` in all."""
    return on_modes(*short, also=tuple(name for name in MODES if name not in short))
