"""A TCP proxy in front of a real server that does to its connections what networks do: cuts, silence, slowness.

Rule 1: a connection that was cut, or whose bytes were swallowed, is never whole again; only new ones are.
Rule 2: cuts are resets (RST), as a lost machine's successor sends them, unless a test closes a side itself.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Self

from tests.redis_servers.port import LOOPBACK, unused_port

READ_BYTES: Final = 64 * 1024
_RESET: Final = struct.pack("ii", 1, 0)  # socket(7), SO_LINGER with no time to linger


@dataclass(slots=True)
class ReplyCut:
    """Cut the connection of the next requests that hold ``request``, ``times`` of them.

    The cut falls once the server has answered: ``after_bytes`` of what it says from then on are passed on before it. A
    client with several requests under way on one connection may so lose an earlier reply.
    """

    request: bytes
    after_bytes: int = 0
    times: int = 1
    done: int = 0


@dataclass(slots=True)
class Swallow:
    """Which bytes vanish while the connections stay up."""

    requests: bool = False
    replies: bool = False


@dataclass(eq=False, slots=True)
class _Connection:
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter | None = None
    swallow: Swallow = field(default_factory=Swallow)
    is_marked: bool = False
    is_over: asyncio.Event = field(default_factory=asyncio.Event)
    tail: bytes = b""
    reply_bytes_left: int | None = None
    """Once a request met a `ReplyCut`: how much of its reply may still pass."""

    def says(self, text: bytes, chunk: bytes) -> bool:
        """Tell whether the next chunk of requests completes a text."""
        return text in (self.tail[1 - len(text) :] + chunk if len(text) > 1 else chunk)

    def cut(self) -> None:
        self.is_over.set()
        for writer in (self.client, self.server):
            if writer is not None:
                reset(writer)


class FaultProxy:
    """Passes TCP on to ``port`` until told otherwise. Leaving ``async with`` cuts what is connected.

    Its own port stays the same, also while it refuses. With a ``mark``, `cut` and `swallow` concern those connections
    only whose requests have held it: others, as those of replicas, are not disturbed. Belongs to the event loop that it
    was entered in.
    """

    def __init__(self, port: int, host: str = LOOPBACK, *, own_port: int | None = None, mark: bytes = b"") -> None:
        self.port = own_port or unused_port()
        self.attempts: list[float] = []
        """When each connection was accepted (monotonic), also those that were turned away at once."""
        self.delay_seconds = 0.0
        """How long each chunk is held back, in both directions."""
        self.bytes_per_second: float | None = None
        """How fast each direction of each connection is, or as fast as it goes."""
        self.is_turning_away = False
        """Whether new connections are accepted and reset at once: attempts that can be counted, unlike refused ones."""
        self.cuts: list[ReplyCut] = []
        self.swallowed_bytes = 0
        self._target = (host, port)
        self._mark = mark
        self._swallow_new = Swallow()
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        """Listen."""
        await self.accept()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop, and cut what is connected."""
        await self.refuse()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        """Where the service finds Redis through it."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._connections)

    def aim(self, port: int) -> None:
        """Pass new connections on to another port of the same host, as a balancer does."""
        self._target = (self._target[0], port)

    async def accept(self) -> None:
        """Listen, again or still."""
        if self._listener is None:
            self._listener = await asyncio.start_server(self._accepted, LOOPBACK, self.port)

    async def refuse(self) -> None:
        """Stop to listen, so that connecting is refused, and cut every connection."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
        for connection in self._connections:
            connection.cut()
        if listener is not None:
            await listener.wait_closed()

    def cut(self) -> int:
        """Cut the connections now; return how many there were."""
        concerned = self._marked()
        for connection in concerned:
            connection.cut()
        return len(concerned)

    def cut_reply(self, request: bytes, after_bytes: int = 0, times: int = 1) -> ReplyCut:
        """Cut the reply of requests to come; what is returned counts those that were."""
        cut = ReplyCut(request, after_bytes, times)
        self.cuts.append(cut)
        return cut

    def swallow(self, *, requests: bool = True, replies: bool = True, also_new: bool = False) -> int:
        """Let bytes of the open connections vanish while TCP stays up: a half-open link. Return how many are concerned.

        With ``also_new`` connections to come are silent as well, until `pass_on`.
        """
        concerned = self._marked()
        for connection in concerned:
            connection.swallow = Swallow(requests=requests, replies=replies)
        if also_new:
            self._swallow_new = Swallow(requests=requests, replies=replies)
        return len(concerned)

    def pass_on(self) -> None:
        """Treat new connections well from now on."""
        self._swallow_new = Swallow()
        self.is_turning_away = False
        self.delay_seconds = 0.0
        self.bytes_per_second = None
        self.cuts.clear()

    def _marked(self) -> list[_Connection]:
        return [connection for connection in self._connections if connection.is_marked or not self._mark]

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.attempts.append(time.monotonic())
        if self.is_turning_away:
            reset(writer)
            return
        connection = _Connection(writer, swallow=self._swallow_new)
        self._connections.add(connection)
        task = asyncio.get_running_loop().create_task(self._serve(connection, reader))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: _Connection, reader: asyncio.StreamReader) -> None:
        try:
            replies, connection.server = await asyncio.open_connection(*self._target)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass_requests(connection, reader, connection.server))
                group.create_task(self._pass_replies(connection, replies))
        except* OSError:
            connection.cut()
        finally:
            self._connections.discard(connection)
            for writer in (connection.client, connection.server):
                if writer is not None:
                    writer.close()

    async def _pass_requests(
        self, connection: _Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while chunk := await reader.read(READ_BYTES):
            self._meet_cuts(connection, chunk)
            await self._pass(connection, chunk, writer, swallowed=connection.swallow.requests)
        await _end(writer)

    async def _pass_replies(self, connection: _Connection, reader: asyncio.StreamReader) -> None:
        while chunk := await reader.read(READ_BYTES):
            left = connection.reply_bytes_left
            if left is None:
                await self._pass(connection, chunk, connection.client, swallowed=connection.swallow.replies)
            elif left > 0:
                await self._pass(connection, chunk[:left], connection.client, swallowed=connection.swallow.replies)
                connection.reply_bytes_left = max(0, left - len(chunk))
            if left is not None and len(chunk) >= left:
                await _delivered(connection.client)
                connection.cut()
                raise ConnectionResetError("the reply is cut")
        await _end(connection.client)

    def _meet_cuts(self, connection: _Connection, chunk: bytes) -> None:
        """See whether the request is one whose reply is to be cut; a match may lie over two chunks."""
        for cut in self.cuts:
            if cut.done < cut.times and connection.reply_bytes_left is None and connection.says(cut.request, chunk):
                cut.done += 1
                connection.reply_bytes_left = cut.after_bytes
        if self._mark and connection.says(self._mark, chunk):
            connection.is_marked = True
        texts = (self._mark, *(cut.request for cut in self.cuts))
        connection.tail = (connection.tail + chunk)[-max(map(len, texts)) :]

    async def _pass(
        self, connection: _Connection, chunk: bytes, writer: asyncio.StreamWriter, *, swallowed: bool
    ) -> None:
        if swallowed:
            self.swallowed_bytes += len(chunk)
            return
        seconds = self.delay_seconds + (len(chunk) / self.bytes_per_second if self.bytes_per_second is not None else 0)
        if seconds:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await connection.is_over.wait()
        writer.write(chunk)
        await writer.drain()


def reset(writer: asyncio.StreamWriter) -> None:
    """Reset a connection: the other side sees RST, what was on its way is lost. Harmless where it is closed."""
    connected: socket.socket | None = writer.get_extra_info("socket")
    if connected is not None and not writer.transport.is_closing():
        with suppress(OSError):  # closed by the other side at this moment
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


async def _end(writer: asyncio.StreamWriter) -> None:
    """Pass on the end of one direction; the other one may go on."""
    if writer.can_write_eof() and not writer.is_closing():
        writer.write_eof()


async def _delivered(writer: asyncio.StreamWriter) -> None:
    """Give the bytes before a cut to the kernel of the other side: a reset throws away what is still here."""
    await writer.drain()
    await asyncio.sleep(0)
