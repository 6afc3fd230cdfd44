"""What one replica may send to one receiver now, and what it should claim for it. Pure; the caller tells the time.

Rule 1: no more requests than this replica has slots, for as long as it has them, and none faster than its rate.
Rule 2: nothing while the receiver asked to wait, or its breaker is open; one request while that is half open.
Rule 3: what is claimed is what can be sent soon: a little more than there are slots, and nothing while nothing is sent.

Times are monotonic, in seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from waooaw.events.delivery import CLAIM_MAX
from waooaw.events.webhooks.breaker import Breaker
from waooaw.events.webhooks.pace import Pace

if TYPE_CHECKING:
    from waooaw.events.push import PushDefinition
    from waooaw.events.webhooks.verdict import Verdict

BATCH_EVENTS_MAX: Final = 100

IDLE_CREDIT_MAX: Final = 16
"""Deliveries that are claimed before this replica has slots: enough to begin with, few enough to wait a moment."""

CREDIT_PER_SLOT: Final = 2
"""One is under way while the next is claimed."""

CREDIT_SECONDS: Final = 2.0
"""Of a slow rate, no more is claimed than is sent in this time."""

LACKING_SECONDS: Final = 1.0
"""Until this replica claims again where all slots were with others: those are at work, and it is not needed."""


class Allowance:
    """Changed in place by what happens."""

    def __init__(self) -> None:
        self.breaker = Breaker()
        self.pace = Pace()
        self.is_open = False
        """Whether the receiver consented, and its subscription is not paused."""
        self.held_until = 0.0
        self._holds = 0
        self._slots = 0
        self._slots_until = 0.0
        self._rate: float | None = None
        self._lacking_until = 0.0

    # What happens -----------------------------------------------------------------------------------------------------

    def set_share(self, slots: int, until: float, rate: float | None) -> None:
        """Take over what this replica may do until a time."""
        self._slots, self._slots_until, self._rate = slots, until, rate
        self.pace.set_rate(rate)
        if slots:
            self._lacking_until = 0.0

    def restrict(self, slots: int) -> None:
        """Begin no request beyond so many from now on: what is about to be given up is not used any more."""
        self._slots = min(self._slots, slots)

    def lack(self, now: float) -> None:
        """Do without for a while: there is something to send, and no slot for it."""
        self._lacking_until = now + LACKING_SECONDS

    def has_slots(self, now: float) -> bool:
        """Tell whether this replica has a share that runs."""
        return now < self._slots_until

    @property
    def holds(self) -> int:
        """How often in a row the receiver asked to wait."""
        return self._holds

    def take(self, verdict: Verdict, now: float) -> bool:
        """Take what came of a request; return whether what is allowed changed by it."""
        is_held = now < self.held_until
        if verdict.attempt_outcome == "delivered":
            self._holds = 0
        if verdict.hold_seconds is not None:
            self._holds += 0 if is_held else 1
            self.held_until = max(self.held_until, now + verdict.hold_seconds)
            return True
        return False

    def forget_past(self) -> None:
        """The receiver is another one, or begins anew."""
        self.breaker.reset()
        self.held_until, self._holds = 0.0, 0

    # What follows -----------------------------------------------------------------------------------------------------

    def blocked_seconds(self, now: float) -> float:
        """Return for how long nothing is sent at all, 0 or less for not at all; infinity where nobody knows."""
        if not self.is_open:
            return float("inf")
        until = max(self.held_until, self._lacking_until)
        if self.breaker.state(now) == "open":
            until = max(until, self.breaker.until)
        return until - now

    def room(self, now: float, in_flight: int) -> int:
        """Return how many deliveries may begin, while so many requests are under way."""
        if not self.is_open or now < self.held_until or not self.has_slots(now):
            return 0
        state = self.breaker.state(now)
        if state == "closed":
            return self._slots - in_flight
        return 0 if state == "open" or in_flight else min(self._slots, 1)

    def errand_room(self, now: float, in_flight: int) -> int:
        """Return how many errands may begin: they try a receiver whose breaker is open, or that is paused, too."""
        return 0 if now < self.held_until or not self.has_slots(now) else self._slots - in_flight

    def credit(self, now: float, push: PushDefinition) -> int:
        """Return how many deliveries may be claimed and not settled."""
        if self.blocked_seconds(now) > 0:
            return 0
        if self.breaker.state(now) == "half_open":
            return 1
        events = BATCH_EVENTS_MAX if push.mode == "batch" else 1
        slots = self._slots if self.has_slots(now) else 0
        credit = (slots or min(push.concurrency, IDLE_CREDIT_MAX)) * CREDIT_PER_SLOT * events
        if self._rate is not None:
            credit = min(credit, max(round(self._rate * events * CREDIT_SECONDS), 1))
        return min(credit, CLAIM_MAX)
