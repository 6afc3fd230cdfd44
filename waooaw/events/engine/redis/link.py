"""One connection to one node, shared by all who call: requests go out in order, answers come back in that order.

redis-py connects, authenticates and parses; its commands, retries and pools are not used, because a write must never
be sent twice without the bus knowing, and because ``WAIT`` counts for the connection that wrote.

Rule 1: whoever stops waiting for an answer leaves it to come and be dropped; the others are not disturbed.
Rule 2: an answer that does not come in time breaks the link: what came after it would wait as well.
Rule 3: a broken link stays broken. What waited is told so, and does not know whether it was done.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

import hiredis
from redis.exceptions import NoScriptError, RedisError

from waooaw.events.engine.redis.failure import connection_failure, is_reply
from waooaw.events.outages import EngineUnavailableError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio.connection import Connection

    from waooaw.events.engine.redis.address import Node
    from waooaw.events.engine.redis.script import Script

Argument = str | bytes | int


def write_command(connection: Connection, arguments: tuple[Argument, ...]) -> None:
    """Send a command without waiting: redis-py's own way closes the connection when that wait is cancelled.

    Raises ConnectionResetError where the connection has ended and its reader is yet to be told: of a write to such a
    one asyncio says nothing, and uvloop raises a RuntimeError.
    """
    writer = connection._writer  # noqa: SLF001 - redis-py has no public way to write alone
    if writer is None or writer.transport.is_closing():
        message = "the connection is closed"
        raise ConnectionResetError(message)
    writer.write(hiredis.pack_command(arguments))  # type: ignore[arg-type]  # its stub has one argument


class Link:
    """A connection that is open. Close it once; calls on a closed or broken link raise `EngineUnavailableError`."""

    def __init__(self, connection: Connection, node: Node) -> None:
        self.node = node
        self.where = str(node)
        self._connection = connection
        self._waiting: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.broken: asyncio.Future[UnavailableError] = self._loop.create_future()
        self._reader = self._loop.create_task(self._read(), name=f"redis {node}")

    @property
    def is_broken(self) -> bool:
        """Whether nothing more can be asked here."""
        return self.broken.done()

    def send(self, *arguments: Argument, timeout_seconds: float) -> asyncio.Future[Any]:
        """Send a command; return the future of its answer, or of the `RedisError` that refused it."""
        if self.broken.done():
            reason = self.broken.result()
            raise type(reason)(reason.detail)
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append((answer, self._loop.time() + timeout_seconds))
        try:
            write_command(self._connection, arguments)
        except ConnectionResetError as error:
            self._break(connection_failure(error, self.where))
            return answer
        if self._timer is None:
            self._timer = self._loop.call_at(self._waiting[0][1], self._check)
        return answer

    async def call(self, *arguments: Argument, timeout_seconds: float) -> Any:  # noqa: ANN401 - Redis answers anything
        """Send a command and return its answer; raises `RedisError` for a refusal, and `EngineUnavailableError`."""
        return await self.send(*arguments, timeout_seconds=timeout_seconds)

    async def evaluate(
        self, script: Script, keys: Sequence[str], arguments: Sequence[Argument], *, timeout_seconds: float
    ) -> Any:  # noqa: ANN401 - as above
        """Run a script, and load it first where the server does not know it; raises as `call`."""
        try:
            return await self.call(
                "EVALSHA", script.digest, len(keys), *keys, *arguments, timeout_seconds=timeout_seconds
            )
        except NoScriptError:
            await self.call("SCRIPT", "LOAD", script.text, timeout_seconds=timeout_seconds)
        return await self.call("EVALSHA", script.digest, len(keys), *keys, *arguments, timeout_seconds=timeout_seconds)

    def abandon(self, reason: UnavailableError) -> None:
        """Break the link, for a reason that those who wait are told."""
        self._break(reason)

    async def close(self) -> None:
        """End the connection; what still waits is told that the link is broken."""
        self._break(EngineUnavailableError(f"the connection to Redis at {self.where} was closed", outcome="unknown"))
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        await self._connection.disconnect(nowait=True)

    async def _read(self) -> None:
        read = self._connection.read_response
        waiting = self._waiting
        try:
            while True:
                answer: Any
                try:
                    answer = await read(disable_decoding=True, disconnect_on_error=False)
                except RedisError as error:
                    if not is_reply(error):
                        raise
                    answer = error
                future, _ = waiting.popleft()
                if future.done():
                    continue
                if isinstance(answer, RedisError):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)
        except Exception as error:  # noqa: BLE001 - whatever ends the reading ends the link
            self._break(connection_failure(error, self.where))

    def _check(self) -> None:
        """Break the link where the oldest answer is overdue, else look again when it will be."""
        self._timer = None
        if not self._waiting or self.broken.done():
            return
        due = self._waiting[0][1]
        if due <= self._loop.time():
            self._break(connection_failure(TimeoutError("no answer in time"), self.where))
        else:
            self._timer = self._loop.call_at(due, self._check)

    def _break(self, error: UnavailableError) -> None:
        if self.broken.done():
            return
        self.broken.set_result(error)
        if self._timer is not None:
            self._timer.cancel()
        self._reader.cancel()
        writer = self._connection._writer  # noqa: SLF001 - as in `write_command`
        if writer is not None:
            writer.transport.abort()
        while self._waiting:
            future, _ = self._waiting.popleft()
            if not future.done():
                lost = type(error)(error.detail, outcome="unknown")
                future.set_exception(lost)
                future.exception()  # whoever was cancelled meanwhile does not ask; that is no error
