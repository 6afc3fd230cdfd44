"""The SDKs of the CloudEvents project, as their users use them, publish to the bus and read from it."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings import http
from cloudevents.core.v1.event import CloudEvent

from tests.http_call import Answer, call
from tests.interoperability.github_events import LINES, PATH
from tests.service_process import ServiceProcess

SCRIPT: Final = Path(__file__).parents[1] / "javascript" / "interoperate.js"
NODE_SECONDS: Final = 60

WRITE: Final = {"structured": http.to_structured_event, "binary": http.to_binary_event}
READ: Final = {"structured": http.from_structured_event, "binary": http.from_binary_event}

SENT: Final[list[dict[str, Any]]] = [json.loads(line) for line in LINES]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[ServiceProcess]:
    with ServiceProcess(tmp_path) as running:
        yield running


def as_event(members: dict[str, Any]) -> CloudEvent:
    return CloudEvent({name: value for name, value in members.items() if name != "data"}, members["data"])


def publish(url: str, event: BaseCloudEvent, mode: str) -> str:
    """Publish by the SDK's message; return the position."""
    message = WRITE[mode](event)
    answer = call(url, "POST", "/v1/events", message.headers, message.body)
    assert answer.status == 200, answer.body
    return str(answer.json()["position"])


def read(url: str, position: str, mode: str) -> Answer:
    if mode == "binary":
        return call(url, "GET", f"/v1/events/{position}?mode=binary")
    return call(url, "GET", f"/v1/events/{position}", {"Accept": "application/cloudevents+json"})


@pytest.mark.parametrize("mode", WRITE)
def test_the_python_sdk_publishes_and_reads(mode: str, service: ServiceProcess) -> None:
    """Real events that the Python SDK sends in a mode come back to it equal in the same mode."""
    for members in SENT:
        answer = read(service.url, publish(service.url, as_event(members), mode), mode)

        event = READ[mode](http.HTTPMessage(answer.headers, answer.body))

        assert event.get_data() == members["data"]
        assert event.get_attributes() | {"time": None} == {
            name: value for name, value in members.items() if name != "data"
        } | {"time": None}


@pytest.mark.parametrize(
    ("content_type", "data"),
    [
        ("text/plain", "naïve ☃"),
        ("application/octet-stream", bytes(range(256))),
        ("application/json", {"ключ": "ценность"}),
    ],
)
@pytest.mark.parametrize("read_mode", READ)
@pytest.mark.parametrize("write_mode", WRITE)
def test_the_python_sdk_reads_all_kinds_of_data(
    write_mode: str,
    read_mode: str,
    content_type: str,
    data: object,
    service: ServiceProcess,
) -> None:
    """Text, bytes and JSON, and attributes beyond ASCII, survive every way between the two modes."""
    attributes = {
        "type": "note.taken",
        "source": "/agents/planner",
        "datacontenttype": content_type,
        "subject": 'says "100 %", naïvely ☃',
        "correlationid": "c-1",
    }
    sent = CloudEvent(attributes, data)  # type: ignore[arg-type]  # any of the kinds that it takes

    answer = read(service.url, publish(service.url, sent, write_mode), read_mode)
    event = READ[read_mode](http.HTTPMessage(answer.headers, answer.body))

    assert event.get_data() == data
    assert event.get_attributes() == sent.get_attributes()


@pytest.mark.parametrize("mode", WRITE)
async def test_the_javascript_sdk_publishes_and_reads(mode: str, tmp_path: Path) -> None:
    """Real events that the JavaScript SDK sends in a mode come back to it equal in the same mode."""
    with ServiceProcess(tmp_path) as service:
        done = await asyncio.to_thread(
            subprocess.run,
            ["node", str(SCRIPT), service.url, mode, str(PATH)],
            capture_output=True,
            check=False,
            timeout=NODE_SECONDS,
        )

    assert done.returncode == 0, done.stderr.decode()
    found = [json.loads(line) for line in done.stdout.splitlines()]
    for event in found:
        event.pop("time")
    assert found == SENT
