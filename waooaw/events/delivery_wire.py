"""How deliveries and what becomes of them are spelled in JSON, by the service, and read back by its clients.

Rule 1: an event is never encoded anew: what is sent is spelled around the bytes that the log has.
Rule 2: deliveries of one claim mostly share all but token and event; what they share is spelled once.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from waooaw.events.delivery import ClaimedDeliveries, Delivery
from waooaw.events.event import StoredEvent
from waooaw.events.position import format_position, parse_position
from waooaw.events.timestamp import format_timestamp, parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waooaw.events.delivery import Settlement

_MEMO: Final = 4096
"""Times of hand-outs that are kept spelled, and read: the claims of a minute or so."""

RESULT_OK: Final = b'{"status":"ok"}'

DELIVERY_HEAD: Final = b'{"op":"delivery",'
"""What every delivery on a socket begins with, so that clients know one before they decode it."""

_encode: Final = msgspec.json.encode


class Routing(msgspec.Struct, gc=False):
    """What of an event's JSON a reader of the log is told beside it."""

    type: str
    source: str
    correlationid: str | None = None


class _Delivery(msgspec.Struct, gc=False):
    token: str
    position: str
    event: msgspec.Raw
    attempt: int
    first_delivery: str
    lease_seconds: float
    last_error: str | None = None
    replay: bool = False
    subscription: str = ""


class _Claimed(msgspec.Struct, gc=False):
    deliveries: list[_Delivery]
    next_due: str | None = None


class _Outcome(msgspec.Struct, omit_defaults=True, gc=False):
    token: str
    outcome: str
    delay_seconds: float | None = None
    reason: str = ""


_decode_routing: Final = msgspec.json.Decoder(Routing).decode
_decode_delivery: Final = msgspec.json.Decoder(_Delivery).decode
_decode_claimed: Final = msgspec.json.Decoder(_Claimed).decode


def stored_event(position: str, text: bytes) -> StoredEvent:
    """Return an event of the log, from where it is and its JSON; raises `msgspec.MsgspecError` for what is none."""
    routing = _decode_routing(text)
    return StoredEvent(parse_position(position), routing.type, routing.source, routing.correlationid, text)


# Deliveries -----------------------------------------------------------------------------------------------------------


def delivery_json(delivery: Delivery) -> bytes:
    """Spell one delivery of a claim."""
    error = b"null" if delivery.last_error is None else _encode(delivery.last_error)
    return b'{%b,"last_error":%b,%b}' % (_beginning(delivery), error, _ending(delivery))


def delivery_message(subscription: bytes, delivery: Delivery) -> bytes:
    """Spell one delivery for a socket: as in a claim, without the members that say nothing."""
    if delivery.last_error is None:
        return b'{"op":"delivery","subscription":"%b",%b,%b}' % (subscription, _beginning(delivery), _ending(delivery))
    return b'{"op":"delivery","subscription":"%b",%b,"last_error":%b,%b}' % (
        subscription,
        _beginning(delivery),
        _encode(delivery.last_error),
        _ending(delivery),
    )


def _beginning(delivery: Delivery) -> bytes:
    # Tokens and positions are of digits, letters, dots, dashes and tildes: nothing in them is escaped.
    stored = delivery.stored
    return b'"token":"%b","position":"%b",%b' % (
        delivery.token.encode(),
        format_position(stored.position).encode(),
        _times(delivery.attempt, delivery.first_delivery_ms, delivery.lease_seconds),
    )


@lru_cache(maxsize=_MEMO)
def _times(attempt: int, first_delivery_ms: int, lease_seconds: float) -> bytes:
    first_delivery = format_timestamp(first_delivery_ms)
    text = f'"attempt":{attempt},"first_delivery":"{first_delivery}","lease_seconds":{lease_seconds:.6g}'
    return text.encode()


def _ending(delivery: Delivery) -> bytes:
    return (b'"replay":true,"event":%b' if delivery.replay else b'"event":%b') % delivery.stored.body


def read_delivery(text: bytes | str) -> tuple[str, Delivery]:
    """Read a delivery of a socket; return the name of its subscription, and it.

    Raises `msgspec.MsgspecError` and `InvalidParameterError` for what no service says.
    """
    found = _decode_delivery(text)
    return found.subscription, _delivery(found)


def claimed_json(claimed: ClaimedDeliveries) -> bytes:
    """Spell what a claim answers."""
    deliveries = b",".join([delivery_json(delivery) for delivery in claimed.deliveries])
    next_due = b"null" if claimed.next_due_ms is None else b'"%b"' % format_timestamp(claimed.next_due_ms).encode()
    return b'{"deliveries":[%b],"next_due":%b}' % (deliveries, next_due)


def read_claimed(text: bytes) -> ClaimedDeliveries:
    """Read what a claim answered; raises as `read_delivery`."""
    found = _decode_claimed(text)
    next_due_ms = None if found.next_due is None else parse_timestamp(found.next_due)
    return ClaimedDeliveries(tuple([_delivery(delivery) for delivery in found.deliveries]), next_due_ms)


def _delivery(found: _Delivery) -> Delivery:
    return Delivery(
        token=found.token,
        stored=stored_event(found.position, bytes(found.event)),
        attempt=found.attempt,
        first_delivery_ms=_milliseconds(found.first_delivery),
        last_error=found.last_error,
        lease_seconds=found.lease_seconds,
        replay=found.replay,
    )


_milliseconds: Final = lru_cache(maxsize=_MEMO)(parse_timestamp)


# Outcomes -------------------------------------------------------------------------------------------------------------


def outcomes_json(settlements: Sequence[Settlement]) -> bytes:
    """Spell the array ``outcomes`` of a settle, without the members that say nothing."""
    return _encode([_Outcome(item.token, item.outcome, item.delay_seconds, item.reason) for item in settlements])
