"""A service that a module of tests shares: it counts what the tests saw accepted, and is looked at in the end."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

from tests.service.frames import Socket
from tests.service.wire import Answer, Headers, call
from tests.service_process import ServiceProcess


class WatchedService(ServiceProcess):
    """Keeps a count of the events that were accepted, to be compared with the log's own."""

    accepted = 0

    async def publish(self, body: bytes, content_type: str = "application/cloudevents+json", **headers: str) -> Answer:
        """Publish over HTTP, counting what is accepted; header names are given with underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.call("POST", "/v1/events", {"Content-Type": content_type, **named}, body)

    async def call(self, method: str, target: str, headers: Headers = (), body: bytes | None = None) -> Answer:
        """Make one call; a publish is counted."""
        answer = await call(self.port, method, target, headers, body)
        if method == "POST" and answer.status in {200, 207}:
            self.count(answer.json())
        return answer

    async def ask(self, socket: Socket, **operation: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever JSON has
        """Carry out an operation of a socket; a publish is counted."""
        message = await socket.ask(**operation)
        if operation.get("op") == "publish" and message["op"] == "result":
            self.count(message["result"])
        return message

    def count(self, result: dict[str, Any]) -> None:
        """Count what the answer to a publish says was stored; what is scheduled is not yet."""
        receipts = result.get("results", [result])
        self.accepted += sum(1 for receipt in receipts if receipt.get("position") and not receipt.get("duplicate"))

    def peak_memory_bytes(self) -> int:
        """The most memory that the process has had so far (Linux: VmHWM, in KiB)."""
        status = Path(f"/proc/{self.process_id}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024

    def check(self) -> None:
        """The log has exactly the events accepted, and what was thrown at the service made no line of an error."""
        with urllib.request.urlopen(f"{self.url}/v1/log", timeout=10) as response:  # noqa: S310 - the URL is ours
            log = json.load(response)
        assert log["events"] == self.accepted
        self.check_log_lines()

    def check_log_lines(self) -> None:
        """Each line is one JSON object, none tells of an error, none has a traceback."""
        for line in self.log_text.splitlines():
            assert line.startswith("{"), line
            members = json.loads(line)
            assert members["level"] in {"DEBUG", "INFO", "WARNING"}, members
            assert "traceback" not in members, members


def event_bytes(event_type: str = "task.created", **members: Any) -> bytes:  # noqa: ANN401 - whatever JSON has
    """An event with a type and a source, and what is given."""
    return json.dumps({"type": event_type, "source": "/tests", **members}).encode()
