"""What the replicas know of one receiver together: one record in the store, replaced as a whole. Pure decisions.

Rule 1: the record is of one endpoint: where the definition names another one, or shows it other credentials, all that
was known is void and the receiver is asked for its consent anew.
Rule 2: a refusal stays until somebody asks for another try; a receiver that gave no answer is asked again, for a day.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import msgspec

from waooaw.events.push_state import (
    FAILING_SECONDS,
    PROVING_SUCCESSES,
    BreakerState,
    Consent,
    PushState,
    Stopped,
)

if TYPE_CHECKING:
    from waooaw.events.push import PushDefinition

ASKING_SECONDS: Final = (1.0, 300.0)
"""The first and the longest wait between two handshakes that got no answer, doubled in between."""

ASKED_FOR_SECONDS: Final = 86_400
"""How long a receiver that gives no answer is asked: a new agent may be deployed after its subscription."""

FAILING_MIN: Final = 10
"""Failures without a success before a subscription is paused, however long ago the first was."""

PROVING_RATE: Final = 1.0
"""Requests a second, over all replicas, to a receiver that nobody asked, until it proved itself."""


class Share(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one replica may do until a time: begin requests until ``part`` are under way.

    It has ``held`` of them under way. ``slots`` are taken from the others: its part, or more as long as requests of
    before are under way.
    """

    part: int
    slots: int
    wanted: int
    held: int
    until_ms: int
    breaker: BreakerState = "closed"


class PushRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """The record. Times are Unix milliseconds of the engine's clock, 0 or None for none."""

    endpoint: str
    state: Consent = "pending"
    reason: str | None = None
    since_ms: int = 0
    allowed_per_minute: int | None = None
    successes: int = 0
    tries: int = 0
    next_try_ms: int = 0
    held_until_ms: int = 0
    failing_since_ms: int | None = None
    failures: int = 0
    stopped: Stopped | None = None
    stopped_ms: int = 0
    shares: dict[str, Share] = {}
    written: str = ""
    """By whom, and his how manieth: no two writes are alike, so that each knows its own."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What holds for a receiver over all replicas."""

    concurrency: int
    rate: float | None


@dataclass(slots=True)
class Report:
    """What one replica saw since it last wrote the record. ``failures`` are those after the last success."""

    successes: int = 0
    failures: int = 0
    first_failure_ms: int = 0
    held_until_ms: int = 0

    def take(self, *, is_success: bool, now_ms: int) -> None:
        """Count a request."""
        if is_success:
            self.successes += 1
            self.failures = 0
        else:
            if not self.failures:
                self.first_failure_ms = now_ms
            self.failures += 1

    def followed_by(self, later: Report) -> Report:
        """Return this report and one of what came after it as one."""
        goes_on = not later.successes and self.failures
        return Report(
            successes=self.successes + later.successes,
            failures=later.failures + (self.failures if goes_on else 0),
            first_failure_ms=self.first_failure_ms if goes_on else later.first_failure_ms,
            held_until_ms=max(self.held_until_ms, later.held_until_ms),
        )


def endpoint_of(push: PushDefinition) -> str:
    """Return what tells one endpoint from another: its URL and, where it is asked, what it is shown."""
    shown = () if push.handshake == "none" else (sorted(push.headers.items()), push.authorization)
    text = msgspec.json.encode((push.url, push.handshake, shown))
    return blake2b(text, digest_size=8).hexdigest()


_decode = msgspec.json.Decoder(PushRecord).decode
encode_record = msgspec.json.Encoder().encode


def read_record(value: bytes, push: PushDefinition, now_ms: int) -> PushRecord:
    """Return the record, or a new one where there is none of this endpoint or none that can be read."""
    endpoint = endpoint_of(push)
    if value:
        try:
            record = _decode(value)
        except msgspec.DecodeError:  # of a later release: its knowledge is won again
            return PushRecord(endpoint, since_ms=now_ms)
        if record.endpoint == endpoint:
            return record
        return PushRecord(endpoint, since_ms=now_ms, shares=record.shares)
    return PushRecord(endpoint, since_ms=now_ms)


def is_deliverable(record: PushRecord, push: PushDefinition) -> bool:
    """Tell whether the receiver gets events."""
    return record.state == "verified" or (push.handshake == "none" and record.state == "pending")


def limits_of(record: PushRecord, push: PushDefinition) -> Limits:
    """Return what holds over all replicas: what the definition says, and what the receiver allowed."""
    if push.handshake == "none" and record.state == "pending":
        return Limits(1, min(PROVING_RATE, push.rate or PROVING_RATE))
    rate = push.rate
    if record.allowed_per_minute is not None:
        allowed = record.allowed_per_minute / 60
        rate = allowed if rate is None else min(rate, allowed)
    return Limits(push.concurrency, rate)


# Changes --------------------------------------------------------------------------------------------------------------


def reported(record: PushRecord, push: PushDefinition, report: Report, now_ms: int) -> PushRecord:
    """Return the record with what a replica saw."""
    changes: dict[str, object] = {}
    if report.successes:
        changes |= {"failing_since_ms": None, "failures": 0}
        if push.handshake == "none" and record.state == "pending":
            proved = record.successes + report.successes
            changes["successes"] = proved
            if proved >= PROVING_SUCCESSES:
                changes |= {"state": "verified", "since_ms": now_ms, "reason": None}
    if report.failures:
        since = None if report.successes else record.failing_since_ms
        changes["failing_since_ms"] = since or report.first_failure_ms
        changes["failures"] = report.failures + (0 if report.successes else record.failures)
    if report.held_until_ms > record.held_until_ms:
        changes["held_until_ms"] = report.held_until_ms
    return msgspec.structs.replace(record, **changes) if changes else record


def asking(record: PushRecord, timeout_seconds: float, now_ms: int) -> PushRecord:
    """Return the record while one replica asks the receiver: the others leave it to that until it must be over."""
    return msgspec.structs.replace(
        record, tries=record.tries + 1, next_try_ms=now_ms + round((timeout_seconds + 5) * 1000)
    )


def answered(
    record: PushRecord, state: Consent, reason: str | None, allowed_per_minute: int | None, now_ms: int
) -> PushRecord:
    """Return the record with what a handshake brought."""
    if state == "pending":
        first, longest = ASKING_SECONDS
        wait_seconds = min(first * 2.0 ** min(max(record.tries - 1, 0), 20), longest)
        if now_ms - record.since_ms < ASKED_FOR_SECONDS * 1000:
            return msgspec.structs.replace(record, reason=reason, next_try_ms=now_ms + round(wait_seconds * 1000))
        state = "refused"
    return msgspec.structs.replace(
        record,
        state=state,
        reason=reason,
        since_ms=now_ms,
        allowed_per_minute=allowed_per_minute,
        tries=0,
        next_try_ms=0,
    )


def is_failing_too_long(record: PushRecord, now_ms: int) -> bool:
    """Tell whether a receiver did nothing but fail for so long that its subscription is paused."""
    since = record.failing_since_ms
    return since is not None and record.failures >= FAILING_MIN and now_ms - since >= FAILING_SECONDS * 1000


def stopped(record: PushRecord, why: Stopped, now_ms: int) -> PushRecord:
    """Return the record of a subscription that the bus pauses; the first reason stays."""
    if record.stopped is not None:
        return record
    return msgspec.structs.replace(record, stopped=why, stopped_ms=now_ms)


def resumed(record: PushRecord) -> PushRecord:
    """Return the record of a subscription that somebody resumed: it begins without a past."""
    return msgspec.structs.replace(
        record, stopped=None, stopped_ms=0, failing_since_ms=None, failures=0, held_until_ms=0
    )


# Telling --------------------------------------------------------------------------------------------------------------


def push_state_of(record: PushRecord, push: PushDefinition, now_ms: int) -> PushState:
    """Return the record as people see it."""
    live = [share for share in record.shares.values() if share.until_ms > now_ms]
    breakers = {share.breaker for share in live}
    return PushState(
        state=record.state,
        reason=_reason(record, push),
        since_ms=record.since_ms,
        stopped=record.stopped,
        breaker="open" if "open" in breakers else "half_open" if "half_open" in breakers else "closed",
        held_until_ms=record.held_until_ms if record.held_until_ms > now_ms else None,
        allowed_per_minute=record.allowed_per_minute,
        failing_since_ms=record.failing_since_ms,
        in_flight=sum(share.held for share in live),
    )


def _reason(record: PushRecord, push: PushDefinition) -> str | None:
    if record.state == "pending" and record.reason is None:
        if push.handshake == "options":
            return "the receiver has not been asked yet"
        return (
            f"one request a second until the receiver took {PROVING_SUCCESSES}: {record.successes} so far; nobody "
            "asked for its consent"
        )
    return record.reason
