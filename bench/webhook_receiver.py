"""A receiver of webhooks lean enough not to be what is measured: `python -m bench.webhook_receiver`.

A raw protocol that reads just enough of a request (Content-Length, one request after the other on a connection) and
answers 204 from bytes made before. Requests are counted in boxes, one for each path that is posted to:

* `POST /<box>` is a delivery: its `webhook-id`, and the send time that its event carries, are kept with the time of
  its arrival.
* `OPTIONS /<box>` consents to deliveries at any rate (CloudEvents, HTTP 1.1 Web Hooks, section 4.2).
* `GET /<box>?count=<n>` is answered when `n` deliveries with different ids are in the box: with how many requests and
  ids there were, the seconds from the first to the last, and the delays of those with a send time.

Times are of the monotonic clock, which all processes of a machine share. Settings as the service's own: `PORT`,
`WOWEVENT_HOST`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import time
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qs

import uvloop

from bench.events import STAMP_DIGITS

TAKEN: Final = b"HTTP/1.1 204 No Content\r\n\r\n"
CONSENT: Final = (
    b"HTTP/1.1 200 OK\r\nAllow: POST\r\nWebHook-Allowed-Origin: *\r\nWebHook-Allowed-Rate: *\r\n"
    b"Content-Length: 0\r\n\r\n"
)
REFUSAL: Final = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

_NANOSECONDS: Final = 1e9
_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_ID: Final = re.compile(rb"\r\nwebhook-id: *([!-~]+)", re.IGNORECASE)
_SENT: Final = re.compile(rb'"sent": *"([0-9]{%d})"' % STAMP_DIGITS)


@dataclass(slots=True)
class Box:
    """The deliveries that were posted to one path."""

    requests: int = 0
    arrivals: dict[bytes, int] = field(default_factory=dict)
    """When each id first arrived, in the order of arrival."""
    delays: list[tuple[int, int]] = field(default_factory=list)
    """The send time that each event carried, and when it arrived."""
    waiting: list[tuple[int, asyncio.Transport]] = field(default_factory=list)
    """Who is answered when so many ids have arrived."""

    def take(self, message_id: bytes, body: bytes) -> None:
        """Keep a delivery that arrived now."""
        now = time.perf_counter_ns()
        self.requests += 1
        self.arrivals.setdefault(message_id, now)
        if (sent := _SENT.search(body)) is not None:
            self.delays.append((int(sent[1]), now))
        if self.waiting:
            self.answer()

    def answer(self) -> None:
        """Answer who waited for as many ids as there are."""
        due = [one for one in self.waiting if len(self.arrivals) >= one[0]]
        for one in due:
            self.waiting.remove(one)
            body = self.told()
            one[1].write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    def told(self) -> bytes:
        """Return what is in the box as JSON."""
        times = tuple(self.arrivals.values())
        members = {
            "requests": self.requests,
            "ids": len(self.arrivals),
            "seconds": (times[-1] - times[0]) / _NANOSECONDS if times else 0.0,
            "delays": self.delays,
        }
        return json.dumps(members).encode()


class Connection(asyncio.Protocol):
    """One connection of a sender, or of who asks what has arrived."""

    def __init__(self, boxes: dict[bytes, Box]) -> None:
        """Store the boxes that all connections share."""
        self._boxes = boxes
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport  # type: ignore[assignment]  # a TCP transport can be written to

    def data_received(self, data: bytes) -> None:
        """Take the requests that are complete."""
        received = self._received + data if self._received else data
        while received and (end := self._take(received)):
            received = received[end:]
        self._received = received

    def _take(self, received: bytes) -> int:
        """Take the first request; return where it ends, or 0 where it is not complete."""
        head_end = received.find(_HEAD_END)
        if head_end < 0 or self._transport is None:
            return 0
        length = _LENGTH.search(received, 0, head_end)
        body_begins = head_end + len(_HEAD_END)
        end = body_begins + (int(length[1]) if length else 0)
        if len(received) < end:
            return 0
        method, target, _ = received.split(b" ", 2)
        path, _, query = target.partition(b"?")
        box = self._boxes.get(path)
        if box is None:
            box = self._boxes[path] = Box()
        message_id = _ID.search(received, 0, head_end)
        if method == b"POST" and message_id is not None:
            box.take(message_id[1], received[body_begins:end])
            self._transport.write(TAKEN)
        elif method == b"OPTIONS":
            self._transport.write(CONSENT)
        elif method == b"GET":
            counts = parse_qs(query.decode()).get("count", ["0"])
            box.waiting.append((int(counts[0]), self._transport))
            box.answer()
        else:
            self._transport.write(REFUSAL)
            self._transport.close()
        return end


async def main() -> None:
    """Serve until SIGTERM."""
    boxes: dict[bytes, Box] = {}
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    server = await loop.create_server(
        lambda: Connection(boxes), os.environ["WOWEVENT_HOST"], int(os.environ["PORT"]), backlog=1024
    )
    await ended.wait()
    server.close()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
