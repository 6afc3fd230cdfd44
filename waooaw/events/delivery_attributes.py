"""What the attributes of an event say about its delivery: how urgent, in which order, until when and from when on.

``priority`` and ``deliverat`` are extensions of this bus, ``expirytime`` and ``partitionkey`` those of CloudEvents
("Expiry Time", "Partitioning"); an event without the last one is ordered by its ``source``.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from waooaw.events.timestamp import parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping

Priority = Literal["critical", "high", "normal", "low"]

PRIORITY_LEVELS: Final[dict[str, int]] = {"critical": 0, "high": 1, "normal": 2, "low": 3}
"""The lists of a queue, the most urgent one first."""

NORMAL: Final = PRIORITY_LEVELS["normal"]


class DeliveryAttributes(msgspec.Struct, frozen=True, gc=False):
    """Times are Unix milliseconds; 0 where the event names none."""

    priority: int = NORMAL
    ordering_key: str = ""
    expires_ms: int = 0
    due_ms: int = 0


class _Attributes(msgspec.Struct, frozen=True, gc=False):
    source: str
    priority: str | None = None
    partitionkey: str | None = None
    expirytime: str | None = None
    deliverat: str | None = None


_decode: Final = msgspec.json.Decoder(_Attributes).decode


def delivery_attributes(attributes: Mapping[str, object]) -> DeliveryAttributes:
    """Read attributes that were found valid."""
    return _build(
        str(attributes["source"]),
        attributes.get("priority"),
        attributes.get("partitionkey"),
        attributes.get("expirytime"),
        attributes.get("deliverat"),
    )


def delivery_attributes_of(body: bytes) -> DeliveryAttributes:
    """Read an event's JSON as it is in the log."""
    found = _decode(body)
    return _build(found.source, found.priority, found.partitionkey, found.expirytime, found.deliverat)


def _build(
    source: str, priority: object, partitionkey: object, expirytime: object, deliverat: object
) -> DeliveryAttributes:
    return DeliveryAttributes(
        NORMAL if priority is None else PRIORITY_LEVELS[str(priority)],
        ordering_key(source if partitionkey is None else str(partitionkey)),
        0 if expirytime is None else parse_timestamp(str(expirytime)),
        0 if deliverat is None else parse_timestamp(str(deliverat)),
    )


@lru_cache(maxsize=16_384)
def ordering_key(text: str) -> str:
    """Return what deliveries are ordered by: 64 bits in 16 hexadecimal digits.

    Two texts of one hash are delivered one after the other, which is slower and nothing else.
    """
    return blake2b(text.encode(), digest_size=8).hexdigest()
