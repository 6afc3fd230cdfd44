"""Requests to receivers over real sockets: what they carry, and how they end where a receiver is hostile."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from tests.webhooks.hostile import (
    BEHAVIOURS,
    METADATA_URL,
    Behaviour,
    HostileReceiver,
    Visit,
    hostile,
)
from tests.webhooks.receivers import HOST, Answer, receiving
from tests.webhooks.senders import MESSAGE, ORIGIN, SECRET, sending
from waooaw.events.push import PushDefinition
from waooaw.events.push_state import REPLY_BYTES_KEPT
from waooaw.events.testing import ManualClock
from waooaw.events.webhooks import sending as sending_module
from waooaw.events.webhooks.messages import Message
from waooaw.events.webhooks.receiver_connection import BODY_BYTES_MAX, INTERIMS_MAX
from waooaw.events.webhooks.sending import Reply, ReplyKind, Sender

TAKEN: Final = b"HTTP/1.1 204 No Content\r\n\r\n"
CHUNKED: Final = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
TIMEOUT_SECONDS: Final = 0.3
WAIT_SECONDS: Final = 20
"""For what comes at once, unless something is broken."""

SOCKET_BYTES: Final = 16 * 1024 * 1024
"""More than the buffers of both ends of a loopback connection hold."""


async def post(sender: Sender, url: str, message: Message = MESSAGE, **members: object) -> Reply:
    """Send a message to a receiver, with a time-out that is long enough for whoever answers."""
    push = replace(PushDefinition(url=url, timeout_seconds=WAIT_SECONDS), **members)  # type: ignore[arg-type]  # a test's
    return await sender.post(push, message)


async def raw(behaviour: Behaviour, message: Message = MESSAGE, **members: object) -> tuple[Reply, HostileReceiver]:
    """Send one message to a receiver that behaves so; return the reply."""
    async with hostile(behaviour) as receiver, sending() as sender:
        return await post(sender, receiver.url, message, **members), receiver


def saying(*parts: bytes) -> Behaviour:
    """Answer with these bytes, and close the connection."""

    async def behave(visit: Visit) -> None:
        await visit.post()
        for part in parts:
            await visit.say(part)

    return behave


def repeating(part: bytes, *, first: bytes = b"") -> Behaviour:
    """Answer with these bytes, again and again."""

    async def behave(visit: Visit) -> None:
        await visit.post()
        await visit.say(first)
        while True:
            await visit.say(part)

    return behave


# What requests carry --------------------------------------------------------------------------------------------------


async def test_a_delivery_has_exactly_these_headers() -> None:
    """What the message says, who sends it and for whom, what the definition adds, and the signature of now."""
    clock = ManualClock()
    async with receiving() as receiver, sending(clock=clock) as sender:
        headers = {"X-Team": "blue", "Cookie": "a=b"}
        await post(sender, receiver.url, headers=headers, authorization="Bearer abc", secret=(SECRET, SECRET))
    (request,) = receiver.posts
    found = dict(request.headers)
    assert (request.target, request.body) == ("/events", MESSAGE.body)
    assert found.pop("User-Agent").startswith("WowEvent/")
    assert len(found.pop("webhook-signature").split(" ")) == 2
    assert found == {
        "Host": f"{HOST}:{receiver.port}",
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
        "Content-Length": str(len(MESSAGE.body)),
        "WebHook-Request-Origin": ORIGIN,
        "Authorization": "Bearer abc",
        "X-Team": "blue",
        "Cookie": "a=b",
        "webhook-id": "in.1",
        "webhook-timestamp": str(clock.now_ms() // 1000),
    }


async def test_headers_of_the_bus_win() -> None:
    """A definition cannot ask for packed answers, nor say that somebody else sends."""
    async with receiving() as receiver, sending() as sender:
        await post(sender, receiver.url, headers={"accept-encoding": "gzip", "USER-AGENT": "curl"})
    headers = receiver.posts[0].headers
    assert headers.getall("Accept-Encoding") == ["identity"]
    assert [agent[:9] for agent in headers.getall("User-Agent")] == ["WowEvent/"]


async def test_a_message_without_a_body_says_so() -> None:
    """An event without data is a request with Content-Length: 0, and no content type that aiohttp would make up."""
    async with receiving() as receiver, sending() as sender:
        await post(sender, receiver.url, Message("in.1", {"ce-id": "e1"}, b""))
    (request,) = receiver.posts
    assert (request.body, request.headers["Content-Length"], request.headers["ce-id"]) == (b"", "0", "e1")
    assert "Content-Type" not in request.headers


async def test_the_url_is_requested_as_it_is_spelled() -> None:
    """Nothing of path and query is decoded, encoded anew or put in order."""
    target = "/a%2Fb/%7Euser/../c?q=%20+[x]&q=%C3%BC&b=1&a"
    async with receiving() as receiver, sending() as sender:
        await post(sender, receiver.url.replace("/events", target))
    assert [request.target for request in receiver.posts] == [target]


@pytest.mark.parametrize(("requests_per_minute", "rate"), [(None, None), (120, "120")])
async def test_the_handshake_asks_for_consent(requests_per_minute: int | None, rate: str | None) -> None:
    """An OPTIONS request with the origin, the rate where one is wanted, and the credentials; nothing is signed."""
    async with receiving(allowed_rate="60") as receiver, sending() as sender:
        push = PushDefinition(
            url=receiver.url, headers={"X-Team": "blue"}, authorization="Bearer abc", secret=(SECRET,)
        )
        reply = await sender.options(push, requests_per_minute=requests_per_minute)
    (request,) = receiver.handshakes
    assert (reply.kind, reply.status, reply.allowed_origin, reply.allowed_rate) == ("answered", 200, ORIGIN, "60")
    assert request.headers["WebHook-Request-Origin"] == ORIGIN
    assert request.headers.get("WebHook-Request-Rate") == rate
    assert (request.headers["Authorization"], request.headers["X-Team"]) == ("Bearer abc", "blue")
    assert (request.body, [name for name in request.headers if name.lower().startswith("webhook-s")]) == (b"", [])


async def test_a_changed_definition_is_obeyed_from_the_next_request_on() -> None:
    """What is kept ready belongs to one definition, however many there are."""
    async with receiving() as receiver, sending() as sender:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sending_module, "TARGETS_KEPT", 2)
            pushes = [PushDefinition(url=receiver.url, authorization=f"Bearer {number}") for number in range(4)]
            for push in (*pushes, *pushes, pushes[-1]):
                await sender.post(push, MESSAGE)
    assert [request.headers["Authorization"][-1] for request in receiver.posts] == list("012301233")


# What comes back ------------------------------------------------------------------------------------------------------


async def test_a_reply_tells_what_the_answer_said() -> None:
    """The status, how long to wait, and the first KiB of the body, to the byte."""
    body = bytes(range(256)) * 8
    async with receiving(lambda _: Answer(503, {"Retry-After": "7"}, body)) as receiver, sending() as sender:
        reply = await post(sender, receiver.url)
    assert reply == Reply(
        kind="answered", status=503, seconds=reply.seconds, body=body[:REPLY_BYTES_KEPT], retry_after="7"
    )
    assert 0 < reply.seconds < WAIT_SECONDS


async def connections(answer: bytes, count: int = 3) -> int:
    """Send messages to a receiver that always answers so; return how many connections were made."""

    async def behave(visit: Visit) -> None:
        while True:
            await visit.post()
            await visit.say(answer)

    async with hostile(behave) as receiver, sending() as sender:
        for _ in range(count):
            reply = await post(sender, receiver.url)
            assert (reply.kind, reply.status) == ("answered", 200)
        assert receiver.posts == count
        return receiver.connections


def answer_of(size_bytes: int) -> bytes:
    """Return an answer with a body of that size."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (size_bytes, b"x" * size_bytes)


@pytest.mark.parametrize("size_bytes", [0, 1, 2000, BODY_BYTES_MAX])
async def test_a_short_answer_keeps_its_connection(size_bytes: int) -> None:
    """Requests one after the other use one connection, as long as answers are read to their end."""
    assert await connections(answer_of(size_bytes)) == 1


@pytest.mark.parametrize("size_bytes", [BODY_BYTES_MAX + 1, 100_000, 1_000_000])
async def test_a_long_answer_counts_and_costs_the_connection(size_bytes: int) -> None:
    """The status is what matters, also with a body that is not read to its end."""
    assert await connections(answer_of(size_bytes)) == 3


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * INTERIMS_MAX + b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.0 204 No Content\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 204\r\n\r\n",
    ],
)
async def test_odd_but_lawful_answers_are_understood(answer: bytes) -> None:
    """Interim answers go before the answer, and an old version or a missing phrase is no error."""
    reply, _ = await raw(saying(answer))
    assert (reply.kind, reply.status) == ("answered", 204)


async def test_a_body_that_ends_with_its_connection_is_read() -> None:
    """Without a length the end of the connection is the end of the answer."""
    reply, _ = await raw(saying(b"HTTP/1.1 200 OK\r\n\r\n", b"do", b"ne"))
    assert (reply.kind, reply.status, reply.body) == ("answered", 200, b"done")


async def test_an_answer_that_points_elsewhere_says_where_without_the_query() -> None:
    """Where to is told for people; what may be a secret in it is not."""
    location = "https://new.example/events?token=secret#top"
    async with receiving(lambda _: Answer(308, {"Location": location})) as receiver, sending() as sender:
        reply = await post(sender, receiver.url)
    assert (reply.status, reply.error) == (308, "https://new.example/events")
    assert len(receiver.posts) == 1


async def test_interim_answers_are_few() -> None:
    """One more than any server has a reason for is a failure, which says so."""
    interims = b"HTTP/1.1 100 Continue\r\n\r\n" * (INTERIMS_MAX + 1)
    reply, _ = await raw(saying(interims + TAKEN))
    assert (reply.kind, "interim answers" in (reply.error or "")) == ("unreadable", True)


# Hostile and broken receivers -----------------------------------------------------------------------------------------

ENDS: Final[dict[str, tuple[ReplyKind, int | None, str | None]]] = {
    "hang": ("timeout", None, "no answer within 0.3 s"),
    "drip": ("timeout", None, "no answer within 0.3 s"),
    "endless_body": ("answered", 200, None),
    "endless_headers": ("unreadable", None, "and no answer"),
    "gzip_bomb": ("answered", 200, None),
    "redirect": ("answered", 307, METADATA_URL),
    "retry_in_a_lifetime": ("answered", 429, None),
    "no_http": ("unreadable", None, "not HTTP"),
    "reset": ("unreadable", None, "broke off"),
    "close_when_idle": ("answered", 204, None),
}


@pytest.mark.parametrize("name", ENDS)
async def test_hostile_receivers_end_as_specified(name: str) -> None:
    """Each ends within the time-out, with its kind and a sentence, and did not make the bus read without end."""
    kind, status, words = ENDS[name]
    seconds = TIMEOUT_SECONDS if kind == "timeout" else WAIT_SECONDS
    reply, receiver = await raw(BEHAVIOURS[name], timeout_seconds=seconds)
    assert (reply.kind, reply.status) == (kind, status)
    assert (reply.error is None) == (words is None)
    assert (words or "") in (reply.error or "")
    assert reply.seconds < seconds + 2
    assert len(reply.body) <= REPLY_BYTES_KEPT
    assert receiver.sent_bytes < SOCKET_BYTES
    assert (receiver.posts, receiver.connections) == (1, 1)


async def test_nothing_is_unpacked() -> None:
    """A bomb stays packed: what is kept of it is as it came."""
    reply, _ = await raw(BEHAVIOURS["gzip_bomb"])
    assert reply.body.startswith(b"\x1f\x8b\x08")


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        (repeating(b"HTTP/1.1 100 Continue\r\n\r\n" * 600), "unreadable"),
        (repeating(b"HTTP/1.1 102 Processing\r\nX: y\r\n\r\n" * 600), "unreadable"),
        (repeating(b"x" * 16_384), "unreadable"),
        (repeating(b"x" * 16_384, first=b"HTTP/1.1 200 OK\r\nX-Long: "), "unreadable"),
        (repeating(b"\r\n" * 8192), "unreadable"),
        (
            repeating(b"1;%b\r\nx\r\n" % (b"e" * 4000), first=CHUNKED),
            "any",
        ),
        (repeating(b"1\r\nx\r\n" * 2000, first=CHUNKED), "answered"),
        (repeating(b"X: y\r\n" * 2000, first=CHUNKED + b"0\r\n"), "any"),
        (repeating(TAKEN * 600), "answered"),
    ],
    ids=["continues", "interims", "noise", "header", "lines", "extensions", "chunks", "trailers", "answers"],
)
async def test_no_way_of_sending_without_end_is_read_without_end(behaviour: Behaviour, kind: str) -> None:
    """Before an answer, in its head, in its chunks or after it: what is beyond the limits ends the connection."""
    reply, receiver = await raw(behaviour)
    assert reply.kind == kind or (kind == "any" and reply.kind in ("answered", "unreadable"))
    assert reply.seconds < WAIT_SECONDS / 2
    assert receiver.sent_bytes < SOCKET_BYTES
