"""Whatever a store does and whenever: each submission is answered once, in order, truly, and in its time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bus.running import TestedEngine, made, running, turns, until
from tests.conformance.engines import stored
from tests.event_samples import entry
from waooaw.events.bus import publisher
from waooaw.events.bus.event_bus import EventBus
from waooaw.events.engine.contract import Registration
from waooaw.events.engine.queue_contract import RouteSet
from waooaw.events.errors import WowEventError
from waooaw.events.event import Entry
from waooaw.events.outages import (
    DurabilityUnavailableError,
    EngineLoadingError,
    EngineUnavailableError,
    StorageRefusedError,
    UnavailableError,
    WriterUnknownError,
)
from waooaw.events.receipt import Receipt

WAIT_SECONDS: Final = 2.0
ENTRIES_MAX: Final = 3
"""In one append of these tests, so that most submissions are split, and share appends."""

Label = tuple[int, int]
"""Which submission, and which of its entries."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one try meets: ``seconds`` pass (None: all its patience), and it ends as ``kind`` says."""

    kind: str
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Try:
    """One try as the engine saw it."""

    labels: tuple[Label, ...]
    patience_seconds: float
    began: float
    ended: float
    failure: str
    """Empty for one that was answered."""


FAILURES: Final[dict[str, WowEventError]] = {
    "away": EngineLoadingError("loading"),
    "refused": StorageRefusedError("no writes now"),
    "cut_before": EngineUnavailableError("cut", outcome="unknown"),
    "cut_after": EngineUnavailableError("cut", outcome="unknown"),
    "unconfirmed_after": DurabilityUnavailableError("no replica", outcome="unknown"),
    "forgotten": WriterUnknownError("all was lost"),
    "forgotten_in_flight": WriterUnknownError("all was lost", outcome="unknown"),
}
REPEATED: Final = ("away", "forgotten", "routes")
"""After these the same entries may come again."""

UNKNOWN: Final = ("cut_before", "cut_after", "unconfirmed_after", "forgotten_in_flight")
"""Appends that end like this may be stored."""


class MoodyEngine(TestedEngine):
    """An engine that follows a script, one step a try; where the script ends, all goes well."""

    def __init__(self, appends: Sequence[Step], registrations: Sequence[Step]) -> None:
        super().__init__()
        self.tries: list[Try] = []
        self._appends = iter(appends)
        self._registrations = iter(registrations)
        self._routes = 0

    async def register(self, bus: str, *, patience_seconds: float = 2.0) -> Registration:
        """Let a writer in, or fail."""
        step = next(self._registrations, Step("well", 0))
        began = self.clock.monotonic()
        await self._pass(step, patience_seconds)
        if step.kind != "well":
            self._note((), patience_seconds, began, step.kind)
            raise _copy(FAILURES[step.kind])
        return await super().register(bus, patience_seconds=patience_seconds)

    async def append(
        self,
        bus: str,
        writer: str,
        sequence: int,
        routes_version: str,
        entries: Sequence[Entry],
        *,
        references: Sequence[RouteSet] = (),
        patience_seconds: float = 2.0,
    ) -> tuple[Receipt | WowEventError, ...]:
        """Store, or fail before or after it."""
        step = next(self._appends, Step("well", 0))
        labels = tuple([_label(item.source) for item in entries])
        began = self.clock.monotonic()
        await self._pass(step, patience_seconds)
        if step.kind == "routes":
            self._routes += 1
            await made(self, f"made-{self._routes}", "nothing")
        if step.kind.startswith("forgotten"):
            self._appending._writers.pop((bus, writer))  # noqa: SLF001 - a store that loses its memory
        if step.kind == "routes":
            self._note(labels, patience_seconds, began, step.kind)
        if step.kind in {"well", "routes"} or step.kind.endswith("_after"):
            answers = await super().append(
                bus, writer, sequence, routes_version, entries, references=references, patience_seconds=patience_seconds
            )
            assert len(answers) == len(entries)
        self._note(labels, patience_seconds, began, "" if step.kind == "well" else step.kind)
        if step.kind != "well":
            raise _copy(FAILURES[step.kind])
        return answers

    async def _pass(self, step: Step, patience_seconds: float) -> None:
        await turns(3)  # in which those who were answered note the time
        self.clock.advance(patience_seconds if step.seconds is None else step.seconds)
        await turns(3)

    def _note(self, labels: tuple[Label, ...], patience_seconds: float, began: float, failure: str) -> None:
        self.tries.append(Try(labels, patience_seconds, began, self.clock.monotonic(), failure))


def _copy(error: WowEventError) -> WowEventError:
    if isinstance(error, UnavailableError):
        return type(error)(error.detail, outcome=error.outcome)
    return type(error)(error.detail)


def _label(source: str) -> Label:
    submission, index = source.removeprefix("agent/").split("-")
    return int(submission), int(index)


@dataclass(slots=True)
class Submitted:
    """One submission: when it came, when it was answered, and what."""

    labels: list[Label]
    arrived: float = 0.0
    answered: float = 0.0
    answers: list[Receipt | WowEventError] | None = None

    @property
    def deadline(self) -> float:
        """When its time is over."""
        return self.arrived + WAIT_SECONDS


async def _submit(engine: MoodyEngine, bus: EventBus, submitted: Submitted) -> None:
    given = [entry(source=f"agent/{submission}-{index}") for submission, index in submitted.labels]
    submitted.arrived = engine.clock.monotonic()
    answers = await bus.submit(given)
    assert submitted.answers is None
    submitted.answers, submitted.answered = answers, engine.clock.monotonic()


async def _live(appends: Sequence[Step], registrations: Sequence[Step], arrivals: Sequence[tuple[int, int]]) -> None:
    engine = MoodyEngine(appends, registrations)
    async with running(engine, engine.clock, publish_wait_seconds=WAIT_SECONDS) as bus:
        submissions, tasks = [], []
        for number, (size, pause) in enumerate(arrivals):
            submitted = Submitted([(number, index) for index in range(size)])
            submissions.append(submitted)
            tasks.append(asyncio.create_task(_submit(engine, bus, submitted)))
            await turns(pause)
        await until(lambda: all(task.done() for task in tasks))
        await asyncio.gather(*tasks)

        events = await stored(engine)
        log = [_label(event.event.source) for event in events]
        positions = [event.position for event in events]
        assert log == sorted(set(log)), "out of order, or twice"
        unknown = {label for tried in engine.tries if tried.failure in UNKNOWN for label in tried.labels}
        _check_answers(submissions, dict(zip(log, positions, strict=True)), unknown)
        _check_tries(engine.tries, submissions)
        count = sum(len(submitted.labels) for submitted in submissions)
        assert bus.metrics.totals.publishes + bus.metrics.totals.errors == count
        assert bus.details()["waiting_bytes"] == 0


def _check_answers(submissions: Sequence[Submitted], places: dict[Label, int], unknown: set[Label]) -> None:
    """Each answer is the truth about the log, and says that it does not know only where nobody can."""
    for submitted in submissions:
        assert submitted.answers is not None
        for label, answer in zip(submitted.labels, submitted.answers, strict=True):
            if isinstance(answer, Receipt):
                assert answer.position == places[label]
                assert not answer.duplicate
            else:
                assert isinstance(answer, UnavailableError)
                assert (answer.outcome == "unknown") == (label in unknown)
                assert answer.outcome == "unknown" or label not in places


def _check_tries(tries: Sequence[Try], submissions: Sequence[Submitted]) -> None:
    """What comes twice was not stored by the first; patience is the oldest's; a failure answers those it finds late."""
    settled: set[Label] = set()
    for tried in tries:
        assert settled.isdisjoint(tried.labels)
        if tried.failure not in REPEATED:
            settled.update(tried.labels)
        if tried.labels:
            oldest = submissions[tried.labels[0][0]]
            assert tried.patience_seconds == pytest.approx(max(oldest.deadline - tried.began, 0.0))
    given_up = [tried.ended for tried in tries if tried.failure not in ("", "routes", "forgotten")]
    for submitted in submissions:
        late = [ended for ended in given_up if ended >= submitted.deadline]
        if late:
            assert submitted.answered <= late[0]


APPEND_KINDS = st.sampled_from(["well", "away", "away", "routes", *FAILURES])
REGISTRATION_KINDS = st.sampled_from(["well", "away", "refused", "cut_before"])
SECONDS = st.sampled_from([None, 0.0, 0.0, 0.25, 0.5, 1.0, 3.0])
APPENDS = st.lists(st.builds(Step, kind=APPEND_KINDS, seconds=SECONDS), max_size=12)
REGISTRATIONS = st.lists(st.builds(Step, kind=REGISTRATION_KINDS, seconds=SECONDS), max_size=4)
ARRIVALS = st.lists(st.tuples(st.integers(1, 8), st.integers(0, 12)), min_size=1, max_size=8)


@given(appends=APPENDS, registrations=REGISTRATIONS, arrivals=ARRIVALS)
@settings(max_examples=400, deadline=None)
def test_whatever_the_store_does(
    appends: list[Step], registrations: list[Step], arrivals: list[tuple[int, int]]
) -> None:
    """Arrivals, splits, outages, lost answers, lost writers and changed routes, in any order."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publisher, "APPEND_ENTRIES_MAX", ENTRIES_MAX)
        patch.setattr(publisher, "PAUSE_SECONDS", 0)
        asyncio.run(_live(appends, registrations, arrivals))
