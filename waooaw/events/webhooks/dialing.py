"""The connections to receivers: made to addresses that were judged, and to no others.

Rule 1: every address is judged as its socket is made, whatever came before: a literal address never meets the
resolver, and a name can stand for something else a moment after it was checked.
Rule 2: a name is looked up for the connection, judged, and those very addresses are dialled. No answer is kept.
Rule 3: a name that cannot be looked up now is no refusal: names come and go, and the next try looks again.
Rule 4: what is kept between requests is open connections alone: no cookies, no credentials and no proxies.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from aiohttp import ClientSession, ClientTimeout, DummyCookieJar
from aiohttp.abc import AbstractResolver, ResolveResult

from waooaw.events.name_lookup import NameLookup, system_look_up
from waooaw.events.outages import NameResolutionError
from waooaw.events.webhook_address import read_webhook_url, refusal_of, refusal_of_name, refused
from waooaw.events.webhooks.receiver_connection import ReceiverConnector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AsyncExitStack

    from waooaw.events.webhook_address import AllowedNetworks, WebhookUrl

AddressInfo = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int]]
"""What getaddrinfo tells of an address, as aiohttp gives it to who makes the socket."""

LOOK_UP_SECONDS: Final = 2.0

LOOK_UPS_MAX: Final = 256
"""Threads that a DNS without an answer can hold. More than an engine has: each receiver brings a name and maybe a DNS
of its own, and those that hang must not keep the others from being looked up."""

ADDRESSES_MAX: Final = 8
"""Addresses of one name that are dialled; all are judged. A name with hundreds would have a socket for each."""

IDLE_SECONDS: Final = 20.0
"""How long an open connection waits for its next request: servers and balancers cut after 30 to 60."""

READ_AHEAD_BYTES: Final = 16_384
"""Of a reply that nobody has read yet; twice that stops the reading. A receiver may send without end."""

USER_AGENT: Final = "WowEvent"

_SCHEMES: Final = ("https", "http")
_RECEIVER: Final = "the receiver"


class RefusedDialError(OSError):
    """An address that is not called was about to be dialled. An OSError, since that is what aiohttp passes on."""

    def __init__(self, why: str) -> None:
        super().__init__(errno.EACCES, why)
        self.why = why


class Dialer:
    """Judges URLs, and gives out the sessions whose connections keep to the judgement. For one event loop.

    ``look_up`` answers the addresses of a name; it blocks, and runs in threads of its own.
    """

    def __init__(self, networks: AllowedNetworks, *, look_up: Callable[[str], Iterable[str]] = system_look_up) -> None:
        self._networks = networks
        self._names = NameLookup(LOOK_UP_SECONDS, look_up=look_up, owner="the service", look_ups_max=LOOK_UPS_MAX)
        self._sessions: dict[str, ClientSession] = {}

    async def open(self, stack: AsyncExitStack) -> None:
        """Make the sessions; leaving the stack closes their connections.

        Certificates are verified against the store of the system (SSL_CERT_FILE and SSL_CERT_DIR name another), which
        is read here.
        """
        stack.callback(self._names.close)
        trust = await asyncio.to_thread(_trust)
        for scheme in _SCHEMES:
            session = _session(_Guard(self._networks, self._names, scheme), trust)
            stack.push_async_callback(session.close)
            self._sessions[scheme] = session

    def read(self, url: str) -> WebhookUrl:
        """Judge a URL by its spelling; raises `AddressRefusedError`."""
        return read_webhook_url(url, self._networks)

    async def check(self, url: str) -> WebhookUrl:
        """Judge a URL by its spelling and by what its host stands for now, within 2 s; raises `AddressRefusedError`.

        A name that cannot be looked up passes: it is judged when it is dialled.
        """
        known = self.read(url)
        if known.address is not None:
            return known
        try:
            addresses = await self._names.addresses(known.host, _RECEIVER)
        except NameResolutionError:
            return known
        why = refusal_of_name(known.host, addresses, self._networks, scheme=known.scheme, port=known.port)
        if why is not None:
            raise refused(why, opens=True)
        return known

    def session(self, url: WebhookUrl) -> ClientSession:
        """Return the session for a URL; requests have to be bounded in time, and must not follow redirects."""
        return self._sessions[url.scheme]

    def refusal(self, error: BaseException) -> str | None:
        """Return why an address was not dialled, if that is what a request failed with, else None."""
        return next((found.why for found in _causes(error) if isinstance(found, RefusedDialError)), None)


class _Guard(AbstractResolver):
    """Looks names up for the connections of one scheme, judges what they stand for, and judges again at the socket."""

    def __init__(self, networks: AllowedNetworks, names: NameLookup, scheme: str) -> None:
        self._networks = networks
        self._names = names
        self._scheme = scheme

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses to dial; raises `RefusedDialError`, and `socket.gaierror` where DNS failed."""
        try:
            addresses = await self._names.addresses(host, _RECEIVER)
        except NameResolutionError as error:
            raise socket.gaierror(socket.EAI_AGAIN, error.detail) from error
        why = refusal_of_name(host, addresses, self._networks, scheme=self._scheme, port=port)
        if why is not None:
            raise RefusedDialError(why)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=family,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses[:ADDRESSES_MAX]
        ]

    async def close(self) -> None:
        """Do nothing: the look-ups are the dialer's."""

    def socket_for(self, found: AddressInfo) -> socket.socket:
        """Make the socket for an address that is about to be dialled; raises `RefusedDialError`."""
        family, kind, protocol, _, (text, port, *_) = found
        why = refusal_of(ip_address(text), self._networks, scheme=self._scheme, port=port)
        if why is not None:
            raise RefusedDialError(why)
        return socket.socket(family, kind, protocol)


def _session(guard: _Guard, trust: ssl.SSLContext) -> ClientSession:
    connector = ReceiverConnector(
        limit=0,  # who sends has a limit for each receiver
        resolver=guard,
        use_dns_cache=False,
        socket_factory=guard.socket_for,
        ssl=trust,
        keepalive_timeout=IDLE_SECONDS,
    )
    return ClientSession(
        connector=connector,
        cookie_jar=DummyCookieJar(),
        timeout=ClientTimeout(total=None),  # who sends bounds the whole request
        trust_env=False,
        auto_decompress=False,
        read_bufsize=READ_AHEAD_BYTES,
        headers={"User-Agent": USER_AGENT},
        skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
    )


def _trust() -> ssl.SSLContext:
    trust = ssl.create_default_context()
    trust.minimum_version = ssl.TLSVersion.TLSv1_2
    trust.set_alpn_protocols(["http/1.1"])
    return trust


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all that it came of or is made of, each once."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        found = waiting.pop()
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        waiting += [found.__context__, found.__cause__, getattr(found, "os_error", None)]
        if isinstance(found, BaseExceptionGroup):
            waiting += found.exceptions
