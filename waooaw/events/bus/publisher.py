"""Publishing: what arrives together is appended together.

Rule 1: one append in flight. While it runs, what arrives forms the next; no timer: an idle bus appends at once.
Rule 2: what waits is bounded in bytes; beyond that a publish is refused before anything of it is taken.
Rule 3: every submission is answered, whatever happens to the append that carried it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from waooaw.events.errors import (
    DrainingError,
    OverloadedError,
    RoutesChangedError,
    UnavailableError,
    WowEventError,
    WriterUnknownError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waooaw.events.bus.metrics import EventMetrics
    from waooaw.events.clock import Clock
    from waooaw.events.engine.contract import EventLog
    from waooaw.events.event import Entry
    from waooaw.events.receipt import Receipt

APPEND_ENTRIES_MAX: Final = 1000
"""More in one append brings nothing, and keeps the others waiting longer."""

APPEND_BYTES_MAX: Final = 1024 * 1024
"""Larger appends stall the engine and fill the buffers of every listener."""

ROUTES_TRIES_MAX: Final = 10
"""Appends refused for changed routes in a row; changes are joined for 20 ms, so a healthy bus never comes close."""


@dataclass(slots=True)
class _Submission:
    """Entries that one caller waits for; an append may take part of them."""

    entries: Sequence[Entry]
    size_bytes: int
    answers: list[Receipt | WowEventError]
    answered: asyncio.Future[list[Receipt | WowEventError]]
    taken: int = 0


_Share = tuple[_Submission, int]
"""A submission, and how many of its entries an append carries."""


class Publisher:
    """Appends to one bus as its one writer. Close it to finish what was accepted and refuse the rest."""

    def __init__(self, log: EventLog, bus: str, metrics: EventMetrics, clock: Clock, *, waiting_bytes_max: int) -> None:
        self._log = log
        self._bus = bus
        self._metrics = metrics
        self._clock = clock
        self._append_began: float | None = None
        self._waiting_bytes_max = waiting_bytes_max
        self._waiting_bytes = 0
        self._pending: deque[_Submission] = deque()
        self._running: asyncio.Task[None] | None = None
        self._closed = False
        self._writer: str | None = None
        self._routes_version = ""
        self._sequence = 0

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the events that wait or are being appended."""
        return self._waiting_bytes

    @property
    def append_seconds(self) -> float:
        """How long the append in flight has been running; 0 where none is."""
        return 0.0 if self._append_began is None else self._clock.monotonic() - self._append_began

    async def publish(self, entries: Sequence[Entry]) -> list[Receipt | WowEventError]:
        """Store entries; return for each, in order, its receipt or why it was refused.

        Raises `OverloadedError` or `DrainingError` before anything is taken. A cancelled call still publishes.
        """
        if not entries:
            return []
        size_bytes = sum([len(entry.body) for entry in entries])
        self._admit(entries, size_bytes)
        loop = asyncio.get_running_loop()
        submission = _Submission(entries, size_bytes, [], loop.create_future())
        self._waiting_bytes += size_bytes
        self._pending.append(submission)
        if self._running is None:
            self._running = loop.create_task(self._run(), name=f"publish {self._bus}")
        return await submission.answered

    def _admit(self, entries: Sequence[Entry], size_bytes: int) -> None:
        error: WowEventError
        if self._closed:
            error = DrainingError("the bus takes no more events: the service is shutting down; send it again")
        elif self._waiting_bytes and self._waiting_bytes + size_bytes > self._waiting_bytes_max:
            error = OverloadedError(
                f"{self._waiting_bytes} bytes of events wait to be stored, the limit is {self._waiting_bytes_max}"
            )
        else:
            return
        for entry in entries:
            self._metrics.refused(error, entry.type)
        raise error

    async def close(self) -> None:
        """Refuse new submissions, and return when those accepted are answered. Closing twice is harmless."""
        self._closed = True
        if self._running is not None:
            await asyncio.shield(self._running)

    async def _run(self) -> None:
        try:
            while self._pending:
                entries, shares = self._take()
                self._append_began = self._clock.monotonic()
                self._answer(shares, await self._append(entries))
        finally:
            self._running = None
            self._append_began = None

    def _take(self) -> tuple[list[Entry], list[_Share]]:
        """Take what the next append carries off the front of what waits."""
        entries: list[Entry] = []
        shares: list[_Share] = []
        size_bytes = 0
        while self._pending and len(entries) < APPEND_ENTRIES_MAX and size_bytes < APPEND_BYTES_MAX:
            submission = self._pending[0]
            start = submission.taken
            for entry in submission.entries[start:]:
                size_bytes += len(entry.body)
                if len(entries) >= APPEND_ENTRIES_MAX or (size_bytes > APPEND_BYTES_MAX and entries):
                    break
                entries.append(entry)
                submission.taken += 1
            shares.append((submission, submission.taken - start))
            if submission.taken < len(submission.entries):
                break
            self._pending.popleft()
        return entries, shares

    async def _append(self, entries: list[Entry]) -> Sequence[Receipt | WowEventError]:
        try:
            answers = await self._append_matched(entries)
            self._metrics.published(entries, answers)
        except WowEventError as error:
            refusal = error
        except Exception as error:  # noqa: BLE001 - a defect in an engine must not leave its callers waiting for ever
            refusal = UnavailableError("the store failed in an unforeseen way", outcome="unknown")
            refusal.__cause__ = error
            self._metrics.failed(error)
        else:
            return answers
        if isinstance(refusal, WriterUnknownError) or getattr(refusal, "outcome", "") == "unknown":
            self._writer = None  # its next sequence may be taken: what comes next must not get this append's answers
        refused = [refusal] * len(entries)
        self._metrics.published(entries, refused)
        return refused

    async def _append_matched(self, entries: list[Entry]) -> Sequence[Receipt | WowEventError]:
        for _ in range(ROUTES_TRIES_MAX):
            writer = self._writer or await self._register()
            try:
                answers = await self._log.append(self._bus, writer, self._sequence + 1, self._routes_version, entries)
            except RoutesChangedError as error:
                self._routes_version = error.routes_version
            else:
                self._sequence += 1
                return answers
        message = "the routes of the bus change faster than events can be matched"
        raise UnavailableError(message)

    async def _register(self) -> str:
        registration = await self._log.register(self._bus)
        self._writer, self._routes_version, self._sequence = registration.writer, registration.routes_version, 0
        return registration.writer

    def _answer(self, shares: list[_Share], answers: Sequence[Receipt | WowEventError]) -> None:
        start = 0
        for submission, count in shares:
            submission.answers.extend(answers[start : start + count])
            start += count
            if len(submission.answers) < len(submission.entries):
                continue
            self._waiting_bytes -= submission.size_bytes
            if not submission.answered.done():
                submission.answered.set_result(submission.answers)
