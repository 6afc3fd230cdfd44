"""The receiver of the webhook scenario counts what arrives, and each delivery once, however its bytes are cut."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bench.errors import BenchError
from bench.events import stamped_event
from bench.server import HOST
from bench.webhook_posts import post_event, session
from bench.webhook_receiver import CONSENT, TAKEN, Connection


def delivery(message_id: str, body: bytes = b"{}") -> bytes:
    """Return the bytes of one delivery."""
    return b"POST /box HTTP/1.1\r\nhost: x\r\nWebhook-Id: %b\r\ncontent-length: %d\r\n\r\n%b" % (
        message_id.encode(),
        len(body),
        body,
    )


@contextlib.asynccontextmanager
async def receiving() -> AsyncIterator[int]:
    """Run a receiver in this process; yields its port."""
    boxes: dict[bytes, Any] = {}
    server = await asyncio.get_running_loop().create_server(lambda: Connection(boxes), HOST, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def told(port: int, count: int) -> dict[str, Any]:
    """Return what the receiver tells once so many ids have arrived."""
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(b"GET /box?count=%d HTTP/1.1\r\n\r\n" % count)
    head = await reader.readuntil(b"\r\n\r\n")
    answer: dict[str, Any] = json.loads(await reader.readexactly(int(head.rpartition(b": ")[2])))
    writer.close()
    return answer


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
async def test_any_cut_of_the_same_bytes_counts_the_same(size: int) -> None:
    """Each request is answered once, and a delivery that came twice is one id of two requests."""
    stream = b"".join(delivery(message_id, stamped_event(7)) for message_id in ("a", "b", "a", "c"))
    async with receiving() as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        for start in range(0, len(stream), size):
            writer.write(stream[start : start + size])
            await writer.drain()
        answers = await reader.readexactly(4 * len(TAKEN))
        box = await told(port, 3)
        writer.close()

    assert answers == 4 * TAKEN
    assert (box["requests"], box["ids"]) == (4, 3)
    assert [sent for sent, _ in box["delays"]] == [7, 7, 7, 7]
    assert box["seconds"] >= 0


async def test_who_asks_waits_until_all_have_arrived() -> None:
    """The answer comes with the last delivery, not before it; another box is not in it."""
    async with receiving() as port, session() as sending:
        asked = asyncio.create_task(told(port, 2))
        for place, message_id in (("box", "a"), ("other", "b"), ("box", "a")):
            await post_event(sending, f"http://{HOST}:{port}/{place}", message_id, b"{}")
        early = asked.done()
        await post_event(sending, f"http://{HOST}:{port}/box", "c", b"{}")
        box = await asked

    assert not early
    assert (box["requests"], box["ids"], box["delays"]) == (3, 2, [])


async def test_it_consents_to_be_called() -> None:
    """Without the answer to OPTIONS the bus would send it nothing."""
    async with receiving() as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(b"OPTIONS /box HTTP/1.1\r\nwebhook-request-origin: x\r\n\r\n")
        answer = await reader.readexactly(len(CONSENT))
        writer.close()

    assert answer == CONSENT


async def test_a_delivery_without_an_id_is_refused() -> None:
    """It could not be told from another one; who posts it hears of that."""
    async with receiving() as port, session() as sending:
        async with sending.post(f"http://{HOST}:{port}/box", data=b"{}") as response:
            status = response.status
        with pytest.raises(BenchError, match="answered 400"):
            await post_event(sending, f"http://{HOST}:{port}/box", "", b"{}")

    assert status == 400
