"""Readers that come from history into live traffic, are cut, and come back."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from pathlib import Path

from tests.fault.checker import Stored, StoreVerdict, check_store, check_stream
from tests.fault.conftest import Report
from tests.fault.history import History
from tests.fault.parameters import JOIN_RATE, JOINS
from tests.fault.publishers import PacedPublisher, Source
from tests.fault.readers import Reader, Session, SocketReader, SseReader
from tests.fault.sockets import get
from tests.fault.store_reading import read_store
from tests.fault.waiting import until
from tests.service_process import ServiceProcess
from waooaw.events.position import Position, format_position

PATTERNS = ("*", "fault.*", "fault.a", "fault.[bc]")
AT_ONCE = 6
"""Readers at once: so many that joins overlap, so few that their decoding does not hold up the publishing."""

BACK_EVENTS_MAX = 2000
LIVE_EVENTS = 30
"""Events that a reader takes after all that was accepted when it came: by then it is live."""

CONTENT_BYTES = 700
CUT_EVENTS_MAX = 200
CUTS_MAX = 3

SETTINGS = {
    "WOWEVENT_RING_BYTES_MAX": "1000000",  # some 800 events: joins come from the log and the ring, in several chunks
    "WOWEVENT_STREAM_PING_SECONDS": "0.1",  # cursors come often, also to readers that are about to be cut
}


class Crowd:
    """All the readers of a run, one after another and many at once."""

    def __init__(self, port: int, history: History, chance: random.Random) -> None:
        self._port = port
        self._history = history
        self._chance = chance
        self.sessions: list[Session] = []
        self.cuts = 0
        self.reached_live = 0

    async def join(self, number: int) -> None:
        """Be one reader: from somewhere in history until it is live, cut now and then on its way."""
        chance = self._chance
        kind: type[Reader] = SocketReader if number % 2 else SseReader
        pattern, place = chance.choice(PATTERNS), self._somewhere()
        goal = self._newest() + 1
        for cut_after in [chance.randint(1, CUT_EVENTS_MAX) for _ in range(chance.randint(0, CUTS_MAX))]:
            async with kind(self._port) as reader:
                await reader.begin(pattern, place)
                self.sessions.append(reader.session)
                await reader.until_delivered(cut_after)
                if isinstance(reader, SocketReader) and chance.random() < 0.5:
                    await reader.stop()
                self.cuts += 1
                place = reader.session.cursors[-1]
                goal = self._newest() + 1
        async with kind(self._port) as reader:
            await reader.begin(pattern, place)
            self.sessions.append(reader.session)
            await reader.until_position(goal)
            await reader.until_delivered(reader.session.delivered + LIVE_EVENTS)
        self.reached_live += 1

    def _somewhere(self) -> str:
        if self._chance.random() < 0.1:
            return "now"
        return format_position(Position(self._chance.choice(self._recent())))

    def _recent(self) -> list[int]:
        """Positions of what was accepted last."""
        recent: list[int] = []
        for operation in reversed(self._history.operations.values()):
            recent += operation.positions
            if len(recent) >= BACK_EVENTS_MAX:
                break
        return recent

    def _newest(self) -> int:
        return next(
            operation.positions[-1] for operation in reversed(self._history.operations.values()) if operation.positions
        )


def matching(log: list[Stored], pattern: str) -> list[Stored]:
    """Return what a pattern of this run matches; spelled out here, so that the service's own matching is checked."""
    wanted = {"fault.a": {"fault.a"}, "fault.[bc]": {"fault.b", "fault.c"}}.get(pattern)
    return [event for event in log if wanted is None or event.type in wanted]


async def publishing(port: int, history: History, rate: float, go_on: Callable[[], bool]) -> None:
    """Publish from three sources in batches of different sizes, so that appends carry several of them."""
    shares = ((0.5, 10), (0.4, 4), (0.1, 1))
    await asyncio.gather(
        *(
            PacedPublisher(
                port, Source(f"paced-{index}", history, CONTENT_BYTES), history, rate=rate * share, batch_events=batch
            ).run(go_on)
            for index, (share, batch) in enumerate(shares)
        )
    )


async def test_joins_of_history_to_live_have_no_gap_and_no_duplicate(
    tmp_path: Path, history: History, chance: random.Random, report: Report
) -> None:
    """Whoever joins from anywhere in history, is cut and comes back, gets each matching event once and in order."""
    joins, rate = JOINS.count, JOIN_RATE.value
    began = time.monotonic()
    with ServiceProcess(tmp_path, SETTINGS) as service:
        crowd = Crowd(service.port, history, chance)
        numbers = iter(range(joins))
        joining = True

        async def come_and_go() -> None:
            for number in numbers:
                await crowd.join(number)

        async def all_joins() -> None:
            nonlocal joining
            try:
                await until(lambda: history.accepted >= rate / 2, "history to join from")
                await asyncio.gather(*(come_and_go() for _ in range(AT_ONCE)))
            finally:
                joining = False

        async with asyncio.TaskGroup() as group:
            group.create_task(publishing(service.port, history, rate, lambda: joining))
            group.create_task(all_joins())
        seconds = time.monotonic() - began
        log, _ = await read_store(service.port)
        metrics = (await get(service.port, "/metrics?format=prometheus")).json
    logs = {pattern: matching(log, pattern) for pattern in PATTERNS}
    verdicts = [check_stream(logs[session.pattern], session.start, session.items) for session in crowd.sessions]
    delivered = sum(verdict.delivered for verdict in verdicts)
    report(
        f"{crowd.reached_live} joins, {crowd.cuts} cuts with resumption, {seconds:.0f} s: {history.accepted} events "
        f"published at {history.accepted / seconds:.0f}/s, {delivered} delivered; "
        f"broken connections' order or completeness: {sum(not verdict.is_whole for verdict in verdicts)}, "
        f"gaps: {sum(len(session.gaps) for session in crowd.sessions)}"
    )
    assert crowd.reached_live == joins
    assert check_store(history.operations.values(), log) == StoreVerdict()
    assert [verdict for verdict in verdicts if not verdict.is_whole] == []
    assert [session.gaps for session in crowd.sessions if session.gaps] == []
    assert 'wowevent_gaps_total{bus="default",reason="retention"} 0.0' in metrics
    assert '"level": "ERROR"' not in service.log_text
