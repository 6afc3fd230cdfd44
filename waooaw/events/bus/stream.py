"""One reader of a bus: history first, then live, without a gap or a duplicate between the two.

Rule 1: a stream is catching up (it has a task, and a position of its own) or live (the hub's position is its own),
never both.
Rule 2: it goes live in one step of the event loop: everything up to the hub's position is written, then it is attached.
Rule 3: what it cannot have any more is told as a gap, before anything newer.
Rule 4: its position goes with the epoch in which it was reached. Where the log's epoch is another one, the stream asks
the history what its place still means before it does anything else.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from typing import TYPE_CHECKING, Final, Generic

from waooaw.events.bus.sink import Payload
from waooaw.events.cursor import Cursor
from waooaw.events.epoch import Gap
from waooaw.events.outages import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from waooaw.events.bus.hub import Hub
    from waooaw.events.bus.log_blocks import LogBlocks
    from waooaw.events.bus.metrics import EventMetrics
    from waooaw.events.bus.sink import Framing, Sink
    from waooaw.events.engine.contract import EventLog
    from waooaw.events.epoch import History
    from waooaw.events.event import StoredEvent
    from waooaw.events.pattern import PatternSet
    from waooaw.events.position import Position

CHUNK_BYTES: Final = 256 * 1024
"""Written to a reader that catches up before it has to drain: what it costs in memory while it takes nothing."""

SCAN_EVENTS: Final = 5000
"""Events looked at in one go, about a millisecond, before other readers get their turn."""

RETRY_SECONDS: Final = 1.0
"""Between two tries to read a log that is away."""


class StreamSource:
    """What all streams of a bus read from."""

    __slots__ = ("blocks", "bus", "hub", "log", "metrics")

    def __init__(self, bus: str, log: EventLog, hub: Hub, blocks: LogBlocks, metrics: EventMetrics) -> None:
        self.bus = bus
        self.log = log
        self.hub = hub
        self.blocks = blocks
        self.metrics = metrics

    @property
    def history(self) -> History:
        """The log's history as it stands."""
        return self.log.state(self.bus).history


class Stream(Generic[Payload]):
    """A reader. Start it once; close it when its sink ends."""

    __slots__ = (
        "_ended",
        "_epoch",
        "_is_ahead",
        "_position",
        "_source",
        "_task",
        "framing",
        "live",
        "patterns",
        "sink",
    )

    def __init__(
        self,
        source: StreamSource,
        patterns: PatternSet,
        framing: Framing[Payload],
        sink: Sink[Payload],
        ended: Callable[[BaseException], None],
    ) -> None:
        self._source = source
        self.patterns = patterns
        self.framing = framing
        self.sink = sink
        self._ended = ended
        self._task: asyncio.Task[None] | None = None
        self.live = False

    def start(self, position: Position, gap: Gap | None) -> None:
        """Begin after a position. Where nothing lies between it and the live feed, the stream is live on return."""
        self._stand(position)
        self._is_ahead = position > self._source.history.last
        if gap is not None:
            self.sink.write(self.framing.gap(gap))
        if gap is None and position == self._source.hub.reached:
            self._go_live()
        else:
            self._catch_up_later()

    def close(self) -> None:
        """End the stream. Closing twice is harmless."""
        if self.live:
            self._stand(self._source.hub.reached)
            self.live = False
        self._source.hub.detach(self)
        if self._task is not None:
            self._task.cancel()
            self._task = None

    @property
    def cursor(self) -> Cursor:
        """Everything at or before it was written to the sink."""
        history = self._source.history
        if self.live:
            return history.cursor(self._source.hub.reached)
        if self._epoch == history.current.id or self._is_ahead:
            return history.cursor(min(self._position, history.last))
        return Cursor(self._epoch, self._position)

    def demote(self, position: Position) -> None:
        """Leave live delivery, having got everything up to a position."""
        self._source.hub.detach(self)
        self._stand(position)
        self.live = False
        self._source.metrics.demoted()
        self._catch_up_later()

    def lose(self, place: Position, gap: Gap) -> None:
        """Leave live delivery, because the history went back to a place: tell what was seen and is no more."""
        if not self.live:
            return  # closed while others were told
        self._source.hub.detach(self)
        self.live = False
        self._catch_up_later()  # before the sink is written: its owner may close the stream on that
        self._tell_gap(place, gap)

    def _stand(self, position: Position) -> None:
        self._position = position
        self._epoch = self._source.history.current.id

    def _go_live(self) -> None:
        self.live = True
        self._source.hub.attach(self)

    # Catching up ------------------------------------------------------------------------------------------------------

    def _catch_up_later(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._catch_up(), name="stream catching up")
        self._task.add_done_callback(self._caught_up)

    def _caught_up(self, task: asyncio.Task[None]) -> None:
        if self._task is task:
            self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self.close()
            self._ended(error)

    async def _catch_up(self) -> None:
        hub = self._source.hub
        while True:
            await self.sink.drained()
            self._follow_epoch()
            self._is_ahead = self._is_ahead and self._position > hub.reached
            if self._position > hub.reached:
                await hub.passed(self._position)
            elif hub.ring.covers(self._position):
                if self._write_matching(hub.ring.after(self._position), hub.reached) and self._may_go_live():
                    self._go_live()
                    return
                await asyncio.sleep(0)
            else:
                await self._read_block()

    def _follow_epoch(self) -> None:
        """Go on in the log's epoch; tell what is lost where the history went back."""
        history = self._source.history
        if history.current.id == self._epoch:
            return
        place, gap = history.resume(Cursor(self._epoch, self._position))
        self._epoch = history.current.id
        if gap is not None and gap.reason == "epoch" and not self._is_ahead:
            self._tell_gap(place, gap)

    def _may_go_live(self) -> bool:
        if self._task is None:
            return False  # closed by the owner of the sink, on what was just written
        return self._position == self._source.hub.reached and self.sink.buffered_bytes() <= CHUNK_BYTES

    async def _read_block(self) -> None:
        try:
            page = await self._source.blocks.read(self._position, self._source.hub.reached)
        except UnavailableError:
            await asyncio.sleep(RETRY_SECONDS)
            return
        history = self._source.history
        if history.current.id != self._epoch:
            return  # the page may be of another history
        if page.trimmed_through > self._position:
            place = page.trimmed_through
            self._tell_gap(place, Gap(history.cursor(self._position), history.cursor(place), "retention"))
            return
        start = bisect_right(page.events, self._position, key=_position_of)
        self._write_matching(page.events[start:], page.reached)

    def _tell_gap(self, place: Position, gap: Gap) -> None:
        self._stand(place)
        self._source.metrics.gap(gap.reason)
        self.sink.write(self.framing.gap(gap))

    def _write_matching(self, events: Iterable[StoredEvent], end: Position) -> bool:
        """Write a chunk of what matches; return whether everything up to ``end`` was looked at."""
        epoch = self._source.history.current.id
        chunk: list[StoredEvent] = []
        size_bytes = 0
        whole = True
        for looked_at, event in enumerate(events):
            if size_bytes >= CHUNK_BYTES or looked_at >= SCAN_EVENTS:
                whole = False
                break
            self._position = event.position
            if self.patterns.matches(event.type):
                chunk.append(event)
                size_bytes += len(event.body)
        if whole:
            self._position = end
        if chunk:
            framing = self.framing
            self.sink.write(framing.join([framing.event(event, epoch) for event in chunk]))
            self._source.metrics.caught_up(chunk)
        return whole


def _position_of(event: StoredEvent) -> Position:
    return event.position
