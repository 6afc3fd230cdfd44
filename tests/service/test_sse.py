"""Server-sent events as they are on the wire: how a stream begins, resumes, is told gaps, and stays alive."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest

from tests.service.watched_service import WatchedService, event_bytes
from tests.service.wire import PATIENCE_SECONDS, Answer, Wire, connected, request_bytes

VARIABLES: Final = {"WOWEVENT_STREAM_PING_SECONDS": "0.3"}

Block = dict[str, str]


class Reading:
    """One stream that is being read."""

    def __init__(self, wire: Wire, head: Answer) -> None:
        self.head = head
        self._wire = wire
        self._chunked = head.header("Transfer-Encoding") == "chunked"
        self._text = b""

    async def block(self) -> Block:
        """Read the next block, pings too: its fields; a comment's field has no name."""
        while b"\n\n" not in self._text:
            async with asyncio.timeout(PATIENCE_SECONDS):
                more = await (self._wire.chunk() if self._chunked else self._wire.reader.read(65_536))
            assert more, f"the stream ended: {self._text!r}"
            self._text += more
        block, _, self._text = self._text.partition(b"\n\n")
        assert b"\r" not in block
        fields: Block = {}
        for line in block.decode().split("\n"):
            name, _, value = line.partition(": ")
            assert name not in fields, "a field comes once: data is one line"
            fields[name] = value
        return fields

    async def told(self) -> Block:
        """Read the next event or gap, past pings."""
        while "data" not in (block := await self.block()):
            assert block.keys() == {"", "id"}, block
        return block

    async def events(self, count: int) -> list[dict[str, Any]]:
        """Read so many events; there is no gap among them."""
        blocks = [await self.told() for _ in range(count)]
        assert all(block.keys() == {"id", "data"} for block in blocks), blocks
        return [json.loads(block["data"]) for block in blocks]


@asynccontextmanager
async def reading(
    service: WatchedService, query: str = "", *, resume: str | None = None, version: str = "HTTP/1.1"
) -> AsyncIterator[Reading]:
    """A stream; ``resume`` is sent as ``Last-Event-ID``."""
    headers = [("Accept", "text/event-stream"), *([] if resume is None else [("Last-Event-ID", resume)])]
    async with connected(service.port) as wire:
        await wire.send(request_bytes("GET", f"/v1/stream{query}", headers, version=version))
        head = await wire.head()
        assert head.status == 200, head
        yield Reading(wire, head)


async def publish(service: WatchedService, event_type: str, *numbers: int) -> None:
    """Publish events that carry their numbers."""
    for number in numbers:
        assert (await service.publish(event_bytes(event_type, data=number))).status == 200


async def test_how_a_stream_begins(service: WatchedService) -> None:
    """First come a time to come back, jittered, and the cursor that the stream starts from; never a Server header."""
    cursor = (await service.call("GET", "/v1/log")).json()["cursor"]
    waits = set()
    for _ in range(5):
        async with reading(service) as stream:
            assert stream.head.header("Content-Type") == "text/event-stream"
            assert stream.head.header("Cache-Control") == "no-store"
            assert stream.head.header("X-Accel-Buffering") == "no"
            assert stream.head.header("Server") is None
            first = await stream.block()
            assert first.keys() == {"retry", "id"}
            assert first["id"] == cursor
            assert 2000 <= int(first["retry"]) <= 5000
            waits.add(first["retry"])
    assert len(waits) > 1


async def test_resuming(service: WatchedService) -> None:
    """The id of each event resumes after it, and ``Last-Event-ID`` wins over ``from``."""
    await publish(service, "sse.resume", *range(5))
    async with reading(service, "?pattern=sse.resume&from=earliest") as stream:
        await stream.block()
        blocks = [await stream.told() for _ in range(5)]
    assert [json.loads(block["data"])["data"] for block in blocks] == [0, 1, 2, 3, 4]
    for number, block in enumerate(blocks[:-1]):
        async with reading(service, "?pattern=sse.resume&from=earliest", resume=block["id"]) as stream:
            assert (await stream.block())["id"] == block["id"]
            assert [event["data"] for event in await stream.events(4 - number)] == [*range(number + 1, 5)]
    async with reading(service, f"?pattern=sse.resume&from={blocks[2]['id']}") as stream:
        await stream.block()
        assert [event["data"] for event in await stream.events(2)] == [3, 4]


async def test_every_form_of_from(service: WatchedService) -> None:
    """A stream starts at the beginning, now, a time, a position or a cursor; a time's ``+`` may arrive as a space."""
    await publish(service, "sse.from", 0, 1)
    items = (await service.call("GET", "/v1/events?pattern=sse.from&limit=1000")).json()["items"]
    first, second = items[0], items[1]
    past = "2020-01-01T00:00:00+01:00"
    for start, count in [
        ("earliest", 2),
        (past, 2),
        (past.replace("+", "%2B"), 2),
        (past.replace("+", "%20"), 2),
        (quote(first["event"]["time"]), 2),
        (first["position"], 2),
        (second["position"], 1),
        ("now", 0),
        ("2100-01-01T00:00:00Z", 0),
    ]:
        async with reading(service, f"?pattern=sse.from&from={start}") as stream:
            await stream.block()
            if start.startswith("2100"):
                continue
            await publish(service, "sse.from", 99)
            assert [event["data"] for event in await stream.events(count + 1)] == [*[0, 1][2 - count :], 99]


async def test_patterns(service: WatchedService) -> None:
    """A stream with several patterns gets what any of them matches, once, in log order."""
    async with reading(service, "?pattern=sse.a.*&pattern=sse.b.%3F&pattern=sse.a.x") as stream:
        await stream.block()
        for event_type in ("sse.a.x", "sse.c", "sse.b.long", "sse.b.1", "sse.a."):
            await publish(service, event_type, 0)
        assert [event["type"] for event in await stream.events(3)] == ["sse.a.x", "sse.b.1", "sse.a."]


async def test_pings(service: WatchedService) -> None:
    """A quiet stream is pinged with the cursor reached: beyond events that it did not ask for."""
    async with reading(service, "?pattern=sse.never") as stream:
        first = await stream.block()
        await publish(service, "sse.other", 0)
        cursor = (await service.call("GET", "/v1/log")).json()["cursor"]
        ping = await stream.block()
        while ping["id"] == first["id"]:
            ping = await stream.block()
        assert ping == {"": "ping", "id": cursor}


async def test_http_1_0(service: WatchedService) -> None:
    """A client of HTTP/1.0 gets the same stream without chunks."""
    async with reading(service, "?pattern=sse.old", version="HTTP/1.0") as stream:
        assert stream.head.header("Transfer-Encoding") is None
        await stream.block()
        await publish(service, "sse.old", 1, 2)
        assert [event["data"] for event in await stream.events(2)] == [1, 2]


async def test_nothing_in_an_event_breaks_a_stream(service: WatchedService) -> None:
    """No text of an event can end its line or its block: what looks like fields of SSE arrives as data."""
    texts = ["a\n\nevent: gap\ndata: {}", "\r\rid: x", "\u2028\u2029", "\x00\x1b[31m", "data: ", "\ufeff", "é😀"]
    async with reading(service, "?pattern=sse.text") as stream:
        await stream.block()
        for text in texts:
            assert (await service.publish(event_bytes("sse.text", data={text: text}))).status == 200
        assert [event["data"] for event in await stream.events(len(texts))] == [{text: text} for text in texts]


async def test_a_stream_that_its_client_left(service: WatchedService) -> None:
    """Streams whose clients went, politely or not, are counted out, and nobody hears of it."""
    for _ in range(20):
        async with reading(service):
            pass
    while (await service.call("GET", "/health?details=true")).json()["streams"]:
        pass


# Gaps -----------------------------------------------------------------------------------------------------------------


async def ids_of(service: WatchedService, count: int) -> list[str]:
    """Publish events and return the ids that a stream gives them."""
    await publish(service, "sse.gap", *range(count))
    async with reading(service, "?from=earliest") as stream:
        await stream.block()
        return [(await stream.told())["id"] for _ in range(count)]


@pytest.mark.parametrize("start", ["cursor", "position"])
async def test_a_gap_by_retention(tmp_path: Path, start: str) -> None:
    """What retention removed is one gap: from the reader's cursor to the one before the oldest event that is left."""
    with WatchedService(tmp_path) as service:
        ids = await ids_of(service, 30)
        items = (await service.call("GET", "/v1/events")).json()["items"]
    with WatchedService(tmp_path, {"WOWEVENT_RETENTION_EVENTS": "10"}) as service:
        while (log := (await service.call("GET", "/v1/log")).json())["events"] > 10:
            pass
        assert log["first"] == items[20]["position"]
        place = ids[4] if start == "cursor" else items[5]["position"]
        async with reading(service, f"?from={place}") as stream:
            await stream.block()
            told = await stream.told()
            assert told["event"] == "gap"
            gap = json.loads(told["data"])
            assert gap.keys() == {"from", "to", "reason"}
            assert (gap["reason"], gap["to"]) == ("retention", told["id"])
            assert gap["from"] == ids[4] or start == "position"
            assert [event["data"] for event in await stream.events(10)] == [*range(20, 30)]
        async with reading(service, resume=gap["to"]) as stream:  # what it goes on from has no gap after it
            await stream.block()
            assert [event["data"] for event in await stream.events(10)] == [*range(20, 30)]
        async with reading(service, "?from=earliest") as stream:  # whoever asks for what there is misses nothing
            await stream.block()
            assert [event["data"] for event in await stream.events(10)] == [*range(20, 30)]
        service.accepted = 10
        service.check()


async def test_a_gap_by_a_lost_history(tmp_path: Path) -> None:
    """A reader of a history that a restored copy does not have is told so, then gets all that came after the loss."""
    copy = tmp_path / "copy"
    with WatchedService(tmp_path) as service:
        kept = await ids_of(service, 3)
        assert await asyncio.to_thread(service.terminate) == 0
        shutil.copytree(service.data_directory, copy)
        service.start()
        await publish(service, "sse.gap", 3, 4)
        async with reading(service, resume=kept[-1]) as stream:
            await stream.block()
            lost = [(await stream.told())["id"] for _ in range(2)]
        assert await asyncio.to_thread(service.terminate) == 0
        shutil.rmtree(service.data_directory)
        shutil.copytree(copy, service.data_directory)
        service.start()
        await publish(service, "sse.gap", 5)
        async with reading(service, resume=lost[-1]) as stream:
            assert (await stream.block())["id"] == lost[-1]
            told = await stream.told()
            gap = json.loads(told["data"])
            assert (told["event"], gap["reason"]) == ("gap", "epoch")
            assert (gap["from"], gap["to"]) == (lost[-1], told["id"])
            # Nothing is known of the epoch that was lost, so all that the log has counts as not seen.
            assert [event["data"] for event in await stream.events(4)] == [0, 1, 2, 5]
        async with reading(service, resume=kept[1]) as stream:  # a cursor of what was kept goes on without a word
            await stream.block()
            assert [event["data"] for event in await stream.events(2)] == [2, 5]
        service.accepted = 4
        service.check()
