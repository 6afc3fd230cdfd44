"""What stands where in Redis: keys, and how entries, frames and answers are spelled.

All keys of a bus share the hash tag ``{<bus>}``, so they are in one slot and one script can change them together.

An entry of the log has two fields: ``h``, a MessagePack array ``[type, source, correlationid]``, and ``b``, the event's
JSON as it was accepted. A frame is a MessagePack array: format, epoch, the position before it, the first position, the
time of acceptance in microseconds, and the entries as header, body, header, body…; a body too large to travel is nil.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from waooaw.events.acceptance import content_of
from waooaw.events.engine.contract import Frame, Tip
from waooaw.events.engine.redis.queue_keys import QueueKeys
from waooaw.events.epoch import Epoch
from waooaw.events.event import Entry, StoredEvent
from waooaw.events.position import END, SEQUENCE_BITS, Position, format_position, make_position

if TYPE_CHECKING:
    from collections.abc import Sequence

FRAME_BODY_BYTES_MAX: Final = 16 * 1024
"""Larger bodies are read from the log by those who need them: each listener has a buffer in the server."""

FRAME_FORMAT: Final = 1
WAKE_FORMAT: Final = 2


QUEUES_KEPT: Final = 10_000
"""Queues whose keys are remembered: they are spelled in every append."""


class Keys:
    """The keys of one bus."""

    def __init__(self, bus: str) -> None:
        prefix = f"wowevent:{{{bus}}}:"
        self.meta = prefix + "meta"
        self.log = prefix + "log"
        self.epochs = prefix + "epochs"
        self.ids = (prefix + "ids:0", prefix + "ids:1")
        self.samples = prefix + "ids:samples"
        self.retention = prefix + "retention"
        self.replicas = prefix + "replicas"
        self.live = prefix + "live"
        self.probe = prefix + "probe"
        self.subscriptions = prefix + "subscriptions"
        self.changes = prefix + "changes"
        self.schedule = prefix + "schedule"
        self.scheduled = prefix + "scheduled"
        self._writer = prefix + "writer:"
        self._job = prefix + "job:"
        self._queue = prefix + "q:"
        self._queues: dict[str, QueueKeys] = {}

    def writer(self, name: str) -> str:
        """The key of a writer: its last sequence and what it was answered."""
        return self._writer + name

    def job(self, name: str) -> str:
        """The key of a job: who does it, and until when."""
        return self._job + name

    def queue(self, incarnation: str) -> QueueKeys:
        """The keys of a queue."""
        found = self._queues.get(incarnation)
        if found is None:
            if len(self._queues) >= QUEUES_KEPT:
                self._queues.clear()
            found = self._queues[incarnation] = QueueKeys(f"{self._queue}{incarnation}:")
        return found

    def of_queues(self, incarnations: Sequence[str]) -> list[str]:
        """What scripts on queues declare: log, meta, and the keys of each queue."""
        return [self.log, self.meta, *[key for incarnation in incarnations for key in self.queue(incarnation).whole]]

    @property
    def whole(self) -> tuple[str, ...]:
        """What `OPEN` and `APPEND` declare, without the writer."""
        return (self.meta, self.log, self.epochs, *self.ids, self.samples)


class _Header(msgspec.Struct, array_like=True, frozen=True, gc=False):
    type: str
    source: str
    correlationid: str | None


class _Frame(msgspec.Struct, array_like=True, frozen=True, gc=False):
    format: int
    epoch: str
    previous_ms: int
    previous_sequence: int
    ms: int
    sequence: int
    accepted_us: int
    entries: list[_Header | bytes | None]


class _Wake(msgspec.Struct, array_like=True, frozen=True, gc=False):
    format: int
    incarnation: str


_ARRAY_OF_2: Final = b"\x92"

_BINARY_32: Final = 0xC6
"""``bin 32`` of MessagePack: a body's length in four bytes stands behind it."""

_spell_length = struct.Struct(">BI").pack
_spell_sizes = struct.Struct(">IIB").pack

_decode_header = msgspec.msgpack.Decoder(_Header).decode
_decode_wake = msgspec.msgpack.Decoder(_Wake).decode
_decode_frame = msgspec.msgpack.Decoder(_Frame).decode
_encode = msgspec.msgpack.Encoder().encode


@lru_cache(maxsize=4096)
def _plain_header(event_type: str, source: str) -> bytes:
    return _encode(_Header(event_type, source, None))


def spell_entry(entry: Entry) -> tuple[bytes, bytes, bytes]:
    """Return an entry's header and body, and its identity with its digest (empty where no id was given)."""
    if entry.correlationid is None:
        header = _plain_header(entry.type, entry.source)
    else:
        header = _encode(_Header(entry.type, entry.source, entry.correlationid))
    if not entry.id_given:
        return header, entry.body, b""
    return header, entry.body, identity_of(entry) + digest_of(entry)


def spell_entries(entries: Sequence[Entry]) -> tuple[bytes, bytes, bytes]:
    """Return what `APPEND` takes for entries: their spelling in a frame, their sizes, and the identities of given ids.

    The spelling is what listeners get: where every entry is stored and none is too large to travel, the script sends
    it on as it is. Sizes are those of header and body, and whether the entry has an identity.
    """
    spelled: list[bytes] = []
    sizes: list[bytes] = []
    identities: list[bytes] = []
    for entry in entries:
        header, body, identity = spell_entry(entry)
        spelled += (header, _spell_length(_BINARY_32, len(body)), body)
        sizes.append(_spell_sizes(len(header), len(body), bool(identity)))
        if identity:
            identities.append(identity)
    return b"".join(spelled), b"".join(sizes), b"".join(identities)


def identity_of(entry: Entry) -> bytes:
    """Return what an entry is found by: 128 bits of a digest of its source and its id."""
    return blake2b(f"{entry.source}\0{entry.id}".encode(), digest_size=16).digest()


def digest_of(entry: Entry) -> bytes:
    """Return what tells an event from another with its id: all members as they were spelled, in any order."""
    members = content_of(entry.body, time_given=entry.time_given)
    hashed = blake2b(digest_size=16)
    for name in sorted(members):
        value = members[name]
        hashed.update(b"%b\0%d\0%b" % (name.encode(), len(value), value))
    return hashed.digest()


def read_entry(item: list[Any]) -> StoredEvent:
    """Read an entry of the log, as XRANGE answers it."""
    name, fields = item
    return read_content(read_position(name), fields[1], fields[3])


def read_content(position: Position, header: bytes, body: bytes) -> StoredEvent:
    """Read what an entry of the log, or a copy of one, holds."""
    told = _decode_header(header)
    return StoredEvent(position, told.type, told.source, told.correlationid, body)


def read_position(text: bytes) -> Position:
    """Read a stream id. Raises ValueError for one that is no position."""
    ms, _, sequence = text.partition(b"-")
    position = int(ms) << SEQUENCE_BITS | int(sequence)
    if not 0 <= position <= END:
        raise ValueError(text)
    return Position(position)


def exclusive(position: Position) -> str:
    """Spell a stream id as what comes after it."""
    return f"({format_position(position)}"


def read_wake(message: bytes) -> str | None:
    """Read the incarnation that a wake of the live channel names (empty: all); None for a frame.

    A wake is an array of two: its format, and the incarnation. A frame is one of eight.
    """
    if not message.startswith(_ARRAY_OF_2):
        return None
    wake = _decode_wake(message)
    return wake.incarnation if wake.format == WAKE_FORMAT else ""


def read_frame(message: bytes) -> Frame | Tip:
    """Read what the live channel carries; a tip where a body was too large to travel. Raises `msgspec.MsgspecError`."""
    frame = _decode_frame(message)
    if frame.format != FRAME_FORMAT:
        detail = f"a frame of format {frame.format}, which this release does not read"
        raise msgspec.ValidationError(detail)
    epoch = int(frame.epoch, 16)
    position = make_position(frame.ms, frame.sequence)
    headers, bodies = frame.entries[::2], frame.entries[1::2]
    events = []
    for header, body in zip(headers, bodies, strict=True):
        if not isinstance(header, _Header) or not isinstance(body, bytes):
            return Tip(epoch, Position(make_position(frame.ms, frame.sequence) + len(headers) - 1))
        events.append(StoredEvent(position, header.type, header.source, header.correlationid, body))
        position = Position(position + 1)
    previous = make_position(frame.previous_ms, frame.previous_sequence)
    return Frame(epoch, previous, tuple(events), frame.accepted_us / 1e6)


def read_epoch(text: bytes) -> Epoch:
    """Read one epoch: its id, and the last position before it."""
    number, _, after = text.partition(b" ")
    return Epoch(int(number, 16), read_position(after))


@dataclass(frozen=True, slots=True)
class Head:
    """A bus as a script describes it."""

    epoch: int
    last: Position
    trimmed_through: Position
    first: Position | None
    events: int
    size_bytes: int
    cut_ms: int
    routes_version: str


def read_head(said: list[bytes]) -> Head:
    """Read what scripts say of the bus. Raises ValueError for what no script has written."""
    epoch, last, trimmed_through, first, events, size_bytes, cut_ms, routes_version = said
    return Head(
        int(epoch, 16),
        read_position(last),
        read_position(trimmed_through),
        read_position(first) if first else None,
        int(events),
        int(size_bytes),
        int(cut_ms),
        routes_version.decode(),
    )


@dataclass(frozen=True, slots=True)
class Answer:
    """What an append was answered: the first position, and the entries (by index) that were not stored.

    Such an entry has the position of the event that it repeats; ``reused``: its id was used for other content;
    ``gone``: it is not on the schedule any more.
    """

    first: Position
    exceptions: dict[int, Position | Literal["reused", "gone"]]


def read_answer(text: bytes) -> Answer:
    """Read an answer."""
    first, _, rest = text.partition(b" ")
    exceptions: dict[int, Position | Literal["reused", "gone"]] = {}
    for item in rest.split(b",") if rest else ():
        index, found, position = item.partition(b"d")
        if found:
            exceptions[int(index)] = read_position(position)
        else:
            exceptions[int(item[:-1])] = "gone" if item.endswith(b"g") else "reused"
    return Answer(read_position(first), exceptions)
