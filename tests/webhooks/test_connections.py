"""Connections to receivers: which are used again, how they end, and what is said where there is none."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Final

import pytest
import trustme

from tests.webhooks.hostile import Visit, expired, hostile, self_signed
from tests.webhooks.receivers import HOST, receiving
from tests.webhooks.senders import MESSAGE, SECRET, sending
from waooaw.events.clock import SystemClock
from waooaw.events.push import PushDefinition
from waooaw.events.webhooks import sending as sending_module
from waooaw.events.webhooks.messages import Message
from waooaw.events.webhooks.sending import Reply

TAKEN: Final = b"HTTP/1.1 204 No Content\r\n\r\n"
LARGE_BYTES: Final = 16 * 1024 * 1024
"""More than the buffers of both ends of a loopback connection hold."""

TIMEOUT_SECONDS: Final = 0.3
WAIT_SECONDS: Final = 20
"""For what comes at once, unless something is broken."""


def push_to(url: str, timeout_seconds: float = WAIT_SECONDS, **members: object) -> PushDefinition:
    """Return a definition with a time-out that is long enough for whoever answers."""
    return PushDefinition(url=url, timeout_seconds=timeout_seconds, **members)  # type: ignore[arg-type]  # a test's own


async def reset(visit: Visit) -> None:
    """Cut a connection with a RST."""
    connected = visit.writer.get_extra_info("socket")
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    visit.writer.transport.abort()


# Used again -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_reset", [True, False])
async def test_a_connection_that_ends_when_it_is_used_again_costs_nothing(*, is_reset: bool) -> None:
    """The receiver closed it while it was idle: the message goes out once more, on a new connection."""
    visits: list[Visit] = []

    async def behave(visit: Visit) -> None:
        visits.append(visit)
        await visit.post()
        await visit.say(TAKEN)
        if len(visits) == 1:
            await visit.post()
            if is_reset:
                await reset(visit)
            return
        await visit.read_until_closed()

    async with hostile(behave) as receiver, sending() as sender:
        push = push_to(receiver.url)
        for _ in range(2):
            assert (await sender.post(push, MESSAGE)).status == 204
        assert (receiver.connections, receiver.posts) == (2, 3)


async def test_a_new_connection_that_ends_without_an_answer_is_a_failure() -> None:
    """What ends a receiver is not sent twice in one try: that it failed is what its retries are for."""

    async def behave(visit: Visit) -> None:
        await visit.post()

    async with hostile(behave) as receiver, sending() as sender:
        reply = await sender.post(push_to(receiver.url), MESSAGE)
        assert (reply.kind, reply.error) == ("connection", "the connection was closed without an answer")
        assert (receiver.connections, receiver.posts) == (1, 1)


async def test_a_connection_that_breaks_in_an_answer_is_a_failure_also_where_it_was_used_before() -> None:
    """Once the receiver began to answer it had the message: it is not sent again in one try."""

    async def behave(visit: Visit) -> None:
        await visit.post()
        await visit.say(TAKEN)
        await visit.post()
        await visit.say(b"HTTP/1.1 2")

    async with hostile(behave) as receiver, sending() as sender:
        push = push_to(receiver.url)
        assert (await sender.post(push, MESSAGE)).status == 204
        assert (await sender.post(push, MESSAGE)).kind == "connection"
        assert (receiver.connections, receiver.posts) == (1, 2)


@pytest.mark.parametrize("stray", [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray", b"noise"])
@pytest.mark.parametrize("is_late", [True, False])
async def test_what_nobody_asked_for_answers_nothing(stray: bytes, *, is_late: bool) -> None:
    """Bytes after an answer, with it or later, end the connection, and are not taken for the next answer."""
    answered = asyncio.Event()
    ended = asyncio.Event()

    async def behave(visit: Visit) -> None:
        await visit.post()
        if receiver.connections > 1:
            await visit.say(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
            return
        if is_late:
            await visit.say(TAKEN)
            await answered.wait()
            await visit.say(stray)
        else:
            await visit.say(TAKEN + stray)
        try:
            await visit.read_until_closed()
        finally:
            ended.set()

    async with asyncio.timeout(WAIT_SECONDS), hostile(behave) as receiver, sending() as sender:
        push = push_to(receiver.url)
        assert (await sender.post(push, MESSAGE)).status == 204
        answered.set()
        await ended.wait()
        assert (await sender.post(push, MESSAGE)).status == 500


async def test_an_answer_before_anything_was_asked_ends_the_connection_or_answers() -> None:
    """A receiver that speaks first is either cut off or heard; it never answers a second request in advance."""

    async def behave(visit: Visit) -> None:
        await visit.say(TAKEN + TAKEN)
        await visit.read_until_closed()

    async with hostile(behave) as receiver, sending() as sender:
        push = push_to(receiver.url)
        for _ in range(3):
            assert (await sender.post(push, MESSAGE)).kind in ("answered", "unreadable", "connection")
        assert receiver.connections == 3


# Ended at once --------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Sending a large body directly")
@pytest.mark.parametrize("is_written_at_once", [True, False])
async def test_a_receiver_that_reads_nothing_is_dropped_with_what_was_not_sent(
    monkeypatch: pytest.MonkeyPatch, *, is_written_at_once: bool
) -> None:
    """At the time-out the connection is gone, and nothing waits for the receiver to read on."""
    if is_written_at_once:
        monkeypatch.setattr(sending_module, "WRITTEN_AT_ONCE_BYTES_MAX", LARGE_BYTES)
    given_up = asyncio.Event()
    read: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def behave(visit: Visit) -> None:
        visit.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport of a socket has it
        await given_up.wait()
        visit.writer.transport.resume_reading()  # type: ignore[attr-defined]  # as above
        count = 0
        try:
            while chunk := await visit.some():
                count += len(chunk)
        except ConnectionError:
            pass
        read.set_result(count)

    message = Message("in.1", {}, bytes(LARGE_BYTES))
    async with asyncio.timeout(WAIT_SECONDS), hostile(behave) as receiver, sending() as sender:
        reply = await sender.post(push_to(receiver.url, TIMEOUT_SECONDS), message)
        given_up.set()
        assert reply.kind == "timeout"
        assert 0 < await read < LARGE_BYTES
        assert not [task for task in asyncio.all_tasks() if "write_bytes" in repr(task)]


async def test_an_answer_before_the_request_was_read_counts() -> None:
    """A receiver may refuse what is too long from its head on; the rest is not sent then."""

    async def behave(visit: Visit) -> None:
        await visit.some()
        await visit.say(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
        await visit.read_until_closed()

    message = Message("in.1", {}, bytes(LARGE_BYTES))
    async with asyncio.timeout(WAIT_SECONDS), hostile(behave) as receiver, sending() as sender:
        push = push_to(receiver.url)
        for _ in range(2):
            reply = await sender.post(push, message)
            assert (reply.kind, reply.status) == ("answered", 413)
        assert receiver.connections == 2


async def test_a_request_that_is_cancelled_is_cut_off() -> None:
    """Cancelling ends the connection at once, and is raised."""
    came, ended = asyncio.Event(), asyncio.Event()

    async def behave(visit: Visit) -> None:
        await visit.post()
        came.set()
        await visit.read_until_closed()
        ended.set()

    async with asyncio.timeout(WAIT_SECONDS), hostile(behave) as receiver, sending() as sender:
        posting = asyncio.create_task(sender.post(push_to(receiver.url), MESSAGE))
        await came.wait()
        posting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await posting
        await ended.wait()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnumber\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nX\x00: y\r\n\r\n",
        b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64",
        b"SSH-2.0-OpenSSH_9.6\r\n",
    ],
)
async def test_what_is_no_whole_answer_is_unreadable(answer: bytes) -> None:
    """A body that breaks off, lengths that contradict each other, another protocol: a failure with a reason."""

    async def behave(visit: Visit) -> None:
        await visit.post()
        await visit.say(answer)

    async with hostile(behave) as receiver, sending() as sender:
        reply = await sender.post(push_to(receiver.url), MESSAGE)
    assert (reply.kind, reply.status) == ("unreadable", None)
    assert reply.error


async def test_an_answer_that_changes_the_protocol_is_no_success() -> None:
    """101 is the answer, whatever follows on the connection."""

    async def behave(visit: Visit) -> None:
        await visit.post()
        await visit.say(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n\x81\x05"
        )
        await visit.read_until_closed()

    async with hostile(behave) as receiver, sending() as sender:
        for _ in range(2):
            reply = await sender.post(push_to(receiver.url), MESSAGE)
            assert (reply.kind, reply.status) == ("answered", 101)
        assert receiver.connections == 2


# No connection --------------------------------------------------------------------------------------------------------


async def test_nobody_listens() -> None:
    """A port that is closed is said as people know it."""
    with socket.socket() as bound:
        bound.bind((HOST, 0))
        async with sending() as sender:
            reply = await sender.post(push_to(f"http://{HOST}:{bound.getsockname()[1]}/"), MESSAGE)
    assert (reply.kind, reply.error) == ("connection", "no connection: Connection refused")


async def test_a_name_that_cannot_be_looked_up_is_told() -> None:
    """DNS trouble is a failed connection, not a refusal: names come and go."""

    def look_up(_: str) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async with sending(look_up=look_up) as sender:
        reply = await sender.post(push_to("http://agent.example/"), MESSAGE)
    assert reply.kind == "connection"
    assert (reply.error or "").startswith("the name agent.example cannot be looked up")


@pytest.mark.parametrize(
    ("url", "words"),
    [("https://10.0.0.1/", "10.0.0.1 is private"), ("https://agent.example/", "agent.example stands for")],
)
async def test_addresses_that_are_not_called_are_refused(url: str, words: str) -> None:
    """By the spelling, or by what the name stands for as it is dialled; the reason says which address."""
    async with sending(look_up=lambda _: ["169.254.169.254"]) as sender:
        reply = await sender.post(push_to(url), MESSAGE)
    assert reply.kind == "refused"
    assert words in (reply.error or "")


async def test_a_certificate_that_is_not_accepted_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who vouches for it is unknown, it is over, or it is for somebody else: each in words."""
    authority = trustme.CA()
    with authority.cert_pem.tempfile() as trusted:
        monkeypatch.setenv("SSL_CERT_FILE", trusted)
        async with sending(look_up=lambda _: [HOST]) as sender:

            async def reply_of(receiver_url: str) -> Reply:
                return await sender.post(push_to(receiver_url), MESSAGE)

            for context, name, words in (
                (self_signed(), HOST, "unable to get local issuer certificate"),
                (expired(authority), HOST, "certificate has expired"),
                (expired(trustme.CA()), HOST, "its certificate is not accepted"),
            ):
                async with receiving(tls=context) as receiver:
                    reply = await reply_of(receiver.url.replace(HOST, name))
                    assert reply.kind == "tls"
                    assert words in (reply.error or "")
                    assert receiver.requests == []


async def test_a_receiver_that_speaks_no_tls_is_told() -> None:
    """Https to a port of http is a failed handshake, in words."""
    async with receiving() as receiver, sending() as sender:
        reply = await sender.post(push_to(receiver.url.replace("http:", "https:")), MESSAGE)
    assert reply.kind == "tls"
    assert (reply.error or "").startswith("no secure connection: ")


async def test_a_handshake_of_tls_that_hangs_ends_in_time() -> None:
    """The time-out is of the whole, the dial and TLS included."""

    async def behave(visit: Visit) -> None:
        await visit.read_until_closed()

    async with hostile(behave) as receiver, sending() as sender:
        began = SystemClock().monotonic()
        reply = await sender.post(push_to(receiver.url.replace("http:", "https:"), TIMEOUT_SECONDS), MESSAGE)
    assert reply.kind == "timeout"
    assert SystemClock().monotonic() - began < TIMEOUT_SECONDS + 2


async def test_what_cannot_be_a_header_is_never_sent() -> None:
    """A line end in a value would be a header of its own: that request is not written, and the reason says so."""
    async with receiving() as receiver, sending() as sender:
        reply = await sender.post(push_to(receiver.url), Message("in.1", {"Content-Type": "a/b\r\nX-Evil: 1"}, b""))
    assert reply.kind == "connection"
    assert (reply.error or "").startswith("the request cannot be written")
    assert receiver.requests == []


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:3/?key=canary", "https://10.0.0.1/?key=canary", "http://a.example/?key=canary"]
)
async def test_secrets_are_in_no_reply(url: str) -> None:
    """Whatever fails, neither credentials nor the query of the URL are in what is told."""
    async with sending(look_up=lambda _: ["10.0.0.1"]) as sender:
        push = push_to(url, headers={"X-Key": "canary"}, authorization="Bearer canary", secret=(SECRET,))
        replies = [await sender.post(push, MESSAGE), await sender.options(push, requests_per_minute=None)]
    for reply in replies:
        assert reply.kind != "answered"
        assert "canary" not in repr(reply)
        assert SECRET not in repr(reply)


async def test_the_url_is_in_no_reply_where_a_request_breaks() -> None:
    """A connection that is reset while the request is written is told without the URL, whose query may be a secret."""

    async def behave(visit: Visit) -> None:
        await visit.some()
        await reset(visit)

    async with hostile(behave) as receiver, sending() as sender:
        reply = await sender.post(push_to(f"{receiver.url}?key=canary"), Message("in.1", {}, bytes(LARGE_BYTES)))
    assert reply.kind == "connection"
    assert (reply.error or "").startswith("the connection broke")
    assert "canary" not in repr(reply)
