"""WebSocket frames that break RFC 6455 or its limits, and the subprotocol ``cloudevents.json``."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from typing import Final

import pytest

from tests.service.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    MASK,
    PING,
    PONG,
    TEXT,
    Closed,
    Frame,
    Socket,
    frame,
    opened,
)
from tests.service.test_bad_input import EVENTS
from tests.service.watched_service import WatchedService, event_bytes
from waooaw.events.service.frame_guard import CONTROLS_BURST

VARIABLES: Final = {"WOWEVENT_BODY_SECONDS": "0.5", "WOWEVENT_BODY_BYTES_MAX": "1000000"}

PING_MESSAGE: Final = b'{"op":"ping","id":"1"}'


def head(first: int, second: int, length: bytes = b"") -> bytes:
    """The head of a frame, bit by bit."""
    return bytes([first, second]) + length


BROKEN: Final[list[tuple[str, bytes, int]]] = [
    ("not masked", frame(PING_MESSAGE, mask=b""), 1002),
    ("not masked behind masked", frame(PING_MESSAGE) + frame(PING_MESSAGE, mask=b""), 1002),
    ("ping not masked", frame(b"x", PING, mask=b""), 1002),
    ("HTTP", b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n", 1002),
    ("RSV1", frame(PING_MESSAGE, reserved=4), 1002),
    ("RSV2", frame(PING_MESSAGE, reserved=2), 1002),
    ("RSV3", frame(PING_MESSAGE, reserved=1), 1002),
    ("opcode 3", frame(PING_MESSAGE, 3), 1002),
    ("opcode 11", frame(b"", 11), 1002),
    ("ping of 126 bytes", frame(b"x" * 126, PING), 1002),
    ("ping in fragments", frame(b"x", PING, final=False), 1002),
    ("continuation of nothing", frame(PING_MESSAGE, CONTINUATION), 1002),
    ("text within a message", frame(b"{", final=False) + frame(b"}"), 1002),
    ("close of one byte", frame(b"x", CLOSE), 1002),
    ("close code 1005", frame(struct.pack("!H", 1005), CLOSE), 1002),
    ("close code 999", frame(struct.pack("!H", 999), CLOSE), 1002),
    ("close reason not UTF-8", frame(struct.pack("!H", 1000) + b"\xff", CLOSE), 1007),
    ("text not UTF-8", frame(b'{"op":"\xff"}'), 1007),
    ("text cut within a character", frame("é".encode()[:1]), 1007),
    ("text a surrogate", frame(b"\xed\xa0\x80"), 1007),
    ("message too big", frame(b" " * 1_000_001), 1009),
    ("fragments too big", frame(b" " * 600_000, final=False) + frame(b" " * 600_000, CONTINUATION), 1009),
    ("declared 1 TB", head(0x81, 0xFF, struct.pack("!Q", 2**40)) + MASK, 1009),
    ("declared 2^63", head(0x81, 0xFF, struct.pack("!Q", 2**63)) + MASK, 1009),
]


@pytest.mark.parametrize("protocol", ["wowevent.v1", "cloudevents.json"])
@pytest.mark.parametrize(("sent", "code"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
async def test_broken_frames(service: WatchedService, sent: bytes, code: int, protocol: str) -> None:
    """A frame that breaks the protocol or a limit closes the socket with the code that RFC 6455 has for it."""
    async with opened(service.port, protocol=protocol) as socket:
        await socket.wire.send(sent)
        assert (await socket.closed()).code == code


async def test_nothing_behind_a_broken_frame_counts(service: WatchedService) -> None:
    """What comes behind a frame that is not masked is not carried out, in one write or in another."""
    publish = json.dumps({"op": "publish", "id": "1", "event": {"type": "a", "source": "b"}}).encode()
    async with opened(service.port) as socket:
        await socket.wire.send(frame(PING_MESSAGE, mask=b""), frame(publish))
        await socket.wire.send(frame(publish))
        assert (await socket.closed()).code == 1002


@pytest.mark.parametrize(
    "sent",
    [
        frame(PING_MESSAGE)[:1],
        frame(PING_MESSAGE)[:-1],
        frame(PING_MESSAGE, final=False),
        frame(PING_MESSAGE, final=False) + frame(b"x", PING),
        head(0x81, 0xFF, struct.pack("!Q", 900_000)) + MASK + bytes(100),
    ],
    ids=["half a head", "a byte short", "no last fragment", "pings between", "a large one begun"],
)
async def test_messages_that_never_end(service: WatchedService, sent: bytes) -> None:
    """A message that is not complete in time closes the socket: a limit holds for slow senders too."""
    async with opened(service.port) as socket:
        await socket.wire.send(sent)
        assert (await socket.closed()).code == 1008


async def test_a_message_that_comes_slowly(service: WatchedService) -> None:
    """A message in single bytes, and one in many fragments with pings between, are read."""
    async with opened(service.port) as socket:
        for byte in frame(PING_MESSAGE):
            await socket.wire.send(bytes([byte]))
            await asyncio.sleep(0)
        assert (await socket.receive_op("result"))["id"] == "1"
        parts = [frame(PING_MESSAGE[:1], TEXT, final=False)]
        for byte in PING_MESSAGE[1:]:
            parts += [frame(b"p", PING), frame(bytes([byte]), CONTINUATION, final=False)]
        await socket.wire.send(*parts, frame(b"", CONTINUATION))
        assert (await socket.receive_op("result"))["id"] == "1"
        await socket.wire.send(frame(PING_MESSAGE, BINARY))
        assert (await socket.receive_op("result"))["id"] == "1"


async def test_floods_of_frames(service: WatchedService) -> None:
    """A message of 100,000 fragments and 100,000 pings take no memory, and nobody else waits for them."""
    before = service.peak_memory_bytes()
    fragments = frame(b"{", TEXT, final=False) + frame(b"", CONTINUATION, final=False) * 100_000
    pings = frame(b"p" * 100, PING) * 100_000
    for flood in (fragments, pings):
        async with opened(service.port, receive_bytes=4096) as socket, asyncio.TaskGroup() as group:
            flooding = group.create_task(socket.wire.send(flood))
            for _ in range(20):
                async with asyncio.timeout(2):
                    assert (await service.call("GET", "/health")).status == 200
            flooding.cancel()
    assert service.peak_memory_bytes() - before < 32 * 1024 * 1024


@pytest.mark.parametrize("opcode", [PING, PONG], ids=["pings", "pongs"])
@pytest.mark.parametrize("protocol", ["wowevent.v1", "cloudevents.json"])
async def test_too_many_pings(service: WatchedService, protocol: str, opcode: int) -> None:
    """A burst of pings is answered, one by one; a flood closes the socket with 1008 and the reason, unanswered."""
    async with opened(service.port, protocol=protocol) as socket:
        await socket.wire.send(frame(b"p", PING) * CONTROLS_BURST)
        for _ in range(CONTROLS_BURST):
            assert await socket.receive_frame() == Frame(PONG, b"p")
        await socket.wire.send(frame(b"x", opcode) * 100_000)
        received = await socket.receive_frame()
        while received.opcode != CLOSE:  # as many as the rate has let through meanwhile
            assert received == Frame(PONG, b"x")
            received = await socket.receive_frame()
        assert (int.from_bytes(received.payload[:2], "big"), received.payload[2:]) == (
            1008,
            b"too many pings and pongs",
        )


async def test_a_polite_close(service: WatchedService) -> None:
    """A client that closes gets its code back, and what it had asked for before."""
    async with opened(service.port) as socket:
        await socket.wire.send(frame(PING_MESSAGE), frame(struct.pack("!H", 1000) + b"done", CLOSE))
        assert (await socket.receive_op("result"))["id"] == "1"
        assert (await socket.closed()).code == 1000


async def test_junk_that_is_answered_and_never_read(service: WatchedService) -> None:
    """Refusals that a client does not take are bounded too: it is not read from any more."""
    before = service.peak_memory_bytes()
    async with opened(service.port, receive_bytes=4096) as socket:
        socket.wire.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport of a socket has it
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                await socket.wire.send(frame(b"junk") * 2_000_000)
    assert service.peak_memory_bytes() - before < 32 * 1024 * 1024


# cloudevents.json -----------------------------------------------------------------------------------------------------


async def bare(socket: Socket, body: bytes) -> Closed:
    """Send an event that is refused; return how the socket ended."""
    await socket.wire.send(frame(body))
    return await socket.closed()


@pytest.mark.parametrize(("body", "code"), [(row[1], row[2].code) for row in EVENTS], ids=[row[0] for row in EVENTS])
async def test_refused_events_of_cloudevents_json(service: WatchedService, body: bytes, code: str) -> None:
    """There are no receipts, so an event that is refused closes the socket: 1008 with its code in the reason."""
    async with opened(service.port, protocol="cloudevents.json") as socket:
        closed = await bare(socket, body)
        try:
            body.decode()
        except UnicodeDecodeError:
            assert closed.code == 1007
        else:
            assert closed.code == 1008
            assert closed.reason.startswith(f"{code}: ")
            assert len(closed.reason.encode()) <= 123


async def test_cloudevents_json(service: WatchedService) -> None:
    """Events go both ways, bare: what a socket publishes comes to those whose address asks for it."""
    target = "/v1/ws?pattern=bare.*&from=now"
    async with (
        opened(service.port, target=target, protocol="cloudevents.json") as reader,
        opened(service.port, protocol="cloudevents.json") as publisher,
    ):
        for number in range(3):
            await publisher.wire.send(frame(event_bytes("bare.event", id=f"bare-{number}", data=number)))
            await publisher.wire.send(frame(event_bytes("other.event", id=f"other-{number}")))
        received = [await reader.receive() for _ in range(3)]
        assert [event["data"] for event in received] == [0, 1, 2]
        assert all(event.keys() == {"type", "source", "specversion", "id", "time", "data"} for event in received)
        while (await service.call("GET", "/v1/log")).json()["events"] < service.accepted + 6:
            pass
        service.accepted += 6


async def test_no_event_comes_behind_a_close(service: WatchedService) -> None:
    """Once a socket is being closed for what it did, its stream writes nothing more to it."""
    async with opened(service.port, target="/v1/ws?pattern=*", protocol="cloudevents.json") as socket:
        await socket.wire.send(frame(b"{}"))
        while (received := await socket.receive_frame()).opcode != CLOSE:
            pass
        await service.publish(event_bytes("bare.after"))
        assert set(await socket.wire.rest()) <= {0x89, 0}, "pings may come"
        assert int.from_bytes(received.payload[:2], "big") == 1008
