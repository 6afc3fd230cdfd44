"""Where webhooks may go: every hostile spelling is refused, and an opened network opens itself alone."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from yarl import URL

from tests.webhooks.addresses import PUBLIC, REFUSED, UNREADABLE
from waooaw.events.address_kind import IpAddress, IpNetwork, dialled, special_kind
from waooaw.events.errors import AddressRefusedError
from waooaw.events.field_rules import Problems
from waooaw.events.push import read_push
from waooaw.events.webhook_address import (
    AllowedNetworks,
    WebhookUrl,
    read_webhook_url,
    refusal_of,
    refusal_of_name,
    wrong_with_networks,
)

NOWHERE: Final = AllowedNetworks()
LOOPBACK: Final = AllowedNetworks.parse(["127.0.0.0/8"])

SPECIAL: Final[tuple[IpNetwork, ...]] = tuple(
    ip_network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
        *("192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"),
        *("::/95", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32"),
        *("2002::/16", "fc00::/7", "fe80::/9", "ff00::/8"),
    )
)


def in_network(network: IpNetwork) -> st.SearchStrategy[IpAddress]:
    """Draw addresses of a network."""
    first, last = int(network.network_address), int(network.broadcast_address)
    kind: type[IpAddress] = IPv4Address if isinstance(network, IPv4Network) else IPv6Address
    return st.integers(first, last).map(kind)


ADDRESSES: Final[st.SearchStrategy[IpAddress]] = st.one_of(
    st.ip_addresses(),
    st.sampled_from(SPECIAL).flatmap(in_network),
    st.ip_addresses(v=4).map(lambda address: IPv6Address(f"::ffff:{address}")),
    st.ip_addresses(v=4).map(lambda address: IPv6Address(f"64:ff9b::{address}")),
)


@st.composite
def networks(draw: st.DrawFn) -> IpNetwork:
    """Draw a network around an address."""
    address = draw(ADDRESSES)
    return ip_network(f"{address}/{draw(st.integers(0, address.max_prefixlen))}", strict=False)


def spelled(address: IpAddress) -> str:
    """Spell a URL for an address."""
    return f"https://[{address}]/" if address.version == 6 else f"https://{address}/"


def refusal(url: str, opened: AllowedNetworks = NOWHERE) -> AddressRefusedError:
    """Return how a URL is refused."""
    with pytest.raises(AddressRefusedError) as caught:
        read_webhook_url(url, opened)
    return caught.value


@pytest.mark.parametrize(("url", "said"), [*REFUSED.items(), *UNREADABLE.items()])
def test_hostile_urls(url: str, said: str) -> None:
    """Each hostile spelling is refused with the place and the reason, and the reason repeats no credentials."""
    error = refusal(url)
    assert error.detail.startswith("push/url is not called: ")
    assert said in error.detail
    assert "pass" not in error.detail
    violation = error.errors[0]
    assert (violation.pointer, violation.code) == ("#/push/url", "address_refused")
    assert error.detail == f"push/url {violation.detail}"


def test_hostile_urls_that_a_definition_takes() -> None:
    """What is refused by where it goes has passed the rule for the spelling of the field: nothing else stops it."""
    for url in (*REFUSED, *PUBLIC):
        problems = Problems()
        definition = read_push(problems, "#/push", {"url": url})
        problems.raise_any("push")
        assert definition is not None


@pytest.mark.parametrize("url", PUBLIC)
def test_public_urls(url: str) -> None:
    """What is for everybody is called with no network opened, also while networks are open."""
    known = read_webhook_url(url, NOWHERE)
    assert known == read_webhook_url(url, LOOPBACK)
    assert known.scheme == "https"


def test_what_is_read() -> None:
    """The scheme and the host are told in lower case, the path as it came, and the port of the scheme where none is."""
    assert read_webhook_url("HTTPS://Agent.Example.COM/A%2f?Q=%41", NOWHERE) == WebhookUrl(
        text="https://agent.example.com/A%2f?Q=%41", scheme="https", host="agent.example.com", port=443, address=None
    )
    assert read_webhook_url("http://[::FFFF:127.0.0.1]:9000?x", LOOPBACK) == WebhookUrl(
        text="http://[::ffff:127.0.0.1]:9000/?x",
        scheme="http",
        host="::ffff:127.0.0.1",
        port=9000,
        address=IPv6Address("::ffff:127.0.0.1"),
    )
    assert read_webhook_url("http://127.0.0.1", LOOPBACK).port == 80


def test_who_is_told_of_the_setting() -> None:
    """The setting is named where it helps, and not where the URL is wrong whatever is opened."""
    assert "WOWEVENT_WEBHOOK_ALLOWED_NETWORKS" in refusal("https://10.0.0.1/").detail
    assert "WOWEVENT_WEBHOOK_ALLOWED_NETWORKS" in refusal("http://agent.example.com/").detail
    assert "WOWEVENT_WEBHOOK_ALLOWED_NETWORKS" not in refusal("https://user@agent.example.com/").detail
    assert "WOWEVENT_WEBHOOK_ALLOWED_NETWORKS" not in refusal("https://127.1/").detail


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://127.0.0.1:6400/x",
        "https://127.9.9.9:3/",
        "http://[::ffff:127.0.0.1]:65535/",
        "http://localhost:8080/",  # its addresses tell
        "https://agent.default.svc.cluster.local:9000/",
        "http://agent.example.com/",
    ],
)
def test_an_opened_network(url: str) -> None:
    """Inside of an opened network http and every port are called; of a name its addresses will tell."""
    assert read_webhook_url(url, LOOPBACK).text == url


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://10.0.0.1/", "10.0.0.1 is private"),
        ("https://[::1]/", "::1 is loopback"),
        ("https://[64:ff9b::127.0.0.1]/", "a way to 127.0.0.1"),
        ("https://[::127.0.0.1]/", "IPv4-compatible"),
        ("https://[2002:7f00:1::]/", "6to4"),
        ("http://8.8.8.8/", "8.8.8.8 is out in the internet, where only https is called"),
        ("https://8.8.8.8:2222/", "where only the ports 443 and 8443 are called"),
        ("http://127.1/", "a number"),
        ("http://user@127.0.0.1/", "credentials"),
        ("ftp://127.0.0.1/", "it is ftp"),
        ("http://127.0.0.1:0/", "its port"),
        ("http://[fe80::1%25eth0]/", "a zone"),
    ],
)
def test_an_opened_network_opens_nothing_else(url: str, said: str) -> None:
    """Addresses next to an opened network, ways around it and odd spellings stay refused."""
    assert said in refusal(url, LOOPBACK).detail


@given(ADDRESSES)
@settings(max_examples=500)
def test_no_inner_address_passes(address: IpAddress) -> None:
    """Whatever is called with no network opened is global for the standard library too, as is what it carries."""
    try:
        read_webhook_url(spelled(address), NOWHERE)
    except AddressRefusedError:
        return
    reached = dialled(address)
    assert special_kind(address) is None
    assert reached.is_global
    assert not reached.is_multicast
    if isinstance(reached, IPv6Address) and reached in IPv6Network("64:ff9b::/96"):
        assert IPv4Address(int(reached) & 0xFFFFFFFF).is_global
    else:
        assert not reached.is_reserved


@given(networks(), ADDRESSES, st.sampled_from(["http", "https"]), st.integers(1, 65_535))
def test_a_network_opens_exactly_itself(network: IpNetwork, address: IpAddress, scheme: str, port: int) -> None:
    """With one network opened an address is called as without it, or because it is in that network as it is dialled."""
    opened = AllowedNetworks.parse([str(network)])
    before = refusal_of(address, NOWHERE, scheme=scheme, port=port)
    after = refusal_of(address, opened, scheme=scheme, port=port)
    reached = dialled(address)
    is_inside = reached in network or (
        isinstance(reached, IPv4Address)
        and network.version == 6
        and network.prefixlen >= 96
        and IPv6Address(f"::ffff:{reached}") in network
    )
    assert (address in opened) is is_inside
    assert after == (None if is_inside else before)


@given(st.data())
def test_a_network_opens_all_of_itself(data: st.DataObject) -> None:
    """Every address of an opened network is called, on every port and without TLS."""
    network = data.draw(networks())
    assume(network.version == 4 or not network.overlaps(IPv6Network("::ffff:0:0/96")))
    address = data.draw(in_network(network))
    assert refusal_of(address, AllowedNetworks.parse([str(network)]), scheme="http", port=6379) is None


@given(st.from_regex(r"(0x|0)?[0-9a-f]{0,10}(\.(0x|0)?[0-9a-f]{0,4}){0,4}\.?", fullmatch=True))
def test_odd_numbers(host: str) -> None:
    """A host that the system's C library takes for an address is called only when it is spelled the one plain way."""
    try:
        meant = IPv4Address(socket.inet_aton(host))
    except OSError:
        return
    try:
        known = read_webhook_url(f"https://{host}/", NOWHERE)
    except AddressRefusedError:
        return
    assert (known.address, known.host) == (meant, str(meant))


@given(st.from_regex(r"https://[ab1.:@/?#\[\]%\\x-]{1,24}", fullmatch=True))
def test_parsers_agree(url: str) -> None:
    """Whatever passes is read alike by the parser of the client that requests it, and by the standard library's."""
    try:
        known = read_webhook_url(url, NOWHERE)
    except AddressRefusedError:
        return
    for text in (url, known.text):
        ours, library = URL(text, encoded=True), urlsplit(text)
        assert (ours.raw_host, ours.port) == (known.host, known.port)
        assert (library.hostname, library.port or 443) == (known.host, known.port)


@pytest.mark.parametrize(
    ("host", "addresses", "said"),
    [
        ("agent.example.com", ["8.8.8.8", "127.0.0.1"], "stands for an address that is loopback"),
        ("agent.example.com", ["8.8.8.8", "::ffff:10.0.0.1"], "stands for an address that is private"),
        ("agent.example.com", ["fe80::1%eth0"], "link-local"),
        ("agent.example.com", ["2606:4700::1111%eth0"], "bound to one link"),
        ("agent.example.com", ["8.8.8.8", "somewhere"], "something that is no address"),
        ("redis", ["8.8.8.8"], "in no opened network, though its name is an inner one"),
        ("metadata.google.internal.", ["8.8.8.8"], "though its name is an inner one"),
        ("agent.example.com", ["8.8.8.8"], None),
        ("agent.example.com", ["8.8.8.8", "127.0.0.1"], None),
        ("localhost", ["127.0.0.1", "127.0.0.2"], None),
    ],
)
def test_names(host: str, addresses: list[str], said: str | None) -> None:
    """One address that is not called refuses the name, an inner name needs an opened network, no address is told."""
    opened = LOOPBACK if said is None else NOWHERE
    why = refusal_of_name(host, addresses, opened, scheme="https", port=443)
    if said is None or why is None:
        assert (why, said) == (None, None)
    else:
        assert said in why
        assert not any(address in why for address in addresses)


def test_names_over_http() -> None:
    """A name over http, or on another port, is called when all that it stands for is in opened networks."""
    arguments = "agent.example.com", ["127.0.0.1", "8.8.8.8"]
    assert refusal_of_name(*arguments, LOOPBACK, scheme="https", port=443) is None
    assert "only https is called" in str(refusal_of_name(*arguments, LOOPBACK, scheme="http", port=80))
    assert "only the ports 443 and 8443" in str(refusal_of_name(*arguments, LOOPBACK, scheme="https", port=9000))
    assert refusal_of_name("agent.example.com", ["127.0.0.1"], LOOPBACK, scheme="http", port=9000) is None


def test_the_setting() -> None:
    """Networks and single addresses are taken, one that is spelled as IPv4 in IPv6 as the IPv4 that it is."""
    texts = ["10.1.0.0/16", "192.168.7.7", "fd12:3456::/48", "::ffff:172.16.0.0/108"]
    assert wrong_with_networks(texts) is None
    assert wrong_with_networks([]) is None
    opened = AllowedNetworks.parse(texts)
    assert opened
    assert not AllowedNetworks.parse([])
    for address in ("10.1.255.255", "192.168.7.7", "fd12:3456::9", "172.31.0.1", "::ffff:172.16.0.1"):
        assert ip_address(address) in opened
    for address in ("10.2.0.0", "192.168.7.8", "fd12:3457::", "172.32.0.1", "64:ff9b::10.1.0.1"):
        assert ip_address(address) not in opened


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("inside", "'inside' is no network"),
        ("10.0.0.0/33", "'10.0.0.0/33' is no network"),
        ("127.1", "'127.1' is no network"),
        ("10.1.2.3/16", "'10.1.2.3/16' has an address inside the network 10.1.0.0/16; say which of the two it is"),
        ("fe80::1%eth0/64", "is no network"),
        ("", "'' is no network"),
        ("*", "'*' is no network"),
    ],
)
def test_a_wrong_setting(text: str, said: str) -> None:
    """What is no network, or may be meant in two ways, is refused by the name that was given."""
    wrong = wrong_with_networks(["10.0.0.0/8", text])
    assert wrong is not None
    assert wrong.startswith("must be networks such as 10.1.0.0/16")
    assert said in wrong
    with pytest.raises(ValueError, match="network"):
        AllowedNetworks.parse([text])


@pytest.mark.parametrize("port", [22, 25, 6379, 5432, 26379])
def test_ports_of_other_protocols_are_refused_in_opened_networks_too(port: int) -> None:
    """A request there could be taken for commands: no network opens SSH, mail or a store."""
    networks = AllowedNetworks.parse(["127.0.0.0/8"])
    with pytest.raises(AddressRefusedError, match=f"its port {port} is one of other protocols"):
        read_webhook_url(f"http://127.0.0.1:{port}/", networks)
    assert read_webhook_url("http://127.0.0.1:9011/", networks).port == 9011
