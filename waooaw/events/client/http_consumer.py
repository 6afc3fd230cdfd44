"""A member of a durable subscription over HTTP: it consumes on a WebSocket, and connects again until it is closed.

Rule 1: what came on a connection is settled on that connection; once it ended, by a call of its own. The service then
says whether that was still in time, as a delivery that a lost replica handed out can be.
Rule 2: what waits to be asked for when a connection ends is forgotten: it went back.
Rule 3: failures in a row lengthen the wait; they are forgotten once a delivery came, or the connection stood for long.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Self

from waooaw.events.client.backoff import Backoff
from waooaw.events.client.consume_socket import ConnectionEndedError, ConsumeSocket
from waooaw.events.client.joined_settles import JoinedSettles
from waooaw.events.delivery import CLAIM_MAX, Settlement
from waooaw.events.errors import InvalidParameterError, WowEventError
from waooaw.events.stream_message import StreamStatus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from types import TracebackType
    from typing import NoReturn

    from waooaw.events.client.calls import Calls
    from waooaw.events.client.transport import Socket
    from waooaw.events.delivery import Delivery
    from waooaw.events.subscription_interface import Consumer

    Results = list[WowEventError | None]

RECONNECT: Final = Backoff(first_seconds=1.0, cap_seconds=30.0)
"""As streams: a service that is away for long is asked twice a minute by each member, and missed by half a minute."""

STOOD_SECONDS: Final = 30.0
"""A connection that stood for so long was a good one, also where nothing came on it."""

CLOSE_SECONDS: Final = 10.0
"""What was said is settled within this time, or may come again: a member that leaves cannot wait for ever."""


class HttpConsumer:
    """A member, made by `HttpSubscription.consume`. Several tasks may iterate over it at once."""

    def __init__(
        self,
        calls: Calls,
        path: str,
        subscription: str,
        *,
        credit: int,
        member: str,
        settle: Callable[[list[Settlement]], Awaitable[Results]],
        watch: Callable[[StreamStatus], None] | None,
        closed: Callable[[HttpConsumer], None],
    ) -> None:
        if not 1 <= credit <= CLAIM_MAX:
            message = f"credit must be between 1 and {CLAIM_MAX}, not {credit}"
            raise InvalidParameterError(message)
        self._transport = calls.transport
        self._path = path
        self._subscription = subscription
        self._credit = credit
        self._member = member
        self._patience = calls.patience
        self._watch = watch
        self._closed = closed
        self._late = JoinedSettles(settle)
        self._deliveries: deque[Delivery] = deque()
        self._readers: deque[asyncio.Future[None]] = deque()
        self._socket: ConsumeSocket | None = None
        self._task: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._connected = asyncio.Event()
        self._problem: BaseException | None = None
        self._failures = 0
        self._retry_after_seconds: float | None = None

    async def __aenter__(self) -> Self:
        """See Consumer."""
        self._start()
        try:
            await self._connected.wait()
        except asyncio.CancelledError:
            await self.close()
            raise
        if self._problem is not None:
            await self.close()
            raise self._problem
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """See Consumer."""
        await self.close()

    def __aiter__(self) -> Self:
        """See Consumer."""
        return self

    async def __anext__(self) -> Delivery:
        """See Consumer."""
        while not self._deliveries:
            if self._closing is not None:
                raise StopAsyncIteration
            if self._problem is not None:
                raise self._problem
            self._start()
            reader = asyncio.get_running_loop().create_future()
            self._readers.append(reader)
            try:
                await reader
            except asyncio.CancelledError:
                if reader.done() and not reader.cancelled() and self._deliveries:
                    self._wake()  # another reader gets what this one was woken for
                raise
        return self._deliveries.popleft()

    def _start(self) -> None:
        if self._task is None and self._closing is None:
            self._task = asyncio.create_task(self._run(), name=f"consume {self._subscription}")

    def _wake(self) -> None:
        while self._readers:
            reader = self._readers.popleft()
            if not reader.done():
                reader.set_result(None)
                return

    def _end(self, problem: BaseException | None) -> None:
        """Let everybody who waits see the end."""
        self._problem = problem
        self._deliveries.clear()
        self._connected.set()
        while self._readers:
            self._wake()

    # Connecting -------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Consume, on one connection after another, until closed or until no further try can help."""
        try:
            while (problem := await self._consume()).retryable and self._closing is None:
                await self._wait_after(problem)
            if self._closing is None:
                self._end(problem)
        except Exception as error:  # noqa: BLE001 - whatever it is, whoever reads has to see it
            self._end(error)

    async def _consume(self) -> WowEventError:
        """Consume on one connection; return what ended it, or why there is none."""
        try:
            await self._consume_on(await self._transport.open_socket(self._path))
        except WowEventError as error:
            return error

    async def _consume_on(self, opened: Socket) -> NoReturn:
        socket = ConsumeSocket(self._transport, opened, self._subscription, self._patience)
        self._socket = socket
        begun_at = self._patience.clock.monotonic()
        try:
            await socket.serve(self._credit, self._member, connected=self._connect, deliver=self._deliver)
        finally:
            self._socket = None
            self._deliveries.clear()
            if self._patience.clock.monotonic() - begun_at >= STOOD_SECONDS:
                self._failures = 0
            self._retry_after_seconds = socket.retry_after_seconds
            if self._closing is None:
                await opened.close()

    def _connect(self) -> None:
        self._connected.set()
        if self._watch is not None:
            self._watch(StreamStatus())

    def _deliver(self, delivery: Delivery) -> None:
        if self._closing is None:
            self._failures = 0
            self._deliveries.append(delivery)
            if self._readers:
                self._wake()

    async def _wait_after(self, error: WowEventError) -> None:
        self._failures += 1
        asked = self._retry_after_seconds or error.retry_after_seconds
        self._retry_after_seconds = None
        wait_seconds = RECONNECT.wait_seconds(self._failures, self._patience.chance.random(), at_least=asked)
        if self._watch is not None:
            self._watch(StreamStatus(error, wait_seconds))
        await asyncio.sleep(wait_seconds)

    # Settling ---------------------------------------------------------------------------------------------------------

    async def ack(self, delivery: Delivery) -> None:
        """See Consumer."""
        await self._settle_one(Settlement(token=delivery.token, outcome="ack"))

    async def nack(self, delivery: Delivery, *, reason: str = "", delay_seconds: float | None = None) -> None:
        """See Consumer."""
        await self._settle_one(
            Settlement(token=delivery.token, outcome="nack", delay_seconds=delay_seconds, reason=reason)
        )

    async def reject(self, delivery: Delivery, *, reason: str = "") -> None:
        """See Consumer."""
        await self._settle_one(Settlement(token=delivery.token, outcome="reject", reason=reason))

    async def release(self, delivery: Delivery) -> None:
        """See Consumer."""
        await self._settle_one(Settlement(token=delivery.token, outcome="release"))

    async def extend(self, delivery: Delivery, seconds: float | None = None) -> None:
        """See Consumer."""
        await self._settle_one(Settlement(token=delivery.token, outcome="extend", delay_seconds=seconds))

    async def _settle_one(self, settlement: Settlement) -> None:
        (error,) = await self._settle((settlement,))
        if error is not None:
            raise error

    async def settle(self, settlements: Sequence[Settlement]) -> Results:
        """See Consumer."""
        if len(settlements) <= CLAIM_MAX:
            return await self._settle(settlements)
        parts = [settlements[begin : begin + CLAIM_MAX] for begin in range(0, len(settlements), CLAIM_MAX)]
        return [result for results in await asyncio.gather(*map(self._settle, parts)) for result in results]

    async def _settle(self, settlements: Sequence[Settlement]) -> Results:
        socket = self._socket
        if socket is None:
            return await self._late.submit(settlements)
        held = socket.held
        here = [settlement for settlement in settlements if settlement.token in held]
        if len(here) == len(settlements):
            return await self._settle_here(socket, settlements)
        late = [settlement for settlement in settlements if settlement.token not in held]
        answers = await asyncio.gather(self._settle_here(socket, here), self._late.submit(late))
        results = {
            settlement.token: result
            for part, answer in zip((here, late), answers, strict=True)
            for settlement, result in zip(part, answer, strict=True)
        }
        return [results[settlement.token] for settlement in settlements]

    async def _settle_here(self, socket: ConsumeSocket, settlements: Sequence[Settlement]) -> Results:
        if not settlements:
            return []
        try:
            return await socket.settle(settlements)
        except ConnectionEndedError:
            return await self._late.submit(settlements)

    # The end ----------------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """See Consumer."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name=f"leave {self._subscription}")
            self._end(self._problem)
            self._closed(self)
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        if self._socket is not None:
            await self._socket.close(CLOSE_SECONDS)
        await self._late.flush(CLOSE_SECONDS)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))


if TYPE_CHECKING:
    _: type[Consumer] = HttpConsumer
