"""Where the bus calls: how the URL of a receiver is spelled, and which addresses behind its name are called.

A receiver is named by whoever may put a subscription, and called from inside the operator's network: without these
rules the bus would be his hand in there (server-side request forgery).

Rule 1: what two parsers may read in two ways is refused, never repaired.
Rule 2: out in the internet only https, on the ports of https, and only to addresses that are for everybody.
Rule 3: networks that the operator opened (`ALLOWED_NETWORKS`) are called over http too, and on any port that is no
other protocol's. That opens those addresses and nothing else; a name is called when all its addresses are in them.
Rule 4: of several addresses, one that is not called refuses the name as a whole.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Final

from waooaw.events.address_kind import IpAddress, IpNetwork, dialled, special_kind
from waooaw.events.errors import AddressRefusedError, Violation

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ALLOWED_NETWORKS: Final = "WOWEVENT_WEBHOOK_ALLOWED_NETWORKS"

PUBLIC_PORTS: Final = (443, 8443)
"""Where https lives: on other ports answer services that were never meant to get a request from here."""

_PORTS: Final = " and ".join(map(str, PUBLIC_PORTS))

FOREIGN_PORTS: Final = frozenset(
    (
        *(1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109),
        *(110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530),
        *(531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045),
        *(4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080),
        *(2379, 2380, 3306, 5432, 5672, 6379, 6380, 9042, 11211, 16379, 26379, 27017),
    )
)
"""Where other protocols live, which may take a request for commands of theirs: not called in opened networks either.
The last line are stores, those before it are what browsers do not call (Fetch, "Port blocking")."""

POINTER: Final = "#/push/url"

INTERNAL_NAMES: Final = frozenset(
    ("corp", "home", "home.arpa", "internal", "intranet", "lan", "local", "localdomain", "localhost", "svc")
)
"""Names whose hosts, and those below them, are inside some network: RFC 6761, 6762 and 8375, what ICANN has set aside
for good (.internal, .corp, .home), and the services of Kubernetes. So is every name without a dot."""

HOST_LENGTH_MAX: Final = 253
PORT_MAX: Final = 65_535

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_AUTHORITY: Final = re.compile(r"(?P<host>\[[^\[\]]*\]|[^\[\]:]*)(?P<port>:.*)?")
_PORT: Final = re.compile(r":[1-9][0-9]{0,4}", re.ASCII)
_LABEL: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*", re.ASCII)
"""A last label that makes a host an IPv4 address for inet_aton and for browsers (WHATWG URL, "ends in a number")."""

# RFC 3986 sections 3.3 and 3.4, and the square brackets that queries have all over.
_PATH: Final = re.compile(r"(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*)?", re.ASCII)
_QUERY: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?\[\]-]|%[0-9A-Fa-f]{2})*", re.ASCII)


@dataclass(frozen=True, slots=True)
class AllowedNetworks:
    """The networks inside that an operator has opened; empty as long as nobody says otherwise."""

    networks: tuple[IpNetwork, ...] = ()

    @classmethod
    def parse(cls, texts: Iterable[str]) -> AllowedNetworks:
        """Read networks such as 10.1.0.0/16, or single addresses; raises ValueError for what is none."""
        return cls(tuple(_network(text) for text in texts))

    def __contains__(self, address: IpAddress) -> bool:
        """Tell whether an address, as the system dials it, is in one of the networks."""
        reached = dialled(address)
        return any(reached in network for network in self.networks)

    def __bool__(self) -> bool:
        return bool(self.networks)


def wrong_with_networks(texts: Sequence[str]) -> str | None:
    """Return what is wrong with the setting as the end of a sentence, or None."""
    for text in texts:
        try:
            _network(text)
        except ValueError as error:
            return f"must be networks such as 10.1.0.0/16 or fd12:3456::/48, separated by commas: {error}"
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookUrl:
    """A URL that may be called, as far as its spelling tells; what its name stands for is judged when it is dialled.

    ``text`` is what to request, with the scheme and the host in lower case. ``host`` is a name, or the address without
    brackets; ``address`` is None for a name.
    """

    text: str
    scheme: str
    host: str
    port: int
    address: IpAddress | None


def read_webhook_url(text: str, networks: AllowedNetworks) -> WebhookUrl:
    """Read the URL of a receiver. Raises `AddressRefusedError` for one that is not called whatever its name stands for.

    A name that needs an opened network (http, another port, an inner name) passes when there is any: its addresses
    tell.
    """
    scheme, authority, path = _split(text)
    if scheme == "http" and not networks:
        raise refused("it is http, and out in the internet only https is called", opens=True)
    found = _AUTHORITY.fullmatch(authority)
    if found is None:
        raise refused("its host is no name and no address")
    port = _read_port(found["port"], scheme)
    host = found["host"].lower()
    address = _read_host(host)
    bare = host.strip("[]")
    if address is None:
        why = None if networks else _needs_opened_network(bare, scheme, port)
    else:
        why = refusal_of(address, networks, scheme=scheme, port=port)
    if why is not None:
        raise refused(why, opens=True)
    return WebhookUrl(
        text=f"{scheme}://{host}{found['port'] or ''}{path}", scheme=scheme, host=bare, port=port, address=address
    )


def refusal_of(address: IpAddress, networks: AllowedNetworks, *, scheme: str, port: int) -> str | None:
    """Return why an address is not called, as a sentence without its end, or None."""
    why = _why_not(address, networks, scheme, port)
    return None if why is None else f"{dialled(address)} {why}"


def refusal_of_name(
    host: str, addresses: Iterable[str], networks: AllowedNetworks, *, scheme: str, port: int
) -> str | None:
    """Return why a name with these addresses is not called, as a sentence without its end, or None.

    The addresses are not told: whoever may name a receiver could read the DNS of the inner network out of them.
    """
    inner = is_internal(host)
    for text in addresses:
        try:
            address = ip_address(text)
        except ValueError:
            return f"{host} stands for something that is no address"
        why = _why_not(address, networks, scheme, port)
        if why is None and inner and address not in networks:
            why = "is in no opened network, though its name is an inner one"
        if why is not None:
            return f"{host} stands for an address that {why}"
    return None


def _why_not(address: IpAddress, networks: AllowedNetworks, scheme: str, port: int) -> str | None:
    """Return why an address is not called, as what the address is, or None."""
    if address in networks:
        return None
    kind = special_kind(address)
    if kind is not None:
        return f"is {kind}"
    if scheme != "https":
        return "is out in the internet, where only https is called"
    if port not in PUBLIC_PORTS:
        return f"is out in the internet, where only the ports {_PORTS} are called"
    return None


def is_internal(host: str) -> bool:
    """Tell whether a name is one of some inner network by its spelling."""
    labels = host.removesuffix(".").lower().split(".")
    return len(labels) == 1 or any(".".join(labels[-count:]) in INTERNAL_NAMES for count in (1, 2))


def refused(why: str, *, opens: bool = False) -> AddressRefusedError:
    """Return the error that says why a URL is not called; with ``opens`` also how an operator lets it be called."""
    how = f"; the operator can open networks with {ALLOWED_NETWORKS}" if opens else ""
    detail = f"is not called: {why}{how}"
    return AddressRefusedError(
        f"{POINTER[2:]} {detail}", errors=(Violation(POINTER, detail, AddressRefusedError.code),)
    )


def _network(text: str) -> IpNetwork:
    try:
        network = ip_network("" if "%" in text else text, strict=False)  # a zone means nothing here
    except ValueError:
        raise ValueError(f"{text[:64]!r} is no network") from None
    if "/" in text and ip_address(text.partition("/")[0]) != network.network_address:
        raise ValueError(f"{text[:64]!r} has an address inside the network {network}; say which of the two it is")
    if isinstance(network, IPv6Network) and network.prefixlen >= 96:  # noqa: PLR2004 - the bits before the IPv4 address
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:  # it is dialled as IPv4
            return ip_network(f"{mapped}/{network.prefixlen - 96}")
    return network


def _split(text: str) -> tuple[str, str, str]:
    """Return the scheme in lower case, the authority, and the path with the query."""
    if not text.isascii() or not text.isprintable() or " " in text:
        raise refused("it has characters that no URL has; a name in other letters is spelled xn--…")
    if "\\" in text:
        raise refused("it has a backslash, which some read as a slash")
    named = _SCHEME.match(text)
    if named is None or named[1].lower() not in {"http", "https"}:
        raise refused("only https is called" if named is None else f"it is {named[1][:32]}, and only https is called")
    rest = text[named.end() :]
    if not rest.startswith("//"):
        raise refused("there have to be two slashes and a host behind its scheme")
    if "#" in rest:
        raise refused("it has a fragment, which is never sent")
    authority, path = _cut(rest[2:])
    if "@" in authority:
        raise refused("it has credentials; they belong into push.authorization, where they stay secret")
    before, mark, query = path.partition("?")
    if _PATH.fullmatch(before) is None or _QUERY.fullmatch(query) is None:
        raise refused("its path or query has characters that have to be percent-encoded")
    return named[1].lower(), authority, f"{before or '/'}{mark}{query}"


def _cut(rest: str) -> tuple[str, str]:
    end = next((index for index, letter in enumerate(rest) if letter in "/?"), len(rest))
    return rest[:end], rest[end:]


def _read_port(text: str | None, scheme: str) -> int:
    if text is None:
        return 443 if scheme == "https" else 80
    if _PORT.fullmatch(text) is None or int(text[1:]) > PORT_MAX:
        raise refused(f"its port is no number from 1 to {PORT_MAX:,}, spelled without zeros in front")
    port = int(text[1:])
    if port in FOREIGN_PORTS:
        raise refused(f"its port {port} is one of other protocols than HTTP")
    return port


def _read_host(host: str) -> IpAddress | None:
    """Return the address that a host is, None for a name; raises `AddressRefusedError` for what is neither."""
    if not host:
        raise refused("it has no host")
    if host.startswith("["):
        return _read_ipv6(host[1:-1])
    if "%" in host:
        raise refused("its host is percent-encoded")
    labels = host.removesuffix(".").split(".")
    if len(host) > HOST_LENGTH_MAX or any(_LABEL.fullmatch(label) is None for label in labels):
        raise refused("its host is no name and no address")
    if _NUMBER.fullmatch(labels[-1]) is None:
        return None
    try:
        return ip_address(host)
    except ValueError:
        raise refused("its host is a number; an address is spelled in four parts, such as 192.0.2.1") from None


def _read_ipv6(text: str) -> IpAddress:
    if "%" in text:
        raise refused("its address has a zone, which means nothing outside of one machine")
    try:
        address = ip_address(text)
    except ValueError:
        raise refused("what stands in its brackets is no IPv6 address") from None
    if address.version == 4:  # noqa: PLR2004 - the version
        raise refused("what stands in its brackets is no IPv6 address")
    return address


def _needs_opened_network(host: str, scheme: str, port: int) -> str | None:
    """Return why a name is not called as long as no network is open."""
    if is_internal(host):
        return "its host is an inner name"
    if scheme == "https" and port not in PUBLIC_PORTS:
        return f"out in the internet only the ports {_PORTS} are called"
    return None
