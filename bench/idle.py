"""(e) Ten thousand open WebSockets on which nothing happens: memory for each, beside that of bare aiohttp."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench.errors import BenchError
from bench.events import event
from bench.load import EVENTS_PATH, HttpConnection, Watch, open_connections, post, run_load
from bench.report import Context, Figure, Report, Target
from bench.rounds import in_turns
from bench.websocket import EVENT_PREFIX, PATH, Opening, next_frame, open_streams

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from bench.server import Server
    from bench.websocket import StreamSocket

LETTER: Final = "e"
TITLE: Final = "idle WebSockets"

_SOCKETS: Final = 10_000
_WARM_UP_SOCKETS: Final = 200
"""Opened before the first reading, so that what a server loads and allocates once is not counted for each socket."""
_FILES_BESIDE: Final = 200
_ROUNDS_MAX: Final = 3
"""Each round opens all sockets against a fresh process; memory varies little."""
_TARGET: Final = Target(comparison="<=", bound=4.0)
_TYPE: Final = "bench.idle"
_KIBIBYTE: Final = 1024
_STILL_BYTES: Final = 128 * 1024
_STILL_READINGS: Final = 4
_READING_SECONDS: Final = 0.5
_SETTLE_READINGS_MAX: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """What the sockets of one round cost."""

    bytes_each: float
    opened_per_second: float


def run(context: Context) -> Report:
    """Measure both servers in turns, each round on a process of its own."""
    sockets = min(_SOCKETS, context.open_files_max - _FILES_BESIDE)
    launcher = context.launcher
    rounds = in_turns(
        dataclasses.replace(context, rounds=min(context.rounds, _ROUNDS_MAX)),
        {
            "event bus": functools.partial(_round, launcher.service, sockets, PATH, delivers=True),
            "bare aiohttp": functools.partial(_round, launcher.baseline, sockets, "/idle", delivers=False),
        },
    )
    bus, bare = (
        Figure(
            name=f"{name}: resident memory a socket",
            unit="KiB",
            values=[growth.bytes_each / _KIBIBYTE for growth in growths],
        )
        for name, growths in rounds.items()
    )
    above = [one - other for one, other in zip(bus.values, bare.values, strict=True)]
    return Report(
        letter=LETTER,
        title=f"{sockets:,} idle WebSockets",
        figures=[
            bus,
            bare,
            Figure(name="event bus - bare aiohttp", unit="KiB", values=above, target=_TARGET),
            *(
                Figure(
                    name=f"{name}: opened", unit="sockets/s", values=[growth.opened_per_second for growth in growths]
                )
                for name, growths in rounds.items()
            ),
        ],
        notes=[
            (
                f"growth of the process from {_WARM_UP_SOCKETS} open sockets to all, once it stands still;"
                " the kernel's socket buffers are not in it"
            ),
            "afterwards one event reached every socket of the event bus: they were idle, not dead",
            *(
                []
                if sockets == _SOCKETS
                else [f"only {sockets:,}: the limit of open files is {context.open_files_max:,}"]
            ),
        ],
    )


def _round(start: Callable[[], AbstractContextManager[Server]], sockets: int, path: str, *, delivers: bool) -> Growth:
    with start() as server:
        return run_load(lambda: _open_all(server, sockets, path, delivers=delivers))


async def _open_all(server: Server, count: int, path: str, *, delivers: bool) -> Growth:
    """Open all sockets and return what they cost; with `delivers`, check that an event reaches each of them."""
    watch = Watch()
    sinks = [CountingSink() for _ in range(count)]
    opened = await open_streams(server, watch, Opening.of(_TYPE, path), sinks[:_WARM_UP_SOCKETS])
    try:
        before = await _settled_bytes(server, watch)
        began = time.perf_counter()
        opened += await open_streams(server, watch, Opening.of(_TYPE, path), sinks[_WARM_UP_SOCKETS:])
        elapsed = time.perf_counter() - began
        after = await _settled_bytes(server, watch)
        if delivers:
            await _deliver_one(server, watch, sinks)
    finally:
        for socket in opened:
            socket.close()
    added = count - _WARM_UP_SOCKETS
    return Growth(bytes_each=(after - before) / added, opened_per_second=added / elapsed)


async def _settled_bytes(server: Server, watch: Watch) -> int:
    """Return the server's resident memory once it stands still. Raises BenchError where it never does."""
    readings: list[int] = []
    for _ in range(_SETTLE_READINGS_MAX):
        readings.append(server.resident_bytes())
        recent = readings[-_STILL_READINGS:]
        if len(recent) == _STILL_READINGS and max(recent) - min(recent) <= _STILL_BYTES:
            return recent[-1]
        await watch.sleep(_READING_SECONDS)
    raise BenchError(f"the memory of {server.name} does not stand still: {readings[-_STILL_READINGS:]}")


async def _deliver_one(server: Server, watch: Watch, sinks: list[CountingSink]) -> None:
    """Publish one event and wait until each sink counted it."""
    answered = asyncio.Event()

    def note_answer(_connection: HttpConnection, _body: bytes) -> None:
        answered.set()

    (connection,) = await open_connections(server, 1, watch, note_answer)
    try:
        connection.send(post(server, EVENTS_PATH, "application/json", event(_TYPE)))
        await watch.until(answered.is_set, "the answer to one event")
        await watch.until(lambda: all(sink.events == 1 for sink in sinks), "one event to reach every idle socket")
    finally:
        connection.close()


class CountingSink:
    """Counts events. A sink of a stream."""

    __slots__ = ("_partial", "events")

    def __init__(self) -> None:
        """Start at none."""
        self.events = 0
        self._partial = b""

    def feed(self, socket: StreamSocket, data: bytes) -> None:
        """Count the events in `data`."""
        data = self._partial + data
        at = 0
        while (frame := next_frame(data, at)) is not None:
            at = frame.end
            if data.startswith(EVENT_PREFIX, frame.payload):
                self.events += 1
            else:
                socket.other(frame.opcode, data[frame.payload : frame.end])
        self._partial = data[at:]
