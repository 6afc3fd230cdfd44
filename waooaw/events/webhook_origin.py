"""By which name receivers of webhooks know this service.

Source: CloudEvents, HTTP 1.1 Web Hooks for Event Delivery 1.0, section 4.1.1: ``WebHook-Request-Origin`` is a DNS
expression that identifies the sending system, and stays the same for all that it sends.
"""

from __future__ import annotations

import re
from typing import Final

ORIGIN_LENGTH_MAX: Final = 253
"""Of a name in DNS (RFC 1035 section 3.1, spelled)."""

_ORIGIN: Final = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*", re.ASCII
)


def wrong_with_origin(text: str) -> str | None:
    """Return what is wrong with the setting as the end of a sentence, or None."""
    if len(text) <= ORIGIN_LENGTH_MAX and _ORIGIN.fullmatch(text) is not None:
        return None
    return "must be a name as DNS has them, such as events.example.com, without a scheme, a port or a path"
