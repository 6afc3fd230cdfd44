"""The subprotocol ``wowevent.v1`` as it is on the wire: operations, their answers, streams, refusals."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any, Final

import pytest

from tests.service.frames import PING, PONG, TEXT, frame, opened, upgrade_headers
from tests.service.test_bad_input import EVENTS, Refusal, expect
from tests.service.watched_service import WatchedService, event_bytes

VARIABLES: Final = {"WOWEVENT_STREAM_PING_SECONDS": "0.3", "WOWEVENT_STALLED_SECONDS": "1"}

EVENT: Final = {"type": "socket.event", "source": "/tests"}

# The handshake --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (None, None),
        ("wowevent.v1", "wowevent.v1"),
        ("cloudevents.json", "cloudevents.json"),
        ("mqtt, cloudevents.json , wowevent.v1", "cloudevents.json"),
        ("wowevent.v1,cloudevents.json", "wowevent.v1"),
    ],
)
async def test_subprotocols(service: WatchedService, offered: str | None, chosen: str | None) -> None:
    """The first subprotocol offered that is served is chosen; where none is offered it is ours."""
    async with opened(service.port, protocol=offered) as socket:
        assert socket.handshake.header("Sec-WebSocket-Protocol") == chosen
        assert socket.handshake.header("Sec-WebSocket-Extensions") is None
        if chosen != "cloudevents.json":
            assert (await socket.ask(op="ping", id="1"))["result"] == {}


@pytest.mark.parametrize(
    ("headers", "target", "refusal"),
    [
        ([("Sec-WebSocket-Protocol", "mqtt, soap")], "/v1/ws", Refusal(400, "invalid_request")),
        ([("Sec-WebSocket-Protocol", "\xff")], "/v1/ws", Refusal(400, "invalid_request")),
        ([("Origin", "https://evil.example")], "/v1/ws", Refusal(403, "forbidden_origin")),
        ([("Origin", "null")], "/v1/ws", Refusal(403, "forbidden_origin")),
        ([], "/v1/ws?pattern=a", Refusal(400, "unknown_parameter", "#/query/pattern")),
        ([], "/v1/socket", Refusal(404, "not_found")),
        ([("Sec-WebSocket-Protocol", "cloudevents.json")], "/v1/ws?pattern=%5B", Refusal(400, "invalid_pattern")),
        ([("Sec-WebSocket-Protocol", "cloudevents.json")], "/v1/ws?from=x", Refusal(400, "invalid_cursor")),
    ],
)
async def test_refused_handshakes(
    service: WatchedService, headers: list[tuple[str, str]], target: str, refusal: Refusal
) -> None:
    """A handshake that cannot be is refused with a problem before the protocol changes."""
    expect(await service.call("GET", target, upgrade_headers(*headers)), refusal)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Sec-WebSocket-Version", "99"),
        ("Sec-WebSocket-Key", "short"),
        ("Sec-WebSocket-Key", "\xff"),
        ("Upgrade", "h2c"),
        ("Connection", "keep-alive"),
    ],
)
async def test_broken_handshakes(service: WatchedService, name: str, value: str) -> None:
    """A handshake that breaks RFC 6455 section 4.2.1 is 400."""
    headers = [(known, value if known == name else given) for known, given in upgrade_headers()]
    expect(await service.call("GET", "/v1/ws", headers), Refusal(400, "invalid_request"))


async def test_a_handshake_with_a_body(service: WatchedService) -> None:
    """What comes behind a handshake is frames, never another request."""
    smuggled = b"POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    async with opened(service.port, ("Content-Length", str(len(smuggled)))) as socket:
        await socket.wire.send(smuggled)
        assert (await socket.closed()).code in {1002, 1006}


# Operations -----------------------------------------------------------------------------------------------------------


async def test_publishing(service: WatchedService) -> None:
    """A publish is answered under its id with what HTTP answers; an id is optional."""
    async with opened(service.port) as socket:
        receipt = (await service.ask(socket, op="publish", id="1", event=EVENT))["result"]
        assert receipt.keys() == {"id", "position", "durability", "duplicate"}
        batch = (await service.ask(socket, op="publish", id="2", events=[EVENT, {"type": "a"}, EVENT]))["result"]
        assert (batch["accepted"], batch["rejected"]) == (2, 1)
        assert [result["status"] for result in batch["results"]] == ["ok", "error", "ok"]
        assert (await service.ask(socket, op="publish", event=EVENT))["id"] is None
        assert (await service.ask(socket, op="publish", id="3", events=[]))["result"]["accepted"] == 0
    stored = await service.call("GET", f"/v1/events/{receipt['position']}")
    assert stored.json()["event"]["id"] == receipt["id"]


async def test_pipelined_publishes(service: WatchedService) -> None:
    """Publishes sent without waiting are stored in their order, and answered in it under their ids."""
    numbers = range(500)
    async with opened(service.port) as socket:
        messages = [{"op": "publish", "id": str(number), "event": {**EVENT, "data": number}} for number in numbers]
        async with asyncio.TaskGroup() as group:
            group.create_task(socket.send(*messages))
            answers = [await socket.receive_op("result", "error") for _ in numbers]
    for answer in answers:
        service.count(answer["result"])
    assert [answer["id"] for answer in answers] == [str(number) for number in numbers]
    positions = [answer["result"]["position"] for answer in answers]
    place = positions[0]
    page = (await service.call("GET", f"/v1/events?limit=1000&from={place}")).json()["items"]
    assert [item["event"]["data"] for item in page] == [*numbers]


BAD_OPERATIONS: Final[list[tuple[str, bytes, str | None, str, str]]] = [
    ("empty", b"", None, "malformed_json", "#"),
    ("not JSON", b"nonsense", None, "malformed_json", "#"),
    ("an array", b"[]", None, "malformed_json", "#"),
    ("a string", b'"ping"', None, "malformed_json", "#"),
    ("cut short", b'{"op":"ping"', None, "malformed_json", "#"),
    ("deep", b"[" * 100_000, None, "malformed_json", "#"),
    ("NaN", b'{"op":"ping","id":NaN}', None, "malformed_json", "#"),
    ("no op", b'{"id":"x"}', "x", "invalid_request", "#/op"),
    ("op a number", b'{"op":1,"id":"x"}', "x", "invalid_parameter", "#/op"),
    ("unknown op", b'{"op":"dance","id":"x"}', "x", "invalid_request", "#/op"),
    ("id a number", b'{"op":"ping","id":1}', None, "invalid_parameter", "#/id"),
    ("id too long", b'{"op":"ping","id":"%b"}' % (b"x" * 256), None, "invalid_parameter", "#/id"),
    ("id surrogate", rb'{"op":"ping","id":"\ud800"}', None, "malformed_json", "#"),
    ("unknown field", b'{"op":"ping","id":"x","speed":1}', "x", "unknown_parameter", "#/speed"),
    ("filter", b'{"op":"stream","id":"x","filter":"a"}', "x", "not_available", "#/filter"),
    ("nothing to publish", b'{"op":"publish","id":"x"}', "x", "invalid_request", "#"),
    ("twice to publish", b'{"op":"publish","id":"x","event":{},"events":[]}', "x", "invalid_request", "#"),
    ("events no array", b'{"op":"publish","id":"x","events":{}}', "x", "invalid_request", "#"),
    ("patterns no array", b'{"op":"stream","id":"x","patterns":"a"}', "x", "invalid_parameter", "#/patterns"),
    ("no pattern", b'{"op":"stream","id":"x","patterns":[]}', "x", "invalid_pattern", "#/patterns"),
    ("bad pattern", b'{"op":"stream","id":"x","patterns":["a","["]}', "x", "invalid_pattern", "#/patterns/1"),
    ("pattern surrogate", rb'{"op":"stream","id":"x","patterns":["\ud800"]}', None, "malformed_json", "#"),
    ("from a number", b'{"op":"stream","id":"x","from":1}', "x", "invalid_parameter", "#/from"),
    ("from nonsense", b'{"op":"stream","id":"x","from":"yesterday"}', "x", "invalid_cursor", "#/from"),
    ("from empty", b'{"op":"stream","id":"x","from":""}', "x", "invalid_cursor", "#/from"),
    ("stop nothing", b'{"op":"stop","id":"x"}', "x", "invalid_parameter", "#"),
]


@pytest.mark.parametrize("row", BAD_OPERATIONS, ids=[row[0] for row in BAD_OPERATIONS])
async def test_bad_operations(service: WatchedService, row: tuple[str, bytes, str | None, str, str]) -> None:
    """An operation that cannot be carried out is answered with its problem, and the socket stays usable."""
    _, message, operation_id, code, pointer = row
    async with opened(service.port) as socket:
        await socket.send(message)
        answer = await socket.receive()
        assert (answer["op"], answer["id"]) == ("error", operation_id), answer
        check_problem(answer["error"], code, pointer)
        assert (await socket.ask(op="ping", id="2"))["result"] == {}


def check_problem(problem: dict[str, Any], code: str, pointer: str) -> None:
    """It is that problem in the form of HTTP's, and points there."""
    assert problem["code"] == code, problem
    assert problem["type"] == f"urn:wowevent:problem:{code}"
    assert problem["status"] in {400, 413, 422}
    assert pointer in [violation["pointer"] for violation in problem["errors"]], problem


async def test_bad_events(service: WatchedService) -> None:
    """Each event that HTTP refuses is refused here with the same code and place, alone and in a batch."""
    async with opened(service.port) as socket:
        for name, body, refusal in EVENTS:
            if name == "very deep" or (refusal.code == "malformed_json" and name != "repeated attribute"):
                continue  # what is no JSON breaks the message that carries it
            await socket.send(b'{"op":"publish","id":"%b","event":%b}' % (name.encode(), body))
            answer = await socket.receive_op("error", "result")
            assert (answer["op"], answer["id"]) == ("error", name), answer
            assert answer["error"]["status"] == refusal.status
            check_problem(answer["error"], refusal.code, refusal.pointer or "#")
            await socket.send(b'{"op":"publish","id":"%b","events":[%b,%b]}' % (name.encode(), event_bytes(), body))
            batch = (await socket.receive_op("result"))["result"]
            service.count(batch)
            assert [result.get("code") for result in batch["results"]] == [None, refusal.code], name


@pytest.mark.parametrize("name", ["NaN", "lone surrogate", "leading zero", "raw control character", "very deep"])
async def test_events_that_are_no_json(service: WatchedService, name: str) -> None:
    """An event that is no JSON is answered with an error, stores nothing, and the socket stays usable."""
    body = next(row[1] for row in EVENTS if row[0] == name)
    async with opened(service.port) as socket:
        await socket.send(b'{"op":"publish","id":"1","event":%b}' % body)
        answer = await socket.receive()
        assert answer["op"] == "error"
        assert answer["error"]["code"] in {"malformed_json", "too_deep"}, answer
        assert (await socket.ask(op="ping", id="2"))["result"] == {}


async def test_too_many_events(service: WatchedService) -> None:
    """More than 1,000 events in one publish are refused whole, 1,000 are not."""
    async with opened(service.port) as socket:
        answer = await service.ask(socket, op="publish", id="1", events=[EVENT] * 1001)
        check_problem(answer["error"], "batch_too_large", "#")
        assert (await service.ask(socket, op="publish", id="2", events=[EVENT] * 1000))["result"]["accepted"] == 1000


async def test_an_id_used_for_other_content(service: WatchedService) -> None:
    """Publishing an id again with other content is ``id_reused``, as over HTTP."""
    async with opened(service.port) as socket:
        await service.ask(socket, op="publish", id="1", event={**EVENT, "id": "ws-same", "data": 1})
        again = await service.ask(socket, op="publish", id="2", event={**EVENT, "id": "ws-same", "data": 1})
        assert again["result"]["duplicate"] is True
        other = await service.ask(socket, op="publish", id="3", event={**EVENT, "id": "ws-same", "data": 2})
        assert (other["error"]["code"], other["error"]["status"]) == ("id_reused", 409)


# Streams --------------------------------------------------------------------------------------------------------------


async def test_a_stream(service: WatchedService) -> None:
    """A stream gives what matches from its start on; one a socket; stopped, its cursor resumes it."""
    async with opened(service.port) as socket:
        started = await socket.ask(op="stream", id="s", patterns=["ws.a.*", "ws.b"])
        assert started["result"].keys() == {"cursor"}
        second = await socket.ask(op="stream", id="t")
        assert (second["error"]["code"], second["error"]["status"]) == ("stream_open", 400)
        for number, event_type in enumerate(["ws.a.x", "ws.c", "ws.b"]):
            await service.publish(event_bytes(event_type, data=number))
        messages = [await socket.receive_op("event") for _ in range(2)]
        assert all(message.keys() == {"op", "position", "event"} for message in messages)
        assert [message["event"]["data"] for message in messages] == [0, 2]
        check = await socket.ask(op="stop", id="other")
        assert check["error"]["code"] == "invalid_parameter"
        cursor = (await socket.ask(op="stop", id="s"))["result"]["cursor"]
        await service.publish(event_bytes("ws.b", data=3))
        again = await socket.ask(op="stream", id="u", patterns=["ws.b"], **{"from": cursor})
        assert again["result"]["cursor"] == cursor
        assert (await socket.receive_op("event"))["event"]["data"] == 3


async def test_what_a_socket_publishes_reaches_its_stream(service: WatchedService) -> None:
    """One socket may publish and stream at once."""
    async with opened(service.port) as socket:
        await socket.ask(op="stream", id="s", patterns=["ws.own"])
        await socket.send(
            *[{"op": "publish", "id": str(number), "event": {**EVENT, "type": "ws.own"}} for number in range(50)]
        )
        messages = [await socket.receive_op("event", "result") for _ in range(100)]
        for message in messages:
            if message["op"] == "result":
                service.count(message["result"])
        published = [message["result"]["position"] for message in messages if message["op"] == "result"]
        assert [message["position"] for message in messages if message["op"] == "event"] == published


async def test_pings_and_cursors(service: WatchedService) -> None:
    """A quiet socket is pinged, with the cursor where it has a stream; a client's ping is answered with its payload."""
    async with opened(service.port) as socket:
        assert (await socket.receive_frame()).opcode == PING
        await socket.ask(op="stream", id="s", patterns=["ws.never"])
        await service.publish(event_bytes("ws.other"))
        now = (await service.call("GET", "/v1/log")).json()["cursor"]
        while (await socket.receive_op("cursor"))["cursor"] != now:
            pass
        await socket.wire.send(frame(b"are you there", PING))
        while (received := await socket.receive_frame()).opcode != PONG:
            pass
        assert received.payload == b"are you there"


async def test_a_cut_socket_resumes(service: WatchedService) -> None:
    """After a cut the last cursor gives everything since, once."""
    async with opened(service.port) as socket:
        await socket.ask(op="stream", id="s", patterns=["ws.cut"])
        await service.publish(event_bytes("ws.cut", data=0))
        await socket.receive_op("event")
        cursor = (await socket.receive_op("cursor"))["cursor"]
    for number in (1, 2, 3):
        await service.publish(event_bytes("ws.cut", data=number))
    async with opened(service.port) as socket:
        await socket.ask(op="stream", id="s", patterns=["ws.cut"], **{"from": cursor})
        assert [(await socket.receive_op("event"))["event"]["data"] for _ in range(3)] == [1, 2, 3]


async def test_a_client_that_never_reads(service: WatchedService) -> None:
    """What a socket asks for and never takes is bounded: it is not read from, then closed; memory stays flat."""
    batch = json.dumps({"op": "publish", "id": "x" * 255, "events": [{"type": "a"}] * 1000}).encode()
    sent = frame(batch)
    before = service.peak_memory_bytes()
    async with opened(service.port, receive_bytes=4096) as socket:
        transport = socket.wire.writer.transport
        transport.pause_reading()  # type: ignore[attr-defined]  # a transport of a socket has it
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(15):
                while (
                    not transport.is_closing()
                ):  # what is answered is twenty times what is sent: it would fill any buffer
                    socket.wire.writer.write(sent)
                    await socket.wire.writer.drain()
        while (await service.call("GET", "/health?details=true")).json()["connections"] > 1:
            pass
    assert service.peak_memory_bytes() - before < 64 * 1024 * 1024


async def test_a_stream_that_is_never_read(service: WatchedService) -> None:
    """A stream that takes nothing is closed after a while, and no publisher waits for it."""
    large = b"\n".join([event_bytes("ws.large", data="x" * 8000)] * 500)
    async with opened(service.port, receive_bytes=4096) as socket:
        await socket.send({"op": "stream", "id": "s", "patterns": ["ws.large"]})
        await socket.receive_op("result")
        socket.wire.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport of a socket has it
        for _ in range(3):
            async with asyncio.timeout(5):
                assert (await service.publish(large, "application/x-ndjson")).status == 200
        while (await service.call("GET", "/health?details=true")).json()["streams"]:
            pass


async def test_clients_that_vanish(service: WatchedService) -> None:
    """Publishes of a socket that is gone are stored whole or not at all, and nobody hears of it."""
    message = json.dumps({"op": "publish", "id": "1", "events": [{**EVENT, "type": "ws.vanished"}] * 100}).encode()
    sent = frame(message, TEXT)
    for end in (1, 7, len(sent) // 2, len(sent)):
        for _ in range(5):
            async with opened(service.port) as socket:
                await socket.send({"op": "stream", "id": "s", "from": "earliest"})
                await socket.wire.send(sent[:end])
    await service.publish(event_bytes("ws.after"))  # stored after everything that was in flight
    stored, cursor, end_reached = 0, "earliest", False
    while not end_reached:
        page = (await service.call("GET", f"/v1/events?pattern=ws.vanished&limit=1000&from={cursor}")).json()
        stored, cursor, end_reached = stored + len(page["items"]), page["next"], page["end"]
    assert stored % 100 == 0
    service.accepted += stored
