"""Where Redis is: the URL of the setting, read once.

Rule 1: a secret is never part of a sentence, a ``repr`` or a location, also not where the URL cannot be read.
Rule 2: what the URL says in a way that this module does not know is refused, never ignored: a mistyped option that is
silently dropped would be found on the day it was needed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Final, Literal
from urllib.parse import unquote, unquote_to_bytes

from waooaw.events.errors import InvalidSettingError

Mode = Literal["standalone", "sentinel", "cluster"]
"""How the nodes stand together: one fixed node; a primary that Sentinel names; slots spread over a Cluster."""

_SCHEMES: Final[dict[str, tuple[Mode, bool]]] = {
    "redis": ("standalone", False),
    "rediss": ("standalone", True),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}
_PORTS: Final[dict[Mode, int]] = {"standalone": 6379, "sentinel": 26_379, "cluster": 6379}
_PORT_MAX: Final = 65_535
_NODES_MAX: Final = 64
"""Far more than anybody lists: each is asked in turn, so the list has an end."""

_FORMS: Final = (
    "redis://host:6379/0, redis+sentinel://host:26379,host:26379/name or redis+cluster://host:6379,host:6379"
    " (rediss… for TLS)"
)
_NO_SCHEME: Final = "it does not begin with a scheme of Redis; use"
_HOST: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_IPV6: Final = re.compile(r"[0-9A-Fa-f:.]+(%[A-Za-z0-9_.-]+)?")
_NUMBER: Final = re.compile(r"[0-9]{1,5}")
_SERVICE: Final = re.compile(r"[A-Za-z0-9._-]+")
"""The names that Sentinel itself takes (``sentinelCheckConfigName``)."""
_BROKEN_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Node:
    """One server of Redis or of Sentinel. An IPv6 address stands without its brackets in ``host``."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Who we are, to Redis and to Sentinel. Without a name the password is that of the user ``default``."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where Redis is, and how to speak to it.

    In mode ``sentinel`` the nodes are Sentinels and ``service`` is what they watch; otherwise there is no service. A
    Cluster needs one node that answers: the rest is asked for.
    """

    mode: Mode
    nodes: tuple[Node, ...]
    service: str | None
    database: int
    tls: bool
    credentials: Credentials = field(repr=False)

    @property
    def location(self) -> str:
        """The URL without user and password, for people and logs."""
        scheme = next(scheme for scheme, kind in _SCHEMES.items() if kind == (self.mode, self.tls))
        path = f"/{self.service}" if self.service else ""
        if self.mode != "cluster":
            path += f"/{self.database}"
        return f"{scheme}://{','.join(map(str, self.nodes))}{path}"


def parse_address(url: str, given: Credentials) -> RedisAddress:
    """Read a URL; what ``given`` holds beats what the URL says. Raises `InvalidSettingError`, which shows no secret."""
    scheme, separator, rest = url.strip().partition("://")
    kind = _SCHEMES.get(scheme.lower()) if separator else None
    if kind is None:
        trouble = "Unix sockets are not supported; use" if _is_socket(scheme) else _NO_SCHEME
        raise _refused(f"{trouble} {_FORMS}")
    mode, tls = kind
    # At the last "@": one that stands raw in a password would otherwise put half of it into a host's name.
    user_information, _, rest = rest.rpartition("@")
    if re.search("[/?#]", user_information):
        raise _refused("a '/', '?' or '#' of a user or a password is written %2F, %3F or %23")
    if "?" in rest or "#" in rest:
        raise _refused("options behind '?' or '#' are not read from it; what can be set has a setting of its own")
    authority, _, path = rest.partition("/")
    nodes = _nodes(authority, _PORTS[mode])
    if mode == "standalone" and len(nodes) > 1:
        raise _refused(
            "it names several nodes: use redis+sentinel:// for Sentinels or redis+cluster:// for nodes of a Cluster"
        )
    service, database = _place(mode, path)
    credentials = _credentials(user_information, given)
    _check_names(credentials)
    return RedisAddress(mode, nodes, service, database, tls, credentials)


def _refused(trouble: str) -> InvalidSettingError:
    return InvalidSettingError(f"the URL of Redis cannot be used: {trouble}")


def _is_socket(scheme: str) -> bool:
    return scheme.lower() in {"unix", "redis+unix", "redis+socket"}


def _nodes(authority: str, default_port: int) -> tuple[Node, ...]:
    parts = authority.split(",")
    if len(parts) > _NODES_MAX:
        raise _refused(f"it names {len(parts)} nodes; {_NODES_MAX} is the most, and three are enough to find the rest")
    nodes = tuple(_node(part, number, default_port) for number, part in enumerate(parts, start=1))
    if len(set(nodes)) != len(nodes):
        raise _refused("it names the same node twice")
    return nodes


def _node(part: str, number: int, default_port: int) -> Node:
    if part.startswith("["):
        host, bracket, port = part[1:].partition("]")
        good = bool(bracket and _IPV6.fullmatch(host) and ":" in host and (not port or port.startswith(":")))
        text = port[1:] if port else None
    else:
        host, colon, port = part.partition(":")
        if ":" in port:
            raise _refused(f"host {number} has more than one ':'; an IPv6 address stands in brackets: [::1]:6379")
        good = bool(_HOST.fullmatch(host))
        text = port if colon else None
    if not host:
        raise _refused(f"host {number} is empty; use {_FORMS}")
    if not good:
        raise _refused(f"host {number} is no host name and no address; use {_FORMS}")
    if text is None:
        return Node(host, default_port)
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= _PORT_MAX:
        raise _refused(f"the port of host {number} must be a number from 1 to {_PORT_MAX:,}")
    return Node(host, int(text))


def _place(mode: Mode, path: str) -> tuple[str | None, int]:
    """Read what stands behind the hosts: the service that Sentinel watches, and the database."""
    parts = path.split("/")
    service = None
    if mode == "sentinel":
        service = parts.pop(0)
        if not service:
            raise _refused("the name of the service that Sentinel watches is missing: redis+sentinel://host:26379/name")
        if not _SERVICE.fullmatch(service):
            raise _refused("the name of the service that Sentinel watches has letters, digits, '.', '_' and '-' only")
    text = parts.pop(0) if parts else ""
    if parts and parts != [""]:
        raise _refused(f"too much stands behind its hosts; use {_FORMS}")
    if text and not _NUMBER.fullmatch(text):
        raise _refused("the database must be a number, such as the 0 in redis://host:6379/0")
    database = int(text or 0)
    if mode == "cluster" and database:
        raise _refused("a Redis Cluster has database 0 only")
    return service, database


def _credentials(user_information: str, given: Credentials) -> Credentials:
    user, _, password = user_information.partition(":")
    return replace(
        given,
        username=given.username or _decoded(user, "user") or None,
        password=given.password or _decoded(password, "password") or None,
    )


def _decoded(text: str, what: str) -> str:
    if _BROKEN_ESCAPE.search(text):
        raise _refused(f"the {what} has a '%' that begins no escape; a '%' itself is written %25")
    try:
        unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise _refused(f"the {what} is not UTF-8 behind its escapes") from None
    return unquote(text)


def _check_names(credentials: Credentials) -> None:
    """A name without a password is a mistake: AUTH takes none without the other."""
    if credentials.username and not credentials.password:
        raise _refused(
            "a user is named without a password; a password alone has a colon before it: redis://:password@host"
        )
    if credentials.sentinel_username and not credentials.sentinel_password:
        raise InvalidSettingError("a user for Sentinel is named without a password; give both, or neither")
