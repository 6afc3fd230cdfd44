"""How the pushing of a subscription goes: its receiver's consent, what holds it up, and the last attempts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import msgspec

Consent = Literal["pending", "verified", "refused"]
"""``verified``: the receiver consented, or proved itself by `PROVING_SUCCESSES`. ``refused``: nothing is sent."""

Stopped = Literal["gone", "failing"]
"""Why the bus itself paused a subscription: the receiver answered 410, or only failed for `FAILING_SECONDS`."""

BreakerState = Literal["closed", "open", "half_open"]

AttemptKind = Literal["delivery", "handshake", "test", "redelivery"]
AttemptOutcome = Literal["delivered", "failed", "held"]
"""``held``: the receiver asked to wait (429), which is no failure of the event."""

PROVING_SUCCESSES: Final = 10
"""Without a handshake nobody asked the receiver: it gets one request a second until it took so many."""

FAILING_SECONDS: Final = 120 * 3600
"""Of nothing but failures, until a subscription is paused: five days, as Svix; longer than a long weekend."""

ATTEMPTS_KEPT: Final = 100
"""Attempts of each subscription that are remembered."""

REPLY_BYTES_KEPT: Final = 1024
"""Of a reply, in its attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PushState:
    """How pushing goes over all replicas. Times are Unix milliseconds.

    ``breaker`` is the worst of all replicas. ``held_until_ms``: the receiver asked to wait until then.
    ``allowed_per_minute``: what it allowed in the handshake. ``failing_since_ms``: no success since then.
    ``in_flight``: requests under way.
    """

    state: Consent
    reason: str | None = None
    since_ms: int = 0
    stopped: Stopped | None = None
    breaker: BreakerState = "closed"
    held_until_ms: int | None = None
    allowed_per_minute: int | None = None
    failing_since_ms: int | None = None
    in_flight: int = 0


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One request to a receiver, and what came of it.

    ``time_ms`` is when it began, ``seconds`` how long it took. ``positions``: the events in it (empty: none of the
    log). ``attempt`` counts the tries of the first of them. ``status`` is None where no answer came: ``error`` says
    why then, and for an answer that is a failure what about it. ``reply``: the beginning of the body as text.
    """

    id: str
    kind: AttemptKind
    time_ms: int
    seconds: float
    outcome: AttemptOutcome
    positions: tuple[str, ...] = ()
    attempt: int = 1
    status: int | None = None
    error: str | None = None
    reply: str = ""
    replica: str = ""
