"""Live delivery on one bus: every frame of the log, once, to every live stream that matches.

Rule 1: the hub stands at one place in the log, ``reached``; a live stream stands where the hub stands.
Rule 2: a frame that does not follow ``reached`` means one was missed: the hub reads the log up to it before it goes on.
Rule 3: a stream is written once a frame. One that does not take what it was sent leaves; the others do not wait for it.
Rule 4: a history that went back is followed back: every live stream is told what it saw that is no more, and what the
log holds from there on is delivered. The hub's epoch is the log's at every step of the event loop.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from waooaw.events.bus.ring import Ring
from waooaw.events.bus.routes import Route, Routes
from waooaw.events.cursor import Cursor
from waooaw.events.engine.contract import Frame
from waooaw.events.outages import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AsyncExitStack

    from waooaw.events.bus.log_blocks import LogBlocks
    from waooaw.events.bus.metrics import EventMetrics
    from waooaw.events.bus.sink import Framing, LiveReader
    from waooaw.events.clock import Clock
    from waooaw.events.engine.contract import Engine, Tip
    from waooaw.events.event import StoredEvent
    from waooaw.events.position import Position

LIVE_BUFFER_BYTES_MAX: Final = 1024 * 1024
"""A stream that leaves more than this untaken reads the log at its own pace from then on: a megabyte is seconds of most
feeds, and a thousand such streams still fit in memory.
"""

REPAIR_EVENTS: Final = 1000
REPAIR_PAUSE_SECONDS: Final = 0.25
"""Between two tries to read a log that is away: four a second from each bus."""


class Hub:
    """The live side of one bus."""

    def __init__(
        self, engine: Engine, bus: str, blocks: LogBlocks, metrics: EventMetrics, clock: Clock, *, ring_bytes_max: int
    ) -> None:
        self._engine = engine
        self._blocks = blocks
        self._bus = bus
        self._metrics = metrics
        self._clock = clock
        self._ring_bytes_max = ring_bytes_max
        self._routes = Routes()
        self._passing: dict[asyncio.Future[None], Position] = {}
        self._repairing: asyncio.Task[None] | None = None
        self._missed_through: Position | None = None

    def open(self, stack: AsyncExitStack) -> None:
        """Begin to listen, at the end of the log."""
        history = self._engine.state(self._bus).history
        self.reached: Position = history.last
        self._epoch = history.current.id
        self.ring = Ring(self.reached, self._ring_bytes_max)
        stack.callback(self._close, self._engine.listen(self._bus, self._receive))

    def _close(self, stop_listening: Callable[[], None]) -> None:
        stop_listening()
        if self._repairing is not None:
            self._repairing.cancel()
        for passed in self._passing:
            passed.cancel()

    @property
    def cursor(self) -> Cursor:
        """Where every live stream stands."""
        return self._engine.state(self._bus).history.cursor(self.reached)

    # Streams ----------------------------------------------------------------------------------------------------------

    def attach(self, stream: LiveReader) -> None:
        """Take a stream that stands at ``reached`` into live delivery."""
        self._routes.add(stream)

    def detach(self, stream: LiveReader) -> None:
        """Take a stream out of live delivery; harmless where it is not in it."""
        self._routes.remove(stream)

    async def passed(self, position: Position) -> None:
        """Return once the hub has reached a position."""
        if self.reached < position:
            passed = asyncio.get_running_loop().create_future()
            self._passing[passed] = position
            try:
                await passed
            finally:
                self._passing.pop(passed, None)

    # Frames -----------------------------------------------------------------------------------------------------------

    def _receive(self, told: Frame | Tip) -> None:
        if told.epoch != self._epoch and not self._follow_epoch(told.epoch):
            return
        if self._repairing is None and isinstance(told, Frame) and told.previous == self.reached:
            self._dispatch(told)
        elif told.last > self.reached:
            self._read_through(told.last)

    def _read_through(self, position: Position) -> None:
        """Read the log up to a position: something before it was missed."""
        self._missed_through = max(self._missed_through or position, position)
        if self._repairing is None:
            self._repairing = asyncio.get_running_loop().create_task(self._repair(), name=f"repair {self._bus}")

    def _follow_epoch(self, epoch: int) -> bool:
        """Go on in another epoch; return whether it is the log's: what is told late of an older one is of no use."""
        history = self._engine.state(self._bus).history
        if history.current.id != epoch:
            return False
        before = Cursor(self._epoch, self.reached)
        self._epoch = epoch
        place, gap = history.resume(before)
        self._blocks.clear()
        if gap is not None and gap.reason == "epoch":
            self._go_back(history.last)
            for stream in list(self._routes.streams()):
                stream.lose(place, gap)
        for passed in self._passing:  # each looks for itself where it stands now
            if not passed.done():
                passed.set_result(None)
        return True

    def _go_back(self, last: Position) -> None:
        """Stand at the end of another log: what it holds, streams read at their own pace; it is not new to anybody."""
        self.reached = last
        self.ring.clear(last)
        self._missed_through = None

    async def _repair(self) -> None:
        """Read what was missed, until nothing is; frames that come meanwhile are in the log too."""
        try:
            while self._missed_through is not None and self.reached < self._missed_through:
                before = self._epoch, self.reached
                try:
                    page = await self._engine.read(
                        self._bus, self.reached, through=self._missed_through, limit=REPAIR_EVENTS
                    )
                except UnavailableError:
                    await asyncio.sleep(REPAIR_PAUSE_SECONDS)
                    continue
                if before != (self._epoch, self.reached):
                    continue  # the history went back meanwhile: this page is of another one
                if page.trimmed_through > self.reached:
                    self._skip(page.trimmed_through)
                elif page.events:
                    self._dispatch(Frame(self._epoch, self.reached, page.events, self._clock.now()))
                elif page.reached > self.reached:
                    self._skip(page.reached)
                else:
                    break  # the log does not have what was told: a new epoch will tell what became of it
        finally:
            self._missed_through = None
            self._repairing = None

    def _skip(self, position: Position) -> None:
        """Go on at a position with nothing before it to deliver: each live stream finds out for itself what it lost."""
        for stream in list(self._routes.streams()):
            stream.demote(self.reached)
        self.reached = position
        self.ring.clear(position)
        self._wake()

    def _dispatch(self, frame: Frame) -> None:
        self.ring.add(frame)
        self.reached = frame.last
        if self._routes:
            matched: dict[Route, list[StoredEvent]] = {}
            for event in frame.events:
                for route in self._routes.match(event.type):
                    matched.setdefault(route, []).append(event)
            if matched:
                self._deliver(frame, matched)
        if self._passing:
            self._wake()

    def _deliver(self, frame: Frame, matched: dict[Route, list[StoredEvent]]) -> None:
        """Write to each stream once; what two streams get alike is made once."""
        spelled: dict[tuple[Framing[Any], Position], Any] = {}
        joined: dict[tuple[Framing[Any], tuple[Position, ...]], Any] = {}
        types: Counter[str] = Counter()
        for route, events in matched.items():
            positions = tuple([event.position for event in events])
            count = 0
            for framing, streams in tuple(route.groups.items()):
                payload = joined.get((framing, positions))
                if payload is None:
                    payload = framing.join([_spell(framing, event, frame.epoch, spelled) for event in events])
                    joined[framing, positions] = payload
                count += _write(streams, payload, frame.previous)
            for event_type, number in Counter([event.type for event in events]).items():
                types[event_type] += number * count
        self._metrics.delivered(types, self._clock.now() - frame.accepted_at)

    def _wake(self) -> None:
        for passed, position in self._passing.items():
            if position <= self.reached and not passed.done():
                passed.set_result(None)


def _spell(
    framing: Framing[Any], event: StoredEvent, epoch: int, spelled: dict[tuple[Framing[Any], Position], Any]
) -> Any:  # noqa: ANN401 - the payload's type is the framing's, which this table holds of all kinds
    key = (framing, event.position)
    payload = spelled.get(key)
    if payload is None:
        payload = spelled[key] = framing.event(event, epoch)
    return payload


def _write(streams: dict[LiveReader, None], payload: Any, previous: Position) -> int:  # noqa: ANN401 - as above
    count = 0
    slow = []
    for stream in tuple(streams):
        sink = stream.sink
        if sink.buffered_bytes() > LIVE_BUFFER_BYTES_MAX:
            slow.append(stream)
        else:
            sink.write(payload)
            count += 1
    for stream in slow:
        stream.demote(previous)
    return count
