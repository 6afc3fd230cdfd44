"""A delivery as members see it: one event under a lease, and what they say became of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec

from waooaw.events.errors import InvalidParameterError, Violation
from waooaw.events.event import StoredEvent

if TYPE_CHECKING:
    from waooaw.events.event import Event

Outcome = Literal["ack", "nack", "extend", "reject", "release"]
OUTCOMES: Final[tuple[Outcome, ...]] = ("ack", "nack", "extend", "reject", "release")

CLAIM_MAX: Final = 1000
"""Deliveries in one claim, and outcomes in one settle: what one atomic step of an engine takes on."""

TOKEN_LENGTH_MAX: Final = 200
"""Twice what the longest token takes."""

DELAY_SECONDS_MAX: Final = 30 * 86_400.0
"""The longest wait that a retry policy can ask for, too."""

REASON_LENGTH_MAX: Final = 1000
"""A reason is kept with the reference and shown to people; longer ones are cut."""

MEMBER_LENGTH_MAX: Final = 128
"""Of a member's name, which each of its leases carries: as long as a subscription's."""

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+\.[0-9]{1,13}-[0-9]{1,7}(?:~[0-9]{1,16})?\.[A-Za-z0-9_-]+", re.ASCII)


class DeliveryToken(NamedTuple):
    """What a delivery is settled by: the queue's incarnation, the reference in it, and the lease's own nonce."""

    incarnation: str
    reference: str
    nonce: str

    def __str__(self) -> str:
        """Return the token as the wire spells it."""
        return f"{self.incarnation}.{self.reference}.{self.nonce}"

    @classmethod
    def parse(cls, text: str, *, pointer: str = "#/token") -> DeliveryToken:
        """Read a token; raises `InvalidParameterError` for what no delivery had."""
        if len(text) > TOKEN_LENGTH_MAX or _TOKEN.fullmatch(text) is None:
            message = f"{text[:64]!r} is no delivery token"
            raise InvalidParameterError(message, errors=(Violation(pointer, message, InvalidParameterError.code),))
        return cls(*text.split("."))


class Delivery(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One event handed to one member until the lease ends.

    ``attempt`` counts from 1; ``first_delivery_ms`` is when any member first got the event (Unix milliseconds);
    ``last_error`` is why the try before failed. ``replay`` tells a reference made by a fill from a live one.
    """

    token: str
    stored: StoredEvent
    attempt: int
    first_delivery_ms: int
    last_error: str | None
    lease_seconds: float
    replay: bool = False

    @property
    def event(self) -> Event:
        """The event, decoded anew at each access."""
        return self.stored.event


@dataclass(frozen=True, slots=True)
class ClaimedDeliveries:
    """What a claim got. ``next_due_ms``: when something will be claimable that is not yet (None: nothing known)."""

    deliveries: tuple[Delivery, ...]
    next_due_ms: int | None = None


class Settlement(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What became of one delivery.

    ``delay_seconds`` is, for nack, the wait until the next try (None: as the retry policy says) and, for extend, the
    lease from now on (None: the subscription's). ``reason`` is for people.
    """

    token: str
    outcome: Outcome
    delay_seconds: float | None = None
    reason: str = ""
