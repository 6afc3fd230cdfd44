"""SIGTERM in the middle of the traffic: nothing that was accepted is lost, and nobody is left without an answer."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.service.frames import Closed, Socket, opened
from tests.service.watched_service import WatchedService, event_bytes
from tests.service.wire import HEAD_END, PATIENCE_SECONDS, Wire, connected, parse_head, request_bytes

JSON: Final = {"Content-Type": "application/json"}
PUBLISHERS: Final = 20
READERS: Final = 10
"""Of each kind, SSE and WebSocket."""

BEFORE_THE_SIGNAL: Final = 400


@dataclass
class Traffic:
    """What the clients of one service saw."""

    service: WatchedService
    accepted: set[str] = field(default_factory=set)
    unanswered: set[str] = field(default_factory=set)
    closing_answers: int = 0
    warmed: asyncio.Event = field(default_factory=asyncio.Event)
    signalled: bool = False

    async def publish(self, name: str) -> None:
        """Publish one event after another until nobody accepts connections."""
        number = 0
        try:
            while True:
                async with connected(self.service.port) as wire:
                    keeps = True
                    while keeps:
                        number += 1
                        keeps = await self._publish_one(wire, f"{name}-{number}")
        except ConnectionError:
            return

    async def _publish_one(self, wire: Wire, event_id: str) -> bool:
        self.unanswered.add(event_id)
        was_signalled = self.signalled
        await wire.send(request_bytes("POST", "/v1/events", JSON, event_bytes("drain.event", id=event_id)))
        try:
            answer = await wire.answer()
        except asyncio.IncompleteReadError as cut:
            raise ConnectionResetError from cut
        self.unanswered.discard(event_id)
        assert answer.status == 200, answer
        self.accepted.add(event_id)
        if len(self.accepted) >= BEFORE_THE_SIGNAL:
            self.warmed.set()
        closes = answer.header("Connection") == "close"
        self.closing_answers += closes
        assert closes or not was_signalled, "an answer of the lame duck keeps its connection"
        return not closes

    async def read_sse(self) -> Reading:
        """Read a stream to its end."""
        async with connected(self.service.port) as wire:
            await wire.send(request_bytes("GET", "/v1/stream?from=earliest"))
            assert (await wire.head()).status == 200
            text = b"".join([chunk async for chunk in _chunks(wire)]).decode()
        blocks = [dict(line.split(": ", 1) for line in block.split("\n") if line) for block in text.split("\n\n")[:-1]]
        assert "retry" in blocks[0]
        assert set(blocks[-1]) == {"retry", "id"}
        ids = [json.loads(block["data"])["id"] for block in blocks if "data" in block]
        return Reading(ids, blocks[-1]["id"], float(blocks[-1]["retry"]) / 1000)

    async def read_socket(self) -> Reading:
        """Read a WebSocket's stream to its end."""
        async with opened(self.service.port) as socket:
            await socket.send({"op": "stream", "id": "s", "from": "earliest"})
            ids: list[str] = []
            while (message := await socket.receive())["op"] != "closing":
                if message["op"] == "event":
                    ids.append(message["event"]["id"])
            assert await socket.closed() == Closed(1012, "")
        return Reading(ids, message["cursor"], message["retry_after_seconds"])


@dataclass
class Reading:
    """What a stream gave: the ids of events, its last cursor, and when to come back."""

    ids: list[str]
    cursor: str
    retry_seconds: float


async def _chunks(wire: Wire) -> Any:  # noqa: ANN401 - an asynchronous generator
    while chunk := await wire.chunk():
        yield chunk


async def stored_ids(service: WatchedService, start: str = "earliest") -> list[str]:
    """The ids of all events from a place on."""
    ids: list[str] = []
    end = False
    while not end:
        page = (await service.call("GET", f"/v1/events?limit=1000&from={start}")).json()
        ids += [item["event"]["id"] for item in page["items"]]
        start, end = page["next"], page["end"]
    return ids


async def test_sigterm_under_load(tmp_path: Path) -> None:
    """With 20 publishers and 20 streams a drain loses nothing: what was accepted is stored, each stream resumes."""
    with WatchedService(tmp_path, {"WOWEVENT_DRAIN_LAME_DUCK_SECONDS": "0.7"}) as service:
        traffic = Traffic(service)
        async with asyncio.TaskGroup() as group:
            start: Callable[..., asyncio.Task[Reading]] = group.create_task
            readings = [start(traffic.read_sse()) for _ in range(READERS)]
            readings += [start(traffic.read_socket()) for _ in range(READERS)]
            publishing = [group.create_task(traffic.publish(f"p{number}")) for number in range(PUBLISHERS)]
            await traffic.warmed.wait()
            service.signal(signal.SIGTERM)
            while (ready := await service.call("GET", "/ready")).status == 200:
                pass
            traffic.signalled = True
            assert ready.json()["reason"] == "draining"
            assert (await service.call("GET", "/health")).json()["event_bus"] == "draining"
            await asyncio.gather(*publishing)
            assert await asyncio.to_thread(service.wait, 20) == 0
        assert traffic.closing_answers > PUBLISHERS, "the lame duck served"

        service.start()
        stored = await stored_ids(service)
        assert set(stored) == traffic.accepted, "accepted is stored, and what is stored was answered"
        assert len(stored) == len(set(stored))
        assert traffic.unanswered.isdisjoint(stored)
        for reading in [task.result() for task in readings]:
            assert reading.ids + await stored_ids(service, reading.cursor) == stored
            assert 2 <= reading.retry_seconds <= 5
        assert len({task.result().retry_seconds for task in readings}) > 1, "a herd does not come back in one tick"
        service.accepted = len(stored)
        service.check()


async def test_a_publish_that_comes_too_late(tmp_path: Path) -> None:
    """A WebSocket that publishes on until it is closed gets a receipt or ``draining`` for each publish."""
    with WatchedService(tmp_path) as service:
        async with opened(service.port) as socket:
            sent = 0
            service.signal(signal.SIGTERM)
            answered: dict[str, dict[str, Any]] = {}
            while (message := await _publish(socket, sent))["op"] != "closing":
                answered[message["id"]] = message
                sent += 1
            assert message["retry_after_seconds"] > 0
            assert (await socket.closed()).code == 1012
        refusals = [message["error"]["code"] for message in answered.values() if message["op"] == "error"]
        assert set(refusals) <= {"draining"}
        assert list(answered) == [str(number) for number in range(len(answered))]
        assert await asyncio.to_thread(service.wait, 20) == 0
        service.start()
        service.accepted = len(answered) - len(refusals)
        stored = await stored_ids(service)
        assert len(stored) - service.accepted in {0, 1}, "the one whose answer the closing overtook may be in"
        service.accepted = len(stored)
        service.check()


async def _publish(socket: Socket, number: int) -> dict[str, Any]:
    event = {"type": "drain.late", "source": "/tests"}
    await socket.send({"op": "publish", "id": str(number), "event": event})
    return await socket.receive_op("result", "error", "closing")


# Slow readers ---------------------------------------------------------------------------------------------------------

RECEIVE_BYTES: Final = 4096
SIPS: Final = 100
SIP_SECONDS: Final = 0.05
"""Of a reader that takes 4 KB twenty times a second: longer than a drain waits for anything else."""


class SlowReader:
    """A client that has asked for the largest page there is, and takes of it what it is told to, by a small buffer."""

    def __init__(self, wire: socket.socket) -> None:
        self._wire = wire
        self.received = b""

    async def take(self, size_bytes: int = RECEIVE_BYTES) -> bool:
        """Take some bytes; tell whether there were any."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            piece = await asyncio.get_running_loop().sock_recv(self._wire, size_bytes)
        self.received += piece
        return bool(piece)

    @property
    def missing_bytes(self) -> int:
        """What the headers promised, and did not come."""
        head, _, body = self.received.partition(HEAD_END)
        return int(parse_head(head).header("Content-Length") or 0) - len(body)


@asynccontextmanager
async def slow_reader(service: WatchedService) -> AsyncIterator[SlowReader]:
    """A reader whose answer has begun."""
    large = b"\n".join([event_bytes("drain.large", data="x" * 8000)] * 900)
    assert (await service.publish(large, "application/x-ndjson")).status == 200
    with socket.socket() as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        wire.settimeout(0)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(wire, ("127.0.0.1", service.port))
        await loop.sock_sendall(wire, request_bytes("GET", "/v1/events?pattern=drain.large&limit=900"))
        reader = SlowReader(wire)
        assert await reader.take()
        yield reader


def events_told(service: WatchedService, *names: str) -> list[dict[str, Any]]:
    """The log lines of some names."""
    return [line for line in service.log_lines if line["event"] in names]


async def test_a_slow_reader_gets_its_answer(tmp_path: Path) -> None:
    """A drain lets an answer that is on its way arrive, however slowly it is taken; then the exit code is 0."""
    with WatchedService(tmp_path) as service:
        async with slow_reader(service) as reader:
            service.signal(signal.SIGTERM)
            for _ in range(SIPS):
                await asyncio.sleep(SIP_SECONDS)  # what makes it slow
                assert await reader.take()
            assert service.is_running
            while await reader.take(1_000_000):
                pass
            assert reader.missing_bytes == 0
        assert await asyncio.to_thread(service.wait, 20) == 0
        assert events_told(service, "service.responses_cut", "service.cut_short") == []
        service.check_log_lines()


async def test_a_reader_that_takes_nothing_of_its_answer(tmp_path: Path) -> None:
    """A drain waits no longer than usual for one that takes nothing: it is cut, told and counted, and the exit is 1."""
    with WatchedService(tmp_path, {"WOWEVENT_STALLED_SECONDS": "0.5"}) as service:
        async with slow_reader(service):
            service.signal(signal.SIGTERM)
            assert await asyncio.to_thread(service.wait, 20) == 1
        (cut,) = events_told(service, "service.responses_cut", "service.cut_short")
        assert (cut["level"], cut["responses"]) == ("WARNING", 1)
        service.check_log_lines()


async def test_an_answer_that_outlasts_the_grace(tmp_path: Path) -> None:
    """The grace period is the end of all waiting: what is not sent by then is counted, and the exit is 1."""
    with WatchedService(tmp_path, {"WOWEVENT_DRAIN_GRACE_SECONDS": "1"}) as service:
        async with slow_reader(service) as first, slow_reader(service) as second:
            service.signal(signal.SIGTERM)
            assert await asyncio.to_thread(service.wait, 20) == 1
            for reader in (first, second):
                while await reader.take(1_000_000):
                    pass
                assert reader.missing_bytes > 0
        short, cut = events_told(service, "service.responses_cut", "service.cut_short")
        assert (short["event"], short["reason"]) == ("service.cut_short", "grace period over")
        assert (cut["event"], cut["responses"]) == ("service.responses_cut", 2)
        service.check_log_lines()
