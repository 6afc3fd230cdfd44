"""Hundreds of WebSocket readers in one process: each event is counted, its order checked, its latency taken, no more.

An event is found by its ``id``, a number of six digits, which no other text of these runs looks like; whether every
byte of a frame is right is checked elsewhere, by readers that decode it.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final, cast

from bench.websocket import client_frame, next_frame
from tests.fault.sockets import HOST, SUBPROTOCOL, TEXT

_ID: Final = re.compile(rb'"id":"(\d{6})"')
_ID_BEGIN: Final = b'"id":"'
_ID_BYTES: Final = 13
_KEY: Final = "dGhlIHNhbXBsZSBub25jZQ=="
"""RFC 6455, section 1.3: any key does where the answer is not taken for anything else."""

_HEAD_END: Final = b"\r\n\r\n"
BUCKETS_A_SECOND: Final = 10_000
NARROW_BYTES: Final = 4096
OPENING_AT_ONCE: Final = 100


class Tally:
    """What all readers of a run saw. ``due`` is when each event, by its number, was to be published (monotonic)."""

    def __init__(self) -> None:
        self.due: list[float] = []
        self.latencies: Counter[int] = Counter()
        self.faults: list[str] = []
        self.is_measuring = False

    def take(self, numbers: Sequence[int], now: float) -> None:
        """Count deliveries that came at once."""
        if not self.is_measuring:
            return
        due = self.due
        if due[numbers[0]] == due[numbers[-1]]:
            self.latencies[int((now - due[numbers[0]]) * BUCKETS_A_SECOND)] += len(numbers)
            return
        for number in numbers:
            self.latencies[int((now - due[number]) * BUCKETS_A_SECOND)] += 1

    def quantile_seconds(self, share: float) -> float:
        """Return a quantile of the latencies, and forget nothing."""
        left = share * self.latencies.total()
        for bucket in sorted(self.latencies):
            left -= self.latencies[bucket]
            if left <= 0:
                return (bucket + 1) / BUCKETS_A_SECOND
        raise ValueError("nothing was measured")


class LeanReader(asyncio.Protocol):
    """One WebSocket with one stream of everything, whose first event has the number ``first``."""

    def __init__(self, tally: Tally, place: str, first: int, *, stuck: bool) -> None:
        self._tally = tally
        self._place = place
        self._stuck = stuck
        self._received = b""
        self._is_closing = False
        self.opened: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Done with the cursor that the stream began with."""
        self.next_number = first

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the WebSocket, and for the stream on it in one go."""
        self._transport = cast("asyncio.Transport", transport)
        operation = {"op": "stream", "id": "1", "patterns": ["*"], "from": self._place}
        self._transport.write(
            f"GET /v1/ws HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {_KEY}\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n".encode()
            + client_frame(TEXT, json.dumps(operation).encode())
        )

    def data_received(self, data: bytes) -> None:
        """Count what came."""
        if not self.opened.done():
            self._received += data
            data = self._open()
        if self.opened.done() and data:
            self._count(self._received + data if self._received else data)

    def _open(self) -> bytes:
        """Read the answers to the requests; return what came behind them."""
        head, found, rest = self._received.partition(_HEAD_END)
        frame = next_frame(rest, 0) if found else None
        if frame is None:
            return b""
        assert head.startswith(b"HTTP/1.1 101 "), head
        self.opened.set_result(json.loads(rest[frame.payload : frame.end])["result"]["cursor"])
        if self._stuck:
            self._transport.pause_reading()
        self._received = b""
        return rest[frame.end :]

    def _count(self, data: bytes) -> None:
        numbers = [int(number) for number in _ID.findall(data)]
        if b'"op":"gap"' in data:
            self._tally.faults.append(f"a gap before {self.next_number}")
        self._received = data[_counted(data) :]
        if not numbers:
            return
        expected = self.next_number
        self.next_number = numbers[-1] + 1
        if numbers != list(range(expected, self.next_number)):
            self._tally.faults.append(f"{numbers} came where {expected} was next")
        self._tally.take(numbers, time.monotonic())

    def connection_lost(self, exc: Exception | None) -> None:
        """Note an end that did not come from here."""
        if not self._is_closing:
            self._tally.faults.append(f"a connection ended at {self.next_number}: {exc!r}")

    def abort(self) -> None:
        """Cut the connection."""
        self._is_closing = True
        self._transport.abort()


def _counted(data: bytes) -> int:
    """Return up to where a text needs no second look: behind its last id, but for the beginning of another."""
    last = data.rfind(_ID_BEGIN)
    rest = max(len(data) - _ID_BYTES + 1, 0)
    return max(rest, last + _ID_BYTES) if 0 <= last <= len(data) - _ID_BYTES else rest


async def open_readers(
    port: int, tally: Tally, places: Sequence[str], first: int, *, stuck: bool = False
) -> list[LeanReader]:
    """Open a reader at each place, a hundred at a time. Stuck ones have narrow sockets, and are never read again."""
    loop = asyncio.get_running_loop()
    slots = asyncio.Semaphore(OPENING_AT_ONCE)

    async def open_one(place: str) -> LeanReader:
        async with slots:
            connected = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            connected.settimeout(0)
            if stuck:
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, NARROW_BYTES)
            await loop.sock_connect(connected, (HOST, port))
            _, reader = await loop.create_connection(
                lambda: LeanReader(tally, place, first, stuck=stuck), sock=connected
            )
            async with asyncio.timeout(30):
                await reader.opened
            return reader

    return list(await asyncio.gather(*(open_one(place) for place in places)))
