"""What a failure makes of a reference: decided here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from waooaw.events.engine.sqlite.reference import SCHEDULED

if TYPE_CHECKING:
    from waooaw.events.engine.sqlite.reference import Held
    from waooaw.events.retry import DeadReason, RetryPolicy

LAPSE_ERROR: Final = "the lease ended without an outcome"


def failed(held: Held, error: str, now_ms: int) -> Held:
    """Return a reference with one failure more, due at once."""
    return held._replace(
        state=SCHEDULED,
        at_ms=now_ms,
        failures=held.failures + 1,
        first_failure_ms=held.first_failure_ms or now_ms,
        last_failure_ms=now_ms,
        last_error=error,
    )


def exhausted(held: Held, policy: RetryPolicy, now_ms: int) -> DeadReason | None:
    """Tell why a reference that failed is not tried again, or None where it is."""
    return policy.exhausted(held.failures, (now_ms - held.first_delivery_ms) / 1000)


def wait_ms(failures: int, policy: RetryPolicy, delay_seconds: float | None, chance: float) -> int:
    """Return how long a reference waits after so many failures: as asked for, or a share of the policy's bound."""
    seconds = chance * policy.bound_seconds(failures) if delay_seconds is None else delay_seconds
    return round(seconds * 1000)
