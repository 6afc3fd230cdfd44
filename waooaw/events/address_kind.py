"""What an IP address is for, where it is not for everybody: the networks that nobody reaches over the internet.

The tables are IANA's special-purpose registries (RFC 6890 and what came after), and the addresses at which clouds tell
a machine its credentials. They are written out, because the standard library's differ from one Python to the next.

Rule 1: an IPv6 address that carries an IPv4 address is judged by it: the packet may end there.
Rule 2: of IPv6 only what is given out for the internet (2000::/3) is for everybody; what is new there is refused until
it is written down here.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

IpAddress = IPv4Address | IPv6Address
IpNetwork = IPv4Network | IPv6Network

_METADATA: Final = "an address where a cloud tells machines their secrets"
_PRIVATE: Final = "private (RFC 1918)"
_DOCUMENTATION: Final = "for documentation"
_BENCHMARK: Final = "for benchmarks (RFC 2544)"
_RELAY: Final = "for relays of the network itself"

_IPV4: Final[tuple[tuple[IPv4Network, str], ...]] = tuple(
    (IPv4Network(network), words)
    for network, words in (
        ("169.254.169.254", _METADATA),  # AWS, Azure, Google and most others
        ("169.254.170.2", _METADATA),  # AWS: tasks of ECS
        ("169.254.170.23", _METADATA),  # AWS: pods of EKS
        ("168.63.129.16", _METADATA),  # Azure: a public address that never leaves the machine's host
        ("100.100.100.200", _METADATA),  # Alibaba
        ("192.0.0.192", _METADATA),  # Oracle
        ("0.0.0.0/8", "unspecified: it reaches this machine"),
        ("127.0.0.0/8", "loopback"),
        ("10.0.0.0/8", _PRIVATE),
        ("172.16.0.0/12", _PRIVATE),
        ("192.168.0.0/16", _PRIVATE),
        ("100.64.0.0/10", "inside a carrier's network (RFC 6598)"),
        ("169.254.0.0/16", "link-local"),
        ("192.0.0.0/24", "for protocols (RFC 6890)"),
        ("192.0.2.0/24", _DOCUMENTATION),
        ("198.51.100.0/24", _DOCUMENTATION),
        ("203.0.113.0/24", _DOCUMENTATION),
        ("192.31.196.0/24", _RELAY),
        ("192.52.193.0/24", _RELAY),
        ("192.88.99.0/24", _RELAY),
        ("192.175.48.0/24", _RELAY),
        ("198.18.0.0/15", _BENCHMARK),
        ("224.0.0.0/4", "multicast"),
        ("255.255.255.255", "broadcast"),
        ("240.0.0.0/4", "reserved"),
    )
)

_IPV6: Final[tuple[tuple[IPv6Network, str], ...]] = tuple(
    (IPv6Network(network), words)
    for network, words in (
        ("fd00:ec2::254", _METADATA),  # AWS
        ("fd00:ec2::23", _METADATA),  # AWS: pods of EKS
        ("fd20:ce::254", _METADATA),  # Google
        ("::", "unspecified: it reaches this machine"),
        ("::1", "loopback"),
        ("::/96", "IPv4-compatible, which is given up (RFC 4291)"),
        ("64:ff9b:1::/48", "a translation inside a network (RFC 8215)"),
        ("100::/64", "for packets to be dropped (RFC 6666)"),
        ("2001::/32", "a Teredo tunnel (RFC 4380)"),
        ("2001:2::/48", _BENCHMARK),
        ("2001::/23", "for protocols (RFC 2928)"),
        ("2001:db8::/32", _DOCUMENTATION),
        ("3fff::/20", _DOCUMENTATION),
        ("2002::/16", "a 6to4 tunnel (RFC 3056)"),
        ("2620:4f:8000::/48", _RELAY),
        ("fc00::/7", "private (RFC 4193)"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
)

_TRANSLATED: Final = IPv6Network("64:ff9b::/96")
"""NAT64 (RFC 6052): how a machine with IPv6 alone reaches every IPv4 address, so it is not refused as a whole."""

_GIVEN_OUT: Final = IPv6Network("2000::/3")

_ISATAP: Final = 0x00005EFE
_ISATAP_MASK: Final = 0xFCFFFFFF
"""RFC 5214 section 6.1: the upper half of an interface identifier that carries an IPv4 address, but for two flags."""


def dialled(address: IpAddress) -> IpAddress:
    """Return the address that the system dials: for an IPv4-mapped one (::ffff:192.0.2.1) that is the IPv4 address."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


def special_kind(address: IpAddress) -> str | None:
    """Return what an address is, to stand behind *is*, when it is not for everybody; None for a global address."""
    address = dialled(address)
    if isinstance(address, IPv4Address):
        return next((words for network, words in _IPV4 if address in network), None)
    for network, words in _IPV6:
        if address in network:
            return words
    if address.scope_id is not None:
        return "bound to one link by its zone (RFC 4007)"
    if address in _TRANSLATED or (int(address) >> 32) & _ISATAP_MASK == _ISATAP:
        carried = IPv4Address(int(address) & 0xFFFFFFFF)
        kind = special_kind(carried)
        if kind is not None:
            return f"a way to {carried}, which is {kind}"
    return None if address in _TRANSLATED or address in _GIVEN_OUT else "outside of what is given out for the internet"
