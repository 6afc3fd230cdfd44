"""The live channel of one bus: a connection that subscribes, and is watched: a silent one looks like a dead one.

redis-py's own watch of subscriptions only writes pings; here an answer has to come (https://redis.io/commands/ping).
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import RedisError

from waooaw.events.engine.redis.failure import connection_failure, is_reply, reply_failure
from waooaw.events.engine.redis.link import write_command
from waooaw.events.engine.redis.session import CONNECT_SECONDS
from waooaw.events.outages import EngineUnavailableError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis.asyncio.connection import Connection

    from waooaw.events.engine.redis.address import Node
    from waooaw.events.engine.redis.connecting import Connector
    from waooaw.events.engine.redis.pace import Pace
    from waooaw.events.engine.redis.session import SessionKeeper

_log = logging.getLogger("wowevent.redis")

PING_SECONDS: Final = 2.0
SILENCE_SECONDS: Final = 6.0
"""Three pings without a word: with the time to notice and connect it stays below 10 s for a half-open link."""

_MESSAGES: Final = frozenset({b"message", b"smessage"})
_CONFIRMATIONS: Final = frozenset({b"subscribe", b"ssubscribe"})
_ENDINGS: Final = frozenset({b"unsubscribe", b"sunsubscribe"})


class LiveSubscription:
    """Subscribes to one channel for as long as it runs."""

    def __init__(
        self,
        keeper: SessionKeeper,
        connector: Connector,
        pace: Pace,
        channel: str,
        *,
        sharded: bool,
        confirmed: Callable[[], Awaitable[None]],
        received: Callable[[bytes], Awaitable[None]],
    ) -> None:
        self._keeper = keeper
        self._connector = connector
        self._pace = pace
        self._channel = channel
        self._command = "SSUBSCRIBE" if sharded else "SUBSCRIBE"
        self._confirmed = confirmed
        self._received = received
        self.listening = asyncio.Event()
        self.problem: UnavailableError | None = None

    async def run(self) -> None:
        """Subscribe at the node of the session, again and again, until cancelled."""
        while True:
            try:
                session = await self._keeper.session(patience_seconds=60.0)
                await self._pace.turn()
                await self._listen(session.node)
            except UnavailableError as error:
                self._pace.failed()
                self.problem = error
            except Exception:  # noqa: BLE001 - a defect must not end what carries live events
                self._pace.failed()
                _log.exception("redis.live_failed", extra={"channel": self._channel})
            finally:
                self.listening.clear()

    async def _listen(self, node: Node) -> None:
        connection = await self._connector.connect(node, timeout_seconds=CONNECT_SECONDS)
        watch = _Watch(connection, lambda: self._is_elsewhere(node))
        try:
            try:
                write_command(connection, (self._command, self._channel))
            except ConnectionResetError as error:
                raise connection_failure(error, str(node)) from None
            while True:
                await self._take(await self._next(connection, node, watch))
        finally:
            watch.stop()
            await connection.disconnect(nowait=True)

    def _is_elsewhere(self, node: Node) -> bool:
        session = self._keeper.current
        return session is not None and session.node != node

    async def _next(self, connection: Connection, node: Node, watch: _Watch) -> list[Any]:
        try:
            message = await connection.read_response(disable_decoding=True, disconnect_on_error=False)
        except RedisError as error:
            where = str(node)
            raise reply_failure(error, where) if is_reply(error) else connection_failure(error, where) from None
        watch.heard()
        return message if isinstance(message, list) else [message]

    async def _take(self, message: list[Any]) -> None:
        kind = message[0]
        if kind in _MESSAGES:
            await self._received(message[2])
        elif kind in _CONFIRMATIONS:
            self._pace.succeeded()
            await self._confirmed()
            self.listening.set()
        elif kind in _ENDINGS:
            moved = "the live channel's slot moved to another node"
            raise EngineUnavailableError(moved)


class _Watch:
    """Pings a subscription, and cuts it when nothing comes or the bus has gone to another node."""

    def __init__(self, connection: Connection, is_elsewhere: Callable[[], bool]) -> None:
        self._connection = connection
        self._is_elsewhere = is_elsewhere
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._loop.time()
        self._timer = self._loop.call_later(PING_SECONDS, self._look)

    def heard(self) -> None:
        """Note that something came."""
        self._heard_at = self._loop.time()

    def stop(self) -> None:
        """Stop watching."""
        self._timer.cancel()

    def _look(self) -> None:
        writer = self._connection._writer  # noqa: SLF001 - as in `Link`
        if writer is None or writer.transport.is_closing():
            return
        if self._loop.time() - self._heard_at > SILENCE_SECONDS or self._is_elsewhere():
            writer.transport.abort()
            return
        write_command(self._connection, ("PING",))
        self._timer = self._loop.call_later(PING_SECONDS, self._look)
