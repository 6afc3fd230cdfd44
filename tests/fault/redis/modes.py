"""The ways to run on Redis that the faults are tried on, by what they promise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pytest

from tests.fault.parameters import is_long
from tests.redis_servers import RedisCluster, SentinelGroup, Standalone, Topology

ALWAYS: Final = {"appendonly": "yes", "appendfsync": "always"}
EVERY_SECOND: Final = {"appendonly": "yes", "appendfsync": "everysec"}


@dataclass(frozen=True, slots=True)
class Mode:
    """Servers, how they write their files, and the durability that the bus promises on them."""

    name: str
    durability: str
    make: Callable[[], Topology]


def _mode(name: str, durability: str, make: Callable[[], Topology]) -> tuple[str, Mode]:
    return name, Mode(name, durability, make)


MODES: Final[dict[str, Mode]] = dict(
    (
        _mode("redis fsync", "fsync", lambda: Standalone("redis", ALWAYS)),
        _mode("redis local, AOF always", "local", lambda: Standalone("redis", ALWAYS)),
        _mode("redis local, AOF everysec", "local", lambda: Standalone("redis", EVERY_SECOND)),
        _mode("valkey fsync", "fsync", lambda: Standalone("valkey", ALWAYS)),
        _mode("valkey local, AOF everysec", "local", lambda: Standalone("valkey", EVERY_SECOND)),
        _mode("sentinel local", "local", lambda: SentinelGroup("redis", EVERY_SECOND)),
        _mode(
            "sentinel replicated", "replicated", lambda: SentinelGroup("redis", EVERY_SECOND, min_replicas_to_write=1)
        ),
        _mode("valkey sentinel replicated", "replicated", lambda: SentinelGroup("valkey", min_replicas_to_write=1)),
        _mode("cluster local", "local", lambda: RedisCluster("redis", EVERY_SECOND)),
        _mode("cluster replicated", "replicated", lambda: RedisCluster("redis", EVERY_SECOND)),
        _mode("valkey cluster replicated", "replicated", lambda: RedisCluster("valkey", EVERY_SECOND)),
    )
)


def on_modes(*short: str, also: tuple[str, ...] = ()) -> pytest.MarkDecorator:
    """Run a test in the modes named, and under ``make fault`` in those of ``also`` too."""
    names = (*short, *also) if is_long() else short
    return pytest.mark.parametrize(
        "mode", [MODES[name] for name in names], ids=[name.replace(",", "") for name in names]
    )


def every_mode(*short: str) -> pytest.MarkDecorator:
    """Run a test in the modes named, and under ``make fault`` in all."""
    return on_modes(*short, also=tuple(name for name in MODES if name not in short))
