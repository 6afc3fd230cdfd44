"""Settles of one queue: what arrives while one is in flight forms the next.

Rule 1: one settle in flight for a queue and replica, under a sequence of its own.
Rule 2: a store that is away is asked again under the same sequence until the time of the first who waits is over: an
ack that was stored though its answer was lost is then still an ack.
Rule 3: every call is answered, and in it every outcome: done, no token at all, or stale.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from typing import TYPE_CHECKING, Final

from waooaw.events.bus.metrics import OTHER
from waooaw.events.delivery import CLAIM_MAX, DELAY_SECONDS_MAX, OUTCOMES, REASON_LENGTH_MAX, DeliveryToken, Settlement
from waooaw.events.engine.queue_contract import SettleRequest
from waooaw.events.errors import InvalidParameterError, StaleTokenError, Violation, WowEventError
from waooaw.events.outages import UnavailableError
from waooaw.events.position import parse_position

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from waooaw.events.bus.served_queue import ServedQueue
    from waooaw.events.engine.queue_contract import Settled
    from waooaw.events.position import Position

_log = logging.getLogger("wowevent.delivery")

SETTLE_SECONDS: Final = 10.0
"""How long an outcome waits for a store that is away: a failover takes less, and a lease is seldom shorter."""

PATIENCE_SECONDS: Final = 2.0
"""How long the engine may wait by itself in one call."""

PAUSE_SECONDS: Final = 0.25
"""Between two tries at a store that is away: an engine that says so at once must not be asked in a circle."""

REMEMBERED_MIN: Final = 2000
"""Deliveries handed out here whose event types are remembered at least: two claims. More than ``max_in_flight`` are
never leased at once: what is older was settled elsewhere, or lapsed.
"""

ALONE_MAX: Final = 1000
"""Claimers whose only call was counted here: its repetition, which comes within seconds, is not counted again."""

Results = list[WowEventError | None]


class _Call:
    """Outcomes that one caller waits for, with what the engine is asked for each; settles may take part of them."""

    __slots__ = ("answered", "attempts", "deadline", "requests", "settlements", "taken")

    def __init__(self, settlements: Sequence[Settlement], requests: list[SettleRequest], deadline: float) -> None:
        self.settlements = settlements
        self.requests = requests
        self.deadline = deadline
        self.answered: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        self.attempts: list[int] = []
        self.taken = 0


class Settling:
    """Settles deliveries of one queue. It runs while there is something to settle; `finish` waits for that."""

    def __init__(self, queue: ServedQueue, settled: Callable[[Sequence[Settlement]], None]) -> None:
        self._queue = queue
        self._settled = settled
        self._sequence = 0
        self._types: dict[str, str] = {}
        self._alone: dict[str, None] = {}
        self._pending: deque[_Call] = deque()
        self._running: asyncio.Task[None] | None = None

    # Deliveries that were handed out ----------------------------------------------------------------------------------

    def remember(self, tokens: Iterable[str], types: Iterable[str], in_flight_max: int) -> None:
        """Remember the event types of deliveries that were handed out, for the counts by type."""
        self._types.update(zip(tokens, types, strict=True))
        limit = max(REMEMBERED_MIN, in_flight_max)
        if len(self._types) > 2 * limit:
            self._types = dict(list(self._types.items())[-limit:])

    @property
    def remembered(self) -> int:
        """How many deliveries were handed out here and not settled here; some of them may have lapsed."""
        return len(self._types)

    # What callers say -------------------------------------------------------------------------------------------------

    async def settle(self, settlements: Sequence[Settlement]) -> Results:
        """Settle deliveries; return for each None, or `InvalidParameterError` or `StaleTokenError`.

        Raises `NotFoundError` for a queue that is no more, and `UnavailableError` kinds: what was settled is then not
        known. A cancelled call still settles.
        """
        good, requests, refusals = self._read(settlements)
        attempts = await self._submit(good, requests).answered if requests else []
        return _results(settlements, refusals, attempts)

    async def settle_alone(self, settlements: Sequence[Settlement], claimer: str) -> Results:
        """Settle as the only call of a claimer: the same call again is answered as the first one was."""
        good, requests, refusals = self._read(settlements)
        attempts: Sequence[int] = ()
        if requests:
            answer = await self._queue.engine.settle(
                self._queue.bus, self._queue.incarnation, claimer, 1, requests, patience_seconds=PATIENCE_SECONDS
            )
            attempts = answer.attempts
            if claimer not in self._alone:
                if len(self._alone) >= ALONE_MAX:
                    del self._alone[next(iter(self._alone))]
                self._alone[claimer] = None
                self._count(good, requests, answer)
        return _results(settlements, refusals, attempts)

    def give_back(self, tokens: Sequence[str]) -> asyncio.Future[list[int]] | None:
        """Release deliveries: each is claimable again at once. Whoever waits for it waits for the future.

        A store that is away is told in the log, and leases end by themselves then.
        """
        if not tokens:
            return None
        good, requests, _ = self._read([Settlement(token=token, outcome="release") for token in tokens])
        answered = self._submit(good, requests).answered
        answered.add_done_callback(self._tell_kept)
        return answered

    def _tell_kept(self, answered: asyncio.Future[list[int]]) -> None:
        error = None if answered.cancelled() else answered.exception()
        if isinstance(error, UnavailableError):
            detail = f"leases end by themselves: they could not be given back: {error}"
            extra = self._queue.labels | {"code": error.code, "detail": detail}
            _log.warning("delivery.not_given_back", extra=extra)

    async def finish(self) -> None:
        """Return when all that was said is answered."""
        while self._running is not None:
            await asyncio.shield(self._running)

    def _read(
        self, settlements: Sequence[Settlement]
    ) -> tuple[Sequence[Settlement], list[SettleRequest], dict[int, WowEventError]]:
        """Return the outcomes that the engine is asked for, how it is asked, and why it is not for the others."""
        requests: list[SettleRequest] = []
        refusals: dict[int, WowEventError] = {}
        types = self._types
        for index, settlement in enumerate(settlements):
            token = settlement.token
            if settlement.outcome == "ack" and token in types:  # handed out here: it has the form of a token
                _, reference, nonce = token.split(".")
                requests.append(SettleRequest(reference, nonce, "ack"))
                continue
            try:
                requests.append(self._request(settlement, index))
            except (InvalidParameterError, StaleTokenError) as error:
                refusals[index] = error
        if refusals:
            settlements = [item for index, item in enumerate(settlements) if index not in refusals]
        return settlements, requests, refusals

    def _request(self, settlement: Settlement, index: int) -> SettleRequest:
        token = DeliveryToken.parse(settlement.token, pointer=f"#/outcomes/{index}/token")
        outcome, delay = settlement.outcome, settlement.delay_seconds
        if outcome not in OUTCOMES:
            raise _invalid(index, "outcome", f"must be one of {', '.join(OUTCOMES)}")
        if delay is not None and not 0 <= delay <= DELAY_SECONDS_MAX:
            raise _invalid(index, "delay_seconds", f"must be from 0 to {DELAY_SECONDS_MAX:g}")
        if token.incarnation != self._queue.incarnation:
            raise _stale(settlement.token)
        chance = self._queue.chance.random() if outcome == "nack" else 1.0
        reason = settlement.reason[:REASON_LENGTH_MAX]
        return SettleRequest(token.reference, token.nonce, outcome, delay, chance, reason)

    # Settling together ------------------------------------------------------------------------------------------------

    def _submit(self, settlements: Sequence[Settlement], requests: list[SettleRequest]) -> _Call:
        call = _Call(settlements, requests, self._queue.clock.monotonic() + SETTLE_SECONDS)
        self._pending.append(call)
        if self._running is None:
            self._running = asyncio.get_running_loop().create_task(self._run(), name=f"settle {self._queue.name}")
        return call

    async def _run(self) -> None:
        try:
            while self._pending:
                await self._settle_next()
        finally:
            self._running = None

    async def _settle_next(self) -> None:
        shares: list[tuple[_Call, int]] = []
        settlements: list[Settlement] = []
        requests: list[SettleRequest] = []
        while self._pending and (room := CLAIM_MAX - len(requests)):
            call = self._pending[0]
            start, end = call.taken, min(call.taken + room, len(call.requests))
            settlements += call.settlements[start:end]
            requests += call.requests[start:end]
            shares.append((call, end - start))
            call.taken = end
            if end < len(call.requests):
                break
            self._pending.popleft()
        try:
            answer = await self._ask(requests, shares[0][0].deadline)
        except WowEventError as error:
            self._refuse([call for call, _ in shares], error)
        except Exception as error:  # noqa: BLE001 - a defect in an engine must not leave its callers waiting for ever
            _log.error("delivery.failed", exc_info=error, extra=self._queue.labels)
            refusal = UnavailableError("the store failed in an unforeseen way", outcome="unknown")
            refusal.__cause__ = error
            self._refuse([call for call, _ in shares], refusal)
        else:
            _answer(shares, answer.attempts)
            self._count(settlements, requests, answer)

    async def _ask(self, requests: Sequence[SettleRequest], deadline: float) -> Settled:
        self._sequence += 1
        while True:
            remaining = deadline - self._queue.clock.monotonic()
            try:
                return await self._queue.engine.settle(
                    self._queue.bus,
                    self._queue.incarnation,
                    self._queue.claimer,
                    self._sequence,
                    requests,
                    patience_seconds=min(max(remaining, 0.0), PATIENCE_SECONDS),
                )
            except UnavailableError:
                if remaining <= 0:
                    raise
            await asyncio.sleep(PAUSE_SECONDS)

    def _refuse(self, calls: Iterable[_Call], error: WowEventError) -> None:
        """Answer calls with an error, and those behind them whose time is over too."""
        now = self._queue.clock.monotonic()
        refused = dict.fromkeys(calls)
        while self._pending and (self._pending[0] in refused or self._pending[0].deadline <= now):
            refused[self._pending.popleft()] = None
        for call in refused:
            if not call.answered.done():
                call.answered.set_exception(error)

    # Counting ---------------------------------------------------------------------------------------------------------

    def _count(self, settlements: Sequence[Settlement], requests: Sequence[SettleRequest], answer: Settled) -> None:
        """Count what was settled, by event type, and tell what it moved."""
        acked: list[str] = []
        failed: list[tuple[SettleRequest, str]] = []
        types = self._types
        for settlement, request, attempt in zip(settlements, requests, answer.attempts, strict=True):
            outcome = request.outcome
            if not attempt or outcome == "extend":
                continue
            event_type = types.pop(settlement.token, OTHER)
            if outcome == "ack":
                acked.append(event_type)
            elif outcome != "release":
                failed.append((request, event_type))
        if acked:
            self._queue.metrics.acked(Counter(acked))
        if acked or failed:
            self._queue.metrics.activity_of(self._queue.name).settled(
                self._queue.clock.monotonic(), len(acked), len(failed)
            )
        self._count_failed(failed, answer)
        self._settled(settlements)

    def _count_failed(self, failed: Sequence[tuple[SettleRequest, str]], answer: Settled) -> None:
        buried = {burial.position for burial in answer.moves.buried}
        types: dict[Position, str] = {}
        for request, event_type in failed:
            self._queue.metrics.delivery_failed(event_type)
            position = parse_position(request.reference.partition("~")[0])
            types[position] = event_type
            if position not in buried:
                self._queue.metrics.retried(event_type)
        self._queue.moves.take(self._queue.name, answer.moves, types=types)


def _answer(shares: Sequence[tuple[_Call, int]], attempts: Sequence[int]) -> None:
    start = 0
    for call, count in shares:
        call.attempts += attempts[start : start + count]
        start += count
        if len(call.attempts) == len(call.requests) and not call.answered.done():
            call.answered.set_result(call.attempts)


def _results(settlements: Sequence[Settlement], refusals: dict[int, WowEventError], attempts: Sequence[int]) -> Results:
    """Return what became of each: of those that were not refused, the attempts are told in order."""
    results: Results = [None] * len(settlements)
    if not refusals and 0 not in attempts:
        return results
    answers = iter(attempts)
    for index, settlement in enumerate(settlements):
        if index in refusals:
            results[index] = refusals[index]
        elif not next(answers):
            results[index] = _stale(settlement.token)
    return results


def _stale(token: str) -> StaleTokenError:
    message = (
        f"{token[:64]!r} is no delivery of this subscription now: it was settled, or its lease ended and it went on"
    )
    return StaleTokenError(message)


def _invalid(index: int, member: str, detail: str) -> InvalidParameterError:
    violation = Violation(f"#/outcomes/{index}/{member}", detail, InvalidParameterError.code)
    return InvalidParameterError(f"{member} {detail}", errors=(violation,))
