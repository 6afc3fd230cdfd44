"""Whether a server can be trusted with events: what it says of itself, judged. Pure.

Rule 1: a server that would lose events by the way it is set up, without anything breaking, is refused; one that would
lose them when something breaks is warned about, unless a bus was promised more.
Rule 2: each sentence says what is wrong, what would happen, and how to mend it.
Rule 3: a user that may not ask CONFIG is served as well: what INFO tells is judged, and a promise that INFO cannot
confirm (``fsync``) is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from waooaw.events.receipt import Durability

FULL_COVERAGE: Final = "cluster-require-full-coverage"

CONFIG_NAMES: Final = (
    "appendonly",
    "appendfsync",
    "no-appendfsync-on-rewrite",
    "client-output-buffer-limit",
    "min-replicas-max-lag",
    FULL_COVERAGE,
)
"""What to ask CONFIG GET for: it takes several names at once since Redis 7.0."""

VERSION_MIN: Final = (7, 0)
"""Scripts with flags, sharded pub/sub and CONFIG GET of several names begin there."""

PUBSUB_HARD_BYTES_MIN: Final = 32 * 1024 * 1024
PUBSUB_SOFT_BYTES_MIN: Final = 8 * 1024 * 1024
"""Redis's own defaults: 32 MiB at once, 8 MiB for a minute."""

SHARE_OF_MEMORY: Final = 0.6
"""Of ``maxmemory`` for all logs together: ids, subscriptions, queues and buffers need the rest."""

LAG_SECONDS_MAX: Final = 10
"""Redis's own default of ``min-replicas-max-lag``; more lets a primary that is cut off take writes for longer."""

_VERSION: Final = re.compile(r"(\d{1,4})\.(\d{1,4})")
_REPLICA: Final = re.compile(r"slave\d+")
_PUBSUB_LIMIT: Final = re.compile(r"\bpubsub (\d+) (\d+) (\d+)")


@dataclass(frozen=True, slots=True)
class ServerReport:
    """What a primary says of itself: INFO, and CONFIG GET of `CONFIG_NAMES`, or None where that is not permitted."""

    info: Mapping[str, str]
    config: Mapping[str, str] | None

    @property
    def product(self) -> str:
        """What it is, for people: ``Redis 7.0.15``, ``Valkey 9.1.2``."""
        if "valkey_version" in self.info:
            return f"Valkey {self.info['valkey_version']}"
        return f"Redis {self.info.get('redis_version', 'of an unknown version')}"

    @property
    def memory_bytes_max(self) -> int:
        """``maxmemory``; 0: none is set."""
        return _number(self.info.get("maxmemory", "0"))

    @property
    def replicas(self) -> int:
        """How many replicas are attached and keep up; one that is still copying confirms nothing."""
        rows = (value for name, value in self.info.items() if _REPLICA.fullmatch(name))
        return sum("state=online" in row.split(",") for row in rows)

    @property
    def appends_to_file(self) -> bool:
        """Whether the append-only file is on."""
        return self.info.get("aof_enabled") == "1"


@dataclass(frozen=True, slots=True)
class Verdict:
    """``refusal``: nothing may be published here. ``durability_problem``: not at ``replicated`` for now."""

    refusal: str | None
    warnings: tuple[str, ...]
    durability_problem: str | None = None


def parse_info(text: bytes | str) -> dict[str, str]:
    """Read the reply of INFO; what is no ``name:value`` is passed over, as INFO's own headings are."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    rows = (line.partition(":") for line in text.splitlines() if not line.startswith("#"))
    return {name: value for name, colon, value in rows if colon}


def parse_config(reply: Sequence[bytes | str]) -> dict[str, str]:
    """Read the reply of CONFIG GET in RESP2: names and values in turn."""
    texts = [item.decode("utf-8", "replace") if isinstance(item, bytes) else item for item in reply]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def judge(report: ServerReport, durability: Collection[Durability]) -> Verdict:
    """Say whether events may be published to a primary whose buses promise the levels ``durability``."""
    refusal = _version_refusal(report) or _eviction_refusal(report)
    if refusal is None and "fsync" in durability:
        refusal = _fsync_refusal(report)
    problem = None
    if "replicated" in durability and not report.replicas:
        problem = (
            f"the durability 'replicated' is not to be had: no replica is attached to this {report.product} and keeps "
            "up; start one (replicaof), and look at INFO replication of both"
        )
    return Verdict(refusal, tuple(_warnings(report, durability)), problem)


def size_bytes_max(report: ServerReport, buses: int) -> int | None:
    """Return what one of ``buses`` logs on this server may take, or None where Redis has no limit of its own."""
    return int(report.memory_bytes_max * SHARE_OF_MEMORY) // max(buses, 1) or None


def _version_refusal(report: ServerReport) -> str | None:
    found = _VERSION.match(report.info.get("redis_version", ""))
    if found is None:
        return "the server does not tell its version in INFO; Redis 7.0 or newer, or Valkey, is needed"
    if (int(found[1]), int(found[2])) < VERSION_MIN:
        return f"{report.product} is too old: Redis 7.0 or newer, or Valkey, is needed; upgrade it"
    return None


def _eviction_refusal(report: ServerReport) -> str | None:
    policy = report.info.get("maxmemory_policy")
    if policy in {None, "noeviction"}:
        return None
    return (
        f"maxmemory-policy is {policy}: when memory runs out, Redis would delete events without telling anybody. Set "
        "it with CONFIG SET maxmemory-policy noeviction, and for the next start by the line "
        "'maxmemory-policy noeviction' in redis.conf"
    )


def _fsync_refusal(report: ServerReport) -> str | None:
    if report.config is None:
        return (
            "the durability 'fsync' cannot be confirmed: our user may not run CONFIG GET. Permit it (+config|get), or "
            "choose the durability 'local'"
        )
    for name, wanted in (("appendonly", "yes"), ("appendfsync", "always"), ("no-appendfsync-on-rewrite", "no")):
        found = report.config.get(name)
        if found != wanted:
            shown = "not told by this server" if found is None else f"'{found}'"
            return (
                f"the durability 'fsync' is not kept: {name} is {shown} and must be '{wanted}'. Set it with CONFIG SET "
                f"{name} {wanted} and in redis.conf, or choose the durability 'local'"
            )
    return None


def _warnings(report: ServerReport, durability: Collection[Durability]) -> Iterator[str]:
    yield from _storage_warnings(report)
    if not report.memory_bytes_max:
        yield (
            "maxmemory is not set: only the retention bounds the log, and a full machine ends Redis. Set maxmemory to "
            "at most 40 % of the memory that Redis may use"
        )
    if "maxmemory_policy" not in report.info:
        yield "the server does not tell its maxmemory-policy; make sure that it is noeviction, or events get lost"
    yield from _pubsub_warnings(report)
    if report.info.get("cluster_enabled") == "1" and (report.config or {}).get(FULL_COVERAGE) == "yes":
        yield (
            "cluster-require-full-coverage is yes: while one primary is down, all buses of the cluster are. Set it to "
            "no on every node, and only the buses of that primary wait"
        )
    if "replicated" in durability:
        yield from _replication_warnings(report)


def _storage_warnings(report: ServerReport) -> Iterator[str]:
    if not report.appends_to_file and not report.replicas:
        yield (
            "Redis has no append-only file and no replica: a crash loses what was accepted since its last snapshot. "
            "Set appendonly yes, or attach a replica"
        )
    for name, what in (
        ("aof_last_write_status", "the last write of the append-only file"),
        ("aof_last_bgrewrite_status", "the last rewrite of the append-only file"),
        ("rdb_last_bgsave_status", "the last snapshot"),
    ):
        if report.info.get(name, "ok") != "ok":
            yield f"{what} failed ({name}:{report.info[name]}); free space on the disk of Redis and look at its log"


def _pubsub_warnings(report: ServerReport) -> Iterator[str]:
    found = _PUBSUB_LIMIT.search((report.config or {}).get("client-output-buffer-limit", ""))
    if found is None:
        return
    hard, soft, soft_seconds = (int(number) for number in found.groups())
    if 0 < hard < PUBSUB_HARD_BYTES_MIN or (soft_seconds and 0 < soft < PUBSUB_SOFT_BYTES_MIN):
        yield (
            f"client-output-buffer-limit is 'pubsub {hard} {soft} {soft_seconds}', which is small: Redis cuts the live "
            "channel at a burst, and live readers must read the log again. Set it with "
            "CONFIG SET client-output-buffer-limit 'pubsub 32mb 8mb 60' and in redis.conf"
        )


def _replication_warnings(report: ServerReport) -> Iterator[str]:
    # INFO has the number of good replicas only where the rule is on: a user without CONFIG sees it too.
    if "min_slaves_good_slaves" not in report.info:
        yield (
            "min-replicas-to-write is off: a primary that is cut off goes on to take writes that nobody keeps. Set "
            "min-replicas-to-write 1 and min-replicas-max-lag 10 on every node"
        )
        return
    lag = (report.config or {}).get("min-replicas-max-lag", "0")
    if _number(lag) > LAG_SECONDS_MAX:
        yield (
            f"min-replicas-max-lag is {lag}: a primary that is cut off takes writes for so many seconds. Set it to "
            f"{LAG_SECONDS_MAX} or less"
        )


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0
