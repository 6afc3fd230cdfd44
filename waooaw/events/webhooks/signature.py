"""Signatures of what is sent, after Standard Webhooks 1.0.0: who has the secret knows that it comes from this bus.

Rule 1: what is signed is the id, the time of sending and the body, to the byte, joined by full stops.
Rule 2: with two secrets it is signed by both, the present one first, so that receivers can change over.
Rule 3: a message keeps its id at each try; the time is that of the try.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from waooaw.events.push import secret_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"

KEYS_KEPT: Final = 1024
"""Decoded secrets that are kept: two of each receiver, of 64 bytes at most."""

_key: Final = lru_cache(maxsize=KEYS_KEPT)(secret_bytes)


def sign(secrets: Sequence[str], message_id: str, timestamp_seconds: int, body: bytes) -> dict[str, str]:
    """Return the headers of a message: id and time always, and its signatures where there are secrets.

    Raises ValueError for a secret that is none.
    """
    headers = {ID: message_id, TIMESTAMP: str(timestamp_seconds)}
    if secrets:
        signed = b"%b.%d.%b" % (message_id.encode(), timestamp_seconds, body)
        headers[SIGNATURE] = " ".join(
            ["v1," + b64encode(hmac.digest(_key(secret), signed, sha256)).decode("ascii") for secret in secrets]
        )
    return headers
