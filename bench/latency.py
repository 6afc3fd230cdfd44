"""(d) From the sending of a publish to its arrival at a WebSocket reader, at a thousand events a second."""

from __future__ import annotations

import asyncio
import functools
import selectors
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench.errors import BenchError
from bench.events import STAMP_DIGITS, stamp_of, stamped_event
from bench.load import EVENTS_PATH, HttpConnection, Watch, open_connections, post, run_load
from bench.machine import FsyncTimes, percentile
from bench.report import Context, Figure, Report, Target
from bench.rounds import in_turns
from bench.websocket import EVENT_PREFIX, Opening, next_frame, open_streams

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.server import Server
    from bench.websocket import StreamSocket

LETTER: Final = "d"
TITLE: Final = "publish to receive at 1,000 events/s"

_PER_SECOND: Final = 1000
CONNECTIONS: Final = 64
"""Enough that a stall of 64 ms holds no publish back; one held back keeps its first send time."""
_MEDIAN_TARGET: Final = Target(comparison="<=", bound=2.0)
_P99_TARGET: Final = Target(comparison="<=", bound=10.0)
_PATTERN: Final = "bench.*"
_MILLISECONDS: Final = 1e3
_NANOSECONDS: Final = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Delays:
    """What one round saw after its warm-up: seconds for each event, and the rate that was really sent."""

    receive: list[float]
    answer: list[float]
    late: list[float]
    """How long after its deadline each publish was sent: the generator's own error."""
    sent_per_second: float


def run(context: Context) -> Report:
    """Measure the service, and bare aiohttp, which stores nothing, in turns."""
    with context.launcher.service() as bus, context.launcher.baseline() as bare:
        fsyncs = [FsyncTimes.measured(bus.data_directory)]
        rounds = in_turns(
            context,
            {server.name: functools.partial(delays, context, server) for server in (bus, bare)},
        )
        fsyncs.append(FsyncTimes.measured(bus.data_directory))
    received, bare_received = ([one.receive for one in rounds[server.name]] for server in (bus, bare))
    return Report(
        letter=LETTER,
        title=TITLE,
        figures=[
            delay_figure(f"{bus.name}: publish to receive", received, 0.5, _MEDIAN_TARGET),
            delay_figure(f"{bus.name}: publish to receive", received, 0.99, _P99_TARGET),
            delay_figure(f"{bus.name}: publish to receive", received, 1.0),
            delay_figure(f"{bus.name}: publish to answer", [one.answer for one in rounds[bus.name]], 0.5),
            delay_figure(f"{bus.name}: publish to answer", [one.answer for one in rounds[bus.name]], 0.99),
            delay_figure(f"{bare.name}: publish to receive", bare_received, 0.5),
            delay_figure(f"{bare.name}: publish to receive", bare_received, 0.99),
            _milliseconds("4 KiB write + fdatasync, p50", [fsync.median_seconds for fsync in fsyncs]),
            _milliseconds("4 KiB write + fdatasync, p99", [fsync.p99_seconds for fsync in fsyncs]),
            delay_figure("generator behind its deadline", [one.late for one in rounds[bus.name]], 0.99),
            Figure(name="sent", unit="events/s", values=[one.sent_per_second for one in rounds[bus.name]]),
        ],
        notes=[
            (
                f"one event a POST over {CONNECTIONS} connections, sent at absolute deadlines whatever is answered;"
                " sender and reader are one process, so one clock; the send time travels in the event"
            ),
            "every event that was sent was received exactly once; bare aiohttp stores nothing",
        ],
    )


def delay_figure(name: str, rounds: Sequence[list[float]], share: float, target: Target | None = None) -> Figure:
    """Return the percentile at `share` of each round, in milliseconds."""
    label = "highest" if share == 1.0 else f"p{share * 100:g}"
    return _milliseconds(f"{name}, {label}", [percentile(one, share) for one in rounds], target)


def _milliseconds(name: str, seconds: Sequence[float], target: Target | None = None) -> Figure:
    return Figure(name=name, unit="ms", values=[value * _MILLISECONDS for value in seconds], target=target)


def delays(context: Context, server: Server) -> Delays:
    """Publish and receive for one round."""
    return run_load(functools.partial(_send_and_receive, context, server), loop_factory=paced_loop)


def paced_loop() -> asyncio.AbstractEventLoop:
    """Return a loop that sends to the microsecond: epoll takes whole milliseconds, a whole interval here."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


async def _send_and_receive(context: Context, server: Server) -> Delays:
    """Send for one round, check that all came, and return the delays after the warm-up."""
    watch = Watch()
    reader = StampReader()
    sender = PacedSender(server)
    connections = await open_connections(server, CONNECTIONS, watch, sender.answered)
    sockets = await open_streams(server, watch, Opening.of(_PATTERN), [reader])
    sending = asyncio.create_task(sender.run(connections))
    try:
        await watch.sleep(context.warm_up_seconds)
        warm = len(sender.sent)
        began = time.perf_counter()
        await watch.sleep(context.seconds)
        rate = (len(sender.sent) - warm) / (time.perf_counter() - began)
        sender.stop()
        await sending
        await watch.until(
            lambda: len(sender.answer) == len(sender.sent) == len(reader.received),
            f"all of {len(sender.sent)} events to be answered and received",
        )
    finally:
        sending.cancel()
        for connection in connections:
            connection.close()
        for socket in sockets:
            socket.close()
    if sorted(stamp for stamp, _ in reader.received) != sender.sent:
        raise BenchError("the events received are not those that were sent")
    measured_from = sender.sent[warm]
    return Delays(
        receive=[(at - sent) / _NANOSECONDS for sent, at in reader.received if sent >= measured_from],
        answer=[(at - sent) / _NANOSECONDS for sent, at in sender.answer if sent >= measured_from],
        late=sender.late[warm:],
        sent_per_second=rate,
    )


class StampReader:
    """Notes when each event arrived, beside the send time that it carries. A sink of a stream."""

    def __init__(self) -> None:
        """Start empty."""
        self.received: list[tuple[int, int]] = []
        self._partial = b""

    def feed(self, socket: StreamSocket, data: bytes) -> None:
        """Take bytes as they came; they arrived now."""
        now = time.perf_counter_ns()
        data = self._partial + data
        at = 0
        while (frame := next_frame(data, at)) is not None:
            at = frame.end
            payload = data[frame.payload : frame.end]
            if payload.startswith(EVENT_PREFIX):
                self.received.append((stamp_of(payload), now))
            else:
                socket.other(frame.opcode, payload)
        self._partial = data[at:]


class PacedSender:
    """Sends at absolute deadlines, open loop: a slow answer delays no later publish, and nothing is sent in bursts."""

    def __init__(self, server: Server) -> None:
        """Build the request but for its stamp."""
        request = post(server, EVENTS_PATH, "application/json", stamped_event(0))
        self._before, _, self._after = request.partition(b"0" * STAMP_DIGITS)
        self.sent: list[int] = []
        self.answer: list[tuple[int, int]] = []
        self.late: list[float] = []
        self._free: deque[HttpConnection] = deque()
        self._waiting: deque[int] = deque()
        self._in_flight: dict[HttpConnection, int] = {}
        self._running = True

    async def run(self, connections: Sequence[HttpConnection]) -> None:
        """Send until stopped. After a stall of its own it takes up its pace from there instead of catching up."""
        self._free.extend(connections)
        loop = asyncio.get_running_loop()
        interval = 1 / _PER_SECOND
        deadline = loop.time()
        while self._running:
            await asyncio.sleep(deadline - loop.time())
            now = loop.time()
            self.late.append(now - deadline)
            self._publish(time.perf_counter_ns())
            deadline += interval
            if deadline < now:
                deadline = now + interval

    def stop(self) -> None:
        """Send nothing more."""
        self._running = False

    def answered(self, connection: HttpConnection, _: bytes) -> None:
        """Note the answer, and send what was held back while every connection was taken."""
        self.answer.append((self._in_flight.pop(connection), time.perf_counter_ns()))
        if self._waiting:
            self._send(connection, self._waiting.popleft())
        else:
            self._free.append(connection)

    def _publish(self, stamp: int) -> None:
        self.sent.append(stamp)
        if self._free:
            self._send(self._free.popleft(), stamp)
        else:
            self._waiting.append(stamp)

    def _send(self, connection: HttpConnection, stamp: int) -> None:
        self._in_flight[connection] = stamp
        connection.send(self._before + b"%0*d" % (STAMP_DIGITS, stamp) + self._after)
