"""What the attributes of an event say about its delivery: how urgent, in which order, until when and from when on.

``priority`` and ``deliverat`` are extensions of this bus, ``expirytime`` and ``partitionkey`` those of CloudEvents
("Expiry Time", "Partitioning"); an event without the last one is ordered by its ``source``.

Rule: most events have none of them, and those of one source then share one value, which is looked up and not built.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from waooaw.events.timestamp import parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping

Priority = Literal["critical", "high", "normal", "low"]

PRIORITY_LEVELS: Final[dict[str, int]] = {"critical": 0, "high": 1, "normal": 2, "low": 3}
"""The lists of a queue, the most urgent one first."""

NORMAL: Final = PRIORITY_LEVELS["normal"]

_NAMES: Final = frozenset({"priority", "partitionkey", "expirytime", "deliverat"})

_MEMO: Final = 16_384
"""Ordering keys and sources that are remembered: more than one replica sees at work, some 10 MB when full."""

_MEMO_CHARACTERS_MAX: Final = 255
"""Longer texts, which may be as long as an event, are not remembered: the memo would have no bound in bytes."""


class DeliveryAttributes(msgspec.Struct, frozen=True, gc=False):
    """Times are Unix milliseconds; 0 where the event names none, 1 where it names one at or before the year 1970."""

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


def delivery_attributes(attributes: Mapping[str, Any]) -> DeliveryAttributes:
    """Read attributes that were found valid."""
    if _NAMES.isdisjoint(attributes):
        source: str = attributes["source"]
        return _of_source(source) if len(source) <= _MEMO_CHARACTERS_MAX else _of_source.__wrapped__(source)
    return _build(
        attributes["source"],
        attributes.get("priority"),
        attributes.get("partitionkey"),
        attributes.get("expirytime"),
        attributes.get("deliverat"),
    )


def delivery_attributes_of(body: bytes) -> DeliveryAttributes:
    """Read an event's JSON as it is in the log: the same as `delivery_attributes` of what was accepted."""
    found = _decode(body)
    return _build(found.source, found.priority, found.partitionkey, found.expirytime, found.deliverat)


def _build(
    source: str, priority: str | None, partitionkey: str | None, expirytime: str | None, deliverat: str | None
) -> DeliveryAttributes:
    return DeliveryAttributes(
        NORMAL if priority is None else PRIORITY_LEVELS[priority],
        ordering_key(source if partitionkey is None else partitionkey),
        0 if expirytime is None else max(parse_timestamp(expirytime), 1),
        0 if deliverat is None else max(parse_timestamp(deliverat), 1),
    )


@lru_cache(maxsize=_MEMO)
def _of_source(source: str) -> DeliveryAttributes:
    return DeliveryAttributes(ordering_key=ordering_key(source))


def ordering_key(text: str) -> str:
    """Return what deliveries are ordered by: 64 bits in 16 hexadecimal digits.

    Two texts of one hash are delivered one after the other, which is slower and nothing else.
    """
    return _remembered_key(text) if len(text) <= _MEMO_CHARACTERS_MAX else _digest(text)


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=8).hexdigest()


_remembered_key: Final = lru_cache(maxsize=_MEMO)(_digest)
