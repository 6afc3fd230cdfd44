"""Whether a receiver consented: CloudEvents 1.0.2, HTTP 1.1 Web Hooks, section 4 ("Abuse Protection").

Rule 1: only the header ``WebHook-Allowed-Origin`` consents, on an answer that is a success: many servers answer
``OPTIONS`` with 200 to anybody, and know nothing of deliveries.
Rule 2: an answer without consent is a refusal. Where there was no answer, or one that says "not now" (429, 5xx), the
receiver is asked again.
Rule 3: an allowance that cannot be read allows nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from waooaw.events.push import RATE
from waooaw.events.webhooks.verdict import failure_reason, printable

if TYPE_CHECKING:
    from waooaw.events.push_state import Consent
    from waooaw.events.webhooks.sending import Reply

ALLOWED_PER_MINUTE_MAX: Final = round(RATE[1] * 60)
"""What is above the fastest rate of a definition is as good as no limit."""

_RATE: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_ECHO_CHARACTERS: Final = 64
_MISSING: Final = "it has no WebHook-Allowed-Origin header, which consents to deliveries"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver made of the question. ``reason``: why it is not verified, None where it is.

    ``allowed_per_minute``: the requests a minute it consented to; None for no limit.
    """

    state: Consent
    reason: str | None = None
    allowed_per_minute: int | None = None


def consent_of(reply: Reply, origin: str) -> Answer:
    """Return what a reply to the handshake means for deliveries from ``origin``."""
    if reply.kind != "answered" or reply.status is None:
        state: Consent = "refused" if reply.kind == "refused" else "pending"
        return Answer(state, failure_reason(reply))
    if not 200 <= reply.status <= 299:  # noqa: PLR2004 - the class of statuses that RFC 9110 calls successful
        is_busy = reply.status == 429 or 500 <= reply.status <= 599  # noqa: PLR2004 - RFC 6585; the server errors
        return Answer("pending" if is_busy else "refused", failure_reason(reply))
    if reply.allowed_origin is None:
        return Answer("refused", f"it answered {reply.status} without consent: {_MISSING}")
    allowed = reply.allowed_origin.strip(" \t")
    if allowed != "*" and allowed.lower() != origin.lower():
        shown = printable(allowed, _ECHO_CHARACTERS)
        return Answer("refused", f"it allows deliveries from {shown!r}, and this is {origin!r}")
    return _with_rate(reply.allowed_rate)


def _with_rate(text: str | None) -> Answer:
    if text is None or (text := text.strip(" \t")) == "*":
        return Answer("verified")
    if _RATE.fullmatch(text) is None or int(text) == 0:
        shown = printable(text, _ECHO_CHARACTERS)
        return Answer(
            "refused", f"its WebHook-Allowed-Rate is {shown!r}, and not a number of requests a minute above 0, or *"
        )
    return Answer("verified", allowed_per_minute=min(int(text), ALLOWED_PER_MINUTE_MAX))
