"""What the error replies of Redis 7 and newer mean: a table. `failure` reads it. Pure.

redis-py has a class for some replies; the others are known by their first word, and a few by how they go on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from redis import exceptions

from waooaw.events.outages import (
    ClusterDownError,
    DurabilityUnavailableError,
    EngineBusyError,
    EngineDeniedError,
    EngineLoadingError,
    EngineMasterDownError,
    EngineReadOnlyError,
    EngineUnavailableError,
    ReshardingError,
    StorageFullError,
    StorageRefusedError,
)

if TYPE_CHECKING:
    from waooaw.events.outages import UnavailableError

RUNBOOK: Final = "docs/runbooks/redis-access.md"


class Meaning(NamedTuple):
    """What a reply means: the error, and the sentence behind "Redis at <where>"."""

    kind: type[UnavailableError]
    sentence: str
    retry_after_seconds: int = 1


_LOADING: Final = Meaning(EngineLoadingError, "is reading its data after a start; it answers once that is done", 2)
_READONLY: Final = Meaning(
    EngineReadOnlyError,
    "is a replica and takes no writes; the primary is looked for. If the address names this node, name the primary, "
    "or use redis+sentinel:// or redis+cluster://",
)
_MASTERDOWN: Final = Meaning(
    EngineMasterDownError,
    "is a replica that has lost its primary and serves no stale data; bring the primary back, or promote a replica",
    2,
)
_CLUSTERDOWN: Final = Meaning(
    ClusterDownError,
    "says that the cluster is down or that nobody serves this bus's slot; look at CLUSTER INFO and CLUSTER SHARDS, "
    "and bring the missing nodes back",
    2,
)
_RESHARDING: Final = Meaning(
    ReshardingError, "is handing this bus's slot to another node; the bus goes on once the slot has moved"
)
_MOVED: Final = Meaning(
    ReshardingError,
    "says that another node serves this bus's slot now; it is looked for (an address of a Cluster begins redis+cluster://)",
)
_OOM: Final = Meaning(
    StorageFullError,
    "has reached maxmemory and takes no more events; raise maxmemory, or lower the retention. Reading goes on",
    5,
)
_MISCONF: Final = Meaning(
    StorageRefusedError,
    "refuses writes because it cannot save its data to disk; free space on its disk and look at its log. It takes "
    "writes again by itself after the next save that works",
    5,
)
_NOREPLICAS: Final = Meaning(
    DurabilityUnavailableError,
    "has fewer good replicas than min-replicas-to-write asks for; bring a replica back",
    2,
)
_BUSY: Final = Meaning(
    EngineBusyError,
    "is busy with a script that runs too long; if it does not end, SCRIPT KILL ends one that has written nothing",
)
_NOAUTH: Final = Meaning(EngineDeniedError, f"wants a password and none was given; set it as {RUNBOOK} says", 5)
WRONGPASS: Final = Meaning(
    EngineDeniedError,
    f"refused the user or the password, or the user is switched off; compare them with ACL LIST as {RUNBOOK} says",
    5,
)
_NO_PASSWORD_SET: Final = Meaning(
    EngineDeniedError,
    "has no password for the user default while one was given; take it from the settings, or set requirepass",
    5,
)
_PROTECTED: Final = Meaning(
    EngineDeniedError,
    f"runs in protected mode and answers its own machine only; give it a password as {RUNBOOK} says",
    5,
)
_LDAP: Final = Meaning(EngineDeniedError, "could not ask its external provider of users; look at that provider", 5)
_CLIENTS: Final = Meaning(
    EngineUnavailableError,
    "has as many clients as maxclients allows; raise maxclients, or look at CLIENT LIST for those that leak",
    2,
)
_NOSCRIPT: Final = Meaning(EngineUnavailableError, "has forgotten the scripts; they are loaded again")
_CROSSSLOT: Final = Meaning(
    EngineUnavailableError,
    "says that keys lie in several slots; check that the address is of a Redis Cluster's own nodes and that no proxy "
    "rewrites keys",
    5,
)
_NO_DATABASE: Final = Meaning(
    EngineUnavailableError, "has no database of this number; name one that `databases` of its configuration allows", 5
)
_IS_CLUSTER: Final = Meaning(
    EngineUnavailableError, "is a node of a Redis Cluster, which has database 0 only; write redis+cluster://", 5
)
_NO_CLUSTER: Final = Meaning(
    EngineUnavailableError, "is no node of a Redis Cluster; write redis:// or redis+sentinel://", 5
)
_NO_SERVICE: Final = Meaning(
    EngineUnavailableError, "watches no service of this name; compare it with SENTINEL MASTERS", 5
)
_WRONGTYPE: Final = Meaning(
    EngineUnavailableError,
    "holds a key of ours with another type: another program writes keys that begin with wowevent:; give the bus a "
    "database of its own",
    5,
)

CLASSES: Final[tuple[tuple[type[exceptions.RedisError], Meaning], ...]] = (
    (exceptions.BusyLoadingError, _LOADING),
    (exceptions.ReadOnlyError, _READONLY),
    (exceptions.MasterDownError, _MASTERDOWN),  # before its parent ClusterDownError
    (exceptions.ClusterDownError, _CLUSTERDOWN),
    (exceptions.TryAgainError, _RESHARDING),
    (exceptions.MovedError, _MOVED),  # before its parent AskError
    (exceptions.AskError, _RESHARDING),
    (exceptions.OutOfMemoryError, _OOM),
    (exceptions.NoScriptError, _NOSCRIPT),
    (exceptions.ClusterCrossSlotError, _CROSSSLOT),
    (exceptions.ExternalAuthProviderError, _LDAP),
)
WORDS: Final[dict[str, Meaning]] = {
    "LOADING": _LOADING,
    "READONLY": _READONLY,
    "MASTERDOWN": _MASTERDOWN,
    "CLUSTERDOWN": _CLUSTERDOWN,
    "TRYAGAIN": _RESHARDING,
    "ASK": _RESHARDING,
    "MOVED": _MOVED,
    "OOM": _OOM,
    "MISCONF": _MISCONF,
    "NOREPLICAS": _NOREPLICAS,
    "BUSY": _BUSY,
    "NOAUTH": _NOAUTH,
    "WRONGPASS": WRONGPASS,
    "DENIED": _PROTECTED,
    "NOSCRIPT": _NOSCRIPT,
    "CROSSSLOT": _CROSSSLOT,
    "WRONGTYPE": _WRONGTYPE,
}
TEXTS: Final[tuple[tuple[str, Meaning], ...]] = (
    ("max number of clients", _CLIENTS),  # and "max number of clients + cluster connections"
    ("without any password configured", _NO_PASSWORD_SET),
    ("no password is set", _NO_PASSWORD_SET),
    ("DB index is out of range", _NO_DATABASE),
    ("SELECT is not allowed in cluster mode", _IS_CLUSTER),
    ("cluster support disabled", _NO_CLUSTER),
    ("No such master with that name", _NO_SERVICE),
)
"""Replies that begin with ``ERR`` and are known by how they go on."""
