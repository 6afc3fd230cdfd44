"""A load generator lean enough not to be what is measured: raw protocols, prebuilt requests, no HTTP library.

A request costs it some 10 microseconds of processor time, system calls included. Every run prints its own share of a
core beside the figure: near 100 % the figure is the generator's, not the server's.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import uvloop

from bench.errors import BenchError
from bench.server import HOST

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from bench.server import Server

_Result = TypeVar("_Result")

EVENTS_PATH: Final = "/v1/events"

OK: Final = b"HTTP/1.1 200 "
_HEAD_END: Final = b"\r\n\r\n"
_LENGTH_NAMES: Final = (b"\r\nContent-Length: ", b"\r\ncontent-length: ")
_POLL_SECONDS: Final = 0.002
_SHOWN_BYTES: Final = 600
FINISH_SECONDS_MAX: Final = 15.0
"""How long what is in flight at the end of a window may take to finish."""


def run_load(
    main: Callable[[], Coroutine[None, None, _Result]],
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop,
) -> _Result:
    """Run one round of load on a loop of its own and return what it measured."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(main())


class Watch:
    """Waiting that ends at once with BenchError when any connection of the run reports a failure."""

    def __init__(self) -> None:
        """Start with nothing failed. Needs a running loop."""
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def fail(self, reason: str) -> None:
        """Report a failure; the first one is kept."""
        if not self._failed.done():
            self._failed.set_exception(BenchError(reason))

    async def sleep(self, seconds: float) -> None:
        """Let the load run for `seconds`."""
        await asyncio.wait((self._failed,), timeout=seconds)
        if self._failed.done():
            self._failed.result()

    async def until(self, condition: Callable[[], bool], what: str, seconds_max: float = FINISH_SECONDS_MAX) -> None:
        """Return once `condition` holds. Raises BenchError naming `what` after `seconds_max`."""
        until = time.monotonic() + seconds_max
        while not condition():
            if time.monotonic() >= until:
                raise BenchError(f"after {seconds_max:.0f} s still waiting for {what}")
            await self.sleep(_POLL_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What one measured stretch of time saw. Shares are of one core; a server of several threads may pass 1."""

    per_second: float
    server_core_share: float
    load_core_share: float
    other_core_share: float
    """What other processes took of the server's core: above a few percent the rate says little, the cost still does."""
    completed: int = 0
    """All that was counted, warm-up and end included."""


async def measure(server: Server, watch: Watch, count: Callable[[], int], seconds: float) -> Window:
    """Return the rate at which `count` grows during `seconds` of load that already runs."""
    began, counted = time.perf_counter(), count()
    server_cpu, load_cpu, other = server.cpu_seconds(), time.process_time(), server.other_work_seconds()
    await watch.sleep(seconds)
    elapsed = time.perf_counter() - began
    return Window(
        per_second=(count() - counted) / elapsed,
        server_core_share=(server.cpu_seconds() - server_cpu) / elapsed,
        load_core_share=(time.process_time() - load_cpu) / elapsed,
        other_core_share=(server.other_work_seconds() - other) / elapsed,
    )


def post(server: Server, path: str, content_type: str, body: bytes) -> bytes:
    """Return the bytes of one POST."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {server.host_header}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class HttpConnection(asyncio.Protocol):
    """One keep-alive connection with at most one request in flight.

    `on_response` is called with the connection and the body of each answer that begins with `success`; every other
    status, and a connection that the server closes, fails the watch.
    """

    def __init__(self, watch: Watch, on_response: Callable[[HttpConnection, bytes], None], success: bytes = OK) -> None:
        """Store what to call; the connection is made by `open_connections`."""
        self._watch = watch
        self._on_response = on_response
        self._success = success
        self._received = b""
        self._closing = False
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport  # type: ignore[assignment]  # a TCP transport can be written to

    def send(self, request: bytes) -> None:
        """Send one request; the response before it must have arrived."""
        if self._transport is None:
            raise BenchError("a request was sent before its connection was made")
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Collect the response and hand its body on."""
        try:
            self._collect(self._received + data if self._received else data)
        except BenchError as error:
            self._watch.fail(str(error))

    def _collect(self, received: bytes) -> None:
        head_end = received.find(_HEAD_END)
        end = -1 if head_end < 0 else head_end + len(_HEAD_END) + _content_length(received, head_end)
        if end < 0 or len(received) < end:
            self._received = received
            return
        self._received = b""
        if not received.startswith(self._success) or len(received) > end:
            raise BenchError(f"a request was answered with {received[:_SHOWN_BYTES]!r}")
        self._on_response(self, received[head_end + len(_HEAD_END) :])

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the run unless it was closed from here."""
        if not self._closing:
            self._watch.fail(f"a connection ended: {exc!r}")

    def close(self) -> None:
        """Close the connection; closing twice is harmless."""
        self._closing = True
        if self._transport is not None:
            self._transport.close()


def _content_length(received: bytes, head_end: int) -> int:
    """Return the length that the head names. Raises BenchError where it names none: these replies all do."""
    for name in _LENGTH_NAMES:
        at = received.find(name, 0, head_end)
        if at >= 0:
            at += len(name)
            return int(received[at : received.find(b"\r", at)])
    raise BenchError(f"a response without Content-Length: {received[:_SHOWN_BYTES]!r}")


async def open_connections(
    server: Server,
    count: int,
    watch: Watch,
    on_response: Callable[[HttpConnection, bytes], None],
    success: bytes = OK,
) -> list[HttpConnection]:
    """Open `count` connections, one after the other."""
    loop = asyncio.get_running_loop()
    opened = []
    for _ in range(count):
        _, connection = await loop.create_connection(
            lambda: HttpConnection(watch, on_response, success), HOST, server.port
        )
        opened.append(connection)
    return opened
