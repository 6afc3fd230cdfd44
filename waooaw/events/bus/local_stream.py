"""A live feed inside the process: what `LocalBus.stream` gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from waooaw.events.bus.queue_sink import QueueSink
from waooaw.events.cursor import encode_cursor
from waooaw.events.pattern import PatternSet
from waooaw.events.stream_message import Delivered, StreamStatus

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from waooaw.events.bound import Bound
    from waooaw.events.bus.event_bus import EventBus
    from waooaw.events.bus.queue_sink import Messages, ObjectFraming
    from waooaw.events.bus.stream import Stream
    from waooaw.events.interface import EventStream
    from waooaw.events.stream_message import StreamMessage


class LocalStream:
    """A reader inside the process; never interrupted."""

    def __init__(
        self,
        bus: EventBus,
        patterns: tuple[str, ...],
        framing: ObjectFraming,
        *,
        start: str,
        watch: Callable[[StreamStatus], None] | None,
        closed: Callable[[LocalStream], None],
    ) -> None:
        self._bus = bus
        self._patterns = patterns
        self._framing = framing
        self._start = start
        self._watch = watch
        self._closed = closed
        self._sink = QueueSink()
        self._stream: Stream[Messages] | None = None
        self._cursor: str | None = None
        self._is_closed = False

    @property
    def cursor(self) -> str | None:
        """See EventStream."""
        if self._stream is not None and not self._sink.buffered_bytes():
            self._cursor = encode_cursor(self._bus.name, self._stream.cursor)
        return self._cursor

    async def __aenter__(self) -> Self:
        """See EventStream."""
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """See EventStream."""
        await self.close()

    def __aiter__(self) -> Self:
        """See EventStream."""
        return self

    async def __anext__(self) -> StreamMessage:
        """See EventStream."""
        await self._open()
        message = None if self._is_closed else await self._sink.take()
        if message is None:
            raise StopAsyncIteration
        self._cursor = message.cursor if isinstance(message, Delivered) else message.end
        return message

    async def close(self) -> None:
        """See EventStream."""
        self._is_closed = True
        self._closed(self)
        self._sink.end()
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    async def _open(self) -> None:
        if self._stream is not None or self._is_closed:
            return
        patterns, start = PatternSet.parse(self._patterns), self._bus.parse_bound(self._start)
        await self._bus.store.learn(start)
        self._begin(patterns, start)

    def _begin(self, patterns: PatternSet, start: Bound) -> None:
        if self._is_closed:  # while the store was asked
            return
        self._stream = self._bus.open_stream(patterns, self._framing, self._sink, start=start, ended=self._sink.end)
        if self._watch is not None:
            self._watch(StreamStatus())


if TYPE_CHECKING:
    _: type[EventStream] = LocalStream
