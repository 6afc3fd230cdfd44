"""(c) One pattern, 200 WebSocket readers: events delivered a second out of one process."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import itertools
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench.errors import BenchError
from bench.events import batch
from bench.load import EVENTS_PATH, OK, HttpConnection, Watch, Window, measure, open_connections, post, run_load
from bench.report import Context, Figure, Report, Target, ratio
from bench.rounds import core_shares, costs, in_turns
from bench.transcript import Transcript, TranscriptReader
from bench.websocket import EVENT_PREFIX, Opening, open_streams

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.server import Server

LETTER: Final = "c"
TITLE: Final = "one pattern, 200 WebSocket readers"

READERS: Final = 200
_TARGET: Final = Target(comparison=">=", bound=500_000)
_PATTERN: Final = "bench.*"
_CONNECTIONS: Final = 4
_AHEAD_BATCHES_MAX: Final = 4
"""Saturating publishers stop when the average reader is this many batches behind, so that what waits is bounded."""
_AHEAD_STEADY_MAX: Final = 100
"""A steady publisher goes on at its rate; one this many batches behind does not keep up, and the figure says so."""
_TICK_SECONDS: Final = 0.001
_STEADY_BATCHES_PER_SECOND: Final = 50.0
"""With batches of 50 and 200 readers 500,000 deliveries a second: the target as a constant load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One way of publishing: batches of a size, at a rate or, where that is None, as fast as the readers follow."""

    batch_events: int
    batches_per_second: float | None = None

    @property
    def name(self) -> str:
        """Return how it is printed."""
        rate = "as fast as it goes" if self.batches_per_second is None else f"{self.batches_per_second:g} a second"
        return f"batches of {self.batch_events}, {rate}"

    def feed(self, server: Server) -> Feed:
        """Return what publishes so to a server that takes ndjson, and streams as the event bus does."""
        steady = self.batches_per_second is not None
        return Feed(
            requests=[post(server, EVENTS_PATH, "application/x-ndjson", batch(self.batch_events))],
            batch_events=self.batch_events,
            batches_per_second=self.batches_per_second,
            ahead_batches_max=_AHEAD_STEADY_MAX if steady else _AHEAD_BATCHES_MAX,
            opening=Opening.of(_PATTERN),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """What is published to a server, and how its readers ask for it."""

    requests: Sequence[bytes]
    """Sent in turn, again and again; each holds `batch_events` events."""
    batch_events: int
    opening: Opening
    ahead_batches_max: int
    batches_per_second: float | None = None
    connections: int = _CONNECTIONS
    success: bytes = OK
    """How the answer to an accepted request begins."""
    event_prefix: bytes = EVENT_PREFIX
    """How the message of an event begins."""
    positions: bool = True
    """Whether the messages carry positions, which must increase."""


_MAIN: Final = Cell(batch_events=50)
_CELLS: Final = (
    _MAIN,
    Cell(batch_events=10),
    Cell(batch_events=100),
    Cell(batch_events=50, batches_per_second=_STEADY_BATCHES_PER_SECOND),
)


def run(context: Context) -> Report:
    """Measure the service in each cell and bare aiohttp in the main one, in turns."""
    with context.launcher.service() as bus, context.launcher.baseline() as bare:
        runs = {cell.name: functools.partial(deliveries, context, bus, cell.feed(bus)) for cell in _CELLS}
        runs[bare.name] = functools.partial(deliveries, context, bare, _MAIN.feed(bare))
        windows = in_turns(context, runs)
    figures = {
        name: Figure(
            name=name if name == bare.name else f"{bus.name}: {name}",
            unit="deliveries/s",
            values=[window.per_second for window in windows[name]],
            target=_TARGET if name == _MAIN.name else None,
        )
        for name in windows
    }
    bare_figure = dataclasses.replace(figures[bare.name], name=f"{bare.name}, a send per message: {_MAIN.name}")
    return Report(
        letter=LETTER,
        title=TITLE,
        figures=[
            *(figures[cell.name] for cell in _CELLS),
            bare_figure,
            ratio(figures[_MAIN.name], bare_figure, "event bus / bare aiohttp"),
            costs(f"{bus.name}, {_MAIN.name}", windows[_MAIN.name], "delivery"),
            costs(bare.name, windows[bare.name], "delivery"),
            *core_shares(f"{bus.name}, {_MAIN.name}", windows[_MAIN.name]),
            *core_shares(bare.name, windows[bare.name]),
        ],
        notes=[
            (
                "a delivery is one complete event frame received by one reader; each reader received each accepted"
                " event exactly once, in order, compared byte for byte"
            ),
            f"the steady cell offers {_STEADY_BATCHES_PER_SECOND * _MAIN.batch_events * READERS:,.0f} deliveries/s",
        ],
    )


def deliveries(context: Context, server: Server, feed: Feed) -> Window:
    """Publish for one round, check what every reader got, and return the rate of deliveries."""
    return run_load(lambda: _deliver(context, server, feed))


async def _deliver(context: Context, server: Server, feed: Feed) -> Window:
    watch = Watch()
    transcript = Transcript(feed.event_prefix, positions=feed.positions)
    readers = [TranscriptReader(transcript) for _ in range(READERS)]
    publisher = Publisher(watch, transcript, feed)
    connections = await open_connections(server, feed.connections, watch, publisher.received, feed.success)
    sockets = await open_streams(server, watch, feed.opening, readers)
    publishing = asyncio.create_task(publisher.run(connections))
    try:
        await watch.sleep(context.warm_up_seconds)
        window = await measure(server, watch, lambda: sum(reader.events for reader in readers), context.seconds)
        publisher.stop()
        await publishing
        await watch.until(
            lambda: transcript.consumed == READERS * len(transcript.frames) and transcript.events == publisher.accepted,
            f"the last of {publisher.accepted} events to reach all {READERS} readers",
        )
    finally:
        publishing.cancel()
        for connection in connections:
            connection.close()
        for socket in sockets:
            socket.close()
    behind = [reader.events for reader in readers if reader.events != publisher.accepted]
    if behind:
        raise BenchError(
            f"{publisher.accepted} events were accepted, {len(behind)} readers got another number: {behind[:5]}"
        )
    return dataclasses.replace(window, completed=publisher.accepted)


class Publisher:
    """Publishes a feed, never further ahead of the average reader than its bound."""

    def __init__(self, watch: Watch, transcript: Transcript, feed: Feed) -> None:
        """Store."""
        self.accepted = 0
        self._requests = itertools.cycle(feed.requests)
        self._watch = watch
        self._transcript = transcript
        self._feed = feed
        self._free: deque[HttpConnection] = deque()
        self._sent = 0
        self._running = True

    def received(self, connection: HttpConnection, _: bytes) -> None:
        """Count an accepted batch: success means that all of it was."""
        self.accepted += self._feed.batch_events
        self._free.append(connection)

    async def run(self, connections: list[HttpConnection]) -> None:
        """Publish until stopped, then wait for the last answers."""
        self._free.extend(connections)
        loop = asyncio.get_running_loop()
        began = loop.time()
        while self._running:
            while self._free and self._due(loop.time() - began) and self._near():
                self._sent += 1
                self._free.popleft().send(next(self._requests))
            await self._watch.sleep(_TICK_SECONDS)
        await self._watch.until(lambda: len(self._free) == len(connections), "the last batches to be answered")

    def stop(self) -> None:
        """Publish nothing more."""
        self._running = False

    def _due(self, elapsed_seconds: float) -> bool:
        rate = self._feed.batches_per_second
        return rate is None or self._sent <= elapsed_seconds * rate

    def _near(self) -> bool:
        """Tell whether the average reader is close enough for one more batch."""
        received = self._transcript.events_before(self._transcript.consumed // READERS)
        batch_events = self._feed.batch_events
        return self._sent * batch_events - received < self._feed.ahead_batches_max * batch_events
