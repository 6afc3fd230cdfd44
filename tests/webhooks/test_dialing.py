"""Dialling receivers: what was judged is what is called, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
import trustme
from aiohttp import ClientConnectorCertificateError, ClientConnectorDNSError, ClientError, InvalidURL
from aiohttp.abc import ResolveResult
from yarl import URL

from tests.webhooks.addresses import REFUSED, UNREADABLE
from waooaw.events.errors import AddressRefusedError
from waooaw.events.name_lookup import LOOK_UPS_MAX
from waooaw.events.webhook_address import AllowedNetworks, WebhookUrl
from waooaw.events.webhooks import dialing
from waooaw.events.webhooks.dialing import ADDRESSES_MAX, Dialer, RefusedDialError

LOOPBACK: Final = ("127.0.0.0/8",)
WAIT_SECONDS: Final = 20
"""For what comes at once, unless something is broken."""


@dataclass
class Receiver:
    """A server on loopback that answers every request, and keeps what it got."""

    port: int = 0
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    closed: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until it is closed."""
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(self.answer)
        writer.close()
        self.closed.release()


@contextlib.asynccontextmanager
async def receiving(
    host: str = "127.0.0.1", *, port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Receiver]:
    """Run a receiver."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, host, port, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()


@dataclass
class Names:
    """A DNS that tells what the test says: one list of addresses after the other, the last one for ever."""

    answers: list[list[str]]
    asked: list[str] = field(default_factory=list)

    def look_up(self, host: str) -> list[str]:
        """Tell the next answer."""
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextlib.asynccontextmanager
async def dialling(
    *networks: str, names: Names | None = None, look_up: Callable[[str], Iterable[str]] | None = None
) -> AsyncIterator[Dialer]:
    """Open a dialer into some networks."""
    found = look_up or (names or Names([["127.0.0.1"]])).look_up
    async with AsyncExitStack() as stack:
        dialer = Dialer(AllowedNetworks.parse(networks), look_up=found)
        await dialer.open(stack)
        yield dialer


def unjudged(text: str) -> WebhookUrl:
    """Return a URL that nobody judged, as if every check had missed it."""
    url = URL(text, encoded=True)
    assert url.host is not None
    assert url.port is not None
    return WebhookUrl(text=text, scheme=url.scheme, host=url.host, port=url.port, address=None)


async def get(dialer: Dialer, url: WebhookUrl) -> tuple[int, bytes]:
    """Request a URL; return the status and the body."""
    async with (
        asyncio.timeout(WAIT_SECONDS),
        dialer.session(url).get(URL(url.text, encoded=True), allow_redirects=False) as reply,
    ):
        return reply.status, await reply.read()


async def refused_dial(dialer: Dialer, url: WebhookUrl) -> str:
    """Request a URL; return why it was not dialled."""
    with pytest.raises(ClientError) as caught:
        await get(dialer, url)
    why = dialer.refusal(caught.value)
    assert why is not None, caught.value
    return why


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", ["127.0.0.1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"])
async def test_a_literal_address_is_judged_at_the_socket(scheme: str, host: str) -> None:
    """An address that never meets a resolver is refused as it is dialled, though nothing else looked at it."""
    async with receiving() as receiver, dialling("10.0.0.0/8") as dialer:
        why = await refused_dial(dialer, unjudged(f"{scheme}://{host}:{receiver.port}/"))
        assert why == "127.0.0.1 is loopback"
        assert receiver.connections == 0


async def test_hostile_urls_are_refused_by_the_check() -> None:
    """Each hostile spelling is refused before any name is looked up."""
    names = Names([["127.0.0.1"]])
    async with dialling(names=names) as dialer:
        for url, said in (REFUSED | UNREADABLE).items():
            with pytest.raises(AddressRefusedError) as caught:
                await dialer.check(url)
            assert said in caught.value.detail
    assert names.asked == []


def careless(host: str) -> list[str]:
    """Look a name up as C libraries do, which take every spelling of a number; all other names are this machine's."""
    try:
        return [socket.inet_ntoa(socket.inet_aton(host))]
    except OSError:
        return ["127.0.0.1"]


async def test_hostile_urls_are_refused_by_the_dial() -> None:
    """What a request makes of a hostile spelling that no check has seen is refused too, or is no URL to the client."""
    tried = 0
    async with dialling(look_up=careless) as dialer:
        for text in REFUSED:
            try:
                url = unjudged(text)
                session = dialer.session(url)
            except (ValueError, AssertionError, KeyError):  # no URL, no host, no session for such a scheme
                continue
            with pytest.raises((ClientError, ValueError)) as caught:
                await session.get(URL(text, encoded=True))
            assert dialer.refusal(caught.value) is not None or isinstance(caught.value, InvalidURL | ValueError), text
            tried += dialer.refusal(caught.value) is not None
    assert tried > 70


async def test_a_name_that_flips_to_an_inner_address() -> None:
    """A name that is public when it is checked, and stands for an inner address when it is dialled, is not called."""
    names = Names([["93.184.215.14"], ["127.0.0.1"]])
    async with dialling(names=names) as dialer:
        url = await dialer.check("https://agent.example.com/")
        assert await refused_dial(dialer, url) == "agent.example.com stands for an address that is loopback"
    assert names.asked == ["agent.example.com"] * 2


async def test_a_name_that_flips_between_requests() -> None:
    """A name is judged anew for each connection: a flip after many requests is refused as one before the first."""
    names = Names([["127.0.0.1"], ["127.0.0.1"], ["127.0.0.2"]])
    async with receiving() as receiver, dialling("127.0.0.1", names=names) as dialer:
        receiver.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
        async with receiving("127.0.0.2", port=receiver.port) as other:
            url = await dialer.check(f"http://agent.example.com:{receiver.port}/")
            assert await get(dialer, url) == (200, b"ok")
            assert "loopback" in await refused_dial(dialer, url)
            assert (receiver.connections, other.connections) == (1, 0)


async def test_one_refused_address_of_several() -> None:
    """A name is refused as a whole for one of its addresses, though the others could be called."""
    async with receiving() as receiver, dialling(*LOOPBACK, names=Names([["127.0.0.1", "10.0.0.1"]])) as dialer:
        text = f"https://agent.example.com:{receiver.port}/"
        with pytest.raises(AddressRefusedError, match="stands for an address that is private"):
            await dialer.check(text)
        assert "private" in await refused_dial(dialer, unjudged(text))
        assert receiver.connections == 0


async def test_an_inner_name_with_a_public_address() -> None:
    """An inner name is called in opened networks alone: what it stands for outside is not what it is for."""
    async with dialling(*LOOPBACK, names=Names([["8.8.8.8"]])) as dialer:
        with pytest.raises(AddressRefusedError, match="its name is an inner one"):
            await dialer.check("https://agents.svc/")
        assert "its name is an inner one" in await refused_dial(dialer, unjudged("https://agents.svc/"))


async def test_a_refusal_is_found_in_what_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a resolver that judges nothing each of several addresses is refused at its socket; the reason is told."""

    async def careless_resolve(_: object, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in ("127.0.0.1", "::1", "127.0.0.2")
        ]

    monkeypatch.setattr("waooaw.events.webhooks.dialing._Guard.resolve", careless_resolve)
    async with receiving() as receiver, dialling() as dialer:
        assert "loopback" in await refused_dial(dialer, unjudged(f"https://agent.example.com:{receiver.port}/"))
        assert receiver.connections == 0


def test_refusals_in_other_errors() -> None:
    """A refusal is found behind, beside and inside of other errors; other errors are none, also in a ring."""
    dialer = Dialer(AllowedNetworks())
    refusal = RefusedDialError("it is loopback")
    behind, beside = OSError("behind"), ValueError("beside")
    behind.__cause__ = ExceptionGroup("several", [OSError("one"), refusal])
    beside.__context__ = behind
    assert [dialer.refusal(error) for error in (refusal, behind, beside)] == ["it is loopback"] * 3
    ring = OSError("ring")
    ring.__cause__ = OSError("other")
    ring.__cause__.__cause__ = ring
    assert dialer.refusal(ring) is None


# What is called ------------------------------------------------------------------------------------------------------


async def test_an_opened_network() -> None:
    """A receiver in an opened network is called over http by address and by name; its name is looked up once."""
    names = Names([["127.0.0.1"]])
    async with receiving() as receiver, dialling(*LOOPBACK, names=names) as dialer:
        for host in ("127.0.0.1", "[::ffff:127.0.0.1]", "localhost", "agent.example.com"):
            assert await get(dialer, dialer.read(f"http://{host}:{receiver.port}/events")) == (200, b"ok")
        assert names.asked == ["localhost", "agent.example.com"]


async def test_connections_stay_open_until_the_end() -> None:
    """The requests to a receiver share a connection, for which its name is looked up once; leaving closes it."""
    names = Names([["127.0.0.1"]])
    async with receiving() as receiver:
        async with dialling(*LOOPBACK, names=names) as dialer:
            url = dialer.read(f"http://agent.example.com:{receiver.port}/")
            for _ in range(3):
                await get(dialer, url)
            assert (receiver.connections, len(receiver.requests)) == (1, 3)
            assert names.asked == ["agent.example.com"]
        async with asyncio.timeout(WAIT_SECONDS):
            await receiver.closed.acquire()


async def test_addresses_are_tried_in_turn() -> None:
    """An address where nobody listens is passed over, up to as many as are dialled of one name."""
    async with receiving() as receiver:
        silent = [f"127.0.0.{number}" for number in range(100, 100 + ADDRESSES_MAX)]
        names = Names([[*silent[1:], "127.0.0.1", "127.0.0.2"], [*silent, "127.0.0.1"]])
        async with dialling(*LOOPBACK, names=names) as dialer:
            url = dialer.read(f"http://agent.example.com:{receiver.port}/")
            receiver.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
            assert await get(dialer, url) == (200, b"ok")
            with pytest.raises(ClientError) as caught:
                await get(dialer, url)
            assert dialer.refusal(caught.value) is None
        assert receiver.connections == 1


async def test_nothing_is_added_to_requests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No proxy and no password of the environment, no cookie, and no header but the host's and ours."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password secret\n")
    for name, value in {"http_proxy": "http://127.0.0.1:1", "NETRC": str(tmp_path / "netrc")}.items():
        monkeypatch.setenv(name, value)
    async with receiving() as receiver, dialling(*LOOPBACK) as dialer:
        receiver.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: a=b\r\n\r\n"
        url = dialer.read(f"http://127.0.0.1:{receiver.port}/")
        for _ in range(2):
            await get(dialer, url)
        plain = f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{receiver.port}\r\nUser-Agent: WowEvent\r\n\r\n".encode()
        assert receiver.requests == [plain, plain]


async def test_replies_stay_packed() -> None:
    """A reply is never decompressed: a few bytes stay a few bytes."""
    packed = gzip.compress(bytes(1_000_000))
    async with receiving() as receiver, dialling(*LOOPBACK) as dialer:
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n"
        receiver.answer = head.encode() + packed
        assert await get(dialer, dialer.read(f"http://127.0.0.1:{receiver.port}/")) == (200, packed)


# TLS -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def system_store(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the authority the one that the system trusts."""
    authority.cert_pem.write_to_path(tmp_path / "store.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "store.pem"))


def served(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """Return the TLS of a server with a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@pytest.mark.usefixtures("system_store")
@pytest.mark.parametrize("host", ["agent.example.com", "Agent.Example.com.", "127.0.0.1"])
async def test_a_certificate_that_the_system_trusts(authority: trustme.CA, host: str) -> None:
    """A certificate for the name or the address, signed by whom the system trusts, is taken."""
    tls = served(authority.issue_cert("agent.example.com", "127.0.0.1"))
    async with receiving(tls=tls) as receiver, dialling(*LOOPBACK) as dialer:
        assert await get(dialer, dialer.read(f"https://{host}:{receiver.port}/")) == (200, b"ok")


def _of_a_stranger(_: trustme.CA) -> trustme.LeafCert:
    return trustme.CA().issue_cert("agent.example.com")


def _expired(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert(
        "agent.example.com", not_before=datetime(2020, 1, 1, tzinfo=UTC), not_after=datetime(2021, 1, 1, tzinfo=UTC)
    )


def _for_another(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("other.example.com", "127.0.0.1")


@pytest.mark.usefixtures("system_store")
@pytest.mark.parametrize(
    ("issue", "said"),
    [
        (_of_a_stranger, "unable to get local issuer certificate"),
        (_expired, "certificate has expired"),
        (_for_another, "Hostname mismatch"),
    ],
)
async def test_certificates_that_prove_nothing(
    authority: trustme.CA, issue: Callable[[trustme.CA], trustme.LeafCert], said: str
) -> None:
    """A certificate of a stranger, of the past or for somebody else ends the request before anything is sent."""
    async with receiving(tls=served(issue(authority))) as receiver, dialling(*LOOPBACK) as dialer:
        with pytest.raises(ClientConnectorCertificateError, match=said) as caught:
            await get(dialer, dialer.read(f"https://agent.example.com:{receiver.port}/"))
        assert dialer.refusal(caught.value) is None
        assert receiver.requests == []


# DNS -----------------------------------------------------------------------------------------------------------------


class HangingDns:
    """A DNS that never answers for names below ``hangs.example``, until the test is over."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.hanging = threading.Semaphore(0)

    def look_up(self, host: str) -> list[str]:
        """Answer, or hang."""
        if host.endswith(".hangs.example"):
            self.hanging.release()
            assert self.over.wait(60)
        return ["127.0.0.1"]


@pytest.fixture
def hanging() -> Iterator[HangingDns]:
    server = HangingDns()
    yield server
    server.over.set()


async def test_a_dns_that_hangs_holds_nobody_up(hanging: HangingDns) -> None:
    """While the DNS of more receivers hangs than an engine has threads for, others are looked up and called."""
    async with receiving() as receiver, dialling(*LOOPBACK, look_up=hanging.look_up) as dialer:
        urls = [f"http://{number}.hangs.example/" for number in range(2 * LOOK_UPS_MAX)]
        waiting = [asyncio.create_task(dialer.check(url)) for url in urls]
        for _ in urls:
            assert await asyncio.to_thread(hanging.hanging.acquire, timeout=WAIT_SECONDS)
        url = await dialer.check(f"http://agent.example.com:{receiver.port}/")
        assert await get(dialer, url) == (200, b"ok")
        assert not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_dns_that_hangs_ends_in_time(hanging: HangingDns, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is not answered in time passes the check; a request fails by it, and that is no refusal."""
    monkeypatch.setattr(dialing, "LOOK_UP_SECONDS", 0.05)
    async with dialling(*LOOPBACK, look_up=hanging.look_up) as dialer:
        async with asyncio.timeout(WAIT_SECONDS):
            url = await dialer.check("http://agent.hangs.example/")
        with pytest.raises(
            ClientConnectorDNSError,
            match=r"DNS did not answer for 'agent\.hangs\.example' within 0\.05 s; the receiver was not asked",
        ) as caught:
            await get(dialer, url)
        assert dialer.refusal(caught.value) is None


def unknown(_: str) -> list[str]:
    """Know no name."""
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


async def test_a_name_that_nobody_knows() -> None:
    """A name that is not known passes the check, for names come and go, and fails the request."""
    async with dialling(look_up=unknown) as dialer:
        url = await dialer.check("https://agent.example.com/")
        with pytest.raises(ClientConnectorDNSError, match=r"Name or service not known.*the receiver was not asked"):
            await get(dialer, url)


async def test_leaving_waits_for_no_dns(hanging: HangingDns) -> None:
    """Whoever waits for a DNS that hangs is told that the service is closing."""
    async with AsyncExitStack() as stack:
        dialer = Dialer(AllowedNetworks.parse(LOOPBACK), look_up=hanging.look_up)
        await dialer.open(stack)
        request = asyncio.create_task(get(dialer, dialer.read("http://agent.hangs.example/")))
        assert await asyncio.to_thread(hanging.hanging.acquire, timeout=WAIT_SECONDS)
    with pytest.raises(ClientError):
        await request
