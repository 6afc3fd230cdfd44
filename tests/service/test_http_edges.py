"""HTTP that no client library sends: what cannot be parsed, what never ends, what is cut off."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from typing import Final

import pytest

from tests.service.test_bad_input import Refusal, expect
from tests.service.watched_service import WatchedService, event_bytes
from tests.service.wire import HEAD_END, Answer, connected, exchange, parse_head, request_bytes

VARIABLES: Final = {
    "WOWEVENT_HEADER_SECONDS": "0.3",
    "WOWEVENT_BODY_SECONDS": "0.5",
    "WOWEVENT_STALLED_SECONDS": "0.5",
    "WOWEVENT_KEEPALIVE_SECONDS": "2.5",
}
EVENT: Final = event_bytes("edge.case")
JSON_TYPE: Final = b"Content-Type: application/json\r\n"
POST: Final = b"POST /v1/events HTTP/1.1\r\nHost: a\r\n" + JSON_TYPE

TLS_HELLO: Final = bytes.fromhex("16030100c8010000c40303") + bytes(range(189))


def answers(received: bytes) -> list[Answer]:
    """Every response in what was received; all of them have a length."""
    found = []
    while received:
        head, _, received = received.partition(HEAD_END)
        answer = parse_head(head)
        length = int(answer.header("Content-Length") or 0)
        found.append(Answer(answer.status, answer.headers, received[:length], answer.version))
        received = received[length:]
    return found


UNREADABLE: Final[list[tuple[str, bytes, int, str]]] = [
    ("junk", b"\x00\x01\x02\x03\r\n\r\n", 400, "invalid_request"),
    ("text", b"hello, is anybody there?\r\n\r\n", 400, "invalid_request"),
    ("TLS", TLS_HELLO, 400, "invalid_request"),
    ("SSH", b"SSH-2.0-OpenSSH_9.6\r\n", 400, "invalid_request"),
    ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "invalid_request"),
    ("HTTP/9.9", b"GET /health HTTP/9.9\r\nHost: a\r\n\r\n", 400, "invalid_request"),
    ("unknown method", b"BREW /v1/events HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid_request"),
    ("lower-case method", b"get /health HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid_request"),
    ("space in target", b"GET /v1/ev ents HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid_request"),
    ("NUL in target", b"GET /he\x00alth HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid_request"),
    ("control character in target", b"GET /\x1b[31m HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid_request"),
    ("CL and TE", POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "invalid_request"),
    ("two CL", POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde", 400, "invalid_request"),
    ("CL list", POST + b"Content-Length: 5, 5\r\n\r\nabcde", 400, "invalid_request"),
    ("CL negative", POST + b"Content-Length: -1\r\n\r\n", 400, "invalid_request"),
    ("CL plus", POST + b"Content-Length: +5\r\n\r\nabcde", 400, "invalid_request"),
    ("CL hex", POST + b"Content-Length: 0x5\r\n\r\nabcde", 400, "invalid_request"),
    ("CL endless", POST + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n", 400, "invalid_request"),
    ("TE obfuscated", POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400, "invalid_request"),
    ("TE twice", POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400, "invalid_request"),
    ("TE not last", POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400, "invalid_request"),
    ("chunk size junk", POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "invalid_request"),
    ("chunk size negative", POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", 400, "invalid_request"),
    ("chunk not ended", POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}xx", 400, "invalid_request"),
    ("bare LF", b"GET /health HTTP/1.1\nHost: a\n\n", 400, "invalid_request"),
    ("bare CR in value", b"GET /health HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400, "invalid_request"),
    ("obs-fold", b"GET /health HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400, "invalid_request"),
    ("NUL in header", b"GET /health HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n", 400, "invalid_request"),
    ("space before colon", b"GET /health HTTP/1.1\r\nHost : a\r\n\r\n", 400, "invalid_request"),
    ("no colon", b"GET /health HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n", 400, "invalid_request"),
    ("header name not a token", b"GET /health HTTP/1.1\r\nHost: a\r\nX(): a\r\n\r\n", 400, "invalid_request"),
    ("two Host", b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "invalid_request"),
    ("9 KB request line", b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 431, "headers_too_large"),
    ("9 KB header", b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 9000 + b"\r\n\r\n", 431, "headers_too_large"),
    ("9 KB header name", b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a" * 9000 + b": x\r\n\r\n", 431, "headers_too_large"),
    ("9 KB never ended", b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 9000, 431, "headers_too_large"),
    ("500 headers", b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 500 + b"\r\n", 431, "headers_too_large"),
]


@pytest.mark.parametrize(
    ("sent", "status", "code"), [row[1:] for row in UNREADABLE], ids=[row[0] for row in UNREADABLE]
)
async def test_what_cannot_be_parsed(service: WatchedService, sent: bytes, status: int, code: str) -> None:
    """Bytes that are no HTTP request are answered with one problem, without a Server header; the connection ends."""
    async with connected(service.port) as wire:
        await wire.send(sent)
        found = answers(await wire.rest())
    assert [answer.status for answer in found] == [status], found
    assert found[0].code == code
    assert found[0].header("Connection") == "close"


@pytest.mark.parametrize(
    "sent",
    [
        POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n{\r\n" + b"1\r\n \r\n" * 200_000 + b"1\r\n}\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n" + b"X-Trailer: a\r\n" * 100_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 100_000 + b"\r\n",
    ],
    ids=["200,000 chunks", "100,000 trailers", "100,000 headers"],
)
async def test_floods(service: WatchedService, sent: bytes) -> None:
    """A request of very many tiny parts is refused or read; others are served the while, and the service lives."""
    async with connected(service.port) as wire, asyncio.TaskGroup() as group:
        group.create_task(wire.send(sent))
        assert (await service.call("GET", "/health")).status == 200
        assert (await wire.answer()).status in {400, 413, 431}
    assert (await service.call("GET", "/health")).status == 200


async def test_a_refused_request_is_not_followed(service: WatchedService) -> None:
    """What comes behind a request that could not be parsed is not read as another one: nothing can be smuggled."""
    smuggled = request_bytes("POST", "/v1/events", {"Content-Type": "application/json"}, EVENT)
    for _, sent, _, _ in UNREADABLE:
        if sent.endswith(b"\r\n\r\n"):
            found = answers(await exchange(service.port, sent + smuggled))
            assert [answer.status >= 400 for answer in found] == [True], sent


# Deadlines ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", b"GET /hea", b"GET /health HTTP/1.1\r\nHost: a\r\n", b"\r\n\r\n"])
async def test_headers_that_never_end(service: WatchedService, sent: bytes) -> None:
    """Headers that are not complete in time are answered 408, also where nothing was sent at all."""
    async with connected(service.port) as wire:
        await wire.send(sent)
        expect(await wire.answer(), Refusal(408, "request_timeout"))
        assert await wire.is_closed_now()


@pytest.mark.parametrize(
    "before",
    [
        request_bytes("GET", "/health"),
        request_bytes("GET", "/health") * 3,
        request_bytes("POST", "/v1/log", {"Content-Type": "application/json"}, b"{}"),
        request_bytes("POST", "/v1/log", {"Transfer-Encoding": "chunked"}) + b"2\r\n{}\r\n0\r\n\r\n",
    ],
    ids=["GET", "three", "a body", "chunks"],
)
@pytest.mark.parametrize("beginning", [b"G", b"GET /re", b"GET /ready HTTP/1.1\r\nHost: a\r\n"])
async def test_headers_that_never_end_on_a_used_connection(
    service: WatchedService, before: bytes, beginning: bytes
) -> None:
    """The deadline for headers holds for each request from its first byte, also where that came with the one before."""
    async with connected(service.port) as wire:
        await wire.send(before + beginning)
        for _ in range(before.count(b"HTTP/1.1")):
            assert (await wire.answer()).status in {200, 405}
        expect(await wire.answer(), Refusal(408, "request_timeout"))
        assert await wire.is_closed_now()


async def test_headers_that_come_slowly_on_a_used_connection(service: WatchedService) -> None:
    """A half-sent request that is completed in time is answered, and what comes behind it has its own deadline."""
    async with connected(service.port) as wire:
        await wire.send(request_bytes("GET", "/health") + b"GET /re")
        assert (await wire.answer()).status == 200
        await wire.send(b"ady HTTP/1.1\r\nHost: a\r\n\r\nGET")
        assert (await wire.answer()).status == 200
        expect(await wire.answer(), Refusal(408, "request_timeout"))


@pytest.mark.parametrize("framing", [b"Content-Length: 1000\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"])
async def test_a_body_that_never_ends(service: WatchedService, framing: bytes) -> None:
    """A body that is not complete in time is answered 408, and stores nothing."""
    async with connected(service.port) as wire:
        await wire.send(POST, framing)
        answer = await wire.answer()
        expect(answer, Refusal(408, "request_timeout"))
        assert answer.header("Connection") == "close"


async def test_a_body_that_breaks_off(service: WatchedService) -> None:
    """Chunks that cannot be parsed end a request at once, not with its deadline, and are no line in the log."""
    head = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
    async with connected(service.port) as wire, asyncio.timeout(0.4):  # well within the time for a body
        await wire.send(request_bytes("POST", "/v1/events", head), b"1\r\n{\r\n")
        assert (await service.call("GET", "/health")).status == 200  # what was sent before has been read now
        await wire.send(b"zz\r\n")
        expect(await wire.answer(), Refusal(400, "invalid_request"))
        assert await wire.is_closed_now()


async def test_a_body_that_comes_slowly(service: WatchedService) -> None:
    """A body in single bytes is read if it is whole in time."""
    async with connected(service.port) as wire:
        await wire.send(POST, b"Content-Length: %d\r\n\r\n" % len(EVENT))
        for byte in EVENT:
            await wire.send(bytes([byte]))
            await asyncio.sleep(0)
        answer = await wire.answer()
    assert answer.status == 200
    service.count(answer.json())


async def test_an_idle_connection_ends(service: WatchedService) -> None:
    """A kept connection without a request is closed after its time, without a word that a request could be given."""
    async with connected(service.port) as wire:
        await wire.send(request_bytes("GET", "/health"))
        assert (await wire.answer()).header("Connection") is None
        assert await wire.is_closed_now()


async def test_a_connection_with_an_unread_body_ends(service: WatchedService) -> None:
    """Where a request is answered before its body was read, the connection ends with it: no 408 comes behind."""
    body = b"x" * 300_000
    async with connected(service.port) as wire:
        head = request_bytes("POST", "/v1/log", {"Content-Length": str(len(body))})
        await wire.send(head, body[:10])
        answer = await wire.answer()
        expect(answer, Refusal(405, "method_not_allowed"))
        assert answer.header("Connection") == "close"
        await wire.send(body[10:])
        assert await wire.is_closed_now()


async def test_a_reader_that_takes_nothing(service: WatchedService) -> None:
    """A page that its reader does not take is dropped with its connection after a while; others are served."""
    large = b"\n".join([event_bytes("edge.large", data="x" * 8000)] * 900)
    assert (await service.publish(large, "application/x-ndjson")).status == 200
    async with connected(service.port, receive_bytes=4096) as wire:
        wire.reader._transport.pause_reading()  # type: ignore[attr-defined]  # noqa: SLF001 - nothing public stops asyncio from reading ahead
        await wire.send(request_bytes("GET", "/v1/events?pattern=edge.large&limit=900"))
        while (await service.call("GET", "/health?details=true")).json()["connections"] > 1:
            pass
        wire.reader._transport.resume_reading()  # type: ignore[attr-defined]  # noqa: SLF001 - as above
        received = await wire.rest()
    assert len(received) < 4_000_000


# Compression ----------------------------------------------------------------------------------------------------------


async def test_gzip(service: WatchedService) -> None:
    """Bodies in gzip are unpacked, of several members too."""
    for packed in (gzip.compress(EVENT), gzip.compress(EVENT[:9]) + gzip.compress(EVENT[9:])):
        answer = await service.publish(packed, Content_Encoding="gzip")
        assert answer.status == 200, answer


PACKED: Final[list[tuple[str, bytes, Refusal]]] = [
    ("cut short", gzip.compress(EVENT)[:-9], Refusal(400, "invalid_request")),
    ("head only", gzip.compress(EVENT)[:5], Refusal(400, "invalid_request")),
    ("checksum", gzip.compress(EVENT)[:-8] + bytes(8), Refusal(400, "invalid_request")),
    ("junk behind", gzip.compress(EVENT) + b"junk", Refusal(400, "invalid_request")),
    ("second cut short", gzip.compress(EVENT) + gzip.compress(EVENT)[:-5], Refusal(400, "invalid_request")),
    ("not packed", EVENT, Refusal(400, "invalid_request")),
    ("zlib", zlib.compress(EVENT), Refusal(400, "invalid_request")),
    ("empty", b"", Refusal(400, "malformed_json")),
    ("8 MiB of blanks", gzip.compress(b" " * (8 * 1024 * 1024 + 1)), Refusal(413, "too_large")),
    ("100 MB", gzip.compress(bytes(100_000_000)), Refusal(413, "too_large")),
    ("9 times 1 MB", gzip.compress(bytes(1_000_000)) * 9, Refusal(413, "too_large")),
    ("300,000 empty members", gzip.compress(b"") * 300_000, Refusal(400, "invalid_request")),
]


@pytest.mark.parametrize(("packed", "refusal"), [row[1:] for row in PACKED], ids=[row[0] for row in PACKED])
async def test_bad_gzip(service: WatchedService, packed: bytes, refusal: Refusal) -> None:
    """Broken gzip is 400, gzip that is too large unpacked 413; neither takes the service's time or memory."""
    before = service.peak_memory_bytes()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        publishing = group.create_task(service.publish(packed, Content_Encoding="gzip"))
        assert (await service.call("GET", "/health")).status == 200
    expect(publishing.result(), refusal)
    assert service.peak_memory_bytes() - before < 64 * 1024 * 1024


# Connections ----------------------------------------------------------------------------------------------------------


async def test_expect_continue(service: WatchedService) -> None:
    """``Expect: 100-continue`` is answered before the body is sent; another expectation is a problem."""
    head = POST + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(EVENT)
    async with connected(service.port) as wire:
        await wire.send(head)
        assert (await wire.head()).status == 100
        await wire.send(EVENT)
        answer = await wire.answer()
        assert answer.status == 200
        service.count(answer.json())
    for target in ("/health", "/nowhere"):
        answer = await service.call("GET", target, {"Expect": "wonders"})
        assert (answer.status, answer.code) == (400, "invalid_request")


async def test_http_1_0(service: WatchedService) -> None:
    """HTTP/1.0 is served, and its connections are closed unless they ask to be kept."""
    async with connected(service.port) as wire:
        await wire.send(request_bytes("GET", "/v1/log", version="HTTP/1.0"))
        answer = await wire.answer()
        assert answer.status == 200
        assert answer.header("Transfer-Encoding") is None
        assert await wire.is_closed_now()


async def test_pipelining(service: WatchedService) -> None:
    """Requests sent without waiting are answered in their order, bad ones in their place."""
    publish = request_bytes("POST", "/v1/events", {"Content-Type": "application/json"}, EVENT)
    refused = request_bytes("POST", "/v1/events", {"Content-Type": "application/json"}, b"{")
    async with connected(service.port) as wire:
        await wire.send((publish + refused + request_bytes("GET", "/nowhere")) * 100)
        for _ in range(100):
            first = await wire.answer()
            service.count(first.json())
            assert [first.status, (await wire.answer()).status, (await wire.answer()).status] == [200, 400, 404]


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/%68ealth", 200),
        ("/health?", 200),
        ("http://example.org/health", 200),
        ("http://example.org:1/v1/log", 200),
        ("/health#fragment", 200),
        ("/v1%2Flog", 404),
        ("/health/", 404),
        ("//health", 404),
        ("*", 400),
        ("/%E2%82%AC", 404),
        ("/%zz", 404),
        ("/v1/events/..%2f..%2fetc", 400),
    ],
)
async def test_targets(service: WatchedService, target: str, status: int) -> None:
    """Percent-encoded and absolute targets name the route that they spell, and no other."""
    answer = await service.call("GET", target)
    assert answer.status == status
    assert answer.header("Server") is None


ENDLESS: Final = ["/v1/stream", "/v1/ws", "/v1/buses/default/stream", "/v1/buses/default/ws"]
READ: Final = [
    "/v1/events",
    "/v1/events?limit=1&pattern=task.*",
    "/v1/log",
    "/v1/buses",
    "/v1/cluster",
    "/v1/openapi.json",
    "/v1/buses/default/events",
    "/v1/buses/default/log",
    "/health",
    "/health?details=true",
    "/ready",
    "/metrics",
    "/metrics?format=prometheus",
]
REFUSED: Final = ["/v1/events/1-0", "/v1/events?limit=x", "/v1/log?nonsense=1", "/v1/buses/nobody/log", "/nowhere"]


@pytest.mark.parametrize("path", [path for path in [*READ, "/v1/events/1-0", *ENDLESS] if "?" not in path])
@pytest.mark.parametrize("method", ["OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"])
async def test_methods(service: WatchedService, method: str, path: str) -> None:
    """A method that a route does not know is 405 with the ones it knows, and has no effect."""
    answer = await service.call(method, path)
    allowed = "GET" if path in ENDLESS else "GET, HEAD, POST" if path.endswith("/events") else "GET, HEAD"
    expect(answer, Refusal(405, "method_not_allowed"))
    assert answer.header("Allow") == allowed
    assert answer.header("Server") is None


VARYING: Final = {"Date", "Content-Length"}
"""Headers that may differ between two calls: time passes, and counters are counted up."""


@pytest.mark.parametrize("target", READ + REFUSED)
async def test_head(service: WatchedService, target: str) -> None:
    """HEAD is answered with the status and the headers of GET, its length included, and no content."""
    async with connected(service.port) as wire:
        await wire.send(request_bytes("HEAD", target))
        head = await wire.answer(bodiless=True)
        await wire.send(request_bytes("GET", target))
        answer = await wire.answer()
    assert head.status == answer.status
    assert {pair for pair in head.headers if pair[0] not in VARYING} == {
        pair for pair in answer.headers if pair[0] not in VARYING
    }
    changes = target.startswith("/metrics") or "details" in target or target == "/v1/cluster"
    assert int(head.header("Content-Length") or 0) > 0
    assert changes or head.header("Content-Length") == answer.header("Content-Length")


@pytest.mark.parametrize("query", ["", "?mode=binary"])
async def test_head_of_an_event(service: WatchedService, query: str) -> None:
    """HEAD tells the length and the attributes of an event, without its data."""
    receipt = (await service.publish(EVENT)).json()
    target = f"/v1/events/{receipt['position']}{query}"
    head, answer = await service.call("HEAD", target), await service.call("GET", target)
    assert (head.status, head.body) == (200, b"")
    assert {pair for pair in head.headers if pair[0] != "Date"} == {
        pair for pair in answer.headers if pair[0] != "Date"
    }


@pytest.mark.parametrize("target", ENDLESS)
async def test_head_of_what_never_ends(service: WatchedService, target: str) -> None:
    """A stream has no HEAD: 405 at once, without content, and the connection goes on."""
    async with connected(service.port) as wire:
        await wire.send(request_bytes("HEAD", target))
        answer = await wire.answer(bodiless=True)
        assert (answer.status, answer.header("Allow")) == (405, "GET")
        await wire.send(request_bytes("GET", "/ready"))
        assert (await wire.answer()).status == 200


async def test_clients_that_vanish(service: WatchedService) -> None:
    """A publish whose client is gone is stored whole or not at all, whenever it goes; nobody reads of it in the log."""
    batch = b"[" + b",".join([event_bytes("edge.vanished")] * 100) + b"]"
    head = {"Content-Type": "application/cloudevents-batch+json"}
    sent = request_bytes("POST", "/v1/events", head, batch)
    for end in (10, 100, len(sent) // 2, len(sent) - 1, len(sent)):
        for _ in range(9):
            async with connected(service.port) as wire:
                await wire.send(sent[:end])
    for target in ("/v1/events?limit=900", "/v1/stream?from=earliest", "/metrics?format=prometheus"):
        for _ in range(10):
            async with connected(service.port) as wire:
                await wire.send(request_bytes("GET", target))
    await service.publish(event_bytes("edge.after"))  # stored after everything that was in flight
    stored, cursor, end = 0, "earliest", False
    while not end:
        page = (await service.call("GET", f"/v1/events?pattern=edge.vanished&limit=1000&from={cursor}")).json()
        stored, cursor, end = stored + len(page["items"]), page["next"], page["end"]
    assert stored % 100 == 0
    service.accepted += stored
