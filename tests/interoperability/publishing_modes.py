"""Every way in: the same events published by each mode of each binding."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import aiohttp

from tests.interoperability.github_events import FACTS, LINES, PATH
from tests.service_process import clean_environment
from waooaw.events.http_binding import PREFIX

Publish = Callable[[aiohttp.ClientSession], Awaitable[None]]

EVENT: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
NDJSON: Final = "application/x-ndjson"


async def structured(session: aiohttp.ClientSession) -> None:
    for line in LINES:
        async with session.post("/v1/events", data=line, headers={"Content-Type": EVENT}) as response:
            assert response.status == 200, await response.text()


async def binary(session: aiohttp.ClientSession) -> None:
    for attributes, data in FACTS:
        headers = {PREFIX + name: str(value) for name, value in attributes.items() if name != "datacontenttype"}
        headers["Content-Type"] = attributes["datacontenttype"]
        async with session.post("/v1/events", data=data, headers=headers) as response:
            assert response.status == 200, await response.text()


async def _together(session: aiohttp.ClientSession, body: bytes, media_type: str) -> None:
    async with session.post("/v1/events", data=io.BytesIO(body), headers={"Content-Type": media_type}) as response:
        result = await response.json()
    assert (response.status, result["accepted"], result["rejected"]) == (200, len(LINES), 0)


async def batch(session: aiohttp.ClientSession) -> None:
    await _together(session, b"[" + b",".join(LINES) + b"]", BATCH)


async def ndjson(session: aiohttp.ClientSession) -> None:
    await _together(session, PATH.read_bytes(), NDJSON)


async def websocket(session: aiohttp.ClientSession) -> None:
    async with session.ws_connect("/v1/ws", protocols=("wowevent.v1",)) as socket:
        for number, line in enumerate(LINES):
            await socket.send_str(f'{{"op":"publish","id":"{number}","event":{line.decode()}}}')
            answer = await socket.receive_json()
            assert (answer["op"], answer["id"]) == ("result", str(number)), answer


async def websocket_cloudevents(session: aiohttp.ClientSession) -> None:
    """There are no receipts: the events are published when they come back on the socket's own stream."""
    async with session.ws_connect("/v1/ws", protocols=("cloudevents.json",)) as socket:
        for line in LINES:
            await socket.send_str(line.decode())
            await socket.receive_str()


async def command_line(session: aiohttp.ClientSession) -> None:
    command = Path(sys.executable).with_name("wowevent")
    arguments = [str(command), "publish", "--file", "-", "--url", str(session._base_url)]  # noqa: SLF001 - has no other name
    done = await asyncio.to_thread(
        subprocess.run,
        arguments,
        input=PATH.read_bytes(),
        capture_output=True,
        check=False,
        env=clean_environment({}),
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, f"{len(LINES)} accepted, 0 refused\n".encode()), done.stderr


MODES: Final[dict[str, Publish]] = {
    "structured": structured,
    "binary": binary,
    "batch": batch,
    "ndjson": ndjson,
    "websocket": websocket,
    "websocket_cloudevents": websocket_cloudevents,
    "command_line": command_line,
}
