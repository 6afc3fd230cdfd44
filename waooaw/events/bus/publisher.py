"""Publishing: what arrives together is appended together.

Rule 1: one append in flight. While it runs, what arrives forms the next; no timer: an idle bus appends at once.
Rule 2: what waits is bounded in bytes; beyond that a publish is refused before anything of it is taken.
Rule 3: every submission is answered, whatever happens to the append that carried it.
Rule 4: a submission waits for a store that is away until its time is over. Until then what is certainly not stored goes
back to the front and is tried again, in order; what may be stored is never tried again: it is answered as unknown.
Rule 5: an append carries the references that its entries make under the routes that it names. Where those have changed
it takes over what is new and is made again, under the same sequence.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from waooaw.events.bus.subscription_routes import fitting, route_sets
from waooaw.events.errors import RoutesChangedError, SupersededError, WowEventError
from waooaw.events.outages import (
    DrainingError,
    EngineDeniedError,
    EngineUnavailableError,
    OverloadedError,
    UnavailableError,
    WriterUnknownError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waooaw.events.bus.metrics import EventMetrics
    from waooaw.events.bus.subscription_routes import SubscriptionRoutes
    from waooaw.events.clock import Clock
    from waooaw.events.engine.contract import EventLog
    from waooaw.events.engine.queue_contract import RouteSet
    from waooaw.events.event import Entry
    from waooaw.events.receipt import Receipt

APPEND_ENTRIES_MAX: Final = 1000
"""More in one append brings nothing, and keeps the others waiting longer."""

APPEND_BYTES_MAX: Final = 1024 * 1024
"""Larger appends stall the engine and fill the buffers of every listener."""

ROUTES_TRIES_MAX: Final = 10
"""Appends refused for changed routes in a row; changes are joined for 20 ms, so a healthy bus never comes close."""

PAUSE_SECONDS: Final = 0.05
"""Before the next try where an append failed though nobody's time is over: an engine waits by itself, as a rule."""


@dataclass(slots=True)
class _Submission:
    """Entries that one caller waits for; an append may take part of them."""

    entries: Sequence[Entry]
    size_bytes: int
    deadline: float
    answered: asyncio.Future[list[Receipt | WowEventError]]
    answers: list[Receipt | WowEventError] = field(default_factory=list)
    taken: int = 0


_Share = tuple[_Submission, int]
"""A submission, and how many of its entries an append carries."""


class Publisher:
    """Appends to one bus as its one writer. Close it to finish what was accepted and refuse the rest."""

    def __init__(
        self,
        log: EventLog,
        bus: str,
        routes: SubscriptionRoutes,
        metrics: EventMetrics,
        clock: Clock,
        *,
        waiting_bytes_max: int,
        wait_seconds: float,
    ) -> None:
        self._log = log
        self._bus = bus
        self._routes = routes
        self._metrics = metrics
        self._clock = clock
        self._append_began: float | None = None
        self._waiting_bytes_max = waiting_bytes_max
        self._wait_seconds = wait_seconds
        self._waiting_bytes = 0
        self._pending: deque[_Submission] = deque()
        self._running: asyncio.Task[None] | None = None
        self._closed = False
        self._writer: str | None = None
        self._sequence = 0

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the events that wait or are being appended."""
        return self._waiting_bytes

    @property
    def is_closed(self) -> bool:
        """Whether new submissions are refused."""
        return self._closed

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
        deadline = self._clock.monotonic() + self._wait_seconds
        submission = _Submission(entries, size_bytes, deadline, loop.create_future())
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
                await self._append(entries, shares)
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

    async def _append(self, entries: list[Entry], shares: list[_Share]) -> None:
        try:
            answers = await self._append_matched(entries, shares)
            self._metrics.published(entries, answers)
        except WowEventError as error:
            refusal = error
        except Exception as error:  # noqa: BLE001 - a defect in an engine must not leave its callers waiting for ever
            refusal = UnavailableError("the store failed in an unforeseen way", outcome="unknown")
            refusal.__cause__ = error
            self._metrics.failed(error)
        else:
            self._answer(shares, answers)
            return
        is_unknown = getattr(refusal, "outcome", "") == "unknown"
        if is_unknown or isinstance(refusal, SupersededError):
            self._writer = None  # its next sequence may be taken: what comes next must not get this append's answers
        is_away = isinstance(refusal, EngineUnavailableError) and not isinstance(refusal, EngineDeniedError)
        if is_unknown or not is_away:
            self._refuse(shares, refusal)
        else:
            self._put_back(shares)
        if isinstance(refusal, UnavailableError):
            self._refuse_overdue(refusal)
        if not is_unknown and self._pending and self._pending[0] is shares[0][0]:
            await asyncio.sleep(min(PAUSE_SECONDS, self._patience_seconds(self._pending[0].deadline)))

    def _put_back(self, shares: list[_Share]) -> None:
        """Put what an append carried back to the front, in its order."""
        for submission, count in reversed(shares):
            if submission.taken == len(submission.entries):  # else it is in the queue still
                self._pending.appendleft(submission)
            submission.taken -= count

    def _refuse(self, shares: list[_Share], refusal: WowEventError) -> None:
        """Answer what an append carried, for good."""
        for submission, count in shares:
            start = len(submission.answers)
            refused = [refusal] * count
            self._metrics.published(submission.entries[start : start + count], refused)
            self._answer([(submission, count)], refused)

    def _refuse_overdue(self, refusal: UnavailableError) -> None:
        """Refuse what waits and whose time is over: one failed try after another would keep the last of it for long."""
        now = self._clock.monotonic()
        if refusal.outcome != "not_stored":  # of what waits, nothing was sent
            refusal = type(refusal)(refusal.detail, retry_after_seconds=refusal.retry_after_seconds)
        while self._pending and self._pending[0].deadline <= now:  # they wait in the order of their deadlines
            submission = self._pending.popleft()
            submission.taken = len(submission.entries)
            self._refuse([(submission, submission.taken - len(submission.answers))], refusal)

    async def _append_matched(self, entries: list[Entry], shares: list[_Share]) -> Sequence[Receipt | WowEventError]:
        """Append with references. Entries that make too many for one append go back, out of both lists."""
        deadline = shares[0][0].deadline
        is_known_anew = False
        if not self._routes.version:
            await self._learn_routes()
        for _ in range(ROUTES_TRIES_MAX):
            version, matched = self._routes.version, self._routes.match(entries)
            if matched and (count := fitting(matched)) < len(entries):
                self._shorten(entries, shares, count)
                del matched[count:]
            try:
                return await self._append_once(entries, version, route_sets(entries, matched), deadline)
            except RoutesChangedError:
                await self._learn_routes()
            except WriterUnknownError as error:
                self._writer = None
                if is_known_anew or error.outcome != "not_stored":
                    raise
                is_known_anew = True
        message = "the routes of the bus change faster than events can be matched"
        raise UnavailableError(message)

    async def _learn_routes(self) -> None:
        try:
            await self._routes.refresh()
        except UnavailableError as error:
            error.outcome = "not_stored"  # whatever was asked, it was a question
            raise

    def _shorten(self, entries: list[Entry], shares: list[_Share], count: int) -> None:
        """Put back all but the first entries that an append was to carry."""
        surplus = len(entries) - count
        returned: list[_Share] = []
        while surplus:
            submission, carried = shares.pop()
            back = min(carried, surplus)
            if back < carried:
                shares.append((submission, carried - back))
            returned.append((submission, back))
            surplus -= back
        self._put_back(returned[::-1])
        del entries[count:]

    async def _append_once(
        self, entries: list[Entry], version: str, references: Sequence[RouteSet], deadline: float
    ) -> Sequence[Receipt | WowEventError]:
        writer = self._writer or await self._register(deadline)
        answers = await self._log.append(
            self._bus,
            writer,
            self._sequence + 1,
            version,
            entries,
            references=references,
            patience_seconds=self._patience_seconds(deadline),
        )
        self._sequence += 1
        return answers

    async def _register(self, deadline: float) -> str:
        try:
            registration = await self._log.register(self._bus, patience_seconds=self._patience_seconds(deadline))
        except UnavailableError as error:
            error.outcome = "not_stored"  # whatever became of the registration, the events were not sent yet
            raise
        self._writer, self._sequence = registration.writer, 0
        return registration.writer

    def _patience_seconds(self, deadline: float) -> float:
        return max(deadline - self._clock.monotonic(), 0.0)

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
