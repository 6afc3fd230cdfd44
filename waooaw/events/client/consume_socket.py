"""One connection of a consumer: a WebSocket that brings deliveries and takes what became of them.

Rule 1: one task reads; everything that comes passes through `serve`.
Rule 2: whoever waits for an answer when the connection ends is told `ConnectionEndedError`: what was asked for may have
been done, and asking anew, on another way, is for the caller.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import msgspec

from waooaw.events.client.joined_settles import JoinedSettles
from waooaw.events.client.problem import error_of_members
from waooaw.events.delivery_wire import DELIVERY_HEAD, outcomes_json, read_delivery
from waooaw.events.errors import ClosedError, InvalidParameterError, WowEventError
from waooaw.events.outages import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn

    from waooaw.events.client.patience import Patience
    from waooaw.events.client.transport import Socket, Transport
    from waooaw.events.delivery import Delivery, Settlement

CONSUME_ID: Final = "consume"
STOP_ID: Final = "stop"

_ENDED: Final = frozenset(
    {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}
)


class ConnectionEndedError(Exception):
    """The connection ended before the answer; never leaves the client."""


class _Message(msgspec.Struct, gc=False):
    op: str
    id: str | None = None
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: dict[str, Any] = {}
    retry_after_seconds: float | None = None


class _Result(msgspec.Struct, gc=False):
    status: str
    code: str = ""
    detail: str = ""
    errors: list[dict[str, Any]] = []
    retryable: bool = False


class _Results(msgspec.Struct, gc=False):
    results: list[_Result]


_decode_message: Final = msgspec.json.Decoder(_Message).decode
_decode_results: Final = msgspec.json.Decoder(_Results).decode


def read_results(text: bytes) -> list[WowEventError | None]:
    """Read what a settle answers."""
    return [None if item.status == "ok" else _error(item) for item in _decode_results(text).results]


def _error(item: _Result) -> WowEventError:
    return error_of_members(msgspec.to_builtins(item))


class ConsumeSocket:
    """A connection on which a subscription is consumed. ``held`` are the tokens that it brought and nobody settled."""

    def __init__(self, transport: Transport, socket: Socket, subscription: str, patience: Patience) -> None:
        self.held: set[str] = set()
        self.retry_after_seconds: float | None = None
        self._transport = transport
        self._socket = socket
        self._subscription = subscription
        self._name = f'"subscription":"{subscription}"'.encode()  # nothing in a name is escaped
        self._patience = patience
        self._settles = JoinedSettles(self._settle)
        self._answers: dict[str, asyncio.Future[bytes]] = {}
        self._asked = 0
        self._has_ended = False

    async def serve(
        self, credit: int, member: str, *, connected: Callable[[], None], deliver: Callable[[Delivery], None]
    ) -> NoReturn:
        """Consume, and give what comes, until the connection ends; raises the `WowEventError` that ended it."""
        try:
            await self._ask(CONSUME_ID, credit, member)
            while True:
                message = await self._socket.receive()
                text = message.data
                if message.type in _ENDED:
                    raise self._ending(message.data, message.extra)
                if text[: len(DELIVERY_HEAD)] == DELIVERY_HEAD:
                    delivery = read_delivery(text)[1]
                    self.held.add(delivery.token)
                    deliver(delivery)
                elif self._take(_decode_message(text)):
                    connected()
        except ConnectionEndedError as error:
            raise self._transport.lost(None, "it was closed") from error
        except (msgspec.MsgspecError, InvalidParameterError, TypeError) as error:
            message_text = f"{self._transport.url} sent what no bus sends"
            raise WowEventError(message_text) from error
        finally:
            self._end()

    async def _ask(self, operation_id: str, credit: int, member: str) -> None:
        """Ask to hold so many deliveries; 0 is no more."""
        wanted = {"op": "consume", "id": operation_id, "subscription": self._subscription, "credit": credit}
        await self._write(msgspec.json.encode(wanted | ({"member": member} if member else {})))

    def _take(self, message: _Message) -> bool:
        """Take what is no delivery; return whether it says that consuming has begun. Raises the end of consuming."""
        if message.op == "closing":
            self.retry_after_seconds = message.retry_after_seconds
        elif message.op == "error":
            error = error_of_members(message.error)
            if message.id is None or message.id == CONSUME_ID:
                raise UnavailableError(error.detail) if isinstance(error, ClosedError) else error
            answered = self._answers.pop(message.id, None)
            if answered is not None and not answered.done():
                answered.set_exception(error)
        elif message.op == "result" and message.id is not None:
            if message.id == CONSUME_ID:
                return True
            answered = self._answers.pop(message.id, None)
            if answered is not None and not answered.done():
                answered.set_result(bytes(message.result))
        return False

    def _ending(self, data: object, extra: object) -> WowEventError:
        if isinstance(data, Exception):
            return self._transport.lost(data, "")
        reason = f": {extra}" if isinstance(extra, str) and extra else ""
        return self._transport.lost(None, f"it was closed with {self._socket.close_code}{reason}")

    # Settling ---------------------------------------------------------------------------------------------------------

    async def settle(self, settlements: Sequence[Settlement]) -> list[WowEventError | None]:
        """Settle up to `CLAIM_MAX` deliveries; raises `ConnectionEndedError`, or `UnavailableError` kinds."""
        return await self._settles.submit(settlements)

    async def _settle(self, settlements: list[Settlement]) -> list[WowEventError | None]:
        outcomes = outcomes_json(settlements)

        async def attempt(seconds: float) -> list[WowEventError | None]:
            self._asked += 1
            operation_id = str(self._asked)
            message = b'{"op":"settle","id":"%d",%b,"outcomes":%b}' % (self._asked, self._name, outcomes)
            answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
            self._answers[operation_id] = answered
            try:
                await self._write(message)
                async with asyncio.timeout(seconds):
                    return self._results(await answered, len(settlements))
            except TimeoutError as error:
                detail = f"{self._transport.url} did not answer in {seconds:.0f} s what became of deliveries"
                raise UnavailableError(detail, retry_after_seconds=None, outcome="unknown") from error
            finally:
                self._answers.pop(operation_id, None)

        results = await self._patience.call(attempt)
        settled = [settlement.token for settlement in settlements if settlement.outcome != "extend"]
        self.held.difference_update(settled)
        return results

    def _results(self, text: bytes, count: int) -> list[WowEventError | None]:
        try:
            results = read_results(text)
        except msgspec.MsgspecError as error:
            message = f"{self._transport.url} answered what no bus answers"
            raise WowEventError(message) from error
        if len(results) != count:
            message = f"{self._transport.url} answered {len(results)} results for {count} outcomes"
            raise WowEventError(message)
        return results

    async def _write(self, message: bytes) -> None:
        """Send a text message; its bytes are JSON in UTF-8 already."""
        if self._has_ended or self._socket.closed:
            raise ConnectionEndedError
        try:
            await self._socket.send_frame(message, aiohttp.WSMsgType.TEXT)
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionEndedError from error

    # The end ----------------------------------------------------------------------------------------------------------

    async def close(self, seconds: float) -> None:
        """Take no more, wait so long at most until what was said is settled, and close: the rest is given back then."""
        if not self._has_ended:
            with suppress(ConnectionEndedError):
                await self._ask(STOP_ID, 0, "")
                await self._settles.flush(seconds)
        await self._socket.close()

    def _end(self) -> None:
        self._has_ended = True
        self.held = set()
        for answered in self._answers.values():
            if not answered.done():
                answered.set_exception(ConnectionEndedError())
