"""How references, rules, claims and settles are spelled for the scripts of queues, and how their answers are read.

Scripts know references padded (``1764019200123-0000000``, ``…~0000000012``), so that they compare as texts.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import msgspec

from waooaw.events.dead_letter import DeadLetter
from waooaw.events.engine.queue_contract import (
    Burial,
    Claimed,
    Lease,
    Moves,
    ReferenceReport,
    SettleRequest,
)
from waooaw.events.engine.redis.layout import read_content
from waooaw.events.position import SEQUENCE_BITS, Position, format_position, make_position
from waooaw.events.subscription_state import Counts, FillState, Holding, QueueDetails, QueueState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waooaw.events.engine.queue_contract import FillItem, RouteSet
    from waooaw.events.engine.subscription_contract import Rules
    from waooaw.events.event import Entry
    from waooaw.events.retry import DeadReason
    from waooaw.events.subscription_state import DeliveryState

_SEQUENCE_MASK: Final = (1 << SEQUENCE_BITS) - 1
_POSITION_LENGTH: Final = 21
_REFERENCE: Final = re.compile(r"([0-9]{1,13})-([0-9]{1,7})(?:~([0-9]{1,10}))?", re.ASCII)
_LETTER_ID: Final = re.compile(r"[0-9]{1,15}-[0-9]{1,15}", re.ASCII)

_spell_item = struct.Struct(">HBB").pack
_spell_size = struct.Struct(">I").pack
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode

_STATES: Final[dict[str, DeliveryState]] = {
    "L": "leased",
    "S": "scheduled",
    "W": "waiting",
    "D": "dead",
    "G": "settled",
}


# References -----------------------------------------------------------------------------------------------------------


def pad_position(position: Position) -> str:
    """Spell a position so that it compares as a text."""
    return f"{position >> SEQUENCE_BITS:013d}-{position & _SEQUENCE_MASK:07d}"


def pad_reference(reference: str) -> str:
    """Spell a reference as scripts know it; a text that is none becomes one that no queue has."""
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        return ""
    milliseconds, sequence, copy = found.groups()
    position = f"{milliseconds:0>13}-{sequence:0>7}"
    return position if copy is None else f"{position}~{copy:0>10}"


def read_padded(text: str) -> tuple[Position, str]:
    """Read a padded reference: its position, and how it is spelled for others."""
    position = make_position(int(text[:13]), int(text[14:_POSITION_LENGTH]))
    spelled = format_position(position)
    if len(text) > _POSITION_LENGTH:
        spelled = f"{spelled}~{int(text[_POSITION_LENGTH + 1 :])}"
    return position, spelled


def is_letter_id(text: str) -> bool:
    """Tell whether a text can be the id of a dead letter."""
    return _LETTER_ID.fullmatch(text) is not None


# Appends and fills ----------------------------------------------------------------------------------------------------


def _behind(key: str, expires_ms: int) -> str:
    """Return what stands behind the reference in an item of a list."""
    return f"|{key}|{expires_ms}" if key or expires_ms else ""


def spell_planned(entries: Sequence[Entry]) -> bytes:
    """Return which of the entries are from the schedule, with their ids there."""
    return b"".join(
        [_spell_size(index) + entry.schedule_id.encode() for index, entry in enumerate(entries) if entry.schedule_id]
    )


def spell_references(references: Sequence[RouteSet]) -> list[bytes]:
    """Return for each set the limits of its queues, and its items."""
    spelled = []
    for route_set in references:
        spelled.append(b"".join([_spell_size(waiting_max) for _, waiting_max in route_set.queues]))
        items = []
        for item in route_set.items:
            behind = _behind(item.key, item.expires_ms).encode()
            items.append(_spell_item(item.index, item.priority, len(behind)) + behind)
        spelled.append(b"".join(items))
    return spelled


def spell_fill(items: Sequence[FillItem]) -> bytes:
    """Return the positions of a fill's items, and what stands behind each."""
    flat: list[str] = []
    for item in items:
        flat += (format_position(item.position), _behind(item.key, item.expires_ms))
    return _encode(flat)


def spell_rules(rules: Rules) -> str:
    """Return rules as a queue keeps them."""
    retry = rules.retry
    age_ms = -1 if retry.max_age_seconds is None else _milliseconds(retry.max_age_seconds)
    return (
        f"{_milliseconds(rules.lease_seconds)} {rules.max_in_flight} {rules.max_waiting} {int(rules.is_keyed)} "
        f"{retry.max_attempts} {retry.first_seconds * 1000!r} {retry.factor!r} {retry.cap_seconds * 1000!r} {age_ms} "
        f"{int(rules.drops_exhausted)}"
    )


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


# Claims and settles ---------------------------------------------------------------------------------------------------


def read_claimed(reply: list[Any]) -> Claimed:
    """Read the answer of a claim."""
    _, answer, moves, events = reply
    next_due_ms, is_paused, until_ms, now_ms, flat, tried = _decode(answer)
    before: dict[int, list[Any]] = {told[0]: told[1:] for told in tried}
    leases = []
    for index, at in enumerate(range(0, len(flat), 3)):
        body = events[2 * index + 1]
        if not body:
            continue  # of an answer that is repeated: it is settled, and nothing of it is kept
        request, padded, nonce = flat[at : at + 3]
        position, reference = read_padded(padded)
        event = read_content(position, events[2 * index], body)
        attempt, first_ms, error = before.get(index, (1, now_ms, ""))
        last_error = error if attempt > 1 else None
        leases.append(Lease(request, reference, nonce, attempt, first_ms, last_error, until_ms, event))
    return Claimed(tuple(leases), None if next_due_ms < 0 else next_due_ms, is_paused, read_moves(moves))


def read_moves(text: bytes) -> Moves:
    """Read what a call moved besides what it was asked for."""
    if not text:
        return _NO_MOVES
    lapsed, expired, overrun, buried = _decode(text)
    burials = [
        Burial(read_padded(padded)[0], reason, failures, error, member, is_dropped)
        for padded, reason, failures, error, member, is_dropped in buried
    ]
    return Moves(tuple(burials), lapsed, expired, overrun)


_NO_MOVES: Final = Moves()


def spell_settles(requests: Sequence[SettleRequest]) -> bytes:
    """Return deliveries and their outcomes: three values for each."""
    flat: list[object] = []
    for request in requests:
        how: object = 0
        if request.outcome != "ack":
            delay_ms = -1 if request.delay_seconds is None else _milliseconds(request.delay_seconds)
            reason = request.reason.encode("utf-8", "replace").decode()
            how = (request.outcome, delay_ms, request.chance, reason)
        flat += (pad_reference(request.reference), request.nonce, how)
    return _encode(flat)


# States ---------------------------------------------------------------------------------------------------------------


def read_queue_state(said: list[Any]) -> QueueState:
    """Read how a queue stands."""
    counts = Counts(*[int(number) for number in said[:9]])
    claimed_ms, reached, through, oldest, letter, waiting = said[9:]
    fill = None
    if reached:
        fill = FillState(read_padded(reached.decode())[0], read_padded(through.decode())[0], waiting)
    return QueueState(
        counts,
        int(oldest[:13]) if oldest else None,
        int(letter.partition(b"-")[0]) if letter else None,
        int(claimed_ms),
        fill,
    )


def read_queue_details(leases: list[Any], failing: list[Any]) -> QueueDetails:
    """Read who holds what, and what fails."""
    return QueueDetails(tuple(map(_read_holding, leases)), tuple(map(_read_holding, failing)))


def _read_holding(said: list[bytes]) -> Holding:
    padded, state, member, failures, at_ms, error = (text.decode() for text in said)
    place = cast('Literal["leased", "scheduled", "waiting"]', _STATES[state])
    return Holding(read_padded(padded)[0], place, member, int(failures), int(at_ms), error if int(failures) else None)


def read_reference_report(said: list[Any]) -> ReferenceReport:
    """Read where a reference is."""
    state, attempts, member, error = said
    found = _STATES[state.decode()]
    has_failed = attempts > (1 if found == "leased" else 0)
    return ReferenceReport(found, attempts, member.decode(), error.decode() if has_failed else None)


def read_letter(said: list[Any]) -> DeadLetter:
    """Read a dead letter, as XRANGE answers it."""
    letter_id, values = said
    padded, reason, attempts, first_ms, last_ms, error, member, _, _, header, body = values[1::2]
    position, reference = read_padded(padded.decode())
    return DeadLetter(
        id=letter_id.decode(),
        reference=reference,
        reason=cast("DeadReason", reason.decode()),
        attempts=int(attempts),
        first_failure_ms=int(first_ms),
        last_failure_ms=int(last_ms),
        last_error=error.decode(),
        member=member.decode(),
        stored=read_content(position, header, body),
    )
