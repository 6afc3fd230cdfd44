"""Claims of one queue: the wishes of all its members at this replica, joined into one claim at a time.

Rule 1: one claim in flight for a queue and replica, under a sequence of its own, and none without a wish.
Rule 2: it claims when a member comes, when something may have become claimable (an event that matches, a wake of the
engine, a time that has come, a claim that was full), and each second as long as a member waits: what was told and got
lost costs a second.
Rule 3: a claim whose answer is not known is repeated as it was, under its sequence: leases are handed to somebody.
Rule 4: what a member cannot take any more goes back at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from operator import attrgetter
from typing import TYPE_CHECKING, Final, Protocol

from waooaw.events.delivery import CLAIM_MAX, Delivery
from waooaw.events.engine.queue_contract import ClaimRequest
from waooaw.events.errors import NotFoundError, WowEventError
from waooaw.events.outages import UnavailableError
from waooaw.events.position import position_milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from waooaw.events.bus.served_queue import ServedQueue
    from waooaw.events.bus.settling import Settling
    from waooaw.events.engine.queue_contract import Claimed, Lease

_log = logging.getLogger("wowevent.delivery")

TICK_SECONDS: Final = 1.0
"""Between two claims of members that wait, where nothing is told: what a lost frame or wake costs."""

PAUSE_SECONDS: Final = 0.05
"""Before the next claim where the last one was empty though something was due: clocks of two machines differ."""

REQUESTS_MAX: Final = 100
"""Members in one claim: more wait for their turn, which comes with the next."""

PATIENCE_SECONDS: Final = 2.0
"""How long the engine may wait by itself in one claim."""

BACKOFF_SECONDS: Final = (0.25, 2.0)
"""The first and the longest wait after a claim that failed, before chance spreads them."""

_token_of = attrgetter("token")


class Wish(Protocol):
    """What a member wants of a queue now."""

    @property
    def member(self) -> str:
        """Its name."""
        ...

    @property
    def wanted(self) -> int:
        """How many deliveries it would take now; 0 for none."""
        ...

    def take(self, deliveries: list[Delivery], next_due_ms: int | None) -> Sequence[Delivery]:
        """Take what a claim got for it, maybe nothing; return what is to go back."""
        ...

    def fail(self, error: WowEventError) -> bool:
        """Hear that a claim failed; return whether it goes on waiting."""
        ...


class Claiming:
    """Claims for the members of one queue. It runs while there are wishes; `end` ends it."""

    def __init__(self, queue: ServedQueue, settling: Settling, gone: Callable[[NotFoundError], None]) -> None:
        self._queue = queue
        self._settling = settling
        self._gone = gone
        self._members: dict[Wish, None] = {}
        self._sequence = 0
        self._doubtful: tuple[list[ClaimRequest], list[Wish]] | None = None
        self._running: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._turns: deque[asyncio.Future[None]] = deque()
        self._is_due = True
        self._failures = 0
        self._ended: WowEventError | None = None
        self.stirs = 0
        """How often something may have become claimable."""

    # Members ----------------------------------------------------------------------------------------------------------

    @property
    def members(self) -> tuple[Wish, ...]:
        """Who wants something, or may do so again."""
        return tuple(self._members)

    def add(self, member: Wish) -> None:
        """Take a member in. A claim that begins from now on is also for it."""
        self._members[member] = None
        self.stir()

    def remove(self, member: Wish) -> None:
        """Leave a member out from now on; harmless where it is not in. A claim under way for it goes back."""
        self._members.pop(member, None)

    def stir(self) -> None:
        """Claim, if anybody wants something: more may be claimable than the last claim knew."""
        self._is_due = True
        self.stirs += 1
        self.give_turn()
        self.wish()

    def wish(self, member: Wish | None = None) -> None:
        """Look at the wishes again, or at those of one member: more may be wanted than before."""
        if (
            self._running is not None
            or self._ended is not None
            or not (self._wants() if member is None else member.wanted)
        ):
            return
        if self._is_due:
            self._cancel_timer()
            self._running = asyncio.get_running_loop().create_task(self._run(), name=f"claim {self._queue.name}")
        elif self._timer is None:
            self._wait(None)

    def _wants(self) -> bool:
        return bool(self._doubtful or self._turns) or any(member.wanted for member in self._members)

    async def turn(self, stirs: int, next_due_ms: int | None) -> None:
        """Return when a call that claims alone should do so again: at `stir`, one call after the other.

        ``stirs`` is what the attribute was before its last claim: what came since is not slept through. Who got
        something says so by `give_turn`. Raises the error that this was ended with.
        """
        if self._ended is not None:
            raise self._ended
        if stirs != self.stirs:
            return
        turn = asyncio.get_running_loop().create_future()
        self._turns.append(turn)
        if self._running is None:
            self._wait(next_due_ms)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_turn()  # it was this one's turn, and is not used
            raise

    def give_turn(self) -> None:
        """Let the next call that claims alone do so."""
        while self._turns:
            turn = self._turns.popleft()
            if not turn.done():
                turn.set_result(None)
                break

    def end(self, error: WowEventError) -> None:
        """Claim no more, and tell everybody why."""
        self._ended = error
        self._cancel_timer()
        for member in self.members:
            member.fail(error)
        self._members.clear()
        for turn in self._turns:
            if not turn.done():
                turn.set_exception(error)
        self._turns.clear()

    async def finish(self) -> None:
        """Return when the claim in flight has gone back to where it came from."""
        while self._running is not None:
            await asyncio.shield(self._running)

    # When -------------------------------------------------------------------------------------------------------------

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self, next_due_ms: int | None, at_least_seconds: float = 0.0) -> None:
        """Claim again in a second, or at a time that was told; not at all where nobody wants anything."""
        if self._ended is not None or not self._wants():
            return
        seconds = TICK_SECONDS
        if next_due_ms is not None:
            seconds = min(seconds, max((next_due_ms - self._queue.clock.now_ms()) / 1000, PAUSE_SECONDS))
        loop = asyncio.get_running_loop()
        when = loop.time() + max(seconds, at_least_seconds)
        if self._timer is None or when < self._timer.when():
            self._cancel_timer()
            self._timer = loop.call_at(when, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.stir()

    # Claiming ---------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        wait_ms, backoff_seconds = None, 0.0
        try:
            while self._is_due and (asked := self._doubtful or self._ask()) is not None:
                self._is_due = False
                self._doubtful = asked
                wait_ms, backoff_seconds = None, 0.0
                try:
                    claimed = await self._claim(asked[0])
                except NotFoundError as error:
                    self._doubtful = None
                    self._gone(error)
                except WowEventError as error:
                    backoff_seconds = self._fail(error)
                    break
                else:
                    wait_ms = self._hand_out(asked, claimed)
        finally:
            self._running = None
            self._wait(wait_ms, backoff_seconds)

    def _ask(self) -> tuple[list[ClaimRequest], list[Wish]] | None:
        """Return the next claim: as many wishes as fit, each with a fair part of what one claim takes."""
        wishes: list[tuple[Wish, int]] = []
        for member in self._members:
            if wanted := member.wanted:
                wishes.append((member, wanted))
                if len(wishes) == REQUESTS_MAX:
                    break
        if not wishes:
            return None
        for member, _ in wishes[:1] if len(wishes) < REQUESTS_MAX else wishes:  # the next one begins with another
            self._members[member] = self._members.pop(member)
        room = CLAIM_MAX
        part = room // len(wishes)
        limits = [min(wanted, part) for _, wanted in wishes]
        room -= sum(limits)
        for index, (_, wanted) in enumerate(wishes):
            more = min(wanted - limits[index], room)
            limits[index] += more
            room -= more
        requests = [ClaimRequest(member.member, limit) for (member, _), limit in zip(wishes, limits, strict=True)]
        return requests, [member for member, _ in wishes]

    async def _claim(self, requests: Sequence[ClaimRequest]) -> Claimed:
        queue = self._queue
        try:
            claimed = await queue.engine.claim(
                queue.bus,
                queue.incarnation,
                queue.claimer,
                self._sequence + 1,
                requests,
                patience_seconds=PATIENCE_SECONDS,
            )
        except WowEventError:
            raise
        except Exception as error:
            _log.exception("delivery.failed", extra=queue.labels)
            message = "the store failed in an unforeseen way"
            raise UnavailableError(message, outcome="unknown") from error
        self._sequence += 1
        return claimed

    def _fail(self, error: WowEventError) -> float:
        """Tell all members, as none is served now; return how long to wait before the next try."""
        if not isinstance(error, UnavailableError):  # a defect: what cannot be repeated is not
            _log.error("delivery.failed", exc_info=error, extra=self._queue.labels)
            self._doubtful = None
            self._sequence += 1
        self._is_due = True
        for member in self.members:
            if not member.fail(error):
                self.remove(member)
        first, longest = BACKOFF_SECONDS
        seconds: float = min(first * 2.0**self._failures, longest)
        self._failures = min(self._failures + 1, 10)
        return seconds * (1 + self._queue.chance.random()) / 2

    # Handing out ------------------------------------------------------------------------------------------------------

    def _hand_out(self, asked: tuple[list[ClaimRequest], list[Wish]], claimed: Claimed) -> int | None:
        """Give everybody what the claim got for them; return when to claim again, where that is known."""
        requests, askers = asked
        is_repeated, self._failures, self._doubtful = bool(self._failures), 0, None
        queue, leases = self._queue, claimed.leases
        queue.moves.take(queue.name, claimed.moves)
        if is_repeated:  # long ago, maybe: what has lapsed since is somebody else's
            now_ms = queue.clock.now_ms()
            leases = tuple([lease for lease in leases if lease.until_ms > now_ms])
        shares = self.build(leases, len(askers))
        back: list[str] = []
        for asker, share in zip(askers, shares, strict=True):
            if asker not in self._members:
                back += map(_token_of, share)
            elif excess := asker.take(share, claimed.next_due_ms):
                back += map(_token_of, excess)
        self._settling.give_back(back)
        if claimed.is_paused:
            return None
        due_ms, count = claimed.next_due_ms, len(claimed.leases)
        is_full = count >= sum([request.limit for request in requests])
        if is_full or (count and due_ms is not None and due_ms <= queue.clock.now_ms()):
            self._is_due = True
        return due_ms

    def build(self, leases: Sequence[Lease], requests: int) -> list[list[Delivery]]:
        """Make the deliveries of a claim, a list for each request, and count them."""
        queue = self._queue
        shares: list[list[Delivery]] = [[] for _ in range(requests)]
        prefix, lease_seconds = queue.incarnation, queue.definition.lease_seconds
        lease_ms = round(lease_seconds * 1000)
        tokens: list[str] = []
        first: list[tuple[str, int]] = []
        for lease in leases:
            reference, event = lease.reference, lease.event
            token = f"{prefix}.{reference}.{lease.nonce}"
            is_copy = "~" in reference
            tokens.append(token)
            shares[lease.request].append(
                Delivery(
                    token=token,
                    stored=event,
                    attempt=lease.attempt,
                    first_delivery_ms=lease.first_delivery_ms,
                    last_error=lease.last_error,
                    lease_seconds=lease_seconds,
                    replay=is_copy,
                )
            )
            if lease.attempt == 1 and not is_copy and lease.first_delivery_ms + lease_ms >= lease.until_ms:
                first.append((event.type, lease.first_delivery_ms - position_milliseconds(event.position)))
        if tokens:
            self._settling.remember(tokens, [lease.event.type for lease in leases], queue.definition.max_in_flight)
        if first:
            self._count_first(first)
        return shares

    def _count_first(self, first: list[tuple[str, int]]) -> None:
        latencies: dict[float, int] = {}
        for (event_type, latency_ms), count in Counter(first).items():
            seconds = max(latency_ms, 0) / 1000
            self._queue.metrics.first_delivered(event_type, seconds, count)
            latencies[seconds] = latencies.get(seconds, 0) + count
        self._queue.metrics.activity_of(self._queue.name).delivered(self._queue.clock.monotonic(), latencies)
